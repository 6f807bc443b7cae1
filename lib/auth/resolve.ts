import { parseDuration, type Duration } from '../options/duration.js'
import type { Problem } from '../response/errors.js'
import type { Boot, ResolveContext } from '../policy/plugin.js'
import { resolveRedisSource, type RedisSource } from '../redis/connection.js'
import { SECRET_FIX, secretProblems } from '../options/secret-strength.js'
import { resolveKeyring, secretKeyring, shareKeys, type Keyring } from './keyring.js'
import type { AuthOptions, ResolvedAuthOptions, WrittenOptions } from './options.js'
import { checkClaims, createUserModel } from './users.js'

const GRACE_MAX_MS = 60_000
/** Ten years: deadlines in milliseconds stay far within what numbers, tokens and Redis can hold. */
const ABSOLUTE_MAX_MS = 3650 * 86_400_000

/** The checked, complete, frozen options; null when a problem was added, here or by the options' schema before. */
export function resolveAuth (
  input: AuthOptions,
  { boot, problems }: Pick<ResolveContext, 'boot' | 'problems'>,
): ResolvedAuthOptions | null {
  // Of options that the schema refuses only some are here.
  const written = input as Partial<WrittenOptions>
  const claims = checkClaims(written.claims, 'auth.claims', problems)
  const keys = resolveKeys(written, boot, problems)
  const times = resolveTimes(written, problems)
  const redis = resolveRedis(written, boot, problems)
  if (written.routes === false && written.authenticate !== undefined) {
    problems.push({
      path: 'auth.authenticate',
      message: 'Nothing would call it: routes is false.',
      fix: 'Leave it out and sign in with reply.login in a route of your own; or leave routes out.',
    })
  }
  if (keys === null || problems.some(({ path }) => path === 'auth' || path.startsWith('auth.'))) return null
  const { authenticate, loadUser, label } = input as Pick<ResolvedAuthOptions, 'authenticate' | 'loadUser' | 'label'>
  return Object.freeze<ResolvedAuthOptions>({
    ...keys,
    ...times,
    users: createUserModel(input.roles, claims, input.scopes),
    authenticate: authenticate ?? null,
    loadUser,
    label: label ?? null,
    issuer: written.issuer ?? 'bulwark',
    audience: written.audience ?? 'bulwark-api',
    cookies: written.cookies ?? 'scoped',
    sameSite: written.sameSite ?? 'strict',
    prefix: written.prefix ?? '/auth',
    routes: written.routes ?? true,
    redis,
    keyPrefix: written.keyPrefix ?? 'bulwark:auth:',
    // Looking up in this process' memory costs nothing, so nothing of it is worth remembering.
    revocation: written.revocation ?? (redis === null ? 'strict' : 'cached'),
    maxSessions: written.maxSessions ?? 100,
    whenFull: written.whenFull ?? 'evict',
    onReuse: written.onReuse ?? 'session',
    jwtDecorators: written.jwtDecorators ?? false,
    scopes: Object.freeze([...written.scopes ?? []]),
    sources: Object.freeze([...written.sources ?? ['cookie'] as const]),
  })
}

/** The keyring of each kind of token; null when a problem was added. */
function resolveKeys (
  options: Partial<WrittenOptions>,
  { config }: Boot,
  problems: Problem[],
): { accessKeys: Keyring, refreshKeys: Keyring } | null {
  const pick = (kind: 'access' | 'refresh', variable: string): Keyring | null => {
    const keys = options[`${kind}Keys`]
    const written = options[`${kind}Secret`]
    if (keys !== undefined) {
      if (written === undefined) return resolveKeyring(keys, `auth.${kind}Keys`, kind, problems)
      problems.push({
        path: `auth.${kind}Keys`,
        message: `Given beside ${kind}Secret.`,
        fix: 'Write one of them; the secret may be the current key of the keyring.',
      })
      return null
    }
    const secret = written ?? config[variable]
    const path = `auth.${kind}Secret`
    if (typeof secret !== 'string') {
      // Given, but not as a text or not as an object: that has been said.
      if (problems.some(({ path: at }) => at === 'auth' || at === path || at === `auth.${kind}Keys`)) return null
      problems.push({
        path,
        message: 'Missing.',
        fix:
          `Set ${variable} in the environment (declared in the env plugin's schema), or give the option. ${SECRET_FIX}`,
      })
      return null
    }
    const reasons = secretProblems(secret)
    for (const message of reasons) problems.push({ path, message, fix: SECRET_FIX })
    return reasons.length === 0 ? secretKeyring(secret) : null
  }
  const accessKeys = pick('access', 'JWT_ACCESS_SECRET')
  const refreshKeys = pick('refresh', 'JWT_REFRESH_SECRET')
  if (accessKeys === null || refreshKeys === null) return null
  if (shareKeys(accessKeys, refreshKeys)) {
    problems.push({
      path: options.refreshKeys === undefined ? 'auth.refreshSecret' : 'auth.refreshKeys',
      message: 'It equals the access secret.',
      fix: `Each kind of token needs its own key. ${SECRET_FIX}`,
    })
    return null
  }
  return { accessKeys, refreshKeys }
}

