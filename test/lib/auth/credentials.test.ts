import Fastify, { type FastifyRequest } from 'fastify'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { challengeOf, createRefusals } from '../../../lib/auth/challenge.js'
import { createCredentialReader, type Credential, type CredentialSource } from '../../../lib/auth/credentials.js'
import { secureCookies } from '../../../lib/auth/cookies.js'

const PAIR = secureCookies({ profile: 'host', path: '/auth', sameSite: 'strict' })
type Read = Credential | 'missing' | 'ambiguous'

/** What the reader makes of raw header lines, through Node's own parser. */
async function reader (
  t: Test,
  sources: readonly CredentialSource[],
  onCookies: () => void = () => {},
): Promise<(kind: 'access' | 'refresh', lines: readonly string[]) => Promise<Read>> {
  const read = createCredentialReader({
    sources,
    cookiesOf: () => {
      onCookies()
      return PAIR
    },
  })
  const app = Fastify()
  t.teardown(() => app.close())
  app.get(
    '/:kind',
    async (request: FastifyRequest<{ Params: { kind: 'access' | 'refresh' } }>) => ({
      read: read(request, request.params.kind),
    }),
  )
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return async (kind, lines) => {
    const socket = connect(port, '127.0.0.1')
    socket.write([`GET /${kind} HTTP/1.1`, 'Host: x', 'Connection: close', ...lines, '', ''].join('\r\n'))
    const answer = (await socket.toArray() as Buffer[]).join('')
    return (JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as { read: Read }).read
  }
}

const cookie = (token: string): Credential => ({ token, source: 'cookie' })
const bearer = (token: string): Credential => ({ token, source: 'bearer' })

test('the reader takes exactly one credential from where it may come', async (t) => {
  const read = {
    cookie: await reader(t, ['cookie']),
    both: await reader(t, ['bearer', 'cookie']),
    bearer: await reader(t, ['bearer']),
  }
  const A = 'Cookie: __Host-access=aaa'
  const R = 'Cookie: __Host-refresh=rrr'
  const B = 'Authorization: Bearer bbb'
  type Row = [what: string, kind: 'access' | 'refresh', lines: string[], cookieOnly: Read, both: Read, bearerOnly: Read]
  const rows: Row[] = [
    ['nothing', 'access', [], 'missing', 'missing', 'missing'],
    ['nothing', 'refresh', [], 'missing', 'missing', 'missing'],
    ['the access cookie', 'access', [A], cookie('aaa'), cookie('aaa'), 'missing'],
    ['the access cookie at the refresh route', 'refresh', [A], 'missing', 'missing', 'missing'],
    ['the refresh cookie', 'refresh', [R], cookie('rrr'), cookie('rrr'), 'missing'],
    ['both cookies', 'access', [A, R], cookie('aaa'), cookie('aaa'), 'missing'],
    ['both cookies', 'refresh', [A, R], cookie('rrr'), cookie('rrr'), 'missing'],
    ['an empty cookie', 'access', ['Cookie: __Host-access='], cookie(''), cookie(''), 'missing'],
    ['the cookie twice', 'access', ['Cookie: __Host-access=a; __Host-access=a'], 'ambiguous', 'ambiguous', 'missing'],
    ['the cookie in two headers', 'refresh', [R, R], 'ambiguous', 'ambiguous', 'missing'],
    ['a Bearer token', 'access', [B], 'missing', bearer('bbb'), bearer('bbb')],
    ['a Bearer token', 'refresh', [B], 'missing', bearer('bbb'), bearer('bbb')],
    ['the scheme in capitals', 'access', ['authorization: BEARER bbb'], 'missing', bearer('bbb'), bearer('bbb')],
    [
      'all of token68',
      'access',
      ['Authorization: Bearer aZ09-._~+/=='],
      'missing',
      bearer('aZ09-._~+/=='),
      bearer('aZ09-._~+/=='),
    ],
    ['cookie and Bearer', 'access', [A, B], 'ambiguous', 'ambiguous', bearer('bbb')],
    ['cookie and Bearer', 'refresh', [R, B], 'ambiguous', 'ambiguous', bearer('bbb')],
    ['an access cookie beside a Bearer refresh token', 'refresh', [A, B], 'missing', 'ambiguous', bearer('bbb')],
    ['a refresh cookie beside a Bearer access token', 'access', [R, B], 'missing', 'ambiguous', bearer('bbb')],
    ['Bearer twice', 'access', [B, B], 'missing', 'ambiguous', 'ambiguous'],
    [
      'Bearer behind Basic, which Node shows alone',
      'access',
      ['Authorization: Basic YTpi', B],
      'missing',
      'ambiguous',
      'ambiguous',
    ],
    [
      'Bearer behind Basic and a cookie',
      'access',
      [A, 'Authorization: Basic YTpi', B],
      'ambiguous',
      'ambiguous',
      'ambiguous',
    ],
    ['Bearer before Basic', 'access', [B, 'Authorization: Basic YTpi'], 'missing', 'ambiguous', 'ambiguous'],
    ['a list', 'access', ['Authorization: Bearer a, Bearer b'], 'missing', 'ambiguous', 'ambiguous'],
    [
      'a list that begins with another',
      'access',
      ['Authorization: Basic YTpi,bearer b'],
      'missing',
      'ambiguous',
      'ambiguous',
    ],
    ['two spaces', 'access', ['Authorization: Bearer  b'], 'missing', 'ambiguous', 'ambiguous'],
    ['a tab', 'access', ['Authorization: Bearer\tb'], 'missing', 'ambiguous', 'ambiguous'],
    ['no token', 'access', ['Authorization: Bearer'], 'missing', 'ambiguous', 'ambiguous'],
    ['a space and no token', 'access', ['Authorization: Bearer '], 'missing', 'ambiguous', 'ambiguous'],
    ['two tokens', 'access', ['Authorization: Bearer a b'], 'missing', 'ambiguous', 'ambiguous'],
    ['padding in the middle', 'access', ['Authorization: Bearer a=b'], 'missing', 'ambiguous', 'ambiguous'],
    ['padding only', 'access', ['Authorization: Bearer =='], 'missing', 'ambiguous', 'ambiguous'],
    ['quotes', 'access', ['Authorization: Bearer "a"'], 'missing', 'ambiguous', 'ambiguous'],
    ['a letter of another alphabet', 'access', ['Authorization: Bearer \u00e9'], 'missing', 'ambiguous', 'ambiguous'],
    ['the scheme with an equals sign', 'access', ['Authorization: Bearer=a'], 'missing', 'ambiguous', 'ambiguous'],
    ['Basic', 'access', ['Authorization: Basic YTpi'], 'missing', 'missing', 'missing'],
    ['Basic beside the cookie', 'access', [A, 'Authorization: Basic YTpi'], cookie('aaa'), cookie('aaa'), 'missing'],
    ['a longer scheme', 'access', ['Authorization: BearerX a'], 'missing', 'missing', 'missing'],
    [
      'a user called bearer',
      'access',
      ['Authorization: Digest username="a bearer b"'],
      'missing',
      'missing',
      'missing',
    ],
    ['an empty header', 'access', ['Authorization:'], 'missing', 'missing', 'missing'],
    ['another header', 'access', ['Proxy-Authorization: Bearer b'], 'missing', 'missing', 'missing'],
  ]
  for (const [what, kind, lines, cookieOnly, both, bearerOnly] of rows) {
    t.same(await read.cookie(kind, lines), cookieOnly, `${what} (${kind}), cookie`)
    t.same(await read.both(kind, lines), both, `${what} (${kind}), both`)
    t.same(await read.bearer(kind, lines), bearerOnly, `${what} (${kind}), bearer`)
  }
})

