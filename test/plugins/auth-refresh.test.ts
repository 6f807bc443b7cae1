import { test } from 'tap'
import { build, codeOf, cookieHeader, jarOf, setCookies } from '../lib/auth/support.js'

const ATTRIBUTES = 'HttpOnly; Secure; SameSite=Strict'

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
    `__Host-access=…; Max-Age=604800; Path=/; ${ATTRIBUTES}`,
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
  t.match(events.slice(-2), [{ name: 'authn_token_reuse', userId: 'ada' }, {
    name: 'authn_token_revoked',
    reason: 'reuse',
  }])
  t.equal(codeOf(await call('GET', '/me', owner)), '401 SESSION_REVOKED')
  t.equal(codeOf(await call('POST', '/auth/refresh', owner)), '401 REFRESH_REUSED')
})

test('within the grace another client does not get the successor', async (t) => {
  const { call, login } = await build(t)
  const jar = await login()
  await call('POST', '/auth/refresh', jar)
  t.equal(
    codeOf(await call('POST', '/auth/refresh', jar, { headers: { 'user-agent': 'curl/8' } })),
    '401 REFRESH_REUSED',
  )
})

test('a session ends when idle and at its absolute end, and its cookies never outlive it', async (t) => {
  const { call, login, clock, names } = await build(t, {
    options: { refreshIdle: '1h', refreshAbsolute: '90m', accessTtl: '30m' },
  })
  let jar = await login()
  clock.advance(50 * 60_000)
  jar = jarOf(await call('POST', '/auth/refresh', jar))
  clock.advance(30 * 60_000)
  const late = await call('POST', '/auth/refresh', jar)
  t.same(
    setCookies(late).map((line) => /Max-Age=\d+/.exec(line)?.[0]),
    ['Max-Age=600', 'Max-Age=600'],
    'ten minutes are left of the ninety',
  )
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
