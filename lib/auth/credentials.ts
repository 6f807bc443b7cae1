import type { FastifyRequest } from 'fastify'
import { cookieValues, type CookiePair } from './cookies.js'

/** Where a token may come in: our cookies, or the Authorization header (RFC 6750, section 2.1). */
export type CredentialSource = 'cookie' | 'bearer'

export interface Credential { readonly token: string, readonly source: CredentialSource }

/**
 * The one token of a kind that a request carries. `missing`: none. `ambiguous`: more than one (a cookie twice, a cookie and
 * a Bearer token), or a Bearer token where none may come: which one counts must never depend on who reads first.
 */
export type ReadCredential = (request: FastifyRequest, kind: 'access' | 'refresh') => Credential | 'missing' | 'ambiguous'

export interface CredentialSettings {
  readonly sources: readonly CredentialSource[]
  readonly cookiesOf: (request: FastifyRequest) => CookiePair
}

export function createCredentialReader ({ cookiesOf }: CredentialSettings): ReadCredential {
  return (request, kind) => {
    const { headers } = request.raw
    const values = cookieValues(headers.cookie, cookiesOf(request)[kind].name)
    const [token] = values
    if (token === undefined) return 'missing'
    return values.length > 1 || isBearer(headers.authorization) ? 'ambiguous' : { token, source: 'cookie' }
  }
}

function isBearer (authorization: string | undefined): boolean {
  return authorization !== undefined && /^bearer(\s|$)/i.test(authorization)
}
