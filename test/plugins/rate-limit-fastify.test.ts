import fastifyRateLimit, { type RateLimitOptions } from '@fastify/rate-limit'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { mock } from 'node:test'
import { test, type Test } from 'tap'
import { rateLimit } from '../../plugins/rate-limit.js'
import { redisUrl, uniquePrefix } from '../helpers/redis.js'
import { bootProblems, build, REMOTE, statuses } from '../lib/rate-limit/app.js'
import { startRedis } from '../lib/rate-limit/redis-server.js'

const SECRET = 'a key secret of more than thirty-two characters'
const two = { max: 2, timeWindow: '1m' } as const

test("a route's config.rateLimit is limited; its 429 is the suite's refusal, with the suite's fields", async (t) => {
  const { app, events } = await build(t)
  app.get('/own', { config: { rateLimit: two } }, async () => 'ok')
  app.get('/other', async () => 'ok')
  t.same(await statuses(app, 2, { url: '/own' }), [200, 200])
  const { statusCode, headers } = await app.inject({ url: '/own', remoteAddress: REMOTE })
  t.equal(statusCode, 429)
  t.match(headers, {
    'retry-after': /^(59|60)$/,
    'cache-control': 'no-store',
    'ratelimit-policy': '"global";q=100;w=900',
  })
  t.same(Object.keys(headers).filter((name) => name.startsWith('x-ratelimit')), [])
  t.same(await statuses(app, 3, { url: '/other' }), [200, 200, 200])
  t.same(await statuses(app, 1, { url: '/own', remoteAddress: '203.0.113.1' }), [200], 'another caller')
  t.same(events, [{ name: 'excess_rate_limit_exceeded', policies: ['@fastify/rate-limit'] }])
  t.match(app.security.limits.counters().policies, { '@fastify/rate-limit': { allowed: 3, denied: 1 } })
})

test('the refusal is a problem document with retryAfter and violatedPolicies', async (t) => {
  const { app } = await build(t)
  let caught: unknown
  app.setErrorHandler(async (error, _request, reply) => {
    caught = error
    return await reply.code(429).send({})
  })
  app.get('/', { config: { rateLimit: { max: 0, timeWindow: '1m' } } }, async () => 'ok')
  await app.inject('/')
  t.match(caught, {
    code: 'RATE_LIMITED',
    statusCode: 429,
    members: { retryAfter: 60, violatedPolicies: ['@fastify/rate-limit'] },
  })
})

test('app.rateLimit() and app.createRateLimit() count in the same store', async (t) => {
  const { app } = await build(t)
  const limiter = app.createRateLimit(two)
  app.get('/handler', async (request) => {
    const result = await limiter(request)
    return result.isAllowed || !result.isExceeded
  })
  app.get('/hook', { preHandler: app.rateLimit({ max: 1, timeWindow: '1m' }) }, async () => 'ok')
  const answers: unknown[] = []
  for (let count = 0; count < 3; count++) {
    answers.push((await app.inject({ url: '/handler', remoteAddress: REMOTE })).json())
  }
  t.same(answers, [true, true, false])
  t.same(await statuses(app, 2, { url: '/hook' }), [200, 429])
})

test('HEAD and GET of a route share a count, and another method has its own', async (t) => {
  const { app } = await build(t)
  app.get('/', { config: { rateLimit: two } }, async () => 'ok')
  app.post('/', { config: { rateLimit: two } }, async () => 'ok')
  t.same(await statuses(app, 1, { method: 'HEAD', url: '/' }), [200])
  t.same(await statuses(app, 2, { method: 'GET', url: '/' }), [200, 429])
  t.same(await statuses(app, 1, { method: 'HEAD', url: '/' }), [429])
  t.same(await statuses(app, 1, { method: 'POST', url: '/' }), [200])
})

test("a third plugin's routes are limited in any scope", async (t) => {
  const { app } = await build(t)
  await app.register(async (child) => {
    child.get('/third', { config: { rateLimit: { max: 1, timeWindow: 60_000 } } }, async () => 'ok')
  })
  t.same(await statuses(app, 2, { url: '/third' }), [200, 429])
})

