import type { IncomingMessage } from 'node:http'

/** `ambiguous`: a Bearer token that RFC 6750 does not allow, or one beside another `Authorization` header. */
export type BearerReading = { readonly token: string } | 'missing' | 'ambiguous'

/** RFC 6750, section 2.1: the scheme in any case (RFC 9110, section 11.1), one space, a token68. */
const BEARER = /^bearer ([A-Za-z0-9\-._~+/]+=*)$/i

/** The scheme at the start, or after the comma that a proxy joins two headers with. */
const NAMES_BEARER = /(?:^|,)[ \t]*bearer(?![\w!#$%&'*+.^`|~-])/i

/** The one Bearer token of a request. Another scheme is not ours and counts as none. */
export function readBearer (request: IncomingMessage): BearerReading {
  const { authorization } = request.headers
  if (authorization === undefined) return 'missing'
  const lines = authorizationLines(request)
  const token = lines.length === 1 ? BEARER.exec(authorization)?.[1] : undefined
  if (token !== undefined) return { token }
  return lines.some((line) => NAMES_BEARER.test(line)) ? 'ambiguous' : 'missing'
}

/** Whether any `Authorization` header of a request speaks of a Bearer token. */
export function mentionsBearer (request: IncomingMessage): boolean {
  return request.headers.authorization !== undefined &&
    authorizationLines(request).some((line) => NAMES_BEARER.test(line))
}

/** What looks like a Bearer token, also where it is written wrongly: for ending a session, never for believing one. */
export function looseBearer ({ headers: { authorization } }: IncomingMessage): string | null {
  return authorization === undefined ? null : /^bearer +([^\s,]+)$/i.exec(authorization)?.[1] ?? null
}

/** Node keeps the first Authorization header and drops the others, so a second one is only seen among the raw ones. */
function authorizationLines ({ headers, rawHeaders }: IncomingMessage): readonly string[] {
  const lines: string[] = []
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]
    if (name?.length === 13 && name.toLowerCase() === 'authorization') lines.push(rawHeaders[index + 1] ?? '')
  }
  // A header that a server factory added has no raw line.
  return lines.length === 0 && headers.authorization !== undefined ? [headers.authorization] : lines
}
