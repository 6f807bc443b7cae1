import type { Problem } from '../errors.js'
import { isOrigin } from '../origin.js'

/** The shape that `CorsOptions` (plugins/cors.ts) has after its schema check. */
export interface CorsInput {
  readonly origins?: '*' | readonly string[]
  readonly credentials?: boolean
  readonly allowedHeaders?: readonly string[]
  readonly exposedHeaders?: readonly string[]
  readonly maxAgeSeconds?: number
}

/** Resolved CORS policy: complete, checked, with every header block built. */
export interface ResolvedCorsPolicy {
  readonly origins: '*' | readonly string[]
  readonly credentials: boolean
  /** Response headers for each allowed origin; `'*'` for any. An origin that is not a key gets nothing. */
  readonly blocks: ReadonlyMap<string, Readonly<Record<string, string>>>
  /** Response headers of a granted preflight, without the method. */
  readonly preflightBlocks: ReadonlyMap<string, Readonly<Record<string, string>>>
  /** Lower-case names that a preflight may ask for. */
  readonly allowedHeaders: ReadonlySet<string>
}

const ALLOWED_HEADERS: readonly string[] = ['Content-Type', 'Authorization', 'X-Request-Id']
const EXPOSED_HEADERS: readonly string[] = ['Retry-After', 'RateLimit', 'RateLimit-Policy', 'X-Request-Id']
const MAX_AGE_SECONDS = 600

/** Fetch, section 3.2.2: an answer that depends on the preflight's headers must say so to caches. */
const PREFLIGHT_VARY = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'

/** Resolves written options; they replace the base as a whole, because half an allow-list is nobody's intention. */
export function resolveCors (input: CorsInput, where: string, problems: Problem[]): ResolvedCorsPolicy {
  const origins = input.origins ?? []
  const credentials = input.credentials ?? false
  if (origins === '*') {
    if (credentials) {
      problems.push({ path: `${where}.credentials`, message: 'Any origin could read the answers of your signed-in users.', mend: 'List the exact origins, or set credentials to false.' })
    }
  } else {
    for (const [index, origin] of origins.entries()) checkOrigin(origin, `${where}.origins[${index}]`, problems)
  }
  const exposed = (input.exposedHeaders ?? EXPOSED_HEADERS).join(', ')
  const allowed = input.allowedHeaders ?? ALLOWED_HEADERS
  const grant = (origin: string): Record<string, string> => ({
    'access-control-allow-origin': origin,
    ...(credentials && { 'access-control-allow-credentials': 'true' }),
  })
  const keys = origins === '*' ? ['*'] : origins
  return Object.freeze({
    origins: origins === '*' ? origins : Object.freeze([...origins]),
    credentials,
    blocks: new Map(keys.map((origin) => [origin, Object.freeze({
      ...grant(origin),
      ...(exposed !== '' && { 'access-control-expose-headers': exposed }),
    })])),
    preflightBlocks: new Map(keys.map((origin) => [origin, Object.freeze({
      ...grant(origin),
      ...(allowed.length > 0 && { 'access-control-allow-headers': allowed.join(', ') }),
      'access-control-max-age': String(input.maxAgeSeconds ?? MAX_AGE_SECONDS),
      vary: PREFLIGHT_VARY,
    })])),
    allowedHeaders: new Set(allowed.map((name) => name.toLowerCase())),
  })
}

function checkOrigin (origin: string, path: string, problems: Problem[]): void {
  if (isOrigin(origin)) return
  const mend = origin === 'null' ? 'Remove it: sandboxed frames and local files all share this origin.'
    : origin.includes('*') ? 'List each origin: patterns are not supported.'
      : 'Write scheme, host and port as browsers send it: https://app.example.com, without a path or a trailing slash.'
  problems.push({ path, message: 'Not an exact origin.', mend })
}
