import { checkOptions, readableOptions } from '../options/check-options.js'
import { checkOrigin, checkOrigins, createOriginList } from '../net/origin.js'
import type { Problem } from '../response/errors.js'
import { prepareHeaders } from '../response/headers.js'
import { createGrants, type CorsGrant, type Grants, type OriginSource } from './grants.js'
import { CorsOptionsSchema, ORIGIN_FIX, type CorsOptions, type OriginFunction } from './options.js'

/** Resolved CORS policy: complete, checked, with every header block built or ready to be built once. */
export interface ResolvedCorsPolicy {
  readonly credentials: boolean
  readonly grants: Grants
  readonly allowsMethod: (method: string) => boolean
  /** Whether a preflight may ask for each name of an `Access-Control-Request-Headers`. */
  readonly allowsHeaders: (names: string) => boolean
}

const ALLOWED_HEADERS: readonly string[] = ['Content-Type', 'Authorization', 'X-Request-Id']
const EXPOSED_HEADERS: readonly string[] = ['Retry-After', 'RateLimit', 'RateLimit-Policy', 'X-Request-Id']
const MAX_AGE_SECONDS = 600

/** Fetch, section 3.2.2: an answer that depends on the preflight's headers must say so to caches. */
const PREFLIGHT_VARY = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'

/** Resolves the untrusted options of a route or a scope; `false` allows no origin. */
export function resolveCorsPolicy (input: unknown, where: string, problems: Problem[]): ResolvedCorsPolicy | false {
  if (input === false) return false
  const options: CorsOptions = checkOptions(CorsOptionsSchema, input, where, problems) ??
    readableOptions(input, where, problems)
  return resolveCors(options, where, problems)
}

/**
 * Resolves checked options. They replace the inherited ones as a whole: half of an allow-list would be a policy that
 * was written in no place.
 */
export function resolveCors (options: CorsOptions, where: string, problems: Problem[]): ResolvedCorsPolicy {
  const { credentials = false, methods, allowedHeaders = ALLOWED_HEADERS } = options
  const source = resolveOrigin(options, where, problems)
  const names = new Set(allowedHeaders.map((name) => name.toLowerCase()))
  return Object.freeze({
    credentials,
    grants: createGrants(source, grantBuilder({ ...options, credentials, allowedHeaders })),
    allowsMethod: (method: string) => methods?.includes(method) ?? true,
    allowsHeaders: (asked: string) =>
      asked === '' || asked.split(',').every((name) => names.has(name.trim().toLowerCase())),
  })
}

function grantBuilder (
  options: CorsOptions & { readonly credentials: boolean, readonly allowedHeaders: readonly string[] },
): (origin: string) => CorsGrant {
  const { credentials, allowedHeaders, exposedHeaders = EXPOSED_HEADERS, privateNetwork = false } = options
  const allowed = allowedHeaders.join(', ')
  const exposed = exposedHeaders.join(', ')
  const maxAge = String(options.maxAge ?? MAX_AGE_SECONDS)
  const vary = privateNetwork ? `${PREFLIGHT_VARY}, Access-Control-Request-Private-Network` : PREFLIGHT_VARY
  return function grantFor (origin) {
    const common = {
      'access-control-allow-origin': origin,
      ...(credentials && { 'access-control-allow-credentials': 'true' }),
    }
    const preflight = {
      ...common,
      ...(allowed !== '' && { 'access-control-allow-headers': allowed }),
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

function resolveOrigin (
  { origin = false, credentials }: CorsOptions,
  where: string,
  problems: Problem[],
): OriginSource {
  const at = `${where}.origin`
  if (origin === '*' || typeof origin === 'function') {
    const answer = origin === '*' ? true : probe(origin)
    if (typeof answer !== 'boolean') {
      problems.push({
        path: at,
        message: 'The function threw, or did not return true or false, when it was tried at boot.',
        fix: 'Write a synchronous function (origin, request) => boolean. At boot the request is null.',
      })
    } else if (answer && credentials === true) {
      problems.push({
        path: `${where}.credentials`,
        message: 'Any origin could read the answers of your signed-in users.',
        fix: 'List the exact origins, or set credentials to false.',
      })
    }
    return origin
  }
  if (origin === false) return createOriginList([])
  if (Array.isArray(origin)) return createOriginList(checkOrigins(origin, at, problems))
  if (typeof origin === 'string' || (origin as unknown) instanceof RegExp) {
    return createOriginList(checkOrigin(origin, at, problems) ? [origin] : [])
  }
  problems.push({ path: at, message: 'Not an accepted value.', fix: ORIGIN_FIX })
  return createOriginList([])
}

/** RFC 6761, section 6.4: no name under `.invalid` exists, so a function that allows this origin allows any. */
const PROBE = 'https://bulwark-probe.invalid'

/** Each function is tried once, also when several routes and scopes share it. */
const ANSWERS = new WeakMap<OriginFunction, unknown>()

function probe (allows: OriginFunction): unknown {
  if (!ANSWERS.has(allows)) ANSWERS.set(allows, tryFunction(allows))
  return ANSWERS.get(allows)
}

function tryFunction (allows: (origin: string, request: null) => unknown): unknown {
  try {
    const answer = allows(PROBE, null)
    // An async function is refused; its rejection must not end the process before the refusal is read.
    if (answer instanceof Promise) answer.catch(() => {})
    return answer
  } catch {
    return undefined
  }
}
