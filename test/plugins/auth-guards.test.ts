import { createHmac } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { test } from 'tap'
import { publicRoute } from '../../lib/policy/public-route.js'
import { MemorySessionStore } from '../../lib/auth/memory-store.js'
import { auth } from '../../plugins/auth.js'
import { setSignedIn, signedIn } from '../../lib/auth/guards.js'
import csrf from '../../plugins/csrf.js'
import { build, codeOf, cookieHeader, jarOf, secret, setCookies } from '../lib/auth/support.js'

const rootLogin = { payload: { email: 'root@example.com', password: 'right' } }

test('every route needs a signed-in user unless it says otherwise', async (t) => {
  const { call, login } = await build(t, { server: { logger: false } })
  for (const url of ['/me', '/admin', '/fresh', '/stateless']) {
    const response = await call('GET', url)
    t.equal(codeOf(response), '401 TOKEN_MISSING', url)
    t.equal(response.headers['www-authenticate'], 'Cookie realm="bulwark"')
  }
  const jar = await login()
  t.equal((await call('GET', '/me', jar)).statusCode, 200)
  t.equal((await call('GET', '/open')).body, 'nobody')
  t.equal((await call('GET', '/maybe')).body, 'nobody')
  t.equal((await call('GET', '/maybe', jar)).body, 'ada')
  t.equal((await call('GET', '/nowhere')).statusCode, 404, 'a 404 protects nothing')
  t.equal((await call('GET', '/nowhere', '__Host-access=nonsense')).statusCode, 404)
})

test('HEAD, child scopes and prefixes have the guard of their route', async (t) => {
  const { app, call, login } = await build(t, {
    routes: async (app) => {
      await app.register(async (child: FastifyInstance) => {
        child.get('/', async () => 'child')
        child.get('/boss', { security: { auth: { roles: ['admin'] } } }, async () => 'boss')
      }, { prefix: '/child' })
    },
  })
  const jar = await login()
  for (const url of ['/me', '/child', '/child/', '/child/boss', '/admin']) {
    t.equal((await app.inject({ method: 'HEAD', url })).statusCode, 401, `HEAD ${url}`)
    t.equal((await call('GET', url)).statusCode, 401, url)
  }
  t.equal((await call('GET', '/child', jar)).body, 'child')
  t.equal(codeOf(await call('GET', '/child/boss', jar)), '403 INSUFFICIENT_ROLE')
})

test('roles: any one of them is enough, and the lack of them is an event', async (t) => {
  const { call, login, events } = await build(t, {
    routes: (app) => {
      app.get('/either', { security: { auth: { roles: ['admin', 'user'] } } }, async () => 'in')
    },
  })
  const jar = await login()
  t.equal((await call('GET', '/either', jar)).body, 'in')
  const refused = await call('GET', '/admin', jar)
  t.equal(codeOf(refused), '403 INSUFFICIENT_ROLE')
  t.equal(refused.headers['www-authenticate'], undefined)
  t.same(events.at(-1), { name: 'authz_fail', userId: 'ada', reason: 'INSUFFICIENT_ROLE' })
  const root = setCookies(await call('POST', '/auth/login', {}, rootLogin)).map((line) => line.split(';')[0]).join('; ')
  t.equal((await call('GET', '/admin', root)).body, 'admin')
})

test('fresh counts from the login and not from the last refresh', async (t) => {
  const { call, login, clock } = await build(t)
  const jar = await login()
  clock.advance(300_000)
  t.equal((await call('GET', '/fresh', jar)).statusCode, 200, 'five minutes are still fresh')
  clock.advance(1000)
  t.equal(codeOf(await call('GET', '/fresh', jar)), '401 FRESH_AUTH_REQUIRED')
  const renewed = setCookies(await call('POST', '/auth/refresh', jar)).map((line) => line.split(';')[0]).join('; ')
  t.equal(codeOf(await call('GET', '/fresh', renewed)), '401 FRESH_AUTH_REQUIRED')
  t.equal((await call('GET', '/fresh', await login())).statusCode, 200)
})

