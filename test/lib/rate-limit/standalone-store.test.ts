import { mock } from 'node:test'
import rateLimitPlugin, { type RateLimitPluginOptions } from '@fastify/rate-limit'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { assertNoProblems, BulwarkConfigError } from '../../../lib/response/errors.js'
import { LimitEngine } from '../../../lib/rate-limit/engine.js'
import { createStoreClass } from '../../../lib/rate-limit/fastify-store.js'
import { createRateLimitStore, type RateLimitStoreOptions } from '../../../lib/rate-limit/standalone-store.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import type { LimitStore } from '../../../lib/rate-limit/stores/store.js'
import { redisUrl, uniquePrefix } from '../../helpers/redis.js'
import { startRedis } from './redis-server.js'

const SECRET = 'a key secret of more than thirty-two characters'
const START = 1_000_000

type StoreClass = NonNullable<RateLimitPluginOptions['store']>

/** The class on a virtual clock, on any store. */
function storeOn (store: LimitStore, fallback: MemoryStore = new MemoryStore()): StoreClass {
  const engine = new LimitEngine(store, fallback, () => {})
  return createStoreClass({ engine, keySecret: null, onOutage: 'local', report: assertNoProblems })
}

async function build (t: Test, options: RateLimitPluginOptions, routes: (app: FastifyInstance) => void = (app) => {
  app.get('/', async () => 'ok')
}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(rateLimitPlugin, options)
  routes(app)
  await app.ready()
  return app
}

async function hit (app: FastifyInstance, times: number, url = '/', remoteAddress = '198.51.100.7'): Promise<number[]> {
  const found: number[] = []
  for (let count = 0; count < times; count++) found.push((await app.inject({ url, remoteAddress })).statusCode)
  return found
}

const repeat = (status: number, times: number): number[] => new Array<number>(times).fill(status)

async function opened (t: Test, options: RateLimitStoreOptions = {}): Promise<StoreClass> {
  const store = await createRateLimitStore(options)
  t.teardown(() => { store.close() })
  return store
}

test('the headers of @fastify/rate-limit say what is left, and honouring Retry-After succeeds', async (t) => {
  const clock = { now: START }
  const app = await build(t, {
    store: storeOn(new MemoryStore({ now: () => clock.now })),
    max: 3,
    timeWindow: '1 minute',
  })
  for (const [index, remaining] of ['2', '1', '0'].entries()) {
    const answer = await app.inject('/')
    t.match(answer, {
      statusCode: 200,
      headers: {
        'x-ratelimit-limit': '3',
        'x-ratelimit-remaining': remaining,
        'x-ratelimit-reset': String(60 - index * 10),
      },
    })
    t.notOk('retry-after' in answer.headers)
    clock.now += 10_000
  }
  const refused = await app.inject('/')
  t.match(refused, {
    statusCode: 429,
    headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '30', 'retry-after': '30' },
  })
  clock.now += 30_000 - 1
  t.equal((await app.inject('/')).statusCode, 429, 'a millisecond earlier is refused')
  clock.now += 1
  t.equal((await app.inject('/')).statusCode, 200)
  t.equal((await app.inject('/')).statusCode, 429, 'one place came free, not three')
})

test('a burst across a window\'s edge gets the limit, where their own store gives twice as much', async (t) => {
  mock.timers.enable({ apis: ['Date'], now: START })
  t.teardown(() => { mock.timers.reset() })
  const clock = { now: START }
  const options = { max: 10, timeWindow: 60_000 }
  const theirs = await build(t, options)
  const ours = await build(t, { ...options, store: storeOn(new MemoryStore({ now: () => clock.now })) })
  const admitted = async (app: FastifyInstance, times: number): Promise<number> =>
    (await hit(app, times)).filter((status) => status === 200).length
  const step = (milliseconds: number): void => {
    mock.timers.tick(milliseconds)
    clock.now += milliseconds
  }
  const first = [await admitted(theirs, 1), await admitted(ours, 1)]
  t.same(first, [1, 1])
  step(59_990)
  const before = [await admitted(theirs, 20), await admitted(ours, 20)]
  step(10)
  const after = [await admitted(theirs, 20), await admitted(ours, 20)]
  t.same([before[0], after[0]], [9, 10], 'theirs: 19 within 10 ms')
  t.same([before[1], after[1]], [9, 1], 'ours: 10')
})

