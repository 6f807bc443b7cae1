import { randomBytes } from 'node:crypto'
import { Writable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import fp from 'fastify-plugin'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { BulwarkConfigError } from '../../lib/response/errors.js'
import { defineSection } from '../../lib/policy/section.js'
import { addSection } from '../../lib/policy/install.js'
import defaultExport, { auth, publicRoute, type AuthOptions } from '../../plugins/auth.js'
import csrf from '../../plugins/csrf.js'
import { redisUrl } from '../helpers/redis.js'
import { problemsWith } from '../helpers/resolve.js'
import { build, secret, setCookies } from '../lib/auth/support.js'

const minimal = (): AuthOptions => ({
  roles: ['user', 'admin'],
  redis: false,
  accessSecret: secret(),
  refreshSecret: secret(),
  loadUser: async () => null,
})

async function problemsOf (boot: () => PromiseLike<unknown>): Promise<string[]> {
  return await Promise.resolve(boot()).then(() => [], (error: unknown) => {
    if (!(error instanceof BulwarkConfigError)) throw error
    return error.problems.map(({ path, message }) => `${path}: ${message}`)
  })
}

function inProduction (t: Test): void {
  const before = process.env['NODE_ENV']
  process.env['NODE_ENV'] = 'production'
  t.teardown(() => {
    if (before === undefined) Reflect.deleteProperty(process.env, 'NODE_ENV')
    else process.env['NODE_ENV'] = before
  })
}

function logging (): { lines: string[], server: { logger: object } } {
  const lines: string[] = []
  const stream = new Writable({ write (chunk: Buffer, _encoding, done) { lines.push(chunk.toString()); done() } })
  return { lines, server: { logger: { level: 'warn', stream } } }
}

test('the plugin boots with the least options, and is its default export', async (t) => {
  t.equal(defaultExport, auth)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(auth, minimal())
  app.get('/', async () => 'in')
  await app.ready()
  t.equal((await app.inject('/')).statusCode, 401)
  t.equal((await app.inject({ method: 'POST', url: '/auth/login' })).statusCode, 404)
})

test('wrong options refuse to boot with one error that lists all of them', async (t) => {
  const app = Fastify()
  const options = { ...minimal(), refreshSecret: 'changeme', authentcate: () => {}, grace: '2m' }
  const problems = await problemsOf(() => app.register(auth, options as AuthOptions))
  t.same(problems.map((line) => line.split(':')[0]), [
    'auth.authentcate',
    'auth.refreshSecret',
    'auth.refreshSecret',
    'auth.grace',
  ])
  const next = Fastify()
  t.same(
    (await problemsOf(() => next.register(auth, { ...minimal(), refreshSecret: 'changeme', grace: '2m' }))).map((
      line,
    ) => line.split(':')[0]),
    ['auth.refreshSecret', 'auth.refreshSecret', 'auth.grace'],
  )
  const found = problemsWith(auth, { ...minimal(), redis: undefined }, { production: true, config: {} })
  t.match(found, [{ path: 'auth.redis' }])
})

test('a second registration is refused, in the same scope and in a child', async (t) => {
  const app = Fastify()
  await app.register(auth, minimal())
  t.match(await problemsOf(() => app.register(auth, minimal())), [/^auth: Registered twice/])
  const other = Fastify()
  await other.register(auth, minimal())
  t.match(
    await problemsOf(() =>
      other.register(async (child) => {
        await child.register(auth, minimal())
      })
    ),
    [/^auth: Registered a second time, in a child scope/],
  )
  const taken = Fastify()
  taken.decorateRequest('user', { getter: () => ({ id: 'ada', roles: [] }) })
  t.match(await problemsOf(() => taken.register(auth, minimal())), [/^auth: Another plugin has decorated request.user/])
})

test('a wrong policy on a route refuses to boot and names the route', async (t) => {
  const table: [unknown, RegExp][] = [
    [false, /^GET \/x security\.auth: Not a policy/],
    ['public', /^GET \/x security\.auth: Not a policy/],
    [{ roles: ['admn'] }, /^GET \/x security\.auth\.roles: Unknown role "admn"/],
    [{ roles: [] }, /^GET \/x security\.auth\.roles/],
    [{ role: ['admin'] }, /^GET \/x security\.auth\.role: Unknown option/],
    [{ why: 'a look-alike' }, /^GET \/x security\.auth\.why: Unknown option/],
  ]
  for (const [policy, problem] of table) {
    const app = Fastify()
    await app.register(auth, minimal())
    app.get('/x', { security: { auth: policy as 'required' } }, async () => 'x')
    t.match(await problemsOf(() => app.ready()), [problem])
  }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(auth, minimal())
  app.get('/x', { security: { auth: publicRoute('probe') } }, async () => 'x')
  await app.ready()
  t.equal((await app.inject('/x')).body, 'x')
})

test('in production sessions need Redis or a written decision, and cookies always their prefixes', async (t) => {
  inProduction(t)
  t.match(await problemsOf(() => Fastify().register(auth, minimal())), [/^auth\.redis: Sessions would live in memory/])
  const { call } = await build(t, {
    options: { allowMemoryStore: true },
    before: async (app) => {
      await app.register(csrf)
    },
  })
  for (const host of ['localhost', '127.0.0.1:3000', 'api.example.com']) {
    const response = await call('POST', '/auth/login', {}, {
      headers: { host },
      payload: { email: 'ada@example.com', password: 'right' },
    })
    t.match(setCookies(response), [/^__Host-access=.*; Secure;/, /^__Secure-refresh=.*; Secure;/])
  }
})

test('profile, SameSite and prefix shape the cookies and the routes', async (t) => {
  const { call } = await build(t, {
    options: { cookies: 'host', sameSite: 'lax', prefix: '/session', issuer: 'https://id.example.com' },
  })
  const response = await call('POST', '/session/login', {}, {
    payload: { email: 'ada@example.com', password: 'right' },
  })
  t.same(setCookies(response).map((line) => line.replace(/=[^;]+/, '=…')), [
    '__Host-access=…; Max-Age=604800; Path=/; HttpOnly; Secure; SameSite=Lax',
    '__Host-refresh=…; Max-Age=604800; Path=/; HttpOnly; Secure; SameSite=Strict',
  ])
  t.equal((await call('POST', '/auth/login')).statusCode, 404)
  t.equal((await call('GET', '/me')).headers['www-authenticate'], 'Cookie realm="https://id.example.com"')

  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(async (api) => {
    await api.register(auth, { ...minimal(), authenticate: async () => ({ id: 'ada', roles: ['user'] }) })
  }, { prefix: '/api' })
  const nested = await app.inject({
    method: 'POST',
    url: '/api/auth/login',
    headers: { host: 'x.example' },
    payload: { email: 'a@b.co', password: 'x' },
  })
  t.match(setCookies(nested)[1], /Path=\/api\/auth;/, 'the refresh cookie follows the prefix of the scope')
})

test('a login that nothing throttles is warned of once, and so are cookies without Secure', async (t) => {
  const { lines, server } = logging()
  const { call } = await build(t, { server })
  for (let i = 0; i < 3; i++) await call('GET', '/me', 'access=x', { headers: { host: 'localhost' } })
  t.equal(lines.filter((line) => line.includes('/auth/login is not throttled')).length, 1)
  for (
    const [sources, warning] of [[['bearer'], '"/auth/token is not throttled'], [
      ['bearer', 'cookie'],
      '"/auth/login and /auth/token are not throttled',
    ]] as const
  ) {
    const other = logging()
    await build(t, { server: other.server, options: { sources: [...sources] } })
    t.ok(other.lines.some((line) => line.includes(warning)), warning)
  }
  t.equal(lines.filter((line) => line.includes('without Secure')).length, 1)
})

test('the built-in routes carry the keys of the plugins that are loaded, and no others', async (t) => {
  const seen: Record<string, unknown> = {}
  const spy = (key: string): ReturnType<typeof defineSection> => defineSection<unknown, unknown>({
    key,
    resolve (_base, input, where) { seen[where] = input; return input },
    compile: () => [],
  })
  const { lines, server } = logging()
  await build(t, {
    server,
    before: async (app) => {
      await app.register(fp(async (instance) => {
        addSection(instance, spy('rateLimit'), [])
        addSection(instance, spy('csrf'), 'auto')
      }))
    },
  })
  t.same(seen, {
    'POST /auth/login security.rateLimit': ['login'],
    'POST /auth/login security.csrf': 'always',
    'POST /auth/refresh security.csrf': 'always',
    'POST /auth/logout security.csrf': 'always',
  })
  t.notOk(lines.some((line) => line.includes('not throttled')))
})

test('a Redis that cannot be reached refuses to boot without showing the URL', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const error: unknown = await Promise.resolve(
    app.register(auth, { ...minimal(), redis: 'redis://:hunter2@127.0.0.1:1' }),
  ).then(() => null, (reason: unknown) => reason)
  t.match(error, { code: 'BULWARK_CONFIG', problems: [{ path: 'auth.redis', message: 'Redis cannot be reached.' }] })
  t.notMatch(String(error), /hunter2/)
})

