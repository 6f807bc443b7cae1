import type { LightMyRequestResponse } from 'fastify'
import { test } from 'tap'
import { build, codeOf, setCookies, type Jar, type World } from '../lib/auth/support.js'

interface Listed {
  id: string
  current: boolean
  createdAt: string
  refreshedAt: string
  expiresAt: string
  device: string
  methods: string[]
}

const listed = (response: LightMyRequestResponse): Listed[] => response.json<{ sessions: Listed[] }>().sessions
const list = async ({ call }: World, jar: Jar): Promise<Listed[]> => listed(await call('GET', '/auth/sessions', jar))
const login = async (world: World, agent: string, name = 'ada', jar: Jar = {}): Promise<LightMyRequestResponse> =>
  world.call('POST', '/auth/login', jar, {
    payload: { email: `${name}@example.com`, password: 'right' },
    headers: { 'user-agent': agent },
  })
const jarOf = (response: LightMyRequestResponse): Jar =>
  Object.fromEntries(setCookies(response).map((line) => line.split(';')[0]?.split('=') as [string, string]))

test('a user sees the own sessions, the one refreshed last first, and nobody else\'s', async (t) => {
  const world = await build(t)
  const laptop = jarOf(await login(world, 'Laptop'))
  world.clock.advance(60_000)
  const phone = jarOf(await login(world, 'Phone'))
  jarOf(await login(world, 'Elsewhere', 'root'))
  const seen = await list(world, laptop)
  t.match(seen, [{ device: 'Phone', current: false, methods: ['pwd'] }, { device: 'Laptop', current: true }])
  t.equal(seen.length, 2)
  t.equal(Date.parse(seen[0]?.createdAt ?? '') - Date.parse(seen[1]?.createdAt ?? ''), 60_000)
  world.clock.advance(60_000)
  const refreshed = jarOf(await world.call('POST', '/auth/refresh', laptop))
  t.match(await list(world, refreshed), [{ device: 'Laptop' }, { device: 'Phone' }])
  t.equal(Date.parse((await list(world, refreshed))[0]?.expiresAt ?? '') - world.clock.now(), 604_800_000)
  t.match(await list(world, phone), [{ current: false }, { current: true }])
  t.equal(codeOf(await world.call('GET', '/auth/sessions')), '401 TOKEN_MISSING')
})

test('what a device says of itself is one bounded line without control characters', async (t) => {
  const world = await build(t, {
    options: { label: (request) => `\u202eevil\u0000\r\nname\u2028${'x'.repeat(400)} ${request.id}` },
  })
  const jar = jarOf(await login(world, 'ignored'))
  const [session] = await list(world, jar)
  t.match(session?.device, /^evil name x+$/)
  t.equal(session?.device.length, 256)
})

test('ending one session leaves the others; ending the own one signs out', async (t) => {
  const world = await build(t)
  const laptop = jarOf(await login(world, 'Laptop'))
  const phone = jarOf(await login(world, 'Phone'))
  const other = (await list(world, laptop)).find(({ current }) => !current)
  const ended = await world.call('DELETE', `/auth/sessions/${other?.id ?? ''}`, laptop)
  t.equal(ended.statusCode, 204)
  t.same(setCookies(ended), [])
  t.equal(codeOf(await world.call('GET', '/me', phone)), '401 SESSION_REVOKED')
  t.equal(codeOf(await world.call('POST', '/auth/refresh', phone)), '401 SESSION_REVOKED')
  t.equal((await world.call('GET', '/me', laptop)).statusCode, 200)
  t.equal(
    codeOf(await world.call('DELETE', `/auth/sessions/${other?.id ?? ''}`, laptop)),
    '404 NOT_FOUND',
    'a second time',
  )
  const own = (await list(world, laptop))[0]?.id ?? ''
  const out = await world.call('DELETE', `/auth/sessions/${own}`, laptop)
  t.equal(out.headers['clear-site-data'], '"storage"')
  t.match(setCookies(out), [/Max-Age=0/, /Max-Age=0/])
  t.equal(codeOf(await world.call('GET', '/me', laptop)), '401 SESSION_REVOKED')
})

