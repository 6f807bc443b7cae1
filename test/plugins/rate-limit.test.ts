import { once } from 'node:events'
import { connect as connectHttp2, constants } from 'node:http2'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify, { type InjectOptions } from 'fastify'
import { test } from 'tap'
import { SecurityError } from '../../lib/response/errors.js'
import { addSection, overrideScope } from '../../lib/policy/install.js'
import { defineSection } from '../../lib/policy/section.js'
import { errors } from '../../plugins/errors.js'
import { rateLimit } from '../../plugins/rate-limit.js'
import { addLogin, bootProblems, build, login, REMOTE, statuses } from '../lib/rate-limit/app.js'

const tiny = { tiny: { limit: 2, window: '1h', by: 'ip' } } as const

test('nothing written limits every address to 100 requests in 15 minutes', async (t) => {
  const { app } = await build(t)
  app.get('/', async () => 'ok')
  const first = await app.inject({ url: '/', remoteAddress: REMOTE })
  t.equal(first.headers['ratelimit-policy'], '"global";q=100;w=900')
  t.equal(first.headers['ratelimit'], '"global";r=99;t=900')
  t.equal(first.headers['retry-after'], undefined)
  t.same(new Set(await statuses(app, 99, { url: '/' })), new Set([200]))
  t.same(await statuses(app, 2, { url: '/' }), [429, 429])
  t.same(await statuses(app, 1, { url: '/', remoteAddress: '203.0.113.1' }), [200])
  t.same(app.security.limits.policies, ['global', 'auth', 'login', 'reports'])
  t.equal(app.security.limits.store, 'memory')
})

test('a refusal says how long to wait and by which policy, and is reported', async (t) => {
  const { app, events } = await build(t, { policies: tiny })
  app.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof SecurityError)) throw error as Error
    return reply.code(error.statusCode).headers(error.headers).send({ code: error.code, ...error.members })
  })
  app.get('/', { security: { rateLimit: ['tiny'] } }, async () => 'ok')
  await statuses(app, 2, { url: '/' })
  const refused = await app.inject({ url: '/', remoteAddress: REMOTE })
  t.equal(refused.statusCode, 429)
  t.same(refused.json(), { code: 'RATE_LIMITED', retryAfter: 3600, violatedPolicies: ['tiny'] })
  t.equal(refused.headers['retry-after'], '3600')
  t.equal(refused.headers['ratelimit-policy'], '"global";q=100;w=900, "tiny";q=2;w=3600')
  t.equal(refused.headers['ratelimit'], '"global";r=98;t=900, "tiny";r=0;t=3600', 'a refused request counts nowhere')
  t.equal(refused.headers['cache-control'], 'no-store')
  t.same(events, [{ name: 'excess_rate_limit_exceeded', policies: ['tiny'] }])
})

test('what reaches no handler counts too', async (t) => {
  const requests: Readonly<Record<string, InjectOptions>> = {
    'a 404': { url: '/nowhere' },
    'a preflight of an unknown path': {
      method: 'OPTIONS',
      url: '/nowhere',
      headers: { origin: 'https://a.example', 'access-control-request-method': 'POST' },
    },
    'a method that the path does not have': { method: 'DELETE', url: '/items' },
    'a malformed body': {
      method: 'POST',
      url: '/items',
      headers: { 'content-type': 'application/json' },
      payload: '{"a":',
    },
    'an unknown content type': {
      method: 'POST',
      url: '/items',
      headers: { 'content-type': 'text/x-unknown' },
      payload: 'x',
    },
    'a body that fails validation': { method: 'POST', url: '/items', payload: { a: 'x' } },
    'a refused sign-in': { method: 'POST', url: '/denied', payload: {} },
  }
  for (const [name, request] of Object.entries(requests)) {
    const { app } = await build(t, { policies: { global: { limit: 3, window: '1h', by: 'ip' } } })
    app.post('/items', { schema: { body: Type.Object({ a: Type.Integer() }) } }, async () => 'ok')
    app.post('/denied', async (_request, reply) => reply.code(401).send())
    const found = await statuses(app, 5, request)
    t.ok(found.slice(0, 3).every((status) => status >= 400 && status < 429), `${name}: ${String(found)}`)
    t.same(found.slice(3), [429, 429], name)
    t.same(
      await statuses(app, 1, { method: 'POST', url: '/items', payload: { a: 1 } }),
      [429],
      `${name} shares the bucket`,
    )
  }
})

