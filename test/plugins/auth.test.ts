import { once } from 'node:events'
import { connect, type IncomingHttpHeaders } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { test } from 'tap'
import { auth } from '../../plugins/auth.js'
import { build, codeOf, cookieHeader, jarOf, secret, setCookies } from '../lib/auth/support.js'

const ATTRIBUTES = 'HttpOnly; Secure; SameSite=Strict'

test('a login sets both cookies with their exact attributes and answers with the user', async (t) => {
  const { call, events } = await build(t, { options: { claims: Type.Object({ tenant: Type.String() }) } })
  const response = await call('POST', '/auth/login', {}, { payload: { email: 'ada@example.com', password: 'right' } })
  t.equal(response.statusCode, 200)
  t.same(response.json(), { user: { id: 'ada', roles: ['user'], tenant: 'acme' } })
  t.same(setCookies(response).map((line) => line.replace(/=[^;]+/, '=…')), [
    `__Host-access=…; Max-Age=604800; Path=/; ${ATTRIBUTES}`,
    `__Secure-refresh=…; Max-Age=604800; Path=/auth; ${ATTRIBUTES}`,
  ])
  t.equal(response.headers['cache-control'], 'no-store')
  t.match(events, [{ name: 'authn_login_success', userId: 'ada' }, { name: 'session_created', userId: 'ada' }, {
    name: 'authn_token_created',
    userId: 'ada',
  }])
  const me = await call('GET', '/me', jarOf(response))
  t.match(me.json(), {
    user: { id: 'ada', roles: ['user'], tenant: 'acme' },
    auth: { userId: 'ada', roles: ['user'], user: { id: 'ada' } },
  })
})

test('a claim that is not declared reaches neither the token nor the answer', async (t) => {
  const { call } = await build(t)
  const response = await call('POST', '/auth/login', {}, { payload: { email: 'ada@example.com', password: 'right' } })
  t.same(response.json(), { user: { id: 'ada', roles: ['user'] } })
  t.notMatch(Buffer.from(jarOf(response)['__Host-access']?.split('.')[1] ?? '', 'base64url').toString(), /acme/)
})

test('wrong credentials are a 401 with a challenge, an event and no cookie', async (t) => {
  const { call, events } = await build(t, {
    options: {
      authenticate: async ({ password }) => {
        if (password === 'boom') throw new Error('database')
        return undefined as unknown as null
      },
    },
  })
  const response = await call('POST', '/auth/login', {}, { payload: { email: 'ada@example.com', password: 'wrong' } })
  t.equal(codeOf(response), '401 CREDENTIALS_INVALID')
  t.equal(response.headers['www-authenticate'], 'Cookie realm="bulwark"')
  t.same(setCookies(response), [])
  t.same(events, [{ name: 'authn_login_fail', reason: 'credentials' }])
  t.equal(
    (await call('POST', '/auth/login', {}, { payload: { email: 'ada@example.com', password: 'boom' } })).statusCode,
    500,
  )
  t.same(events.at(-1), { name: 'authn_login_fail', reason: 'error' })
})

test('a login body is closed and bounded', async (t) => {
  const { call } = await build(t, {
    options: {
      authenticate: async () => {
        throw new Error('must not be asked')
      },
    },
  })
  for (
    const payload of [
      {},
      { email: 'ada@example.com' },
      { email: 'ada', password: 'x' },
      { email: 'ada@example.com', password: '' },
      { email: 'ada@example.com', password: 'x'.repeat(1025) },
      { email: `${'a'.repeat(250)}@example.com`, password: 'x' },
      { email: ['ada@example.com'], password: { a: 1 } },
    ]
  ) {
    t.equal((await call('POST', '/auth/login', {}, { payload })).statusCode, 400, JSON.stringify(payload).slice(0, 60))
  }
})

