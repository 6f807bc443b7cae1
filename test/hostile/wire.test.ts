import root, { test } from 'tap'
import { ERROR_CATALOGUE } from '../../lib/response/errors.js'
import { API_HEADERS } from '../helpers/headers.js'
import { exchange, parseResponse } from '../helpers/raw-http.js'
import { CANARY, findSecret, startHostile } from './app.js'

const SLOW = { timeout: 600_000 }
root.setTimeout(SLOW.timeout)

const HOST = 'Host: localhost\r\n'
const END = 'Connection: close\r\n\r\n'
const get = (target: string, fields = HOST): string => `GET ${target} HTTP/1.1\r\n${fields}${END}`
const post = (fields: string, body: string): string =>
  `POST /auth/login HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n${fields}${END}${body}`
const BODY = `{"email":"a@example.com","password":"${CANARY}"}`

/** What no HTTP client would send. */
const WIRE: readonly string[] = [
  get('/me', ''),
  get('/me', `${HOST}${HOST}`),
  get('/me', 'Host: \r\n'),
  get('/me', 'Host: a b\r\n'),
  get('/me', 'Host: a/b\r\n'),
  get('/me', 'Host: user@localhost\r\n'),
  get('/me', 'Host: localhost:99999999\r\n'),
  get('me'),
  get(''),
  get(' /me'),
  get('*'),
  get('http://evil.example/me'),
  get('http://localhost@evil.example/me'),
  get('//evil.example/me'),
  get('/%zz'),
  get('/%'),
  get('/\x00'),
  get('/\x7f'),
  get('/\xff\xfe'),
  get('/me\t'),
  get('/a b'),
  get(`/${'a'.repeat(20_000)}`),
  get(`/${'a/'.repeat(3000)}`),
  get('/me', `${HOST}Cookie: access=${CANARY}\x00\r\n`),
  get('/me', `${HOST}Cookie: access=${CANARY}\xff\xfe\r\n`),
  get('/me', `${HOST}Cookie : access=${CANARY}\r\n`),
  get('/me', `${HOST}Cookie: access=a\r\nCookie: access=${CANARY}\r\n`),
  get('/me', `${HOST}Authorization: Bearer ${CANARY}\r\nAuthorization: Bearer ${CANARY}2\r\n`),
  get('/me', `${HOST}X-Long: ${'x'.repeat(40_000)}\r\n`),
  get('/me', HOST + Array.from({ length: 3000 }, (_, index) => `x-${index}: 1\r\n`).join('')),
  get('/me', `${HOST}: empty\r\n`),
  get('/me', `${HOST}no colon\r\n`),
  get('/me', `${HOST}folded: a\r\n b\r\n`),
  get('/me', `${HOST}a\x00b: c\r\n`),
  get('/me', `${HOST}x: a\rb\r\n`),
  get('/me', `${HOST}x: a\nInjected: b\r\n`),
  `GET /me HTTP/1.1\n${HOST}\n\n`,
  `GET /me HTTP/0.9\r\n${HOST}${END}`,
  `GET /me HTTP/1.0\r\n${END}`,
  `GET /me HTTP/2.0\r\n${HOST}${END}`,
  `GET /me HTTP/9.9\r\n${HOST}${END}`,
  `GET /me HTTX/1.1\r\n${HOST}${END}`,
  `GET /me\r\n${HOST}${END}`,
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  '\r\n\r\n\r\n',
  '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'hello\r\n\r\n',
  '\x00\x00\x00\x00',
  `CONNECT localhost:80 HTTP/1.1\r\n${HOST}${END}`,
  `OPTIONS * HTTP/1.1\r\n${HOST}${END}`,
  `TRACE /me HTTP/1.1\r\n${HOST}Cookie: access=${CANARY}\r\n${END}`,
  `get /me HTTP/1.1\r\n${HOST}${END}`,
  `FOO /me HTTP/1.1\r\n${HOST}${END}`,
  `GET/me HTTP/1.1\r\n${HOST}${END}`,
  post(`Content-Length: ${BODY.length}\r\n`, BODY),
  post('Content-Length: 5\r\n', BODY),
  post('Content-Length: -1\r\n', BODY),
  post('Content-Length: +5\r\n', BODY),
  post('Content-Length: 5, 5\r\n', BODY),
  post('Content-Length: 5\r\nContent-Length: 6\r\n', BODY),
  post('Content-Length: 0x10\r\n', BODY),
  post('Content-Length: 99999999999999999999\r\n', BODY),
  post('Content-Length: 999999999\r\n', ''),
  post('', BODY),
  post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`),
  post('Transfer-Encoding: chunked\r\n', `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`),
  post('Transfer-Encoding: chunked\r\n', 'zz\r\nabc\r\n0\r\n\r\n'),
  post('Transfer-Encoding: chunked\r\n', `ffffffffffffffff\r\n${BODY}`),
  post('Transfer-Encoding: chunked\r\n', `5;${'a'.repeat(30_000)}\r\nabcde\r\n0\r\n\r\n`),
  post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n'),
  post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'),
  post('Transfer-Encoding: identity\r\n', BODY),
  post('Transfer-Encoding: xchunked\r\n', BODY),
  post('Transfer-Encoding: \x0bchunked\r\n', BODY),
  post('Content-Encoding: gzip\r\nContent-Length: 5\r\n', 'abcde'),
  post('Expect: 100-continue\r\nContent-Length: 5\r\n', 'abcde'),
  post('Expect: nonsense\r\nContent-Length: 5\r\n', 'abcde'),
  post(`Content-Length: 4\r\n`, '\xff\xfe\xfd\xfc'),
  `GET /healthz HTTP/1.1\r\n${HOST}\r\nGET /%zz HTTP/1.1\r\n${HOST}${END}`,
  `GET /me HTTP/1.1\r\n${HOST}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n`,
  `GET /me HTTP/1.1\r\n${HOST}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
]

