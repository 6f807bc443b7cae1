import Fastify, { type FastifyInstance } from 'fastify'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { test, type Test } from 'tap'
import { bulwark, BulwarkConfigError, createServer, defineSecurity, publicRoute, serverOptions, Type,
  type SecurityDefinition } from '../../index.js'
import { setEnv } from '../helpers/env.js'
import { API_HEADERS, assertHeaders } from '../helpers/headers.js'
import { redisUrl } from '../helpers/redis.js'
import { ROOT } from '../helpers/root.js'

const APP = 'https://app.example.com'

const authOptions = {
  roles: ['user', 'admin'],
  authenticate: async ({ email }: { email: string }) => ({ id: email, roles: ['user' as const] }),
  loadUser: async (id: string) => ({ id, roles: ['user' as const] }),
} as const

const secrets = {
  schema: Type.Object({
    JWT_ACCESS_SECRET: Type.String({ secret: true, generate: true }),
    JWT_REFRESH_SECRET: Type.String({ secret: true, generate: true }),
  }),
  source: {},
}

function closing<A extends { close (): PromiseLike<unknown> }> (t: Test, app: A): A {
  t.teardown(() => app.close())
  return app
}

/** The same service, built in each of the three ways that the suite offers. */
const WAYS: [string, (definition: SecurityDefinition) => Promise<FastifyInstance>][] = [
  ['createServer', async (definition) => await createServer(definition, { logger: false })],
  ['serverOptions and register', async (definition) => {
    const app = Fastify({ ...serverOptions(definition, { logger: false }) })
    await app.register(bulwark, definition)
    return app
  }],
  ['register without awaiting', async (definition) => {
    const app = Fastify({ ...serverOptions(definition, { logger: false }) })
    app.register(bulwark, definition)
    await app.after()
    return app
  }],
]

for (const [name, build] of WAYS) {
  test(`${name}: the whole suite stands`, async (t) => {
    const app = closing(t, await build(defineSecurity({ env: secrets, auth: authOptions, cors: { origin: [APP] } })))
    app.get('/me', async (request) => request.user)
    app.get('/open', { security: { auth: publicRoute('a test') } }, async () => ({ ok: true }))
    const open = await app.inject({ url: '/open', headers: { origin: APP } })
    t.equal(open.statusCode, 200)
    assertHeaders(t, open.headers, {
      ...API_HEADERS,
      'access-control-allow-origin': APP,
      'ratelimit-policy': '"global";q=100;w=900',
      'x-request-id': /^[0-9a-f]{32}$/,
    })
    t.match((await app.inject('/me')).json(), { code: 'TOKEN_MISSING' })
    t.match((await app.inject('/nope')).json(), { code: 'NOT_FOUND' })
  })
}

test('registered with nothing written it starts and is safe', async (t) => {
  const app = closing(t, Fastify())
  await app.register(bulwark)
  app.get('/', async () => ({ ok: true }))
  app.post('/', { schema: { body: Type.Object({ n: Type.Integer() }) } }, async () => 1)
  const res = await app.inject({ url: '/', headers: { origin: APP } })
  t.equal(res.statusCode, 200)
  assertHeaders(t, res.headers, {
    ...API_HEADERS,
    'access-control-allow-origin': null,
    'ratelimit-policy': '"global";q=100;w=900',
  })
  t.match((await app.inject({ method: 'POST', url: '/', payload: { n: 1, isAdmin: true } })).json(), {
    code: 'VALIDATION_FAILED',
  })
})

test('production asks for the decisions that nobody can guess, all in one error', async (t) => {
  setEnv(t, { NODE_ENV: 'production' })
  await t.rejects(async () => createServer(defineSecurity({}), { logger: false }), {
    code: 'BULWARK_CONFIG',
    problems: { length: 3, 0: { path: 'transport.proxies' }, 1: { path: 'rateLimit.redis' }, 2: { path: 'auth' } },
  })
  const app = closing(
    t,
    await createServer(
      defineSecurity({ transport: { proxies: 'none' }, rateLimit: { allowMemoryStore: true }, auth: false }),
      { logger: false },
    ),
  )
  await app.ready()
})

test('in production an instance that was not built with serverOptions is refused', async (t) => {
  setEnv(t, { NODE_ENV: 'production' })
  const app = closing(t, Fastify())
  await t.rejects(
    async () =>
      app.register(bulwark, defineSecurity({ transport: { proxies: 'none' }, rateLimit: false, auth: false })),
    { code: 'BULWARK_CONFIG', problems: [{ path: 'transport', fix: /serverOptions/ }] },
  )
})