test('a token that is not beyond doubt is a 401 with a stable code and asks no store', async (t) => {
  let asked = 0
  const original = Reflect.get<MemorySessionStore, 'check'>(MemorySessionStore.prototype, 'check')
  MemorySessionStore.prototype.check = function counted (userId, sessionId, tokenVersion) {
    asked++
    return original.call(this, userId, sessionId, tokenVersion)
  }
  t.teardown(() => {
    MemorySessionStore.prototype.check = original
  })
  const { call, login, accessSecret, refreshSecret, events } = await build(t)
  const jar = await login()
  const good = jar['__Host-access'] ?? ''
  const [header = '', payload = '', mac = ''] = good.split('.')
  const sign = (head: string, body: string, key = accessSecret): string =>
    `${head}.${body}.${createHmac('sha256', key).update(`${head}.${body}`).digest('base64url')}`
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>
  const table: Record<string, string> = {
    'not a token': 'x',
    empty: '',
    'two segments': `${header}.${payload}`,
    'four segments': `${good}.${mac}`,
    padding: `${good}=`,
    quoted: `"${good}"`,
    'a non-canonical tail': good.slice(0, -1) + String.fromCharCode(good.charCodeAt(good.length - 1) + 1),
    oversized: 'x'.repeat(5000),
    'alg none': `${encode({ alg: 'none', typ: 'at+jwt' })}.${payload}.`,
    'another key': sign(header, payload, 'attacker'),
    'crit, signed': sign(encode({ alg: 'HS256', typ: 'at+jwt', crit: ['exp'] }), payload),
    'the refresh token': jar['__Secure-refresh'] ?? '',
    'claims under the refresh key': sign(header, payload, refreshSecret),
    'no exp, signed': sign(header, encode({ ...claims, exp: undefined })),
    'exp a text, signed': sign(header, encode({ ...claims, exp: '9999999999' })),
    'future iat, signed': sign(
      header,
      encode({ ...claims, iat: Number(claims['iat']) + 60, exp: Number(claims['iat']) + 120 }),
    ),
    'an array, signed': sign(header, encode([claims])),
    'roles escalated': `${header}.${encode({ ...claims, roles: ['admin'] })}.${mac}`,
  }
  for (const [what, token] of Object.entries(table)) {
    for (const url of ['/me', '/maybe', '/stateless', '/admin']) {
      const response = await call('GET', url, `__Host-access=${token}`)
      t.same(
        [codeOf(response), response.json<{ message: string }>().message],
        ['401 TOKEN_INVALID', 'Invalid token.'],
        `${what} on ${url}`,
      )
    }
    t.equal(
      (await call('GET', '/open', `__Host-access=${token}`)).body,
      'nobody',
      'a public route does not even read it',
    )
  }
  t.equal(asked, 0)
  t.match(events.at(-1), { name: 'authn_token_invalid', kind: 'access', code: 'TOKEN_INVALID' })
  t.equal((await call('GET', '/me', jar)).statusCode, 200)
  t.equal(asked, 1)
  await call('GET', '/stateless', jar)
  t.equal(asked, 1, 'a stateless route asks no store')
})

test('an expired token is called so, and is no anonymous visitor on an optional route', async (t) => {
  const { call, login, clock } = await build(t)
  const jar = await login()
  clock.advance(900_000)
  for (const url of ['/me', '/maybe', '/admin', '/stateless']) {
    t.equal(codeOf(await call('GET', url, jar)), '401 TOKEN_EXPIRED', url)
  }
})

test('two credentials in one request are refused, whichever would be right', async (t) => {
  const { call, login } = await build(t)
  const jar = await login()
  const access = jar['__Host-access'] ?? ''
  t.equal(codeOf(await call('GET', '/me', `__Host-access=tossed; ${cookieHeader(jar)}`)), '401 TOKEN_INVALID')
  t.equal(codeOf(await call('GET', '/me', `${cookieHeader(jar)}; __Host-access=${access}`)), '401 TOKEN_INVALID')
  for (const authorization of [`Bearer ${access}`, 'bearer x', 'BEARER\tx', 'Bearer']) {
    t.equal(codeOf(await call('GET', '/me', jar, { headers: { authorization } })), '401 TOKEN_INVALID', authorization)
  }
  t.equal(
    (await call('GET', '/me', jar, { headers: { authorization: 'Basic YTpi' } })).statusCode,
    200,
    "a proxy's Basic is none of ours",
  )
  t.equal(
    codeOf(await call('GET', '/me', {}, { headers: { authorization: `Bearer ${access}` } })),
    '401 TOKEN_MISSING',
    'a bearer token is no way in',
  )
  t.equal(
    (await call('GET', '/me', `a=1; ${cookieHeader(jar)}; access=x; __host-access=y`)).statusCode,
    200,
    'other names are not ours',
  )
})