test('nobody ends a session of somebody else, nor learns whether it is one', async (t) => {
  const world = await build(t)
  const ada = jarOf(await login(world, 'Laptop'))
  const root = jarOf(await login(world, 'Elsewhere', 'root'))
  const id = (await list(world, root))[0]?.id ?? ''
  const unknown = `${id.slice(0, -2)}${id.slice(-2) === 'AA' ? 'BA' : 'AA'}`
  const [theirs, none] = [
    await world.call('DELETE', `/auth/sessions/${id}`, ada),
    await world.call('DELETE', `/auth/sessions/${unknown}`, ada),
  ]
  t.equal(codeOf(theirs), '404 NOT_FOUND')
  t.equal(codeOf(none), '404 NOT_FOUND')
  t.equal((await world.call('GET', '/me', root)).statusCode, 200)
  for (const bad of ['x', '..', '%00', 'a'.repeat(5000)]) {
    t.match((await world.call('DELETE', `/auth/sessions/${bad}`, ada)).statusCode, /^4/, bad.slice(0, 5))
  }
})

test('ending the others keeps this one, ending all does not', async (t) => {
  const world = await build(t)
  const jars = [jarOf(await login(world, 'a')), jarOf(await login(world, 'b')), jarOf(await login(world, 'c'))] as const
  t.equal((await world.call('DELETE', '/auth/sessions', jars[1])).statusCode, 204)
  t.same(await Promise.all(jars.map(async (jar) => (await world.call('GET', '/me', jar)).statusCode)), [401, 200, 401])
  t.equal((await world.call('POST', '/auth/refresh', jars[1])).statusCode, 200, 'and it goes on')
  world.clock.advance(1000)
  const again = jarOf(await login(world, 'd'))
  const out = await world.call('DELETE', '/auth/sessions?all=true', again)
  t.equal(out.statusCode, 204)
  t.equal(out.headers['clear-site-data'], '"storage"')
  t.same(await Promise.all([jars[1], again].map(async (jar) => (await world.call('GET', '/me', jar)).statusCode)), [
    401,
    401,
  ])
  t.equal(world.events.filter((event) => event.name === 'authn_token_revoked').length, 4)
})

test('signing in over somebody else\'s session ends that one too', async (t) => {
  const world = await build(t)
  const root = jarOf(await login(world, 'shared', 'root'))
  const ada = jarOf(await login(world, 'shared', 'ada', root))
  t.equal((await world.call('GET', '/me', ada)).statusCode, 200)
  t.equal(codeOf(await world.call('GET', '/me', root)), '401 SESSION_REVOKED')
  t.match(world.events.filter((event) => event.name === 'authn_token_revoked'), [{ userId: 'root', reason: 'login' }])
})

test('the session routes look the session up even where the service does not', async (t) => {
  const world = await build(t, { options: { revocation: 'stateless' } })
  const jar = jarOf(await login(world, 'a'))
  await world.app.security.sessions.revokeUser('ada')
  t.equal((await world.call('GET', '/me', jar)).statusCode, 200, 'stateless: until it expires')
  for (
    const [method, url] of [['GET', '/auth/sessions'], ['DELETE', '/auth/sessions'], [
      'DELETE',
      '/auth/sessions?all=true',
    ]] as const
  ) {
    t.equal(codeOf(await world.call(method, url, jar)), '401 SESSION_REVOKED', `${method} ${url}`)
  }
})