test('a flood of foreign keys frees nobody, where 5,000 free a blocked caller in their own store', async (t) => {
  const options = {
    global: false,
    max: 2,
    timeWindow: 60_000,
    keyGenerator: (request: FastifyRequest) => String(request.headers['x-key']),
  }
  const routes = (app: FastifyInstance): void => {
    const limiter = app.createRateLimit()
    app.get('/', async (request) => {
      const isRefused = async (key: string): Promise<boolean> => {
        request.headers['x-key'] = key
        const result = await limiter(request)
        return !result.isAllowed && result.isExceeded
      }
      const before = [await isRefused('blocked'), await isRefused('blocked'), await isRefused('blocked')]
      for (let count = 0; count < 5000; count++) await isRefused(`foreign ${count}`)
      return [...before, await isRefused('blocked')]
    })
  }
  const theirs = await build(t, options, routes)
  const ours = await build(t, { ...options, store: storeOn(new MemoryStore({ capacity: 1024 })) }, routes)
  t.same((await theirs.inject('/')).json(), [false, false, true, false], 'theirs')
  t.same((await ours.inject('/')).json(), [false, false, true, true], 'ours')
})

test('routes without options share one count, and a route with options has its own, HEAD and GET together', async (t) => {
  const app = await build(t, { store: await opened(t), max: 4, timeWindow: 60_000 }, (app) => {
    app.get('/a', async () => 'a')
    app.get('/b', async () => 'b')
    app.get('/own', { config: { rateLimit: { max: 2, timeWindow: 60_000 } } }, async () => 'own')
    app.post('/own', { config: { rateLimit: { max: 2, timeWindow: 60_000 } } }, async () => 'own')
    app.get('/other', { config: { rateLimit: { max: 2, timeWindow: 60_000 } } }, async () => 'other')
    app.get('/free', { config: { rateLimit: false } }, async () => 'free')
  })
  t.same([...await hit(app, 2, '/a'), ...await hit(app, 3, '/b')], [200, 200, 200, 200, 429])
  t.same([
    (await app.inject({ method: 'HEAD', url: '/own' })).statusCode,
    (await app.inject('/own')).statusCode,
    (await app.inject('/own')).statusCode,
  ], [200, 200, 429])
  t.equal((await app.inject({ method: 'POST', url: '/own' })).statusCode, 200, 'another method is another route')
  t.same(await hit(app, 3, '/other'), [200, 200, 429])
  t.same(await hit(app, 9, '/free'), repeat(200, 9))
})

test('a groupId groups, in memory as on Redis, where their Redis store keeps the routes apart', async (t) => {
  const redis = new Redis(redisUrl())
  t.teardown(() => { redis.disconnect() })
  const routes = (app: FastifyInstance): void => {
    for (const [url, max] of [['/a', 3], ['/b', 3], ['/wide', 100]] as const) {
      app.get(url, { config: { rateLimit: { max, timeWindow: 60_000, groupId: 'search' } } }, async () =>
        'ok')
    }
    app.get('/alone', { config: { rateLimit: { max: 3, timeWindow: 60_000 } } }, async () => 'ok')
  }
  const mix = async (options: RateLimitPluginOptions): Promise<number[]> => {
    const app = await build(t, options, routes)
    return [
      ...await hit(app, 2, '/a'),
      ...await hit(app, 2, '/b'),
      ...await hit(app, 1, '/alone'),
      Number((await app.inject({ url: '/wide', remoteAddress: '198.51.100.7' })).headers['x-ratelimit-remaining']),
    ]
  }
  const prefix = uniquePrefix()
  t.same(await mix({ redis, nameSpace: prefix }), [200, 200, 200, 200, 200, 99], 'theirs')
  t.same(await mix({ store: await opened(t) }), [200, 200, 200, 429, 200, 96], 'ours in memory')
  t.same(
    await mix({ store: await opened(t, { redis: redisUrl(), keySecret: SECRET, keyPrefix: prefix, deadline: '5s' }) }),
    [200, 200, 200, 429, 200, 96],
    'ours on Redis',
  )
  await redis.del(...await redis.keys(`${prefix}*`))
})

test('limiters made by createRateLimit count apart, where their Redis store gives all of them one key', async (t) => {
  const redis = new Redis(redisUrl())
  t.teardown(() => { redis.disconnect() })
  const prefix = uniquePrefix()
  const run = async (options: RateLimitPluginOptions): Promise<boolean[]> => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(rateLimitPlugin, { global: false, ...options })
    const one = app.createRateLimit({ max: 2, timeWindow: 60_000 })
    const two = app.createRateLimit({ max: 2, timeWindow: 60_000 })
    app.get('/', async (request) => {
      const exceeded: boolean[] = []
      for (const limiter of [one, one, two, two, two]) {
        const result = await limiter(request)
        exceeded.push(!result.isAllowed && result.isExceeded)
      }
      return exceeded
    })
    return (await app.inject('/')).json()
  }
  t.same(await run({ redis, nameSpace: prefix }), [false, false, true, true, true], 'theirs')
  t.same(await run({ store: await opened(t) }), [false, false, false, false, true], 'ours')
  const keys = await redis.keys(`${prefix}*`)
  t.match(keys[0], /undefinedundefined/)
  await redis.del(...keys)
})