test('a Redis user that may not ask for the time is found at boot', async (t) => {
  const admin = new Redis(redisUrl())
  const name = `untimed-${randomBytes(6).toString('hex')}`
  t.teardown(async () => { await admin.call('ACL', 'DELUSER', name); admin.disconnect() })
  await admin.call('ACL', 'SETUSER', name, 'on', '>pass', '~*', '&*', '+@all', '-time')
  const url = new URL(redisUrl())
  url.username = name
  url.password = 'pass'
  const app = Fastify()
  t.teardown(() => app.close())
  t.same(await problemsOf(() => app.register(auth, { ...minimal(), redis: url.href })), [
    'auth.redis: Redis cannot be reached.',
  ])
})

test("an app's own client is used and left open", async (t) => {
  const client = new Redis(redisUrl(), {
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
  })
  t.teardown(() => {
    client.disconnect()
  })
  await client.connect()
  const app = Fastify()
  await app.register(auth, { ...minimal(), redis: client })
  t.equal(app.security.sessions.store, 'redis')
  await app.close()
  t.equal(await client.ping(), 'PONG')
})

test('the user type may carry claims', async (t) => {
  const { call } = await build(t, { options: { claims: Type.Object({ tenant: Type.String() }) } })
  t.match(
    (await call('POST', '/auth/login', {}, { payload: { email: 'ada@example.com', password: 'right' } })).json(),
    { user: { tenant: 'acme' } },
  )
})
