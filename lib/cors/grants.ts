import type { FastifyRequest } from 'fastify'
import { Generations } from '../common/generations.js'
import { isOrigin, type OriginList } from '../net/origin.js'
import type { PreparedHeaders } from '../response/headers.js'
import type { OriginFunction } from './options.js'

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
  readonly isEmpty: boolean
  /** True when the answer depends on the origin, which caches must know. */
  readonly varies: boolean
  find (origin: string, request: FastifyRequest): CorsGrant | null
}

/** Header blocks kept for origins of a wildcard or a function. Foreign sub-domains can push others out, not grow it. */
const MAX_REMEMBERED = 512

export type OriginSource = '*' | OriginFunction | OriginList

export function createGrants (source: OriginSource, grantFor: (origin: string) => CorsGrant): Grants {
  if (source === '*') {
    const grant = grantFor('*')
    return { isEmpty: false, varies: false, find: () => grant }
  }
  const [list, allows] = typeof source === 'function' ? [null, source] as const : [source, null] as const
  const exact = new Map(list?.exact.map((origin) => [origin, grantFor(origin)]))
  const remembered = new Generations<string, CorsGrant>(MAX_REMEMBERED)
  const isEmpty = list?.isEmpty === true

  function find (origin: string, request: FastifyRequest): CorsGrant | null {
    const known = exact.get(origin)
    if (known !== undefined) return known
    // The header block of an origin is remembered; a function's decision is not, because it may look at the request.
    const isAllowed = allows === null ? list.has(origin) : ask(allows, origin, request)
    if (!isAllowed) return null
    const grant = remembered.get(origin) ?? grantFor(origin)
    remembered.set(origin, grant)
    return grant
  }

  return { isEmpty, varies: !isEmpty, find }
}

/** Fails closed: a function that throws, or answers anything but a boolean, has not allowed the origin. */
function ask (
  allows: (origin: string, request: FastifyRequest) => unknown,
  origin: string,
  request: FastifyRequest,
): boolean {
  if (!isOrigin(origin)) return false
  try {
    const answer = allows(origin, request)
    if (typeof answer === 'boolean') return answer
    // An unhandled rejection would end the process.
    if (answer instanceof Promise) answer.catch(() => {})
    request.log.error(
      { returned: typeof answer },
      'cors: the `origin` function did not return true or false, so the origin was refused',
    )
  } catch (error) {
    request.log.error({ err: error }, 'cors: the `origin` function threw, so the origin was refused')
  }
  return false
}
