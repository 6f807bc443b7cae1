import { createHmac } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { test } from 'tap'
import { MemorySessionStore } from '../../lib/auth/memory-store.js'
import { build, codeOf, cookieHeader, setCookies } from '../lib/auth/support.js'

const rootLogin = { payload: { email: 'root@example.com', password: 'right' } }

test('every route needs a signed-in user unless it says otherwise', async (t) => {
  const { call, login } = await build(t, { before: (app) => { app.get('/early', async () => 'early') }, server: { logger: false } })
  for (const url of ['/me', '/admin', '/fresh', '/stateless', '/early']) {
    const response = await call('GET', url)
    t.equal(codeOf(response), '401 TOKEN_MISSING', url)
    t.equal(response.headers['www-authenticate'], 'Cookie realm="bulwark"')
  }
  const jar = await login()
  t.equal((await call('GET', '/me', jar)).statusCode, 200)
  t.equal((await call('GET', '/early', jar)).statusCode, 200, 'a route declared before the plugin is guarded too')
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
  const { call, login, events } = await build(t, { routes: (app) => { app.get('/either', { security: { auth: { roles: ['admin', 'user'] } } }, async () => 'in') } })
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
  MemorySessionStore.prototype.check = function counted (userId, sessionId, tokenVersion) { asked++; return original.call(this, userId, sessionId, tokenVersion) }
  t.teardown(() => { MemorySessionStore.prototype.check = original })
  const { call, login, accessSecret, refreshSecret, events } = await build(t)
  const jar = await login()
  const good = jar['__Host-access'] ?? ''
  const [header = '', payload = '', mac = ''] = good.split('.')
  const sign = (head: string, body: string, key = accessSecret): string => `${head}.${body}.${createHmac('sha256', key).update(`${head}.${body}`).digest('base64url')}`
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
    'future iat, signed': sign(header, encode({ ...claims, iat: Number(claims['iat']) + 60, exp: Number(claims['iat']) + 120 })),
    'an array, signed': sign(header, encode([claims])),
    'roles escalated': `${header}.${encode({ ...claims, roles: ['admin'] })}.${mac}`,
  }
  for (const [what, token] of Object.entries(table)) {
    for (const url of ['/me', '/maybe', '/stateless', '/admin']) {
      const response = await call('GET', url, `__Host-access=${token}`)
      t.same([codeOf(response), response.json<{ message: string }>().message], ['401 TOKEN_INVALID', 'Invalid token.'], `${what} on ${url}`)
    }
    t.equal((await call('GET', '/open', `__Host-access=${token}`)).body, 'nobody', 'a public route does not even read it')
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
  for (const url of ['/me', '/maybe', '/admin', '/stateless']) t.equal(codeOf(await call('GET', url, jar)), '401 TOKEN_EXPIRED', url)
})

test('two credentials in one request are refused, whichever would be right', async (t) => {
  const { call, login } = await build(t)
  const jar = await login()
  const access = jar['__Host-access'] ?? ''
  t.equal(codeOf(await call('GET', '/me', `__Host-access=tossed; ${cookieHeader(jar)}`)), '401 TOKEN_INVALID')
  t.equal(codeOf(await call('GET', '/me', `${cookieHeader(jar)}; __Host-access=${access}`)), '401 TOKEN_INVALID')
  for (const authorization of [`Bearer ${access}`, 'bearer x', 'BEARER\tx', 'Bearer']) t.equal(codeOf(await call('GET', '/me', jar, { headers: { authorization } })), '401 TOKEN_INVALID', authorization)
  t.equal((await call('GET', '/me', jar, { headers: { authorization: 'Basic YTpi' } })).statusCode, 200, 'a proxy\'s Basic is none of ours')
  t.equal(codeOf(await call('GET', '/me', {}, { headers: { authorization: `Bearer ${access}` } })), '401 TOKEN_MISSING', 'a bearer token is no way in')
  t.equal((await call('GET', '/me', `a=1; ${cookieHeader(jar)}; access=x; __host-access=y`)).statusCode, 200, 'other names are not ours')
})

test('revocation: strict counts a logout at once, stateless until the token expires', async (t) => {
  const { call, login } = await build(t)
  const jar = await login()
  await call('POST', '/auth/logout', jar)
  t.equal(codeOf(await call('GET', '/me', jar)), '401 SESSION_REVOKED')
  t.equal((await call('GET', '/stateless', jar)).statusCode, 200)

  const relaxed = await build(t, { options: { revocation: 'stateless' }, routes: (app) => { app.get('/strict', { security: { auth: { revocation: 'strict' } } }, async () => 'in') } })
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
  t.match(response.json(), { message: /^request\.user: nobody is signed in/ })
  const jar = await login()
  t.equal((await call('GET', '/set', jar)).body, 'ada')
})

test('on loopback over plain HTTP outside production the cookies have neither prefix nor Secure', async (t) => {
  const { app, call } = await build(t)
  for (const host of ['localhost', 'localhost:3000', '127.0.0.1:3000', '[::1]:3000']) {
    const response = await call('POST', '/auth/login', {}, { headers: { host }, payload: { email: 'ada@example.com', password: 'right' } })
    t.same(setCookies(response).map((line) => line.replace(/=[^;]+/, '=…')), ['access=…; Max-Age=900; Path=/; HttpOnly; SameSite=Strict', 'refresh=…; Max-Age=604800; Path=/auth; HttpOnly; SameSite=Strict'], host)
    const cookie = setCookies(response).map((line) => line.split(';')[0]).join('; ')
    t.equal((await call('GET', '/me', cookie, { headers: { host } })).statusCode, 200)
    t.equal((await call('POST', '/auth/refresh', cookie, { headers: { host } })).statusCode, 200)
    t.equal(codeOf(await call('GET', '/me', cookie)), '401 TOKEN_MISSING', 'elsewhere those names mean nothing')
  }
  for (const host of ['localhost.evil.example', 'api.example.com', '127.0.0.2', 'LOCALHOST.example']) {
    const response = await app.inject({ method: 'POST', url: '/auth/login', headers: { host }, payload: { email: 'ada@example.com', password: 'right' } })
    t.match(setCookies(response), [/^__Host-access=/, /^__Secure-refresh=/], host)
  }
})