test('limits by address run before authentication, whatever was registered first', async (t) => {
  for (const authFirst of [true, false]) {
    const app = Fastify()
    t.teardown(() => app.close())
    const addAuth = (): void => {
      addSection(
        app,
        defineSection<unknown, null>({
          key: 'fakeAuth',
          resolve: () => null,
          compile: () => [{
            hook: 'onRequest',
            phase: 'authenticate',
            run: function refuseAll () {
              return new SecurityError('TOKEN_INVALID')
            },
          }],
        }),
        null,
      )
    }
    if (authFirst) addAuth()
    await app.register(rateLimit, { policies: { global: { limit: 3, window: '1h', by: 'ip' } } })
    if (!authFirst) addAuth()
    app.get('/', async () => 'ok')
    t.same(await statuses(app, 5, { url: '/' }), [401, 401, 401, 429, 429])
  }
})

test('GET and HEAD share one bucket, and so do routes with the same policy', async (t) => {
  const { app } = await build(t, { policies: tiny })
  app.get('/a', { security: { rateLimit: ['tiny'] } }, async () => 'ok')
  app.get('/b', { security: { rateLimit: ['tiny'] } }, async () => 'ok')
  t.same(await statuses(app, 1, { method: 'HEAD', url: '/a' }), [200])
  t.same(await statuses(app, 1, { url: '/b' }), [200])
  t.same(await statuses(app, 1, { url: '/a' }), [429])
  t.same(await statuses(app, 1, { method: 'HEAD', url: '/b' }), [429])
})

test('names add to the scope\'s policies, only replaces them, false drops them', async (t) => {
  const { app } = await build(t, { policies: tiny })
  app.get('/base', async () => 'ok')
  app.get('/added', { security: { rateLimit: ['tiny', 'global', 'tiny'] } }, async () => 'ok')
  app.get('/only', { security: { rateLimit: { only: ['tiny'] } } }, async () => 'ok')
  app.get('/off', { security: { rateLimit: false } }, async () => 'ok')
  app.get('/undefined', { security: { rateLimit: undefined } as never }, async () => 'ok')
  await app.register(async (child) => {
    overrideScope(child, { rateLimit: { only: ['auth'] } }, 'scope')
    child.get('/scoped', async () => 'ok')
    child.get('/scoped-more', { security: { rateLimit: ['tiny'] } }, async () => 'ok')
  })
  const shown: Record<string, unknown> = {}
  for (const url of ['/base', '/added', '/only', '/off', '/undefined', '/scoped', '/scoped-more', '/404']) {
    shown[url] = (await app.inject({ method: 'HEAD', url })).headers['ratelimit-policy']
  }
  const [global, two, auth] = ['"global";q=100;w=900', '"tiny";q=2;w=3600', '"auth";q=10;w=900']
  t.same(shown, {
    '/base': global, '/added': `${global}, ${two}`, '/only': two, '/off': undefined, '/undefined': global,
    '/scoped': auth, '/scoped-more': `${auth}, ${two}`, '/404': global,
  })
  t.equal((await app.inject('/off')).headers['ratelimit'], undefined)
})

test('a route declared before the limiter has its limits, those it names itself too', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(errors)
  app.get('/base', async () => 'ok')
  app.get('/named', { security: { rateLimit: ['one'] } }, async () => 'ok')
  app.get('/off', { security: { rateLimit: false } }, async () => 'ok')
  await app.register(rateLimit, {
    policies: { global: { limit: 9, window: '1h', by: 'ip' }, one: { limit: 1, window: '1h', by: 'ip' } },
  })
  t.same(await statuses(app, 2, { url: '/named' }), [200, 429])
  t.same(await statuses(app, 9, { url: '/base' }), [200, 200, 200, 200, 200, 200, 200, 200, 429])
  t.same(await statuses(app, 2, { url: '/off' }), [200, 200])
})

test('an unknown policy on a route declared before the limiter stops the boot', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(errors)
  app.get('/typo', { security: { rateLimit: ['globl'] } }, async () => 'ok')
  await app.register(rateLimit)
  t.match(await bootProblems(() => app.ready()), [{ path: 'GET /typo security.rateLimit', fix: /"global"/ }])
})

test('200 parallel wrong passwords run the handler at most five times', async (t) => {
  const { app } = await build(t)
  const seen = addLogin(app)
  const answers = await Promise.all(Array.from({ length: 200 }, () => app.inject(login('victim@example.com'))))
  t.equal(seen.guesses, 5)
  t.equal(answers.filter(({ statusCode }) => statusCode === 401).length, 5)
  t.equal(answers.filter(({ statusCode }) => statusCode === 429).length, 195)
})

test('six spellings of one e-mail address and malformed ones share a bucket each', async (t) => {
  const { app } = await build(t)
  const seen = addLogin(app)
  for (
    const email of [
      'user@example.com',
      'User@Example.COM',
      ' user@example.com ',
      'user@example.com\u00a0',
      '\uff55ser@example.com',
    ]
  ) {
    t.equal((await app.inject(login(email))).statusCode, 401)
  }
  t.equal((await app.inject(login('USER@example.com\n'))).statusCode, 429)
  const malformed = await Promise.all(
    [undefined, null, ['a', 'b'], [], {}, [[]]].map((email) => app.inject(login(email))),
  )
  t.equal(malformed.filter(({ statusCode }) => statusCode === 429).length, 1)
  t.equal(seen.guesses, 10)
})

