import { randomBytes } from 'node:crypto'
import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { auth } from '../../plugins/auth.js'
import { cookies } from '../../plugins/cookies.js'
import { turnOff } from '../../lib/policy/install.js'
import { problemsWith } from '../helpers/resolve.js'
import { secret, setCookies } from '../lib/auth/support.js'

function server (t: Test): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

const sessions = (): Parameters<typeof auth>[1] => ({
  roles: ['user'],
  redis: false,
  accessSecret: secret(),
  refreshSecret: secret(),
  authenticate: async () => ({ id: 'ada', roles: ['user'] as const }),
  loadUser: async () => null,
})

async function login (app: FastifyInstance): Promise<string[]> {
  const payload = { email: 'ada@example.com', password: 'x' }
  const host = 'api.example.com'
  return setCookies(await app.inject({ method: 'POST', url: '/auth/login', payload, headers: { host } }))
}

test('it is @fastify/cookie with its own options', async (t) => {
  const app = server(t)
  await app.register(cookies, { secret: secret(), parseOptions: { path: '/', httpOnly: true } })
  app.get('/', async (request, reply) => {
    reply.setCookie('theme', 'dark')
    reply.setCookie('cart', '7', { signed: true })
    return request.cookies
  })
  const response = await app.inject({ url: '/', headers: { cookie: 'a=1; b=%20' } })
  t.same(response.json(), { a: '1', b: ' ' })
  const [theme = '', cart = ''] = setCookies(response)
  t.equal(theme, 'theme=dark; Path=/; HttpOnly; SameSite=Lax')
  t.equal(app.unsignCookie(decodeURIComponent(/^cart=([^;]+)/.exec(cart)?.[1] ?? '')).value, '7')
})

test('a secret is judged like every other secret, and every problem is named at once', async (t) => {
  const strong = secret()
  const custom = { sign: (value: string) => value, unsign: (value: string) => ({ valid: true, renew: false, value }) }
  const table: [what: string, options: unknown, paths: string[]][] = [
    ['nothing', {}, []],
    ['a strong text', { secret: strong }, []],
    ['strong bytes', { secret: randomBytes(32) }, []],
    ['a list', { secret: [strong, secret()] }, []],
    ['a signer', { secret: custom }, []],
    ['a placeholder', { secret: 'change-me-please-change-me-please-change' }, ['cookies.secret']],
    ['a short text', { secret: 'aB3$x' }, ['cookies.secret', 'cookies.secret']],
    ['short bytes', { secret: randomBytes(31) }, ['cookies.secret']],
    ['zero bytes', { secret: Buffer.alloc(32) }, ['cookies.secret']],
    ['one weak of a list', { secret: [strong, Buffer.alloc(32)] }, ['cookies.secret[1]']],
    ['an empty list', { secret: [] }, ['cookies.secret']],
    ['an empty text', { secret: '' }, ['cookies.secret', 'cookies.secret']],
    ['a number', { secret: 7 }, ['cookies.secret']],
    ['an object', { secret: {} }, ['cookies.secret']],
    ['a hash that does not exist', { algorithm: 'sha-257' }, ['cookies.algorithm']],
    ['a hook that does not exist', { hook: 'onSend' }, ['cookies.hook']],
    ['a misspelt option', { secrets: strong }, ['cookies.secrets']],
    ['several', { secret: 7, hook: 1, algorithm: 'x' }, ['cookies.hook', 'cookies.algorithm', 'cookies.secret']],
    ['undefined', { secret: undefined, hook: undefined }, []],
  ]
  for (const [what, options, paths] of table) {
    const problems = problemsWith(cookies, options)
    t.same(problems.map(({ path }) => path), paths, what)
    for (const { fix } of problems) t.not(fix, '', what)
  }
})

test("the app's own registration stays, and options beside it are refused", async (t) => {
  const app = server(t)
  await app.register(fastifyCookie, { hook: false })
  await app.register(cookies)
  app.get('/', async (request) => ({ cookies: request.cookies }))
  t.same((await app.inject({ url: '/', headers: { cookie: 'a=1' } })).json(), { cookies: null }, 'of the app')
  const other = server(t)
  await other.register(fastifyCookie)
  await t.rejects(async () => { await other.register(cookies, { hook: false }) }, {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'cookies', message: /before/ }],
  })
})

test('sessions are set through it, through the registration of the app, and through their own', async (t) => {
  const own = server(t)
  await own.register(auth, sessions())
  const suite = server(t)
  await suite.register(cookies)
  await suite.register(auth, sessions())
  const app = server(t)
  await app.register(fastifyCookie, { parseOptions: { domain: 'example.com', path: '/app' } })
  await app.register(auth, sessions())
  for (const [what, one] of Object.entries({ own, suite, app })) {
    t.same((await login(one)).map((line) => line.replace(/=[^;]+/, '=…')), [
      '__Host-access=…; Max-Age=604800; Path=/; HttpOnly; Secure; SameSite=Strict',
      '__Secure-refresh=…; Max-Age=604800; Path=/auth; HttpOnly; Secure; SameSite=Strict',
    ], what)
  }
})

test('turned off, the app registers @fastify/cookie itself, before or after the sessions', async (t) => {
  const after = server(t)
  turnOff(after, 'cookies', () => false)
  await after.register(auth, sessions())
  await after.register(fastifyCookie)
  t.equal((await login(after)).length, 2)
  const never = server(t)
  turnOff(never, 'cookies', () => false)
  await never.register(auth, sessions())
  await t.rejects(async () => { await never.ready() }, {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'cookies', fix: /Register @fastify\/cookie/ }],
  })
})