test('an address of the allow list is not limited', async (t) => {
  const { app } = await build(t, { allow: ['10.0.0.0/8'] })
  app.get('/', { config: { rateLimit: { max: 1, timeWindow: '1m' } } }, async () => 'ok')
  t.same(await statuses(app, 3, { url: '/', remoteAddress: '10.0.0.1' }), [200, 200, 200])
  t.same(await statuses(app, 2, { url: '/' }), [200, 429])
})

test('options that @fastify/rate-limit implements itself keep working', async (t) => {
  const { app } = await build(t)
  const exceeding: string[] = []
  app.get('/', {
    config: {
      rateLimit: {
        max: (_request, key) => key === 'pro' ? 2 : 1,
        timeWindow: '1m',
        keyGenerator: (request) => String(request.headers['x-plan']),
        allowList: ['friend'],
        hook: 'preHandler',
        onExceeding: (_request, key) => { exceeding.push(key) },
        errorResponseBuilder: () => Object.assign(new Error('mine'), { statusCode: 429, code: 'MINE' }),
      },
    },
  }, async () => 'ok')
  const ask = async (plan: string, times: number): Promise<number[]> =>
    await statuses(app, times, { url: '/', headers: { 'x-plan': plan } })
  t.same(await ask('pro', 3), [200, 200, 429])
  t.same(await ask('free', 2), [200, 429])
  t.same(await ask('friend', 4), [200, 200, 200, 200])
  t.same(exceeding, ['pro', 'pro', 'free'])
  const own = await app.inject({ url: '/', headers: { 'x-plan': 'free' }, remoteAddress: REMOTE })
  t.match(own.json(), { message: 'mine' })
  t.match(own.headers, { 'retry-after': '60' })
})