test('a limiter that is made for each request is refused in the end, because it would never limit', async (t) => {
  let made = 0
  const app = await build(t, { store: await opened(t), global: false }, (app) => {
    app.get('/', async (request) => {
      for (; made < 2000; made++) await app.createRateLimit({ max: 1, timeWindow: 60_000 })(request)
    })
  })
  t.same(await hit(app, 2), [500, 500])
  t.equal(made, 1000)
})

test('max and timeWindow may be functions, and max may be 0', async (t) => {
  const app = await build(t, {
    store: await opened(t),
    keyGenerator: (request) => String(request.headers['x-plan']),
    max: async (_request, key) => key === 'pro' ? 3 : key === 'none' ? 0 : key === 'broken' ? Number('x') : 1,
    timeWindow: (_request, key) => key === 'endless' ? Infinity : 60_000,
  })
  const ask = async (plan: string, times: number): Promise<number[]> => {
    const found: number[] = []
    for (let count = 0; count < times; count++) {
      found.push((await app.inject({ url: '/', headers: { 'x-plan': plan } })).statusCode)
    }
    return found
  }
  t.same(await ask('pro', 4), [200, 200, 200, 429])
  t.same(await ask('free', 2), [200, 429])
  t.same(await ask('none', 2), [429, 429])
  t.same(await ask('broken', 1), [500], 'what cannot limit is no limit of its own making')
  t.same(await ask('endless', 1), [500])
  t.notMatch((await app.inject({ url: '/', headers: { 'x-plan': 'broken' } })).body, /max|timeWindow/)
})

test('any number of different limits keeps its count', async (t) => {
  let max = 0
  const app = await build(t, { store: await opened(t), global: false, max: () => ++max, timeWindow: 60_000 }, (app) => {
    const limiter = app.createRateLimit()
    app.get('/', async (request) => {
      const results: unknown[] = []
      for (; max < 700;) {
        const result = await limiter(request)
        results.push(!result.isAllowed && result.remaining === 0 && !result.isExceeded)
      }
      return results.every((full) => full === true)
    })
  })
  t.equal((await app.inject('/')).body, 'true')
})

/** A memory store of which some methods are the test's own. */
function withMethods (store: MemoryStore, methods: Partial<LimitStore>): LimitStore {
  return {
    kind: 'memory',
    consume: (quotas, keys) => store.consume(quotas, keys),
    giveBack: (quotas, keys, marks) => { store.giveBack(quotas, keys, marks) },
    peek: () => [],
    reset: () => undefined,
    ban: () => undefined,
    close: () => { store.close() },
    ...methods,
  }
}

test('increment: false reads without counting, and a full count reads as exceeded', async (t) => {
  const memory = new MemoryStore()
  const store = withMethods(memory, {
    peek (quotas, keys) {
      // What a count would read, taken back at once.
      const { readings } = memory.consume(quotas, keys)
      memory.giveBack(quotas, keys, readings.map(({ mark }) => mark))
      for (const reading of readings) if (reading.room) reading.used -= 1
      return readings
    },
  })
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(rateLimitPlugin, { store: storeOn(store), global: false })
  const limiter = app.createRateLimit({ max: 2, timeWindow: 60_000 })
  const never = app.createRateLimit({ max: 0, timeWindow: 60_000 })
  app.get('/', async (request) => {
    const remaining: unknown[] = []
    for (const increment of [false, true, false, true, false, true, false]) {
      const result = await limiter(request, { increment })
      if (!result.isAllowed) remaining.push([result.remaining, result.isExceeded])
    }
    const nothing = await never(request, { increment: false })
    return [...remaining, nothing.isAllowed || nothing.isExceeded]
  })
  t.same((await app.inject('/')).json(), [[2, false], [1, false], [1, false], [0, false], [0, true], [0, true], [
    0,
    true,
  ], true])
})