test('cookies are not looked at where they are not declared', async (t) => {
  let asked = 0
  const read = await reader(t, ['bearer'], () => { asked++ })
  t.same(await read('access', ['Cookie: __Host-access=a', 'Authorization: Bearer b']), bearer('b'))
  t.equal(asked, 0)
})

test('a challenge names each declared source, and an error where a token was refused', async (t) => {
  const table: [CredentialSource[], Parameters<typeof challengeOf>[2], string][] = [
    [['cookie'], 'TOKEN_MISSING', 'Cookie realm="r"'],
    [['cookie'], 'TOKEN_INVALID', 'Cookie realm="r"'],
    [['bearer'], 'TOKEN_MISSING', 'Bearer realm="r"'],
    [['bearer'], 'CREDENTIALS_INVALID', 'Bearer realm="r"'],
    [['bearer'], 'TOKEN_INVALID', 'Bearer realm="r", error="invalid_token"'],
    [['bearer'], 'TOKEN_EXPIRED', 'Bearer realm="r", error="invalid_token"'],
    [['bearer'], 'SESSION_REVOKED', 'Bearer realm="r", error="invalid_token"'],
    [['bearer'], 'REFRESH_REUSED', 'Bearer realm="r", error="invalid_token"'],
    [['bearer'], 'FRESH_AUTH_REQUIRED', 'Bearer realm="r", error="insufficient_user_authentication"'],
    [['bearer', 'cookie'], 'TOKEN_MISSING', 'Cookie realm="r", Bearer realm="r"'],
    [['bearer', 'cookie'], 'TOKEN_EXPIRED', 'Cookie realm="r", Bearer realm="r", error="invalid_token"'],
  ]
  for (const [sources, code, header] of table) {
    t.equal(challengeOf(sources, 'r', code), header, `${sources.join()} ${code}`)
  }
  t.equal(
    challengeOf(['bearer'], 'r', 'INSUFFICIENT_SCOPE', { scope: 'a b' }),
    'Bearer realm="r", error="insufficient_scope", scope="a b"',
  )
})

test('a refusal is an error of its own with a status, headers and no stack, and leaves the stack of others alone', async (t) => {
  const limit = Error.stackTraceLimit
  const refusals = createRefusals(['cookie', 'bearer'], 'r')
  const [one, two] = [refusals.unauthorized('TOKEN_INVALID'), refusals.unauthorized('TOKEN_INVALID')]
  t.not(one, two)
  t.match(one, {
    statusCode: 401,
    code: 'TOKEN_INVALID',
    headers: { 'www-authenticate': 'Cookie realm="r", Bearer realm="r", error="invalid_token"' },
  })
  t.equal(one.stack, 'SecurityError: Invalid token.')
  Object.assign(one, { statusCode: 200 })
  t.equal(two.statusCode, 401)
  t.throws(
    () => {
      Object.assign(one.headers, { 'www-authenticate': 'x' })
    },
    TypeError,
    'the shared headers are frozen',
  )
  t.equal(Error.stackTraceLimit, limit)
  t.match(new Error('x').stack, /credentials\.test/)
  t.same(refusals.forbidden('INSUFFICIENT_ROLE')().headers, {})
  t.match(refusals.forbidden('INSUFFICIENT_SCOPE', { scope: 'a' })(), {
    statusCode: 403,
    headers: { 'www-authenticate': 'Bearer realm="r", error="insufficient_scope", scope="a"' },
  })
  t.same(
    createRefusals(['cookie'], 'r').forbidden('INSUFFICIENT_SCOPE', { scope: 'a' })().headers,
    {},
    'RFC 6750 speaks of Bearer tokens only',
  )
})
