import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { test } from 'tap'
import { createServer, defineSecurity } from '../../index.js'
import { CookieJar } from '../../lib/testing/cookie-jar.js'
import { publicRoute } from '../../plugins/auth.js'
import { signIn, type SignedIn } from '../../testing.js'
import { build, Clock, codeOf, secret } from '../lib/auth/support.js'

const ADA = { id: 'ada', roles: ['user'] }

test('a signed-in inject passes the guards with real, secure cookies', async (t) => {
  const { app } = await build(t, {
    clock: undefined as never,
    routes: (instance) => {
      instance.get('/echo', async ({ headers }) => headers)
    },
  })
  const visitor = await signIn(app, ADA)
  t.match((await visitor.inject('/me')).json(), {
    user: { id: 'ada', roles: ['user'] },
    auth: { methods: ['pwd'], sessionId: visitor.sessionId },
  })
  t.equal(codeOf(await visitor.inject('/admin')), '403 INSUFFICIENT_ROLE', 'nothing is let through')
  t.equal((await visitor.inject({ url: '/fresh' })).body, 'fresh')
  const echo = (await visitor.inject({ path: '/echo', headers: { 'X-Own': '1' } })).json<Record<string, string>>()
  t.match(echo, {
    host: 'app.test',
    'sec-fetch-site': 'same-origin',
    'user-agent': 'fastify-bulwark-testing',
    'x-own': '1',
  })
  t.match(echo['cookie'], /^__Host-access=[^;]+$/, 'the refresh cookie goes to the auth routes only')
  t.same(Object.keys(visitor.cookies), ['__Host-access', '__Secure-refresh'])
  t.same({ ...visitor.headers }, {
    cookie: echo['cookie'],
    host: 'app.test',
    'user-agent': 'fastify-bulwark-testing',
    'sec-fetch-site': 'same-origin',
  })
  t.equal((await app.inject({ url: '/me', headers: visitor.headers })).statusCode, 200)
  t.equal(codeOf(await app.inject('/me')), '401 TOKEN_MISSING')
})

test('a client without cookies signs in, refreshes and out with Bearer tokens', async (t) => {
  const { app, clock } = await build(t, { options: { sources: ['cookie', 'bearer'] } })
  const visitor = await signIn(app, ADA, { source: 'bearer' })
  t.same(visitor.cookies, {})
  t.equal((await visitor.inject('/me')).statusCode, 200)
  const before = visitor.headers['authorization']
  clock.advance(20_000)
  t.equal((await visitor.refresh()).statusCode, 200)
  t.not(visitor.headers['authorization'], before)
  t.equal((await visitor.inject('/me')).statusCode, 200)
  t.equal((await visitor.logout()).statusCode, 204)
  t.equal(codeOf(await visitor.inject('/me')), '401 SESSION_REVOKED')
})

test('refresh and logout call the app\'s routes and keep the cookies', async (t) => {
  const { app, clock } = await build(t)
  const visitor = await signIn(app, ADA)
  const before = visitor.cookies
  clock.advance(20_000)
  t.equal((await visitor.refresh()).statusCode, 200)
  t.not(visitor.cookies['__Host-access'], before['__Host-access'])
  t.not(visitor.cookies['__Secure-refresh'], before['__Secure-refresh'])
  t.equal((await visitor.inject('/me')).statusCode, 200)
  t.equal((await visitor.logout()).statusCode, 204)
  t.same(visitor.cookies, {})
  t.equal(codeOf(await visitor.inject('/me')), '401 TOKEN_MISSING')
  t.equal(
    codeOf(
      await app.inject({
        url: '/me',
        headers: { host: 'app.test', cookie: `__Host-access=${before['__Host-access'] ?? ''}` },
      }),
    ),
    '401 SESSION_REVOKED',
  )
})

test('the session is one of the user\'s: revoking ends it, and each signIn opens its own', async (t) => {
  const { app } = await build(t)
  const [one, two] = [await signIn(app, ADA, { methods: ['pwd', 'otp'], label: 'Phone' }), await signIn(app, ADA)]
  t.not(one.sessionId, two.sessionId)
  t.match((await one.inject('/me')).json(), { auth: { methods: ['pwd', 'otp'] } })
  await app.security.sessions.revokeUser('ada')
  for (const visitor of [one, two]) t.equal(codeOf(await visitor.inject('/me')), '401 SESSION_REVOKED')
})

test('cookies of the app are kept, and origin and headers are the test\'s to choose', async (t) => {
  const { app } = await build(t, {
    routes (instance) {
      instance.get('/theme', { security: { auth: publicRoute('test') } }, async (_request, reply) => {
        reply.header('set-cookie', ['theme=dark; Path=/', 'deep=1; Path=/deep', 'here=1'])
        return 'set'
      })
      instance.get('/echo', async ({ headers }) => headers)
    },
  })
  const visitor = await signIn(app, ADA, {
    origin: 'https://shop.example:8443',
    headers: { 'User-Agent': 'Phone/1', 'x-tenant': 'acme' },
  })
  await visitor.inject('/theme')
  const echo = (await visitor.inject({ url: '/echo?x=1', headers: { 'x-tenant': 'other' } })).json<
    Record<string, string>
  >()
  t.match(echo, { host: 'shop.example:8443', 'user-agent': 'Phone/1', 'x-tenant': 'other', cookie: /theme=dark/ })
  t.notMatch(echo['cookie'], /deep/)
  t.equal((await visitor.refresh()).statusCode, 200)
})

