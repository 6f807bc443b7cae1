import type { FastifyRequest } from 'fastify'
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
  if (!sources.includes('cookie')) return readBearer

  return function readCredential (request, kind) {
    const { headers } = request.raw
    const cookies = cookiesOf(request)
    const values = cookieValues(headers.cookie, cookies[kind].name)
    if (values.length > 1) return 'ambiguous'
    const [token] = values
    const mayBear = headers.authorization !== undefined && mentionsBearer(request)
    if (token !== undefined) return mayBear ? 'ambiguous' : { token, source: 'cookie' }
    if (!mayBear || !takesBearer) return 'missing'
    // Whichever of the two is sent beside a Bearer token, somebody believes that it counts.
    const other = cookies[kind === 'access' ? 'refresh' : 'access']
    return cookieValues(headers.cookie, other.name).length > 0 ? 'ambiguous' : readBearer(request)
  }
}

/** RFC 6750, section 2.1: the scheme in any case (RFC 9110, section 11.1), one space, a token68. */
const BEARER = /^bearer ([A-Za-z0-9\-._~+/]+=*)$/i

/** The scheme at the start, or after the comma that a proxy joins two headers with. */
const NAMES_BEARER = /(?:^|,)[ \t]*bearer(?![\w!#$%&'*+.^`|~-])/i

function readBearer (request: FastifyRequest): Credential | 'missing' | 'ambiguous' {
  const { authorization } = request.raw.headers
  if (authorization === undefined) return 'missing'
  const lines = authorizationLines(request)
  const token = lines.length === 1 ? BEARER.exec(authorization)?.[1] : undefined
  if (token !== undefined) return { token, source: 'bearer' }
  return lines.some((line) => NAMES_BEARER.test(line)) ? 'ambiguous' : 'missing'
}

/** Node keeps the first Authorization header and drops the others, so a second one is only seen among the raw ones. */
function mentionsBearer (request: FastifyRequest): boolean {
  return authorizationLines(request).some((line) => NAMES_BEARER.test(line))
}

function authorizationLines ({ raw: { headers, rawHeaders } }: FastifyRequest): readonly string[] {
  const lines: string[] = []
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]
    if (name?.length === 13 && name.toLowerCase() === 'authorization') lines.push(rawHeaders[index + 1] ?? '')
  }
  // A header that a server factory added has no raw line.
  return lines.length === 0 && headers.authorization !== undefined ? [headers.authorization] : lines
}