function resolveTimes (
  options: Partial<WrittenOptions>,
  problems: Problem[],
): Pick<ResolvedAuthOptions, 'accessTtlMs' | 'refreshIdleMs' | 'refreshAbsoluteMs' | 'graceMs' | 'revocationDelayMs'> {
  const wholeSeconds = (name: 'accessTtl' | 'refreshIdle' | 'refreshAbsolute', standard: Duration): number => {
    const milliseconds = parseDuration(options[name] ?? standard)
    if (milliseconds % 1000 !== 0) {
      problems.push({
        path: `auth.${name}`,
        message: 'Not whole seconds.',
        fix: 'Tokens and cookies count in seconds: write for example 90s.',
      })
    }
    return milliseconds
  }
  const accessTtlMs = wholeSeconds('accessTtl', '15m')
  const refreshIdleMs = wholeSeconds('refreshIdle', '7d')
  const refreshAbsoluteMs = wholeSeconds('refreshAbsolute', '30d')
  const graceMs = parseDuration(options.grace ?? '10s')
  if (accessTtlMs >= refreshIdleMs) {
    problems.push({
      path: 'auth.accessTtl',
      message: 'Not shorter than refreshIdle.',
      fix: 'An access token must end before its session can: accessTtl < refreshIdle <= refreshAbsolute.',
    })
  }
  if (refreshIdleMs > refreshAbsoluteMs) {
    problems.push({
      path: 'auth.refreshIdle',
      message: 'Longer than refreshAbsolute.',
      fix: 'Keep accessTtl < refreshIdle <= refreshAbsolute.',
    })
  }
  if (refreshAbsoluteMs > ABSOLUTE_MAX_MS) {
    problems.push({
      path: 'auth.refreshAbsolute',
      message: 'Longer than 3650d.',
      fix: 'No user should stay signed in for that long: 30d is the default.',
    })
  }
  // Within the grace nothing rotates, so that a client which refreshes each time its access token ends may come too
  // late.
  else if (accessTtlMs < refreshIdleMs && accessTtlMs + graceMs > refreshIdleMs) {
    problems.push({
      path: 'auth.refreshIdle',
      message: 'Shorter than accessTtl and grace together.',
      fix: 'A session in use could end between two refreshes: keep accessTtl + grace <= refreshIdle.',
    })
  }
  if (graceMs > GRACE_MAX_MS) {
    problems.push({
      path: 'auth.grace',
      message: 'Longer than 60s.',
      fix: 'A stolen token is not noticed within the grace: keep it short, 10s is the default.',
    })
  }
  const revocationDelayMs = parseDuration(options.revocationDelay ?? '5s')
  if (revocationDelayMs > GRACE_MAX_MS) {
    problems.push({
      path: 'auth.revocationDelay',
      message: 'Longer than 60s.',
      fix:
        'For so long a session that was ended may go on: 5s is the default, stateless gives the check up altogether.',
    })
  }
  return { accessTtlMs, refreshIdleMs, refreshAbsoluteMs, graceMs, revocationDelayMs }
}

function resolveRedis (
  options: Partial<WrittenOptions>,
  { production, config }: Boot,
  problems: Problem[],
): RedisSource | null {
  const path = 'auth.redis'
  const before = problems.length
  const source = resolveRedisSource(options.redis, config, path, problems)
  if (source === null && production && options.allowMemoryStore !== true && problems.length === before) {
    problems.push({
      path,
      message: 'Sessions would live in memory in production.',
      fix:
        'Set REDIS_URL or give redis; or write allowMemoryStore: true if only one ' +
        'process ever serves and a restart may sign everybody out.',
    })
  }
  return source
}