test('revocation: strict counts a logout at once, stateless until the token expires', async (t) => {
  const { call, login } = await build(t)
  const jar = await login()
  await call('POST', '/auth/logout', jar)
  t.equal(codeOf(await call('GET', '/me', jar)), '401 SESSION_REVOKED')
  t.equal((await call('GET', '/stateless', jar)).statusCode, 200)

  const relaxed = await build(t, {
    options: { revocation: 'stateless' },
    routes: (app) => {
      app.get('/strict', { security: { auth: { revocation: 'strict' } } }, async () => 'in')
    },
  })
  const other = await relaxed.login()
  await relaxed.call('POST', '/auth/logout', other)
  t.equal((await relaxed.call('GET', '/me', other)).statusCode, 200)
  t.equal(codeOf(await relaxed.call('GET', '/strict', other)), '401 SESSION_REVOKED')
})

test('request.user throws where nobody is signed in, and nobody can set either', async (t) => {
  const { call, login } = await build(t, {
    routes (app) {
      app.get('/user', { security: { auth: 'optional' } }, async (request) => request.user)
      app.get('/set', async (request) => {
        t.throws(() => { Object.assign(request.user, { id: 'root' }) }, TypeError)
        t.throws(() => { Object.assign(request.auth?.roles ?? {}, { 0: 'admin' }) }, TypeError)
        t.throws(() => { Object.assign(request, { auth: null }) }, TypeError)
        t.throws(() => { Object.assign(request, { user: { id: 'root' } }) }, TypeError)
        return request.user.id
      })
    },
  })
  const response = await call('GET', '/user')
  t.equal(response.statusCode, 500)
  t.match(response.json(), { message: /^request\.user: no user is signed in/ })
  const jar = await login()
  t.equal((await call('GET', '/set', jar)).body, 'ada')
})

test('on loopback over plain HTTP outside production the cookies have neither prefix nor Secure', async (t) => {
  const { app, call } = await build(t)
  for (const host of ['localhost', 'localhost:3000', '127.0.0.1:3000', '[::1]:3000']) {
    const response = await call('POST', '/auth/login', {}, {
      headers: { host },
      payload: { email: 'ada@example.com', password: 'right' },
    })
    t.same(setCookies(response).map((line) => line.replace(/=[^;]+/, '=…')), [
      'access=…; Max-Age=604800; Path=/; HttpOnly; SameSite=Strict',
      'refresh=…; Max-Age=604800; Path=/auth; HttpOnly; SameSite=Strict',
    ], host)
    const cookie = setCookies(response).map((line) => line.split(';')[0]).join('; ')
    t.equal((await call('GET', '/me', cookie, { headers: { host } })).statusCode, 200)
    t.equal((await call('POST', '/auth/refresh', cookie, { headers: { host } })).statusCode, 200)
    t.equal(codeOf(await call('GET', '/me', cookie)), '401 TOKEN_MISSING', 'elsewhere those names mean nothing')
  }
  for (const host of ['localhost.evil.example', 'api.example.com', '127.0.0.2', 'LOCALHOST.example']) {
    const response = await app.inject({
      method: 'POST',
      url: '/auth/login',
      headers: { host },
      payload: { email: 'ada@example.com', password: 'right' },
    })
    t.match(setCookies(response), [/^__Host-access=/, /^__Secure-refresh=/], host)
  }
})

