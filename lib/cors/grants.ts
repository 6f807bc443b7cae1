import type { FastifyRequest } from 'fastify'
import { isBoundedOrigin, type OriginList } from '../net/origin-pattern.js'
import type { PreparedHeaders } from '../response/headers.js'
import type { OriginFunction } from './resolve.js'

/** What an allowed origin gets. */
export interface CorsGrant {
  readonly actual: PreparedHeaders
  /** Without the method, which is the preflight's own. */
  readonly preflight: PreparedHeaders
  /** For a preflight that asks for a private network; null where none is allowed. */
  readonly privatePreflight: PreparedHeaders | null
}

/** Finds the grant of an origin, or null: then the origin gets no CORS header at all. */
export interface Grants {
  /** True when no origin can be allowed. */
  readonly empty: boolean
  /** True when the answer depends on the origin, which caches must know. */
  readonly varies: boolean
  find (origin: string, request: FastifyRequest): CorsGrant | null
}

/** Enough for the tenants that are awake; an attacker's sub-domains can only push others out, never grow it. */
const MAX_REMEMBERED = 256

type Source = '*' | OriginFunction | { readonly exact: readonly string[], readonly matched: OriginList | null }

export function createGrants (source: Source, grantFor: (origin: string) => CorsGrant): Grants {
  if (source === '*') {
    const grant = grantFor('*')
    return { empty: false, varies: false, find: () => grant }
  }
  if (typeof source === 'function') {
    // Whom it allows is not remembered, because the function may look at the request; what they get is.
    const remembered = new Map<string, CorsGrant>()
    return {
      empty: false,
      varies: true,
      find: (origin, request) =>
        isAllowed(source, origin, request)
          ? remembered.get(origin) ?? remember(remembered, origin, grantFor(origin))
          : null,
    }
  }
  const exact = new Map(source.exact.map((origin) => [origin, grantFor(origin)]))
  const { matched } = source
  if (matched === null)
    {return {
      empty: exact.size === 0,
      varies: exact.size > 0,
      find: (origin) => exact.get(origin) ?? null,
    }}
  const remembered = new Map<string, CorsGrant>()
  return {
    empty: false,
    varies: true,
    find: (origin) =>
      exact.get(origin) ?? remembered.get(origin) ??
        (matched.has(origin) ? remember(remembered, origin, grantFor(origin)) : null),
  }
}

function remember (grants: Map<string, CorsGrant>, origin: string, grant: CorsGrant): CorsGrant {
  if (grants.size >= MAX_REMEMBERED) {
    const oldest = grants.keys().next()
    if (oldest.done !== true) grants.delete(oldest.value)
  }
  grants.set(origin, grant)
  return grant
}

/** Fails closed: an app's function that throws, or answers anything but a boolean, has not allowed the origin. */
function isAllowed (
  ask: (origin: string, request: FastifyRequest) => unknown,
  origin: string,
  request: FastifyRequest,
): boolean {
  if (!isBoundedOrigin(origin)) return false
  try {
    const answer = ask(origin, request)
    if (typeof answer === 'boolean') return answer
    if (answer instanceof Promise) answer.catch(() => {})
    request.log.error(
      { returned: typeof answer },
      'cors: the function in `origins` did not return true or false, so the origin was refused',
    )
  } catch (error) {
    request.log.error({ err: error }, 'cors: the function in `origins` threw, so the origin was refused')
  }
  return false
}