test('everything wrong in a definition is listed at once, for every plugin', async (t) => {
  const wrong = {
    headrs: {},
    profile: 'api',
    env: { schema: Type.Object({ NEEDED: Type.String() }), source: {} },
    transport: { proxies: true },
    headers: { xFrameOptions: 'deny' },
    cors: { origin: '*', credentials: true },
    csrf: { trustedOrigins: ['x'] },
    rateLimit: { policies: { search: { limit: 0, window: '5', by: 'ip' } } },
    validation: { maxErrors: 0 },
    auth: { roles: [] },
    errors: { typeBase: 1 },
    events: { logLimit: -1 },
  } as unknown as SecurityDefinition
  const paths = [
    'headrs',
    'env.NEEDED',
    'transport.proxies',
    'headers.xFrameOptions',
    'cors.credentials',
    'csrf.trustedOrigins[0]',
    'rateLimit.policies.search.limit',
    'rateLimit.policies.search.window',
    'validation.maxErrors',
    'auth.roles',
    'auth.loadUser',
    'errors.typeBase',
    'events.logLimit',
  ]
  const error: unknown = await createServer(wrong, { logger: false }).catch((reason: unknown) => reason)
  const found = error instanceof BulwarkConfigError ? error.problems.map(({ path }) => path) : []
  for (const path of paths) t.ok(found.includes(path), path)
})

test('constructor options that the suite must own are refused with their reason', async (t) => {
  for (
    const [name, value] of [
      ['trustProxy', true],
      ['trustProxy', 1],
      ['genReqId', () => 'x'],
      ['requestIdHeader', 'x-id'],
      ['frameworkErrors', () => {}],
      ['clientErrorHandler', () => {}],
      ['return503OnClosing', true],
    ] as const
  ) {
    t.throws(() => serverOptions(defineSecurity({}), { [name]: value }), {
      code: 'BULWARK_CONFIG',
      problems: [{ path: `fastify.${name}` }],
    }, name)
  }
  t.match(serverOptions(defineSecurity({}), { bodyLimit: 5, requestTimeout: 7 }), {
    bodyLimit: 5,
    requestTimeout: 7,
    handlerTimeout: 0,
    trustProxy: false,
  })
})

test('an explicit undefined undoes nothing that the suite sets', async (t) => {
  const options = serverOptions(
    defineSecurity({ transport: { proxies: ['10.0.0.0/8'] } }),
    { bodyLimit: undefined, trustProxy: undefined, genReqId: undefined, frameworkErrors: undefined } as never,
  )
  t.match(options, { bodyLimit: 102_400, trustProxy: ['10.0.0.0/8'], genReqId: Function, frameworkErrors: Function })
})

test('a definition whose values are of the wrong kind is refused, never read as empty', async (t) => {
  for (
    const [key, value] of Object.entries({
      headers: null,
      cors: null,
      csrf: 5,
      rateLimit: 'x',
      validation: null,
      errors: 1,
      events: [],
      auth: null,
      transport: null,
      env: 5,
      profile: 'html',
      defaults: 1,
    })
  ) {
    await t.rejects(async () => createServer({ [key]: value }, { logger: false }), {
      code: 'BULWARK_CONFIG',
      problems: [{ path: key }],
    }, key)
  }
})