test('at the maximum a login ends the session that was refreshed longest ago, or is refused', async (t) => {
  const evicting = await build(t, { options: { maxSessions: 2 } })
  const first = jarOf(await login(evicting, '1'))
  evicting.clock.advance(1000)
  const second = jarOf(await login(evicting, '2'))
  evicting.clock.advance(1000)
  const firstAgain = jarOf(await evicting.call('POST', '/auth/refresh', first))
  evicting.clock.advance(1000)
  const third = jarOf(await login(evicting, '3'))
  t.same(
    await Promise.all([firstAgain, second, third].map(async (jar) =>
      (await evicting.call('GET', '/me', jar)).statusCode
    )),
    [200, 401, 200],
  )
  t.match(evicting.events.filter((event) => event.name === 'authn_token_revoked'), [{ reason: 'evicted' }])

  const refusing = await build(t, { options: { maxSessions: 2, whenFull: 'refuse' } })
  const kept = jarOf(await login(refusing, '1'))
  await login(refusing, '2')
  const refused = await login(refusing, '3')
  t.equal(codeOf(refused), '409 SESSION_LIMIT_REACHED')
  t.same(setCookies(refused), [])
  t.same(refusing.events.at(-1), { name: 'authn_login_fail', reason: 'full' })
  const renewed = await login(refusing, '1', 'ada', kept)
  t.equal(renewed.statusCode, 200, 'signing in again on the same device takes its own place')
  t.equal(codeOf(await refusing.call('GET', '/me', kept)), '401 SESSION_REVOKED')
})

test('parallel logins never exceed the maximum', async (t) => {
  const world = await build(t, { options: { maxSessions: 3 } })
  const jars = (await Promise.all(Array.from({ length: 20 }, async (_, i) => login(world, `agent ${i}`)))).map(jarOf)
  const alive = (await Promise.all(jars.map(async (jar) => (await world.call('GET', '/me', jar)).statusCode))).filter((
    status,
  ) => status === 200)
  t.equal(alive.length, 3)
})

test('a user who is revoked while the password is being checked gets no session', async (t) => {
  let entered: () => void = () => {}
  const checking = new Promise<void>((resolve) => { entered = resolve })
  let go: () => void = () => {}
  const gate = new Promise<void>((resolve) => {
    go = resolve
  })
  const world = await build(t, {
    options: {
      authenticate: async () => {
        entered()
        await gate
        return { id: 'ada', roles: ['user'] }
      },
    },
  })
  const pending = login(world, 'slow')
  await checking
  // The store's clock is the test's: what lies between has a length there, too.
  await new Promise((resolve) => setTimeout(resolve, 20))
  await world.app.security.sessions.revokeUser('ada')
  go()
  const response = await pending
  t.equal(codeOf(response), '401 SESSION_REVOKED')
  t.same(setCookies(response), [])
  t.same(world.events.at(-1), { name: 'authn_login_fail', reason: 'revoked' })
  world.clock.advance(1000)
  t.equal((await login(world, 'afterwards')).statusCode, 200)
})

test('after a change of privileges the next request asks for a refresh, and that brings the new roles', async (t) => {
  const world = await build(t)
  const jar = jarOf(await login(world, 'a'))
  world.users.set('ada', { id: 'ada', roles: ['user', 'admin'], tenant: 'acme' })
  t.equal(codeOf(await world.call('GET', '/admin', jar)), '403 INSUFFICIENT_ROLE')
  await world.app.security.sessions.outdate('ada')
  t.equal(codeOf(await world.call('GET', '/admin', jar)), '401 TOKEN_EXPIRED')
  const refreshed = jarOf(await world.call('POST', '/auth/refresh', jar))
  t.equal((await world.call('GET', '/admin', refreshed)).statusCode, 200)
})

test('a reused refresh token ends its session, or by option every session of its user', async (t) => {
  for (const onReuse of ['session', 'user'] as const) {
    const world = await build(t, { options: { onReuse } })
    const stolen = jarOf(await login(world, 'a'))
    const other = jarOf(await login(world, 'b'))
    await world.call('POST', '/auth/refresh', stolen)
    world.clock.advance(11_000)
    t.equal(codeOf(await world.call('POST', '/auth/refresh', stolen)), '401 REFRESH_REUSED')
    t.equal((await world.call('GET', '/me', other)).statusCode, onReuse === 'user' ? 401 : 200)
    t.equal(world.events.filter((event) => event.name === 'authn_token_revoked').length, onReuse === 'user' ? 2 : 1)
  }
})