test('success gives back exactly its own reservation', async (t) => {
  const { app } = await build(t)
  addLogin(app)
  const email = 'user@example.com'
  t.same(
    await statuses(app, 20, login(email, 'right')),
    Array.from({ length: 20 }, () => 200),
    'signing in never uses the limit up',
  )
  t.same(await statuses(app, 4, login(email)), [401, 401, 401, 401])
  t.same(await statuses(app, 3, login(email, 'right')), [200, 200, 200])
  t.same(await statuses(app, 2, login(email)), [401, 429], 'a success frees no failure')
  t.same(await statuses(app, 1, login(email, 'right')), [429])
})

test('a server error stays counted, and so does every declared failure status', async (t) => {
  const { app } = await build(t, {
    policies: { guess: { limit: 2, window: '1h', by: 'ip', count: 'failures' } },
    failureStatuses: [404, 302],
  })
  addLogin(app)
  app.get(
    '/s/:status',
    { security: { rateLimit: { only: ['guess'] } } },
    async (request, reply) => reply.code(Number((request.params as { status: string }).status)).send('x'),
  )
  const table: readonly (readonly [number, boolean])[] = [
    [200, false],
    [204, false],
    [301, false],
    [302, true],
    [401, false],
    [404, true],
    [429, false],
    [500, true],
    [503, true],
  ]
  for (const [index, [status, counted]] of table.entries()) {
    const found = await statuses(app, 4, { url: `/s/${status}`, remoteAddress: `203.0.113.${index}` })
    t.same(found, counted ? [status, status, 429, 429] : [status, status, status, status], String(status))
  }
  t.same(await statuses(app, 6, login('a@example.com', 'crash')), [500, 500, 500, 500, 500, 429])
})

test('what a later phase refuses gives back what an earlier one reserved, and shows it', async (t) => {
  const { app } = await build(t)
  addLogin(app)
  const shown: unknown[] = []
  for (let count = 0; count < 8; count++) shown.push((await app.inject(login('user@example.com'))).headers['ratelimit'])
  t.same(shown.map((field) => /r=(\d+)/.exec(String(field))?.[1]), ['29', '28', '27', '26', '25', '25', '25', '25'])
})

test('what the limiter itself refuses is no guess, whatever its status counts as', async (t) => {
  const { app } = await build(t, {
    failureStatuses: [401, 429],
    policies: {
      both: [{ limit: 9, window: '1h', by: 'ip', count: 'failures' }, {
        limit: 1,
        window: '1h',
        by: { body: 'email' },
      }],
    },
  })
  addLogin(app, ['both'])
  const shown: unknown[] = []
  for (let count = 0; count < 3; count++) shown.push((await app.inject(login('user@example.com'))).headers['ratelimit'])
  t.same(shown, ['"both";r=8;t=3600', '"both";r=8;t=3600', '"both";r=8;t=3600'])
})

test('parallel answers settle once each', async (t) => {
  const { app } = await build(t, {
    policies: { guess: { limit: 6, window: '1h', by: 'ip', count: 'failures', algorithm: 'sliding' } },
  })
  addLogin(app, ['guess'])
  await Promise.all(
    ['wrong', 'right', 'wrong', 'right', 'wrong', 'right'].map((password) =>
      app.inject(login('a@example.com', password))
    ),
  )
  t.equal((await app.inject(login('a@example.com', 'right'))).headers['ratelimit'], '"guess";r=3;t=3600')
})

test('one address that sprays many accounts is stopped at thirty', async (t) => {
  const { app } = await build(t)
  const seen = addLogin(app)
  await Promise.all(Array.from({ length: 60 }, (_, index) => app.inject(login(`user${index}@example.com`))))
  t.equal(seen.guesses, 30)
})

test('many addresses against one account are reported, and the account stays open', async (t) => {
  const { app, events } = await build(t)
  const seen = addLogin(app)
  for (let count = 0; count < 102; count++) await app.inject(login('victim@example.com', 'wrong', `198.51.${count}.1`))
  t.equal(seen.guesses, 102)
  t.same(
    events,
    Array.from({ length: 2 }, () => ({ name: 'excess_rate_limit_exceeded', policies: ['login:3 (shadow)'] })),
  )
})