test(
  'bytes that are no request get a problem document or nothing, and bring no secret into the log',
  SLOW,
  async (t) => {
    const { app, said, secrets } = await startHostile(t)
    await app.listen({ port: 0, host: '127.0.0.1' })
    // The page has a policy of its own in these two, and `*` is refused on its route, without a nonce: it is no page.
    const policiesOf = (headers: Readonly<Record<string, unknown>>): string[] =>
      ['content-security-policy', 'referrer-policy'].map((name) =>
        String(headers[name]).replace(/'nonce-[^']+'(?: 'strict-dynamic')?/g, "'none'")
      )
    const [api = [], page = []] = await Promise.all(
      ['/nope', '/'].map(async (url) =>
        policiesOf((await app.inject({ url, headers: { host: 'localhost' } })).headers)
      ),
    )
    t.match(api, [/^default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'/, /^no-referrer$/])
    t.not(page[0], api[0])
    const { port } = app.server.address() as { port: number }
    const texts: string[] = []
    for (let at = 0; at < WIRE.length; at += 20) {texts.push(
        ...await Promise.all(WIRE.slice(at, at + 20).map((bytes) => exchange(port, bytes, 1500))),
      )}
    for (const [index, text] of texts.entries()) {
      const name = JSON.stringify((WIRE[index] ?? '').slice(0, 90))
      t.equal(findSecret(text, secrets), null, `${name} is not repeated`)
      if (text === '' || text.startsWith('HTTP/1.1 100')) continue
      const res = parseResponse(text)
      t.ok(
        res.status >= 200 && res.status < 500 && Number.isInteger(res.status),
        `${name} is answered with ${res.status}`,
      )
      if (res.status < 400) continue
      t.equal(res.headers['content-type'], 'application/problem+json; charset=utf-8', name)
      t.same(
        policiesOf(res.headers),
        (WIRE[index] ?? '').startsWith('GET * ') ? page : api,
        `${name} has the policies of its route`,
      )
      for (const [header, value] of Object.entries(API_HEADERS)) {
        if (!['content-security-policy', 'referrer-policy'].includes(header)) {t.match(
            res.headers[header],
            value,
            `${name} ${header}`,
          )}
      }
      const [, code = ''] = /"code":"([A-Z_]+)"/.exec(res.body) ?? []
      // TRACE and HEAD apart, every refusal says its code.
      t.ok(Object.hasOwn(ERROR_CATALOGUE, code), `${name} has the code ${code}`)
    }
    t.equal(findSecret(said.join('\n'), secrets), null, 'nor in the log')
    t.equal((await app.inject({ url: '/healthz', headers: { host: 'localhost' } })).statusCode, 200, 'the server lives')
  },
)