test('the app may sign in with methods and a label of its own', async (t) => {
  const world = await build(t, {
    routes: (app) => {
      app.post('/own', { security: { auth: 'optional' } }, async (_request, reply) => {
        await reply.login({ id: 'ada', roles: ['user'], tenant: 'acme' }, { methods: ['pwd', 'otp'], label: 'Kiosk' })
        return null
      })
      app.post('/wrong', { security: { auth: 'optional' } }, async (_request, reply) => {
        await reply.login({ id: 'ada', roles: ['user'], tenant: 'acme' }, { methods: ['not a method'] })
        return null
      })
      app.post('/clock', { security: { auth: 'optional' } }, async (request, reply) => {
        const times: Record<string, number> = { here: performance.now(), wall: Date.now(), negative: -1, none: NaN }
        await reply.login({ id: 'ada', roles: ['user'], tenant: 'acme' }, {
          checkedAt: times[(request.query as { time: string }).time] ?? 0,
        })
        return null
      })
    },
  })
  const jar = jarOf(await world.call('POST', '/own'))
  t.match(await list(world, jar), [{ methods: ['pwd', 'otp'], device: 'Kiosk' }])
  t.same((await world.call('GET', '/me', jar)).json<{ auth: { methods: string[] } }>().auth.methods, ['pwd', 'otp'])
  t.equal((await world.call('POST', '/wrong')).statusCode, 500)
  t.equal((await world.call('POST', '/clock?time=here')).statusCode, 200)
  for (const time of ['wall', 'negative', 'none']) {
    const refused = await world.call('POST', `/clock?time=${time}`)
    t.equal(refused.statusCode, 500, time)
    t.match(refused.json(), { message: /performance\.now\(\)/ })
    t.same(setCookies(refused), [], 'nobody is signed in without the protection that was asked for')
  }
})

test('without authenticate the other routes stand; routes: false leaves them all to the app', async (t) => {
  const some = await build(t, { options: { authenticate: undefined as never } })
  t.equal(
    (await some.call('POST', '/auth/login', {}, { payload: { email: 'ada@example.com', password: 'right' } }))
      .statusCode,
    404,
  )
  t.equal(codeOf(await some.call('POST', '/auth/refresh')), '401 TOKEN_MISSING')
  const none = await build(t, { options: { routes: false, authenticate: undefined as never } })
  for (
    const [method, url] of [['POST', '/auth/login'], ['POST', '/auth/refresh'], ['POST', '/auth/logout'], [
      'GET',
      '/auth/sessions',
    ]] as const
  ) {
    t.equal((await none.call(method, url)).statusCode, 404, url)
  }
})

test('the store\'s control surface tells and ends by user and session', async (t) => {
  const world = await build(t)
  const { sessions } = world.app.security
  const jar = jarOf(await login(world, 'a'))
  world.clock.advance(1000)
  await login(world, 'b')
  const found = await sessions.list('ada')
  t.match(found, [{ label: 'b' }, { label: 'a' }])
  t.same(await sessions.list('nobody'), [])
  t.equal(await sessions.revoke('root', found[0]?.sessionId ?? ''), false, 'another user\'s')
  t.equal(await sessions.revoke('ada', found[0]?.sessionId ?? ''), true)
  t.equal(await sessions.revoke('ada', found[0]?.sessionId ?? ''), false)
  t.equal(await sessions.revokeUser('ada', { except: found[1]?.sessionId ?? '' }), 0)
  t.equal((await world.call('GET', '/me', jar)).statusCode, 200)
  t.equal(await sessions.revokeUser('ada'), 1)
  for (const id of [undefined, null, '', 7, {}, ['ada']] as never[]) {
    const asked: (() => Promise<unknown>)[] = [
      () => sessions.list(id),
      () => sessions.revokeUser(id),
      () => sessions.outdate(id),
      () => sessions.revoke(id, 'x'),
      () => sessions.revoke('ada', id),
    ]
    for (const ask of asked) {
      await t.rejects(
        ask,
        { name: 'TypeError', message: /an id is not a text/ },
        'nobody believes that somebody was revoked',
      )
    }
  }
})
