import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { test, type Test } from 'tap'
import { assertCookiesFit, cookieValues, expireSessionCookies, loopbackCookies, secureCookies,
  setSessionCookies } from '../../../lib/auth/cookies.js'
import { setCookies } from './support.js'

const TOKENS = { access: 'a.b.c', refresh: 'd.e.f', maxAge: 900 }

/** The Set-Cookie lines of an answer. */
async function linesOf (
  t: Test,
  work: (reply: FastifyReply) => void,
  options: Parameters<typeof fastifyCookie>[1] = {},
): Promise<string[]> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyCookie, options)
  app.get('/', async (_request, reply) => {
    work(reply)
    return 'ok'
  })
  return setCookies(await app.inject('/'))
}

test('cookies carry exactly their attributes, and expire with the same', async (t) => {
  const scoped = secureCookies({ profile: 'scoped', path: '/auth', sameSite: 'strict' })
  const host = secureCookies({ profile: 'host', path: '/auth', sameSite: 'lax' })
  const loopback = loopbackCookies({ profile: 'scoped', path: '/auth', sameSite: 'strict' })
  const past = 'Expires=Thu, 01 Jan 1970 00:00:00 GMT'
  t.same(await linesOf(t, (reply) => { setSessionCookies(reply, scoped, TOKENS) }), [
    '__Host-access=a.b.c; Max-Age=900; Path=/; HttpOnly; Secure; SameSite=Strict',
    '__Secure-refresh=d.e.f; Max-Age=900; Path=/auth; HttpOnly; Secure; SameSite=Strict',
  ])
  t.same(await linesOf(t, (reply) => { expireSessionCookies(reply, scoped) }), [
    `__Host-access=; Max-Age=0; Path=/; ${past}; HttpOnly; Secure; SameSite=Strict`,
    `__Secure-refresh=; Max-Age=0; Path=/auth; ${past}; HttpOnly; Secure; SameSite=Strict`,
  ])
  t.same(await linesOf(t, (reply) => { setSessionCookies(reply, host, TOKENS) }), [
    '__Host-access=a.b.c; Max-Age=900; Path=/; HttpOnly; Secure; SameSite=Lax',
    '__Host-refresh=d.e.f; Max-Age=900; Path=/; HttpOnly; Secure; SameSite=Strict',
  ], 'lax is for the access cookie only')
  t.same(await linesOf(t, (reply) => { setSessionCookies(reply, loopback, TOKENS) }), [
    'access=a.b.c; Max-Age=900; Path=/; HttpOnly; SameSite=Strict',
    'refresh=d.e.f; Max-Age=900; Path=/auth; HttpOnly; SameSite=Strict',
  ])
  t.equal(loopbackCookies({ profile: 'host', path: '/auth', sameSite: 'strict' }).refresh.path, '/')
})

test("defaults of the app's own cookies do not reach those of a session", async (t) => {
  const scoped = secureCookies({ profile: 'scoped', path: '/auth', sameSite: 'strict' })
  const parseOptions = { domain: 'example.com', path: '/x', sameSite: 'none', signed: true, partitioned: true } as const
  const lines = await linesOf(t, (reply) => { setSessionCookies(reply, scoped, TOKENS) }, {
    secret: 'a secret of the app',
    parseOptions,
  })
  t.equal(lines[0], '__Host-access=a.b.c; Max-Age=900; Path=/; HttpOnly; Secure; SameSite=Strict')
})

test('what comes later in a reply replaces what came before, and leaves the cookies of the app', async (t) => {
  const scoped = secureCookies({ profile: 'scoped', path: '/auth', sameSite: 'strict' })
  const lines = await linesOf(t, (reply) => {
    reply.setCookie('theme', 'dark')
    setSessionCookies(reply, scoped, TOKENS)
    expireSessionCookies(reply, scoped)
    setSessionCookies(reply, scoped, { ...TOKENS, access: 'last' })
    reply.header('set-cookie', 'own=1')
  })
  t.same(lines.map((line) => line.split(';')[0]).sort(), [
    '__Host-access=last',
    '__Secure-refresh=d.e.f',
    'own=1',
    'theme=dark',
  ])
})

test('a cookie that browsers would drop is an error that names it', async (t) => {
  const app: FastifyInstance = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyCookie)
  const scoped = secureCookies({ profile: 'scoped', path: '/auth', sameSite: 'strict' })
  t.doesNotThrow(() => { assertCookiesFit(app, scoped, 'a'.repeat(3900), 'b'.repeat(3900)) })
  t.throws(() => { assertCookiesFit(app, scoped, 'a', 'b'.repeat(4090)) }, /__Secure-refresh would take 4\d\d\d bytes/)
})

test('a Cookie header is scanned for exactly one name', async (t) => {
  const table: [string | undefined, string[]][] = [
    [undefined, []],
    ['', []],
    [';', []],
    ['=', []],
    ['=;=;', []],
    ['__Host-access', []],
    ['__Host-access=', ['']],
    ['__Host-access=a', ['a']],
    ['x=1; __Host-access=a; y=2', ['a']],
    ['x=1;__Host-access=a;y=2', ['a']],
    ['  __Host-access \t= a \t; y=2', ['a']],
    ['__Host-access=\u00a0a\ufeff', ['\u00a0a\ufeff']],
    ['__Host-access=a=b', ['a=b']],
    ['__Host-access="a"', ['"a"']],
    ['__Host-access=a; __Host-access=b', ['a', 'b']],
    ['__Host-access=a; x=1; __Host-access=a', ['a', 'a']],
    ['__Host-access=a; __Host-access =b', ['a', 'b']],
    ['__host-access=a; __HOST-ACCESS=b', []],
    ['x__Host-access=a', []],
    ['__Host-accessx=a', []],
    ['x=__Host-access=a', []],
    ['x; __Host-access=a', ['a']],
    ['%5F_Host-access=a', []],
    ['=__Host-access=a', []],
  ]
  for (const [header, values] of table) t.same(cookieValues(header, '__Host-access'), values, String(header))
})