test('increment: false asks a lost store no more once the breaker is open, and reads what this process counted', async (t) => {
  let asked = 0
  const lose = async (): Promise<never> => {
    asked++
    throw new Error('lost')
  }
  const lost: LimitStore = {
    kind: 'redis',
    consume: lose,
    giveBack: lose,
    peek: lose,
    reset: lose,
    ban: lose,
    close () {},
  }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(rateLimitPlugin, { store: storeOn(lost), global: false })
  const limiter = app.createRateLimit({ max: 6, timeWindow: 60_000 })
  app.get('/', async (request) => {
    for (let count = 0; count < 5; count++) await limiter(request)
    const before = asked
    const result = await limiter(request, { increment: false })
    return [asked - before, result.isAllowed || result.remaining]
  })
  t.same((await app.inject('/')).json(), [0, 1])
})

test('two instances share one Redis, which holds neither addresses nor e-mail addresses', async (t) => {
  const redis = new Redis(redisUrl())
  t.teardown(() => { redis.disconnect() })
  const prefix = uniquePrefix()
  const shared: RateLimitStoreOptions = { redis: redisUrl(), keySecret: SECRET, keyPrefix: prefix, deadline: '5s' }
  const options: RateLimitPluginOptions = {
    max: 5,
    timeWindow: 60_000,
    keyGenerator: (request) => request.headers['x-key'] as string,
  }
  const apps = [
    await build(t, { ...options, store: await opened(t, shared) }),
    await build(t, { ...options, store: await opened(t, shared) }),
  ]
  const ask = async (key: string): Promise<number[]> =>
    await Promise.all(
      Array.from({ length: 20 }, async (_unused, index) =>
        (await apps[index % 2]?.inject({ url: '/', headers: { 'x-key': key } }))?.statusCode ?? 0),
    )
  for (const key of ['198.51.100.7', 'ada@example.com', 'x'.repeat(14_000)]) {
    t.equal((await ask(key)).filter((status) => status === 200).length, 5, key.slice(0, 20))
  }
  const keys = await redis.keys(`${prefix}*`)
  t.equal(keys.length, 3)
  for (const key of keys) {
    t.match(key.slice(prefix.length), /^\{[\w-]{22}\}[\w-]{11}/)
    t.ok(key.length < prefix.length + 64)
    const ttl = await redis.pttl(key)
    t.ok(ttl > 0 && ttl <= 62_000, 'it ends by itself')
  }
  await redis.del(...keys)
})

test("a foreign ioredis client stays open, and their store's plain client is refused with what to write", async (t) => {
  const client = new Redis(redisUrl(), {
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    lazyConnect: true,
  })
  t.teardown(() => {
    client.disconnect()
  })
  const prefix = uniquePrefix()
  const store = await createRateLimitStore({ redis: client, keySecret: SECRET, keyPrefix: prefix, deadline: '5s' })
  t.same(await hit(await build(t, { store, max: 1 }), 2), [200, 429])
  store.close()
  t.equal(await client.ping(), 'PONG')
  await client.del(...await client.keys(`${prefix}*`))
  const queueing = new Redis(redisUrl(), { lazyConnect: true })
  await t.rejects(createRateLimitStore({ redis: queueing, keySecret: SECRET }), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'createRateLimitStore.redis', fix: /enableOfflineQueue: false/ }],
  })
})

test('a silent Redis holds nobody up: local limits, closed refuses, open lets through', async (t) => {
  const server = await startRedis()
  t.teardown(() => server.stop())
  const transitions: boolean[] = []
  const options = { redis: server.url, keySecret: SECRET, deadline: '50ms' as const }
  const local = await build(t, {
    store: await opened(t, {
      ...options,
      keyPrefix: 'local:',
      onTransition: (available) => {
        transitions.push(available)
      },
    }),
    max: 2,
    timeWindow: 60_000,
  })
  const open = await build(t, {
    store: await opened(t, { ...options, keyPrefix: 'open:', onOutage: 'open' }),
    max: 2,
    timeWindow: 60_000,
  })
  const closed = await build(t, {
    store: await opened(t, { ...options, keyPrefix: 'closed:', onOutage: 'closed' }),
    max: 2,
    timeWindow: 60_000,
  })
  const client = new Redis(server.url).on('error', () => {})
  t.teardown(() => { client.disconnect() })
  const theirs = await build(t, { redis: client, max: 2, timeWindow: 60_000, skipOnError: true })
  t.same([...await hit(local, 1), ...await hit(open, 1), ...await hit(closed, 1), ...await hit(theirs, 1)], [
    200,
    200,
    200,
    200,
  ])
  server.pause()
  const started = performance.now()
  t.same(await hit(local, 12), [200, 200, ...repeat(429, 10)])
  t.same(await hit(open, 4), [200, 200, 200, 200])
  const refused = await closed.inject('/')
  t.match(refused, { statusCode: 503, headers: { 'retry-after': '1' } })
  t.notMatch(refused.body, /redis|deadline|ms/i)
  t.ok(performance.now() - started < 5000, 'nothing hung')
  const hanging = await Promise.race([
    theirs.inject('/').then(() => 'answered'),
    new Promise((resolve) => {
      setTimeout(resolve, 150, 'still hanging')
    }),
  ])
  t.equal(hanging, 'still hanging', 'theirs, also with skipOnError')
  t.same(transitions, [false])
  client.disconnect()
  server.resume()
})