test('a login always makes a new session and ends the one presented', async (t) => {
  const { call, login, names, clock } = await build(t)
  const first = await login()
  const second = await login(first)
  t.not(first['__Host-access'], second['__Host-access'])
  t.equal(codeOf(await call('GET', '/me', first)), '401 SESSION_REVOKED')
  t.equal((await call('GET', '/me', second)).statusCode, 200)
  t.ok(names().includes('authn_token_revoked'))

  clock.advance(3_600_000)
  const third = await login({ '__Host-access': second['__Host-access'] ?? '' })
  t.equal(
    codeOf(await call('POST', '/auth/refresh', second)),
    '401 SESSION_REVOKED',
    'an expired access token still names its session',
  )
  t.equal((await call('GET', '/me', third)).statusCode, 200)
})

test('a logout ends the session and expires both cookies as they were set', async (t) => {
  const { call, login, events } = await build(t)
  const jar = await login()
  const response = await call('POST', '/auth/logout', jar)
  t.equal(response.statusCode, 204)
  t.equal(response.body, '')
  t.same(setCookies(response), [
    `__Host-access=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; ${ATTRIBUTES}`,
    `__Secure-refresh=; Max-Age=0; Path=/auth; Expires=Thu, 01 Jan 1970 00:00:00 GMT; ${ATTRIBUTES}`,
  ])
  t.equal(response.headers['clear-site-data'], '"storage"')
  t.match(events.at(-1), { name: 'authn_token_revoked', userId: 'ada', reason: 'logout' })
  t.equal(codeOf(await call('GET', '/me', jar)), '401 SESSION_REVOKED')
  t.equal(codeOf(await call('POST', '/auth/refresh', jar)), '401 SESSION_REVOKED')
  t.equal((await call('POST', '/auth/logout', jar)).statusCode, 204, 'twice is once')
})

test('a logout works with whatever is left of a session', async (t) => {
  const { call, login, clock } = await build(t)
  for (const keep of ['__Host-access', '__Secure-refresh']) {
    const jar = await login()
    clock.advance(1_000_000)
    t.equal((await call('POST', '/auth/logout', { [keep]: jar[keep] ?? '' })).statusCode, 204)
    t.equal(
      codeOf(await call('POST', '/auth/refresh', jar)),
      '401 SESSION_REVOKED',
      `only ${keep}, the access token expired`,
    )
  }
  const jar = await login()
  t.equal(
    (await call('POST', '/auth/logout', `__Host-access=x; ${cookieHeader(jar)}; __Secure-refresh=y`)).statusCode,
    204,
  )
  t.equal(codeOf(await call('GET', '/me', jar)), '401 SESSION_REVOKED', 'also among duplicates')
  for (const cookie of ['', '__Host-access=nonsense', '__Host-access=a; __Host-access=b']) {
    const response = await call('POST', '/auth/logout', cookie)
    t.equal(response.statusCode, 204)
    t.equal(setCookies(response).length, 2)
  }
})

test('reply.login and reply.logout do the same for an app\'s own routes, and keep the app\'s cookies', async (t) => {
  const { call } = await build(t, {
    options: { authenticate: undefined as never },
    routes (app) {
      app.post('/sign-up', { security: { auth: 'optional' } }, async (request, reply) => {
        reply.header('set-cookie', 'theme=dark')
        await reply.login({ id: 'ada', roles: ['user'] })
        await reply.login({ id: 'ada', roles: ['user'] })
        reply.header('set-cookie', 'lang=en')
        return request.user
      })
      app.post('/leave', async (_request, reply) => {
        await reply.logout()
        return 'bye'
      })
    },
  })
  const response = await call('POST', '/sign-up')
  t.same(response.json(), { id: 'ada', roles: ['user'] })
  t.same(setCookies(response).map((line) => line.split('=')[0]), ['theme', 'lang', '__Host-access', '__Secure-refresh'])
  t.equal((await call('GET', '/me', jarOf(response))).statusCode, 200)
  const bye = await call('POST', '/leave', jarOf(response))
  t.equal(bye.headers['clear-site-data'], '"storage"')
  t.equal(codeOf(await call('GET', '/me', jarOf(response))), '401 SESSION_REVOKED')
  t.equal(
    (await call('POST', '/auth/login', {}, { payload: { email: 'a@b.co', password: 'x' } })).statusCode,
    404,
    'no authenticate, no built-in routes',
  )
})

