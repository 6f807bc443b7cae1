import { Type } from '@sinclair/typebox'
import { test } from 'tap'
import { build, codeOf, cookieHeader, jarOf, setCookies } from '../lib/auth/support.js'

const ATTRIBUTES = 'HttpOnly; Secure; SameSite=Strict'

test('a login sets both cookies with their exact attributes and answers with the user', async (t) => {
  const { call, events } = await build(t, { options: { claims: Type.Object({ tenant: Type.String() }) } })
  const response = await call('POST', '/auth/login', {}, { payload: { email: 'ada@example.com', password: 'right' } })
  t.equal(response.statusCode, 200)
  t.same(response.json(), { user: { id: 'ada', roles: ['user'], tenant: 'acme' } })
  t.same(setCookies(response).map((line) => line.replace(/=[^;]+/, '=…')), [
    `__Host-access=…; Max-Age=900; Path=/; ${ATTRIBUTES}`,
    `__Secure-refresh=…; Max-Age=604800; Path=/auth; ${ATTRIBUTES}`,
  ])
  t.equal(response.headers['cache-control'], 'no-store')
  t.match(events, [{ name: 'authn_login_success', userId: 'ada' }, { name: 'session_created', userId: 'ada' }, { name: 'authn_token_created', userId: 'ada' }])
  const me = await call('GET', '/me', jarOf(response))
  t.match(me.json(), { user: { id: 'ada', roles: ['user'], tenant: 'acme' }, auth: { userId: 'ada', roles: ['user'], user: { id: 'ada' } } })
})

test('a claim that is not declared reaches neither the token nor the answer', async (t) => {
  const { call } = await build(t)
  const response = await call('POST', '/auth/login', {}, { payload: { email: 'ada@example.com', password: 'right' } })
  t.same(response.json(), { user: { id: 'ada', roles: ['user'] } })
  t.notMatch(Buffer.from(jarOf(response)['__Host-access']?.split('.')[1] ?? '', 'base64url').toString(), /acme/)
})

test('wrong credentials are a 401 with a challenge, an event and no cookie', async (t) => {
  const { call, events } = await build(t, { options: { authenticate: async ({ password }) => { if (password === 'boom') throw new Error('database'); return undefined as unknown as null } } })
  const response = await call('POST', '/auth/login', {}, { payload: { email: 'ada@example.com', password: 'wrong' } })
  t.equal(codeOf(response), '401 CREDENTIALS_INVALID')
  t.equal(response.headers['www-authenticate'], 'Cookie realm="bulwark"')
  t.same(setCookies(response), [])
  t.same(events, [{ name: 'authn_login_fail', reason: 'credentials' }])
  t.equal((await call('POST', '/auth/login', {}, { payload: { email: 'ada@example.com', password: 'boom' } })).statusCode, 500)
  t.same(events.at(-1), { name: 'authn_login_fail', reason: 'error' })
})