test('scopes: all of them are needed, and the lack of one is an event', async (t) => {
  const options = {
    scopes: ['read', 'write', 'audit'],
    loadUser: async (id: string) => ({ id, roles: ['user'], scopes: id === 'ada' ? ['read', 'write'] : [] }),
  }
  const routes = (app: FastifyInstance): void => {
    app.get('/read', { security: { auth: { scopes: ['read'] } } }, async (request) => request.auth?.scopes)
    app.get(
      '/both',
      { security: { auth: { scopes: ['write', 'read'], roles: ['user', 'admin'] } } },
      async (request) => request.user,
    )
    app.get('/audit', { security: { auth: { scopes: ['read', 'audit'] } } }, async () => 'audit')
    app.post('/sign-in', { security: { auth: publicRoute('test') } }, async (request, reply) => {
      await reply.login(request.body as { id: string, roles: string[] })
    })
  }
  const { app, call, events } = await build(t, { options, routes })
  const signIn = async (user: unknown): Promise<Record<string, string>> =>
    jarOf(await call('POST', '/sign-in', {}, { payload: user as object }))
  const jar = await signIn({ id: 'ada', roles: ['user'], scopes: ['read', 'write', 'read'] })
  t.equal(
    (JSON.parse(Buffer.from(jar['__Host-access']?.split('.')[1] ?? '', 'base64url').toString()) as { scope: string })
      .scope,
    'read write',
  )
  t.same((await call('GET', '/read', jar)).json(), ['read', 'write'])
  t.same((await call('GET', '/both', jar)).json(), { id: 'ada', roles: ['user'], scopes: ['read', 'write'] })
  const refused = await call('GET', '/audit', jar)
  t.equal(codeOf(refused), '403 INSUFFICIENT_SCOPE')
  t.equal(refused.headers['www-authenticate'], undefined)
  t.same(events.at(-1), { name: 'authz_fail', userId: 'ada', reason: 'INSUFFICIENT_SCOPE' })
  t.same(
    (await call('GET', '/read', jarOf(await call('POST', '/auth/refresh', jar)))).json(),
    ['read', 'write'],
    'a refresh reads them again',
  )

  const none = await signIn({ id: 'bob', roles: ['user'] })
  t.equal(codeOf(await call('GET', '/read', none)), '403 INSUFFICIENT_SCOPE')
  t.match((await call('GET', '/me', none)).json(), { user: { scopes: [] }, auth: { scopes: [] } })
  t.equal(
    (await call('POST', '/sign-in', {}, { payload: { id: 'bob', roles: ['user'], scopes: ['root'] } })).statusCode,
    500,
  )

  const bearer = await build(t, { options: { ...options, sources: ['bearer'] }, routes })
  const token =
    jarOf(
      await bearer.call('POST', '/sign-in', {}, { payload: { id: 'ada', roles: ['user'], scopes: ['read'] } }),
    )['__Host-access'] ?? ''
  const authorization = `Bearer ${token}`
  t.equal((await bearer.call('GET', '/read', {}, { headers: { authorization } })).statusCode, 200)
  const challenged = await bearer.call('GET', '/audit', {}, { headers: { authorization } })
  t.equal(
    challenged.headers['www-authenticate'],
    'Bearer realm="bulwark", error="insufficient_scope", scope="read audit"',
  )
  t.equal(
    (await bearer.call('GET', '/admin', {}, { headers: { authorization } })).headers['www-authenticate'],
    undefined,
    'a role is no matter of tokens',
  )
  bearer.clock.advance(301_000)
  t.equal(
    (await bearer.call('GET', '/fresh', {}, { headers: { authorization } })).headers['www-authenticate'],
    'Bearer realm="bulwark", error="insufficient_user_authentication", max_age="300"',
  )
  t.notOk('scopes' in (await (await build(t)).app.inject('/open')).headers)
  t.ok(app)
})

test('a service without scopes shows none, and a route that asks for one does not start', async (t) => {
  const { call, login } = await build(t)
  const me = (await call('GET', '/me', await login())).json<{ user: object, auth: object }>()
  t.notOk('scopes' in me.user)
  t.match(me.auth, { scopes: [] })
  await t.rejects(
    build(t, {
      routes: (app) => {
        app.get('/x', { security: { auth: { scopes: ['read'] } } }, async () => 1)
      },
    }),
    {
      code: 'BULWARK_CONFIG',
      problems: [{
        path: 'GET /x security.auth.scopes',
        message: 'Unknown scope "read".',
        fix: 'Declare it in auth.scopes.',
      }],
    },
  )
  await t.rejects(
    build(t, {
      options: { scopes: ['read'] },
      routes: (app) => {
        app.get('/x', { security: { auth: { scopes: ['raed'] } } }, async () => 1)
      },
    }),
    { code: 'BULWARK_CONFIG', problems: [{ fix: 'Did you mean "read"?' }] },
  )
})