test('a boot that fails late leaves no connection open that would keep the process alive', async (t) => {
  const script = `
    import { createServer, defineSecurity } from 'fastify-bulwark'
    await createServer(defineSecurity({
      rateLimit: { redis: ${JSON.stringify(redisUrl())}, keySecret: ${
    JSON.stringify(randomBytes(32).toString('hex'))
  } },
      auth: { roles: ['user'], loadUser: async () => null, redis: 'redis://127.0.0.1:1', accessSecret: ${
    JSON.stringify(randomBytes(32).toString('hex'))
  }, refreshSecret: ${JSON.stringify(randomBytes(32).toString('hex'))} },
    }), { logger: false }).catch((error) => { process.stdout.write(error.problems[0].path) })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  let said = ''
  child.stdout.on('data', (chunk) => { said += String(chunk) })
  const [code] = await once(child, 'exit') as [number | null]
  t.equal(code, 0)
  t.equal(said, 'auth.redis')
})

test('registered twice in one scope it is refused; in a child scope it overrides', async (t) => {
  const app = closing(t, await createServer(defineSecurity({ env: secrets, auth: authOptions }), { logger: false }))
  await app.register(async (scope) => {
    await scope.register(bulwark, {
      auth: publicRoute('open data'),
      headers: { xFrameOptions: { action: 'sameorigin' } },
      cors: { origin: '*' },
    })
    scope.get('/', async () => 1)
  }, { prefix: '/open' })
  app.get('/own', async () => 1)
  assertHeaders(t, (await app.inject({ url: '/open', headers: { origin: APP } })).headers, {
    'x-frame-options': 'SAMEORIGIN',
    'access-control-allow-origin': '*',
  })
  t.equal((await app.inject('/own')).statusCode, 401)

  const twice = closing(t, await createServer(defineSecurity({}), { logger: false }))
  await t.rejects(async () => twice.register(bulwark, defineSecurity({})), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'bulwark', message: /twice/ }],
  })
})

test('the umbrella alone in a child scope is refused: what it does holds for the whole server', async (t) => {
  const app = closing(t, Fastify())
  await t.rejects(async () => app.register(async (scope) => { await scope.register(bulwark, defineSecurity({})) }), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'events', message: /child scope/ }],
  })
})

test('a child scope cannot set what belongs to the server, nor a name that does not exist', async (t) => {
  const app = closing(t, await createServer(defineSecurity({ env: secrets, auth: authOptions }), { logger: false }))
  app.register(async (scope) => {
    await scope.register(
      bulwark,
      {
        env: Type.Object({}),
        profile: 'document',
        rateLimit: ['nope'],
        auth: { roles: ['root'] },
        errors: {},
      } as never,
    )
  }, { prefix: '/x' })
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'bulwark in /x.env' }, { path: 'bulwark in /x.profile' }, { path: 'bulwark in /x.errors' }, {
      path: /rateLimit/,
    }, { path: /auth/ }],
  })
})

test('secureScope overrides for its routes and below, with and without a prefix', async (t) => {
  const app = closing(t, await createServer(defineSecurity({ env: secrets, auth: authOptions }), { logger: false }))
  await app.secureScope({ prefix: '/open', auth: publicRoute('open data'), cors: { origin: '*', credentials: false } }, async (scope) => {
    scope.get('/a', async () => 1)
    await scope.secureScope({ prefix: '/closed', auth: { roles: ['admin'] } }, async (deep) => { deep.get('/b', async () => 1) })
  })
  await app.secureScope({ auth: publicRoute('a test') }, (scope) => { scope.get('/unprefixed', async () => 1) })
  app.get('/own', async () => 1)
  const status = async (url: string): Promise<number> => (await app.inject(url)).statusCode
  t.equal(await status('/open/a'), 200)
  t.equal(await status('/open/closed/b'), 401)
  t.equal(await status('/unprefixed'), 200)
  t.equal(await status('/own'), 401)
})

test('all wrong routes are listed together, with the route and the nearest name', async (t) => {
  const app = closing(
    t,
    await createServer(defineSecurity({ env: secrets, auth: authOptions }), { logger: false }),
  ) as unknown as FastifyInstance
  app.get('/a', { security: { auth: { roles: ['amdin'] } } }, async () => 1)
  app.get('/b', { security: { rateLimit: ['globl'] } }, async () => 1)
  app.post('/c', { security: { rateLimt: ['global'] } as never }, async () => 1)
  app.get('/d', { security: { auth: false } as never }, async () => 1)
  app.get('/e', { security: { cors: { origin: '*', credentials: true } } }, async () => 1)
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: [
      { path: 'GET /a security.auth.roles', fix: /admin/ },
      { path: /^GET \/b security\.rateLimit/, fix: /global/ },
      { path: 'GET /d security.auth', fix: /publicRoute/ },
      { path: 'GET /e security.cors.credentials' },
      { path: 'POST /c security.rateLimt', fix: 'Did you mean "rateLimit"?' },
    ],
  })
})

test('routes declared before the suite stop the boot, awaited or not', async (t) => {
  const app = closing(t, Fastify())
  app.get('/early', async () => 1)
  await app.register(bulwark)
  await t.rejects(async () => app.ready(), { code: 'BULWARK_CONFIG', problems: [{ path: 'GET,HEAD /early' }] })
  const later = closing(t, Fastify())
  later.register(bulwark)
  later.get('/too-early', async () => 1)
  await t.rejects(async () => later.ready(), { code: 'BULWARK_CONFIG', problems: [{ path: 'GET,HEAD /too-early' }] })
})

test('a plugin that is off has no effect, and a route that asks something of it is refused', async (t) => {
  const app = closing(
    t,
    await createServer(defineSecurity({ headers: false, cors: false, rateLimit: false, csrf: false, auth: false }), {
      logger: false,
    }),
  ) as unknown as FastifyInstance
  app.get('/', { security: { auth: publicRoute('a test') } }, async () => 1)
  const res = await app.inject({ url: '/', headers: { origin: APP } })
  assertHeaders(t, res.headers, {
    'content-security-policy': null,
    'ratelimit-policy': null,
    vary: null,
    'x-request-id': /./,
  })
  t.same(app.security.posture().off, ['headers', 'cors', 'csrf', 'rateLimit', 'auth'])

  const wrong = closing(
    t,
    await createServer(defineSecurity({ auth: false, rateLimit: false }), { logger: false }),
  ) as unknown as FastifyInstance
  wrong.get('/a', { security: { auth: { roles: ['admin'] } } }, async () => 1)
  wrong.get('/b', { security: { rateLimit: ['global'] } }, async () => 1)
  await t.rejects(async () => wrong.ready(), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'GET /a security.auth' }, { path: 'GET /b security.rateLimit' }],
  })
  await t.rejects(async () => createServer({ transport: false } as never, { logger: false }), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'transport' }],
  })
})

test('defaults are the policy of every route that says nothing, built-in ones keep their own', async (t) => {
  const app = closing(
    t,
    await createServer(
      defineSecurity({
        env: secrets,
        auth: authOptions,
        rateLimit: { policies: { tight: { limit: 2, window: '1h', by: 'ip' } } },
        defaults: {
          auth: { roles: ['admin'] },
          rateLimit: ['tight'],
          headers: { xFrameOptions: { action: 'sameorigin' } },
        },
      }),
      { logger: false },
    ),
  )
  app.get('/x', async () => 1)
  const login = await app.inject({
    method: 'POST',
    url: '/auth/login',
    payload: { email: 'ada@example.com', password: 'x' },
  })
  t.equal(login.statusCode, 200)
  assertHeaders(t, login.headers, { 'x-frame-options': 'SAMEORIGIN' })
  const cookie = login.cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
  t.equal((await app.inject({ url: '/x', headers: { cookie } })).statusCode, 403)
  t.equal((await app.inject({ url: '/x', headers: { cookie } })).statusCode, 429)
  await t.rejects(async () => {
    const wrong = closing(
      t,
      await createServer(defineSecurity({ defaults: { rateLimit: ['nope'] as never, atuh: 1 } as never }), {
        logger: false,
      }),
    )
    await wrong.ready()
  }, { code: 'BULWARK_CONFIG', problems: { length: 2 } })
})

test('the posture lists every route with the policy that is enforced', async (t) => {
  const app = closing(t, await createServer(defineSecurity({ env: secrets, auth: authOptions }), { logger: false }))
  app.get('/x', { security: { auth: publicRoute('a test'), rateLimit: ['auth'] } }, async () => 1)
  const { routes, production, off } = app.security.posture()
  t.equal(production, false)
  t.same(off, [])
  t.same(routes.map(({ method, url }) => `${method} ${url}`), [
    'POST /auth/login',
    'POST /auth/refresh',
    'POST /auth/logout',
    'GET /auth/sessions',
    'HEAD /auth/sessions',
    'DELETE /auth/sessions/:id',
    'DELETE /auth/sessions',
    'GET /x',
    'HEAD /x',
  ])
  t.match(routes.find(({ url }) => url === '/x')?.security, {
    rateLimit: ['global', 'auth'],
    auth: { access: 'public', why: 'a test' },
    csrf: { mode: 'cookie', isolation: true },
  })
})

test('the definition is not changed and may be frozen', async (t) => {
  const definition = defineSecurity({ env: secrets, auth: authOptions, cors: Object.freeze({ origin: [APP] }) })
  const before = JSON.stringify(definition)
  closing(t, await createServer(definition, { logger: false }))
  t.equal(JSON.stringify(definition), before)
  t.ok(Object.isFrozen(definition))
})

test('the sign-in routes work beside plugins that are turned off, and ask nothing of them', async (t) => {
  const app = closing(
    t,
    await createServer(defineSecurity({ env: secrets, auth: authOptions, rateLimit: false, csrf: false }), {
      logger: false,
    }),
  )
  const login = await app.inject({
    method: 'POST',
    url: '/auth/login',
    headers: { 'sec-fetch-site': 'cross-site' },
    payload: { email: 'a@b.c', password: 'x' },
  })
  t.equal(login.statusCode, 200)
  t.equal(login.headers['ratelimit'], undefined)
})
