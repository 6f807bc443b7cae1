import type { FastifyRequest } from 'fastify'
import type { Problem } from '../response/errors.js'
import { checkOrigins, createOriginList, type OriginList } from '../net/origin-pattern.js'
import { prepareHeaders } from '../response/headers.js'
import { rememberLast } from '../common/recent.js'
import { createGrants, type CorsGrant, type Grants } from './grants.js'

/**
 * Decides for one origin: synchronously, `true` or `false`. It is asked with well-formed origins only, never with
 * `null`, and once at boot, without a request, with an origin that nobody can own.
 */
export type OriginFunction = (origin: string, request: FastifyRequest | null) => boolean

/** What `origins` may hold. */
export type CorsOrigins = '*' | readonly (string | RegExp)[] | OriginFunction

/** The shape that `CorsOptions` (plugins/cors.ts) has after its schema check. */
export interface CorsInput {
  readonly origins?: '*' | readonly unknown[] | OriginFunction
  readonly credentials?: boolean
  readonly allowedHeaders?: readonly string[]
  readonly exposedHeaders?: readonly string[]
  readonly maxAgeSeconds?: number
  readonly privateNetwork?: boolean
}

/** Resolved CORS policy: complete, checked, with every header block built or ready to be built once. */
export interface ResolvedCorsPolicy {
  readonly origins: CorsOrigins
  readonly credentials: boolean
  readonly grants: Grants
  /** Whether a preflight may ask for each name of an `Access-Control-Request-Headers`. */
  readonly allowsHeaders: (names: string) => boolean
}

const ALLOWED_HEADERS: readonly string[] = ['Content-Type', 'Authorization', 'X-Request-Id']
const EXPOSED_HEADERS: readonly string[] = ['Retry-After', 'RateLimit', 'RateLimit-Policy', 'X-Request-Id']
const MAX_AGE_SECONDS = 600

/** Fetch, section 3.2.2: an answer that depends on the preflight's headers must say so to caches. */
const PREFLIGHT_VARY = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'

/** Resolves written options; they replace the base as a whole, because half an allow-list is nobody's intention. */
export function resolveCors (input: CorsInput, where: string, problems: Problem[]): ResolvedCorsPolicy {
  const credentials = input.credentials ?? false
  const privateNetwork = input.privateNetwork ?? false
  const origins = checkedOrigins(input.origins ?? [], credentials, where, problems)
  const allowed = input.allowedHeaders ?? ALLOWED_HEADERS
  const grantFor = grantBuilder(input, allowed, credentials, privateNetwork)
  return Object.freeze({
    origins,
    credentials,
    grants: typeof origins === 'function'
      ? createGrants(origins, grantFor)
      : createGrants(origins === '*' ? '*' : listOf(origins), grantFor),
    allowsHeaders: allowList(allowed),
  })
}

function allowList (allowed: readonly string[]): (names: string) => boolean {
  const known = new Set(allowed.map((name) => name.toLowerCase()))
  return rememberLast((names) => names.split(',').every((name) => known.has(name.trim().toLowerCase())))
}

function listOf (
  origins: readonly (string | RegExp)[],
): { readonly exact: readonly string[], readonly matched: OriginList | null } {
  const patterns = origins.filter((origin) => typeof origin !== 'string')
  return {
    exact: origins.filter((origin) => typeof origin === 'string'),
    matched: patterns.length === 0 ? null : createOriginList(patterns),
  }
}

function grantBuilder (
  input: CorsInput,
  allowed: readonly string[],
  credentials: boolean,
  privateNetwork: boolean,
): (origin: string) => CorsGrant {
  const exposed = (input.exposedHeaders ?? EXPOSED_HEADERS).join(', ')
  const requestHeaders = allowed.join(', ')
  const maxAge = String(input.maxAgeSeconds ?? MAX_AGE_SECONDS)
  const vary = privateNetwork ? `${PREFLIGHT_VARY}, Access-Control-Request-Private-Network` : PREFLIGHT_VARY
  return (origin) => {
    const common = {
      'access-control-allow-origin': origin,
      ...(credentials && { 'access-control-allow-credentials': 'true' }),
    }
    const preflight = {
      ...common,
      ...(requestHeaders !== '' && { 'access-control-allow-headers': requestHeaders }),
      'access-control-max-age': maxAge,
      vary,
    }
    return Object.freeze({
      actual: prepareHeaders({ ...common, ...(exposed !== '' && { 'access-control-expose-headers': exposed }) }),
      preflight: prepareHeaders(preflight),
      privatePreflight: privateNetwork
        ? prepareHeaders({ ...preflight, 'access-control-allow-private-network': 'true' })
        : null,
    })
  }
}

function checkedOrigins (
  origins: NonNullable<CorsInput['origins']>,
  credentials: boolean,
  where: string,
  problems: Problem[],
): CorsOrigins {
  const everybody = {
    path: `${where}.credentials`,
    message: 'Any origin could read the answers of your signed-in users.',
    fix: 'List the exact origins, or set credentials to false.',
  }
  if (origins === '*') {
    if (credentials) problems.push(everybody)
    return origins
  }
  if (typeof origins !== 'function') return Object.freeze(checkOrigins(origins, `${where}.origins`, problems))
  const answer = probe(origins)
  if (typeof answer !== 'boolean') {
    problems.push({
      path: `${where}.origins`,
      message: 'The function threw, or did not return true or false, when asked for an origin that nobody owns.',
      fix:
        'Write a synchronous function (origin, request) => boolean; at boot it is asked once, with null instead of a request.',
    })
  } else if (answer && credentials) {
    problems.push(everybody)
  }
  return origins
}

/** RFC 6761, section 6.4: nobody can own a name under `.invalid`, so whoever allows this origin allows any. */
const PROBE = 'https://bulwark-probe.invalid'

function probe (ask: (origin: string, request: null) => unknown): unknown {
  try {
    const answer = ask(PROBE, null)
    // A rejection of an async function, which is refused anyway, must not end the process before the refusal is read.
    if (answer instanceof Promise) answer.catch(() => {})
    return answer
  } catch {
    return undefined
  }
}