test('a login whose cookie would be too large says so and changes nothing', async (t) => {
  const { call, login, users, events } = await build(t, { options: { claims: Type.Object({ tenant: Type.String() }) } })
  const jar = await login()
  users.set('big', { id: 'big', roles: ['user'], tenant: 'x'.repeat(4000) })
  const before = events.length
  const response = await call('POST', '/auth/login', jar, { payload: { email: 'big@example.com', password: 'right' } })
  t.equal(response.statusCode, 500)
  t.match(response.json(), { message: /the cookie __Host-access would take \d+ bytes and browsers keep 4096/ })
  t.equal(events.length, before)
  t.equal((await call('GET', '/me', jar)).statusCode, 200)
  users.set('ada', { id: 'ada', roles: ['user'], tenant: 'x'.repeat(4000) })
  t.equal((await call('POST', '/auth/refresh', jar)).statusCode, 500)
  users.set('ada', { id: 'ada', roles: ['user'], tenant: 'x' })
  t.equal((await call('POST', '/auth/refresh', jar)).statusCode, 200)
})

test('app.security.sessions.revokeUser ends all sessions of a user and nobody else\'s', async (t) => {
  const { app, call, login, events } = await build(t)
  const [one, two] = [await login(), await login()]
  const other = jarOf(
    await call('POST', '/auth/login', {}, { payload: { email: 'root@example.com', password: 'right' } }),
  )
  t.equal(app.security.sessions.store, 'memory')
  await app.security.sessions.revokeUser('ada')
  for (const jar of [one, two]) t.equal(codeOf(await call('GET', '/me', jar)), '401 SESSION_REVOKED')
  t.equal((await call('GET', '/admin', other)).statusCode, 200)
  t.equal(events.filter(({ name }) => name === 'authn_token_revoked').length, 2)
  t.ok(Object.isFrozen(app.security.sessions))
})

test('over HTTP/2 the same holds: cookies in pieces, a cookie twice, a cookie beside a Bearer token', async (t) => {
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(auth, {
    roles: ['user'], redis: false, accessSecret: secret(), refreshSecret: secret(), sources: ['cookie', 'bearer'],
    authenticate: async () => ({ id: 'ada', roles: ['user'] }), loadUser: async (id) => ({ id, roles: ['user'] }),
  })
  app.get('/me', async (request) => request.user)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const client = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(() => {
    client.destroy()
  })
  const send = async (
    headers: Record<string, string | string[]>,
    body?: object,
  ): Promise<IncomingHttpHeaders & { ':status'?: number }> => {
    const stream = client.request(headers)
    stream.end(body === undefined ? undefined : JSON.stringify(body))
    const [answer] = await once(stream, 'response') as [IncomingHttpHeaders]
    stream.resume()
    return answer
  }
  const signedIn = await send({ ':method': 'POST', ':path': '/auth/login', 'content-type': 'application/json' }, {
    email: 'ada@example.com',
    password: 'right',
  })
  const [access = '', refresh = ''] = (signedIn['set-cookie'] ?? []).map((line) => line.slice(0, line.indexOf(';')))
  const bearer = `Bearer ${access.slice(access.indexOf('=') + 1)}`
  const table: [string, Record<string, string | string[]>, number][] = [
    ['a cookie', { cookie: access }, 200],
    ['a cookie among others', { cookie: ['theme=dark', access, refresh] }, 200],
    ['a Bearer token', { authorization: bearer }, 200],
    ['the cookie twice', { cookie: [access, 'theme=dark', access] }, 401],
    ['both', { cookie: access, authorization: bearer }, 401],
    ['none', {}, 401],
  ]
  for (const [what, headers, status] of table) {
    t.equal((await send({ ':path': '/me', ...headers }))[':status'], status, what)
  }
  t.equal((await send({ ':method': 'POST', ':path': '/auth/refresh', cookie: refresh }))[':status'], 200)
})