test('no count of a limit that is keyed by an account is ever shown', async (t) => {
  const { app } = await build(t, { policies: { account: { limit: 1, window: '1h', by: { body: 'email' } } } })
  addLogin(app, ['account'])
  const answers = [await app.inject(login('victim@example.com')), await app.inject(login('victim@example.com'))]
  t.same(answers.map(({ statusCode }) => statusCode), [401, 429])
  for (const { headers } of answers) {
    t.equal(headers['ratelimit'], undefined)
    t.equal(headers['ratelimit-policy'], undefined)
  }
  t.equal(answers[1]?.headers['retry-after'], '3600')
})

test('a caller who hangs up before the answer has made a guess', async (t) => {
  const { app } = await build(t, { policies: { guess: { limit: 2, window: '1h', by: 'ip', count: 'failures' } } })
  let handled = 0
  app.post('/slow', { security: { rateLimit: { only: ['guess'] } } }, async () => {
    handled++
    await wait(60)
    return 'success that nobody reads'
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const heads = {
    'while the handler runs': 'Content-Length: 2\r\n\r\n{}',
    'in the middle of the body': 'Content-Length: 9\r\n\r\n{}',
  }
  for (const [name, head] of Object.entries(heads)) {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`POST /slow HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${head}`)
    await wait(25)
    socket.destroy()
    await wait(70)
    t.comment(name)
  }
  t.equal(handled, 1)
  t.equal((await app.inject({ method: 'POST', url: '/slow', remoteAddress: '127.0.0.1' })).statusCode, 429)
})

test('a caller who resets an HTTP/2 stream before the answer has made a guess', async (t) => {
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(rateLimit, { policies: { guess: { limit: 1, window: '1h', by: 'ip', count: 'failures' } } })
  app.get('/slow', { security: { rateLimit: { only: ['guess'] } } }, async () => {
    await wait(60)
    return 'success that nobody reads'
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(() => { session.destroy() })
  const left = session.request({ ':path': '/slow' })
  left.on('error', () => {})
  await wait(25)
  left.close(constants.NGHTTP2_CANCEL)
  await wait(80)
  const [headers] = await once(session.request({ ':path': '/slow' }), 'response') as [Record<string, unknown>]
  t.equal(headers[':status'], 429)
})

test('a hijacked reply settles when it has been sent', async (t) => {
  const { app } = await build(t, { policies: { guess: { limit: 1, window: '1h', by: 'ip', count: 'failures' } } })
  app.get('/raw', { security: { rateLimit: { only: ['guess'] } } }, (request, reply) => {
    reply.hijack()
    reply.raw.statusCode = request.headers['x-fail'] === undefined ? 200 : 401
    reply.raw.end('raw')
  })
  const found = [
    ...await statuses(app, 3, { url: '/raw' }),
    ...await statuses(app, 2, { url: '/raw', headers: { 'x-fail': '1' } }),
  ]
  t.same(found, [200, 200, 200, 401, 429])
})

test('limits by user run after authentication, and an anonymous caller counts by address', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.decorateRequest('auth', null)
  await app.register(rateLimit, { policies: { mine: { limit: 2, window: '1h', by: 'user' } } })
  addSection(app, defineSection<unknown, null>({
    key: 'fakeAuth',
    resolve: () => null,
    compile: () => [{
      hook: 'onRequest',
      phase: 'authenticate',
      run: function readUser (request) {
        const userId = request.headers['x-user']
        Object.assign(request, { auth: userId === undefined ? null : { userId } })
        return undefined
      },
    }],
  }), null)
  app.get('/', { security: { rateLimit: { only: ['mine'] } } }, async () => 'ok')
  t.same(await statuses(app, 3, { url: '/', headers: { 'x-user': 'ada' } }), [200, 200, 429])
  t.same(await statuses(app, 1, { url: '/', headers: { 'x-user': 'ada' }, remoteAddress: '203.0.113.1' }), [429])
  t.same(await statuses(app, 3, { url: '/', headers: { 'x-user': 'bob' } }), [200, 200, 429])
  t.same(await statuses(app, 3, { url: '/' }), [200, 200, 429])
  t.same(await statuses(app, 1, { url: '/', remoteAddress: '203.0.113.1' }), [200])
})

test('an IPv6 caller cannot leave its /64, and addresses of trusted proxies are believed', async (t) => {
  const { app } = await build(t, { policies: { global: { limit: 2, window: '1h', by: 'ip' } } }, {
    trustProxy: ['127.0.0.1'],
  })
  app.get('/', async () => 'ok')
  const from = (address: string): Promise<number[]> =>
    statuses(app, 1, { url: '/', remoteAddress: '127.0.0.1', headers: { 'x-forwarded-for': address } })
  t.same(
    [
      await from('2001:db8::1'),
      await from('2001:DB8:0:0:ffff::2'),
      await from('2001:db8::3'),
      await from('2001:db8:0:1::1'),
    ].flat(),
    [200, 200, 429, 200],
  )
})