test('a token whose session has ended is an event, and one that is outdated must be refreshed', async (t) => {
  const { call, login, events } = await build(t)
  const ended = await login()
  await call('POST', '/auth/logout', ended)
  const count = events.length
  for (const url of ['/me', '/maybe', '/admin']) {
    t.equal(codeOf(await call('GET', url, ended)), '401 SESSION_REVOKED', url)
  }
  t.same(
    events.slice(count),
    Array.from({ length: 3 }, () => ({ name: 'authn_token_invalid', kind: 'access', code: 'SESSION_REVOKED' })),
  )

  const stores: MemorySessionStore[] = []
  const create = Reflect.get<MemorySessionStore, 'create'>(MemorySessionStore.prototype, 'create')
  MemorySessionStore.prototype.create = function found (session) {
    stores.push(this)
    return create.call(this, session)
  }
  t.teardown(() => {
    MemorySessionStore.prototype.create = create
  })
  const world = await build(t)
  const jar = await world.login()
  world.clock.advance(1000)
  await stores[0]?.outdate('ada')
  const before = world.events.length
  for (const url of ['/me', '/maybe']) t.equal(codeOf(await world.call('GET', url, jar)), '401 TOKEN_EXPIRED', url)
  t.equal((await world.call('GET', '/stateless', jar)).statusCode, 200)
  t.equal(world.events.length, before, 'everyday life is no event')
  t.equal((await world.call('GET', '/me', jarOf(await world.call('POST', '/auth/refresh', jar)))).statusCode, 200)
})

test('sessions in cookies need the csrf plugin in production, and elsewhere a warning', async (t) => {
  const production = { NODE_ENV: 'production' }
  const env = process.env['NODE_ENV']
  const logged: string[] = []
  const server = { logger: { level: 'warn', stream: { write: (line: string) => { logged.push(line) } } } }
  await build(t, { server })
  t.equal(logged.filter((line) => line.includes('nothing refuses requests that other sites make')).length, 1)
  Object.assign(process.env, production)
  t.teardown(() => {
    if (env === undefined) Reflect.deleteProperty(process.env, 'NODE_ENV')
    else process.env['NODE_ENV'] = env
  })
  const options = { allowMemoryStore: true }
  for (const sources of [undefined, ['cookie'], ['bearer', 'cookie']] as const) {
    await t.rejects(build(t, { options: { ...options, ...(sources !== undefined && { sources }) } }), {
      code: 'BULWARK_CONFIG',
      problems: [{ path: 'auth.sources', fix: /`csrf` in the definition.*sources: \['bearer'\]/ }],
    })
  }
  logged.length = 0
  await build(t, { server, options: { ...options, sources: ['bearer'] } })
  await build(t, { server, options, before: async (app) => { await app.register(csrf) } })
  await build(t, { server, options, routes: async (app) => { await app.register(csrf) } })
  t.notMatch(logged.join(''), /other sites/, 'the csrf plugin may come before or after')
})

test('a route that is older than the plugin stops the boot by its name, and never escapes it', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/before', async () => 1)
  await app.register(async (child) => {
    child.get('/child', async () => 1)
    await child.register(async (grandchild) => { grandchild.get('/grandchild', async () => 1) })
  })
  void app.register(async (child) => { child.get('/unawaited', async () => 1) })
  await app.register(auth, {
    roles: ['user'],
    redis: false,
    accessSecret: secret(),
    refreshSecret: secret(),
    loadUser: async () => null,
  })
  app.get('/after', async () => 1)
  await t.rejects(async () => { await app.ready() }, {
    code: 'BULWARK_CONFIG',
    problems: ['/before', '/child', '/grandchild', '/unawaited'].map((url) => ({ path: `GET,HEAD ${url}` })),
  })
})

test('a request that nobody signed in has nobody, whichever instance made it', async (t) => {
  t.equal(signedIn({} as FastifyRequest), null)
  const request = {} as FastifyRequest
  setSignedIn(request, null)
  t.equal(signedIn(request), null)
})