test('a login body is closed and bounded', async (t) => {
  const { call } = await build(t, { options: { authenticate: async () => { throw new Error('must not be asked') } } })
  for (const payload of [{}, { email: 'ada@example.com' }, { email: 'ada', password: 'x' }, { email: 'ada@example.com', password: '' }, { email: 'ada@example.com', password: 'x'.repeat(1025) },
    { email: `${'a'.repeat(250)}@example.com`, password: 'x' }, { email: ['ada@example.com'], password: { a: 1 } }]) {
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
  t.equal(codeOf(await call('POST', '/auth/refresh', second)), '401 SESSION_REVOKED', 'an expired access token still names its session')
  t.equal((await call('GET', '/me', third)).statusCode, 200)
})

test('a refresh rotates the refresh token, reads the user again and keeps the time of the login', async (t) => {
  const { call, login, clock, users, names } = await build(t)
  const first = await login()
  const authTime = (await call('GET', '/me', first)).json<{ auth: { authTime: number } }>().auth.authTime
  clock.advance(1_000_000)
  t.equal(codeOf(await call('GET', '/me', first)), '401 TOKEN_EXPIRED')
  users.set('ada', { id: 'ada', roles: ['user', 'admin'], tenant: 'acme' })
  const response = await call('POST', '/auth/refresh', first)
  t.equal(response.statusCode, 200)
  t.same(response.json(), { user: { id: 'ada', roles: ['user', 'admin'] } })
  t.same(setCookies(response).map((line) => line.replace(/=[^;]+/, '=…')), [
    `__Host-access=…; Max-Age=900; Path=/; ${ATTRIBUTES}`,
    `__Secure-refresh=…; Max-Age=604800; Path=/auth; ${ATTRIBUTES}`,
  ])
  const second = jarOf(response)
  t.not(second['__Secure-refresh'], first['__Secure-refresh'])
  t.match((await call('GET', '/me', second)).json(), { auth: { authTime, roles: ['user', 'admin'] } })
  t.equal((await call('GET', '/admin', second)).statusCode, 200)
  t.ok(names().includes('session_renewed'))
})

test('200 parallel refreshes all get the same successor, and the session lives on', async (t) => {
  const { call, login, names } = await build(t)
  const jar = await login()
  const answers = await Promise.all(Array.from({ length: 200 }, () => call('POST', '/auth/refresh', jar)))
  t.same([...new Set(answers.map(({ statusCode }) => statusCode))], [200])
  t.equal(new Set(answers.map((answer) => jarOf(answer)['__Secure-refresh'])).size, 1)
  t.ok(answers.every((answer) => jarOf(answer)['__Host-access'] !== undefined))
  t.equal(names().filter((name) => name === 'session_renewed').length, 1)
  const [answer] = answers
  if (answer !== undefined) t.equal((await call('GET', '/me', jarOf(answer))).statusCode, 200)
})

test('a stolen token is found at its reuse: the family dies, and both sides are told', async (t) => {
  const { call, login, clock, events } = await build(t)
  const stolen = await login()
  const owner = jarOf(await call('POST', '/auth/refresh', stolen))
  clock.advance(10_000)
  const thief = await call('POST', '/auth/refresh', stolen)
  t.equal(codeOf(thief), '401 REFRESH_REUSED')
  t.same(setCookies(thief), [])
  t.match(events.slice(-2), [{ name: 'authn_token_reuse', userId: 'ada' }, { name: 'authn_token_revoked', reason: 'reuse' }])
  t.equal(codeOf(await call('GET', '/me', owner)), '401 SESSION_REVOKED')
  t.equal(codeOf(await call('POST', '/auth/refresh', owner)), '401 REFRESH_REUSED')
})

test('within the grace another client does not get the successor', async (t) => {
  const { call, login } = await build(t)
  const jar = await login()
  await call('POST', '/auth/refresh', jar)
  t.equal(codeOf(await call('POST', '/auth/refresh', jar, { headers: { 'user-agent': 'curl/8' } })), '401 REFRESH_REUSED')
})

test('a session ends when idle and at its absolute end, and its cookies never outlive it', async (t) => {
  const { call, login, clock, names } = await build(t, { options: { refreshIdle: '1h', refreshAbsolute: '90m', accessTtl: '30m' } })
  let jar = await login()
  clock.advance(50 * 60_000)
  jar = jarOf(await call('POST', '/auth/refresh', jar))
  clock.advance(30 * 60_000)
  const late = await call('POST', '/auth/refresh', jar)
  t.same(setCookies(late).map((line) => /Max-Age=\d+/.exec(line)?.[0]), ['Max-Age=600', 'Max-Age=600'], 'ten minutes are left of the ninety')
  clock.advance(10 * 60_000)
  t.equal(codeOf(await call('POST', '/auth/refresh', jarOf(late))), '401 SESSION_REVOKED')
  t.equal(codeOf(await call('GET', '/me', jarOf(late))), '401 TOKEN_EXPIRED')
  t.notOk(names().includes('authn_token_reuse'))
})

test('a user who is gone or disabled loses the session at the next refresh', async (t) => {
  const { call, login, users, names } = await build(t)
  const jar = await login()
  users.delete('ada')
  t.equal(codeOf(await call('POST', '/auth/refresh', jar)), '401 SESSION_REVOKED')
  t.equal(codeOf(await call('GET', '/me', jar)), '401 SESSION_REVOKED')
  t.ok(names().includes('authn_token_revoked'))
})

test('a loadUser that fails or lies costs nobody the session', async (t) => {
  let answer: () => unknown = () => { throw new Error('database') }
  const { call, login, clock } = await build(t, { options: { loadUser: async () => answer() as null } })
  const jar = await login()
  t.equal((await call('POST', '/auth/refresh', jar)).statusCode, 500)
  answer = () => ({ id: 'root', roles: ['admin'], tenant: 'acme' })
  t.equal((await call('POST', '/auth/refresh', jar)).statusCode, 500, 'another user is not taken')
  answer = () => ({ id: 'ada', roles: ['king'], tenant: 'acme' })
  t.equal((await call('POST', '/auth/refresh', jar)).statusCode, 500)
  clock.advance(60_000)
  answer = () => ({ id: 'ada', roles: ['user'], tenant: 'acme' })
  t.equal((await call('POST', '/auth/refresh', jar)).statusCode, 200, 'nothing had been rotated')
})

test('a refresh without, with a wrong or with two refresh cookies is a 401 that leaves the cookies alone', async (t) => {
  const { call, login } = await build(t)
  const jar = await login()
  const refresh = jar['__Secure-refresh'] ?? ''
  const table: [string, string][] = [
    ['', '401 TOKEN_MISSING'],
    [cookieHeader({ '__Host-access': jar['__Host-access'] ?? '' }), '401 TOKEN_MISSING'],
    ['__Secure-refresh=', '401 TOKEN_INVALID'],
    ['__Secure-refresh=a.b.c', '401 TOKEN_INVALID'],
    [`__Secure-refresh=${jar['__Host-access'] ?? ''}`, '401 TOKEN_INVALID'],
    [`__Secure-refresh=${refresh}; __Secure-refresh=${refresh}`, '401 TOKEN_INVALID'],
    [`refresh=${refresh}`, '401 TOKEN_MISSING'],
    [`__Host-refresh=${refresh}`, '401 TOKEN_MISSING'],
  ]
  for (const [cookie, code] of table) {
    const response = await call('POST', '/auth/refresh', cookie)
    t.equal(codeOf(response), code, cookie.slice(0, 40))
    t.same(setCookies(response), [])
    t.equal(response.headers['www-authenticate'], 'Cookie realm="bulwark"')
  }
  t.equal((await call('POST', '/auth/refresh', jar)).statusCode, 200)
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
    t.equal(codeOf(await call('POST', '/auth/refresh', jar)), '401 SESSION_REVOKED', `only ${keep}, the access token expired`)
  }
  const jar = await login()
  t.equal((await call('POST', '/auth/logout', `__Host-access=x; ${cookieHeader(jar)}; __Secure-refresh=y`)).statusCode, 204)
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
  t.same(setCookies(response).map((line) => line.split('=')[0]), ['theme', '__Host-access', '__Secure-refresh', 'lang'])
  t.equal((await call('GET', '/me', jarOf(response))).statusCode, 200)
  const bye = await call('POST', '/leave', jarOf(response))
  t.equal(bye.headers['clear-site-data'], '"storage"')
  t.equal(codeOf(await call('GET', '/me', jarOf(response))), '401 SESSION_REVOKED')
  t.equal((await call('POST', '/auth/login', {}, { payload: { email: 'a@b.co', password: 'x' } })).statusCode, 404, 'no authenticate, no built-in routes')
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
  const other = jarOf(await call('POST', '/auth/login', {}, { payload: { email: 'root@example.com', password: 'right' } }))
  t.equal(app.security.sessions?.store, 'memory')
  await app.security.sessions?.revokeUser('ada')
  for (const jar of [one, two]) t.equal(codeOf(await call('GET', '/me', jar)), '401 SESSION_REVOKED')
  t.equal((await call('GET', '/admin', other)).statusCode, 200)
  t.equal(events.filter(({ name }) => name === 'authn_token_revoked').length, 2)
  t.ok(Object.isFrozen(app.security.sessions))
})