test('what cannot be is refused with a plain message', async (t) => {
  const bare = Fastify()
  t.teardown(() => bare.close())
  await t.rejects(signIn(bare, ADA), { message: /no auth plugin/ })
  const { app } = await build(t, {
    options: { routes: false, authenticate: undefined as never, maxSessions: 1, whenFull: 'refuse' },
  })
  await t.rejects(signIn(app, { id: 'ada', roles: ['root'] }), { message: /roles/ })
  await t.rejects(signIn(app, { id: '', roles: [] }), { message: /id/ })
  await t.rejects(signIn(app, ADA, { methods: [] }), TypeError)
  await t.rejects(signIn(app, ADA, { methods: ['a b'] }), TypeError)
  for (const origin of ['http://app.test', 'https://localhost', 'https://127.0.0.1:8443', 'app.test']) {
    await t.rejects(signIn(app, ADA, { origin }), TypeError, origin)
  }
  await t.rejects(signIn(app, ADA, { label: 'x'.repeat(257) }), TypeError)
  await t.rejects(signIn(app, ADA, { label: 7 as unknown as string }), TypeError)
  for (const misspelt of [{ method: ['otp'] }, { sorce: 'bearer' }, { header: {} }]) {
    await t.rejects(signIn(app, ADA, misspelt as object), {
      name: 'TypeError',
      message: /there is no option "(method|sorce|header)"/,
    })
  }
  const visitor = await signIn(app, ADA)
  await t.rejects(visitor.refresh(), { message: /no route POST \/auth\/refresh/ })
  await t.rejects(visitor.logout(), { message: /no route POST \/auth\/logout/ })
  await t.rejects(signIn(app, { id: 'eve', roles: ['user'] }, { source: 'bearer' }), TypeError)
  await t.rejects(signIn(app, ADA), { message: /maxSessions/ })
})

test('it works under the umbrella with CSRF protection and hosts, and knows the service\'s names', async (t) => {
  const security = defineSecurity({
    transport: { hosts: ['shop.example'] },
    auth: {
      roles: ['user', 'admin'],
      claims: Type.Object({ tenant: Type.String() }),
      redis: false,
      accessSecret: secret(),
      refreshSecret: secret(),
      authenticate: async () => null,
      loadUser: async (id) => ({ id, roles: ['user'], tenant: 'acme' }),
    },
  })
  const app = await createServer(security, { logger: false })
  t.teardown(() => app.close())
  app.post('/orders', async (request) => request.user.tenant)
  const visitor: SignedIn = await signIn(app, { id: '7', roles: ['user'], tenant: 'acme' }, {
    origin: 'https://shop.example',
  })
  t.equal((await visitor.inject({ method: 'POST', url: '/orders' })).body, 'acme')
  t.equal(
    codeOf(await visitor.inject({ method: 'POST', url: '/orders', headers: { 'sec-fetch-site': 'cross-site' } })),
    '403 CSRF_REJECTED',
  )
  t.equal((await visitor.refresh()).statusCode, 200)
  t.equal((await visitor.logout()).statusCode, 204)
  const refused = async (): Promise<void> => {
    // @ts-expect-error an unknown role
    await signIn(app, { id: '7', roles: ['root'], tenant: 'acme' })
    // @ts-expect-error a claim is missing
    await signIn(app, { id: '7', roles: ['user'] })
  }
  t.type(refused, 'function')
})

test('a jar keeps what a browser would', async (t) => {
  const clock = new Clock()
  const jar = new CookieJar(clock.now)
  for (
    const line of [
      'a=1',
      'b=2; Path=/x',
      'c=x=y; Max-Age=10; Path=/',
      'd=4; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/',
      'nonsense',
      'e=; path=/',
      'f=6; Max-Age=oops; Path=/',
      'g=7; Path=relative',
      'a=deep; Path=/x/y',
    ]
  ) jar.follow(line, '/x/y')
  t.equal(jar.header('/'), 'c=x=y; e=; f=6')
  t.equal(jar.header('/x'), 'a=1; b=2; g=7; c=x=y; e=; f=6')
  t.equal(jar.header('/x/y/z'), 'a=deep; a=1; b=2; g=7; c=x=y; e=; f=6')
  t.equal(jar.header('/xy'), 'c=x=y; e=; f=6')
  t.equal(jar.get('b', '/x'), '2')
  t.equal(jar.get('b'), undefined)
  clock.advance(10_000)
  t.equal(jar.get('c'), undefined)
  for (const line of ['e=; Max-Age=0; Path=/', 'f=; Max-Age=-1; Path=/']) jar.follow(line, '/')
  t.equal(jar.header('/'), undefined)
  t.same(jar.all(), { a: 'deep', b: '2', g: '7' })
})
