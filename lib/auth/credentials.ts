import type { FastifyRequest } from 'fastify'
import { mentionsBearer, readBearer } from '../net/bearer.js'
import { cookieValues, type CookiePair } from './cookies.js'

/** Where a token may come in: our cookies, or the Authorization header (RFC 6750, section 2.1). */
export type CredentialSource = 'cookie' | 'bearer'

export interface Credential { readonly token: string, readonly source: CredentialSource }

/**
 * The one token of a kind that a request carries. `missing`: none. `ambiguous`: more than one (a cookie twice, a cookie
 * and a Bearer token), or a Bearer token that RFC 6750 does not allow: which one counts must never depend on who reads
 * first.
 */
export type ReadCredential = (
  request: FastifyRequest,
  kind: 'access' | 'refresh',
) => Credential | 'missing' | 'ambiguous'

export interface CredentialSettings {
  readonly sources: readonly CredentialSource[]
  readonly cookiesOf: (request: FastifyRequest) => CookiePair
}

export function createCredentialReader ({ sources, cookiesOf }: CredentialSettings): ReadCredential {
  const takesBearer = sources.includes('bearer')
  if (!sources.includes('cookie')) return readBearerToken

  return function readCredential (request, kind) {
    const { raw } = request
    const { cookie } = raw.headers
    const cookies = cookiesOf(request)
    const values = cookieValues(cookie, cookies[kind].name)
    if (values.length > 1) return 'ambiguous'
    const [token] = values
    const mayBear = mentionsBearer(raw)
    if (token !== undefined) return mayBear ? 'ambiguous' : { token, source: 'cookie' }
    if (!mayBear || !takesBearer) return 'missing'
    // A client that sends one of the two beside a Bearer token believes that it counts.
    const other = cookies[kind === 'access' ? 'refresh' : 'access']
    return cookieValues(cookie, other.name).length > 0 ? 'ambiguous' : readBearerToken(request)
  }
}

function readBearerToken ({ raw }: FastifyRequest): Credential | 'missing' | 'ambiguous' {
  const read = readBearer(raw)
  return typeof read === 'string' ? read : { token: read.token, source: 'bearer' }
}