test('wrong options stop the boot with what to write instead', async (t) => {
  const cases: [unknown, string][] = [
    [{ redis: 'localhost:6379', keySecret: SECRET }, 'redis'],
    [{ redis: 5, keySecret: SECRET }, 'redis'],
    [{ redis: {}, keySecret: SECRET }, 'redis'],
    [{ redis: 'redis://127.0.0.1:1' }, 'keySecret'],
    [{ keySecret: 'short' }, 'keySecret'],
    [{ keyPrefix: '' }, 'keyPrefix'],
    [{ keyPrefix: 'a b' }, 'keyPrefix'],
    [{ deadline: 50 }, 'deadline'],
    [{ deadline: '50' }, 'deadline'],
    [{ deadline: '11s' }, 'deadline'],
    [{ onOutage: 'ignore' }, 'onOutage'],
    [{ onTransition: true }, 'onTransition'],
    [{ keyprefix: 'x:' }, 'keyprefix'],
    [{ nameSpace: 'x:' }, 'nameSpace'],
  ]
  for (const [options, name] of cases) {
    const error = await createRateLimitStore(options as RateLimitStoreOptions).then(
      () => null,
      (thrown: unknown) => thrown,
    )
    t.ok(error instanceof BulwarkConfigError, name)
    t.same(error instanceof BulwarkConfigError ? error.problems.map(({ path }) => path) : [], [
      `createRateLimitStore.${name}`,
    ])
    t.notMatch(String(error), /JWT_ACCESS_SECRET/)
  }
  await t.rejects(createRateLimitStore([] as never), { code: 'BULWARK_CONFIG' })
  const unreachable: unknown = await createRateLimitStore({
    redis: 'redis://user:hunter2@127.0.0.1:1',
    keySecret: SECRET,
  }).catch((error: unknown) => error)
  t.match(unreachable, { message: /no connection to Redis/ })
  t.notMatch(String(unreachable), /hunter2/)
  for (
    const options of [{}, {
      redis: undefined,
      keySecret: undefined,
      keyPrefix: undefined,
      deadline: undefined,
      onOutage: undefined,
    }, { redis: false }]
  ) {
    const store = await createRateLimitStore(options as RateLimitStoreOptions)
    store.close()
  }
})

test('options of the plugin that would limit nothing stop the boot', async (t) => {
  const closed = storeOn(new MemoryStore())
  const cases: RateLimitPluginOptions[] = [{ timeWindow: 0 }, { timeWindow: 'a while' }, {
    timeWindow: 400 * 86_400_000,
  }]
  for (const options of cases) {
    await t.rejects(build(t, { ...options, store: closed }), {
      code: 'BULWARK_CONFIG',
      problems: [{ path: /timeWindow/ }],
    })
  }
  await t.rejects(
    build(t, { store: closed }, (app) => {
      app.get('/x', { config: { rateLimit: { timeWindow: 0 } } }, async () => 'ok')
    }),
    { code: 'BULWARK_CONFIG', problems: [{ path: /GET \/x/ }] },
  )
  const store = await opened(t, { onOutage: 'closed' })
  await t.rejects(build(t, { store, skipOnError: true }), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: /skipOnError/ }],
  })
})

test('options of the plugin that the store does not serve stop the boot with what to write instead', async (t) => {
  const store = storeOn(new MemoryStore())
  const table: readonly (readonly [string, RateLimitPluginOptions])[] = [
    ['ban', { ban: 0 }],
    ['ban', { ban: 3 }],
    ['continueExceeding', { continueExceeding: true }],
    ['exponentialBackoff', { exponentialBackoff: true }],
  ]
  for (const [name, options] of table) {
    await t.rejects(build(t, { ...options, store }), {
      code: 'BULWARK_CONFIG',
      problems: [{ path: `@fastify/rate-limit.${name}`, fix: /policy with `penalty`/ }],
    }, name)
  }
  const ready = await build(t, { store, ban: -1, continueExceeding: false, exponentialBackoff: false })
  t.same(await hit(ready, 1), [200], 'their defaults ask for nothing')
})