test('options that the store cannot serve stop the boot, all at once, with what to write instead', async (t) => {
  const { app } = await build(t)
  const wrong: readonly (readonly [string, object, RegExp])[] = [
    ['ban', { ban: 2 }, /policy with `penalty`/],
    ['continueExceeding', { continueExceeding: true }, /policy with `penalty`/],
    ['exponentialBackoff', { exponentialBackoff: true }, /policy with `penalty`/],
    ['store', { store: Map }, /suite's store/],
    ['redis', { redis: {} }, /suite's store/],
    ['cache', { cache: 10 }, /suite's store/],
    ['timeWindow', { timeWindow: 0 }, /'1 minute'/],
    ['timeWindow', { timeWindow: 'a while' }, /'1 minute'/],
  ]
  for (const [index, [, options]] of wrong.entries()) {
    app.get(`/${index}`, { config: { rateLimit: { ...two, ...options } } }, async () => 'ok')
  }
  app.createRateLimit({ max: 1, timeWindow: '1m', ban: 1 })
  const problems = await bootProblems(() => app.ready())
  for (const [index, [name, , fix]] of wrong.entries()) {
    t.match(problems.filter(({ path }) => path === `GET /${index} config.rateLimit.${name}`), [{ fix }], name)
  }
  t.ok(problems.some(({ path }) => path === '@fastify/rate-limit limiter 1.ban'))
  t.equal(problems.length, wrong.length + 1)
})

test('a registration of @fastify/rate-limit by the app is refused with what to do', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyRateLimit, { max: 5 })
  t.match(await bootProblems(() => app.register(rateLimit)), [{ path: 'rateLimit', fix: /Remove that registration/ }])
})

test('two instances on one Redis share the count, and its keys hide the caller', async (t) => {
  const redis = new Redis(redisUrl())
  t.teardown(() => { redis.disconnect() })
  const keyPrefix = uniquePrefix()
  const apps = await Promise.all([1, 2].map(async () => {
    const { app } = await build(t, { redis: redisUrl(), keySecret: SECRET, keyPrefix, deadline: '5s' })
    app.get(
      '/',
      { security: { rateLimit: false }, config: { rateLimit: { max: 4, timeWindow: '1m' } } },
      async () => 'ok',
    )
    return app
  }))
  const found: number[] = []
  for (let count = 0; count < 6; count++) {
    found.push(...await statuses(apps[count % 2] as FastifyInstance, 1, { url: '/' }))
  }
  t.same(found, [200, 200, 200, 200, 429, 429])
  const keys = await redis.keys(`${keyPrefix}*`)
  t.equal(keys.length, 1)
  t.notMatch(keys.join(), REMOTE)
  t.ok(await redis.pttl(keys[0] ?? '') > 0)
  await redis.del(...keys)
})

test('while Redis is silent these limits do what the policy global says', async (t) => {
  const server = await startRedis()
  t.teardown(() => server.stop())
  const on = async (onOutage: 'local' | 'closed' | 'open'): Promise<FastifyInstance> => {
    const { app } = await build(t, {
      redis: server.url,
      keySecret: SECRET,
      keyPrefix: `${onOutage}:`,
      policies: { global: { limit: 100, window: '15m', by: 'ip', onOutage } },
    })
    app.get('/', { security: { rateLimit: false }, config: { rateLimit: two } }, async () => 'ok')
    t.same(await statuses(app, 1, { url: '/' }), [200])
    return app
  }
  const apps = [await on('local'), await on('closed'), await on('open')] as const
  server.pause()
  t.same(await statuses(apps[0], 4, { url: '/' }), [200, 200, 429, 429])
  t.same(await statuses(apps[1], 2, { url: '/' }), [503, 503])
  t.same(await statuses(apps[2], 4, { url: '/' }), [200, 200, 200, 200])
  server.resume()
})

test('a route without config.rateLimit gets no hook of @fastify/rate-limit', async (t) => {
  const { app } = await build(t)
  const hooks: unknown[] = []
  app.addHook('onRoute', ({ url, onRequest, preHandler }) => { hooks.push([url, onRequest, preHandler]) })
  app.get('/free', { exposeHeadRoute: false }, async () => 'ok')
  app.get('/off', { exposeHeadRoute: false, config: { rateLimit: false } }, async () => 'ok')
  t.same(hooks, [['/free', undefined, undefined], ['/off', undefined, undefined]])
})

/** One app with the stock plugin, one with the suite. */
async function pair (
  t: Test,
  routes: (app: FastifyInstance) => void,
): Promise<readonly [FastifyInstance, FastifyInstance]> {
  const stock = Fastify()
  t.teardown(() => stock.close())
  await stock.register(fastifyRateLimit, { global: false })
  const { app } = await build(t)
  routes(stock)
  routes(app)
  return [stock, app]
}

test('within a window the verdicts are those of stock @fastify/rate-limit on the same options', async (t) => {
  mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  t.teardown(() => { mock.timers.reset() })
  const shapes: readonly RateLimitOptions[] = [
    { max: 0, timeWindow: '10 minutes' },
    { max: 1, timeWindow: '10 minutes' },
    { max: 3, timeWindow: 600_000 },
    { max: 70, timeWindow: '10 minutes' },
    { max: async () => 2, timeWindow: async () => 600_000 },
    { max: 2, timeWindow: '10 minutes', keyGenerator: ({ headers }) => String(headers['x-key']) },
    { max: 2, timeWindow: '10 minutes', allowList: ['198.51.100.1'] },
    { max: 2, timeWindow: '10 minutes', allowList: (request) => request.headers['x-key'] === 'b' },
    { max: 2, timeWindow: '10 minutes', ipv6Subnet: 48 },
    { max: 3, timeWindow: '10 minutes', groupId: 'one' },
    { max: 3, timeWindow: '10 minutes', groupId: 'two', hook: 'preHandler' },
  ]
  const [stock, ours] = await pair(t, (app) => {
    for (const [index, shape] of shapes.entries()) {
      app.get(`/${index}`, { security: { rateLimit: false }, config: { rateLimit: shape } }, async () => 'ok')
    }
  })
  const callers = [
    '198.51.100.1',
    '198.51.100.2',
    '2001:db8:1::1',
    '2001:db8:1::2',
    '2001:db8:1:1::1',
    '::ffff:198.51.100.2',
  ]
  let refusals = 0
  for (let round = 0; round < 700; round++) {
    const request = {
      url: `/${round * 7 % shapes.length}`,
      remoteAddress: callers[round * 5 % callers.length] ?? '',
      headers: { 'x-key': round % 3 === 0 ? 'a' : 'b' },
    }
    const [theirs, mine] = [await stock.inject(request), await ours.inject(request)]
    if (theirs.statusCode === 429) refusals++
    if (theirs.statusCode !== mine.statusCode) t.equal(mine.statusCode, theirs.statusCode, JSON.stringify(request))
  }
  t.ok(refusals > 100, `${refusals} refused`)
})
