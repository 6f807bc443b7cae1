import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { rateLimit, type RateLimitOptions } from '../../plugins/rate-limit.js'
import { redisUrl, uniquePrefix } from '../helpers/redis.js'
import { addLogin, bootProblems, build, login, REMOTE, statuses } from '../lib/rate-limit/app.js'
import { startRedis, type OwnRedis } from '../lib/rate-limit/redis-server.js'

/**
 * Of three commands that waited in the socket of a stopped Redis, those that count when it wakes up. 0 once every
 * command says until when it is valid.
 */
const LATE_COUNTS = 0

const keySecret = 'the secret of the test, thirty-two characters or more'

/** Options of instances that share one Redis; the deadline is long, because a busy test machine is no outage. */
function shared (more: RateLimitOptions = {}): RateLimitOptions {
  return { redis: redisUrl(), keySecret, keyPrefix: uniquePrefix(), deadline: '5s', ...more }
}

async function ownRedis (t: Test): Promise<OwnRedis> {
  const server = await startRedis()
  t.teardown(() => server.stop())
  return server
}

test('two instances on one Redis share their limits', async (t) => {
  const options = shared({ policies: { global: { limit: 4, window: '1h', by: 'ip' } } })
  const [first, second] = [await build(t, options), await build(t, options)]
  for (const { app } of [first, second]) app.get('/', async () => 'ok')
  t.same(first.app.security.limits.store, 'redis')
  t.same(await statuses(first.app, 2, { url: '/' }), [200, 200])
  t.same(await statuses(second.app, 3, { url: '/' }), [200, 200, 429])
  t.same(await statuses(first.app, 1, { url: '/' }), [429])
  const answer = await second.app.inject({ url: '/', remoteAddress: REMOTE })
  t.match(answer.headers['ratelimit'], /^"global";r=0;t=3(600|59\d)$/)
  t.equal(answer.headers['retry-after'], /t=(\d+)/.exec(String(answer.headers['ratelimit']))?.[1])
})

test('200 parallel wrong passwords at two instances run the handler at most five times, and success gives back one', async (t) => {
  const options = shared()
  const [first, second] = [await build(t, options), await build(t, options)]
  const [one, two] = [addLogin(first.app), addLogin(second.app)]
  const answers = await Promise.all(
    Array.from(
      { length: 200 },
      (_, index) => (index % 2 === 0 ? first : second).app.inject(login('victim@example.com')),
    ),
  )
  t.equal(one.guesses + two.guesses, 5)
  t.equal(answers.filter(({ statusCode }) => statusCode === 429).length, 195)
  t.same(first.events.filter(({ name }) => name === 'store_unavailable'), [])

  // From another address, because an instance may remember for a second that this one was full of attempts under way.
  const other = '198.51.100.8'
  t.same(await statuses(first.app, 6, login('other@example.com', 'right', other)), [200, 200, 200, 200, 200, 200])
  t.same(await statuses(second.app, 6, login('other@example.com', 'wrong', other)), [401, 401, 401, 401, 401, 429])
})

test('other secrets or prefixes mean other counts, and keys show nobody', async (t) => {
  const options = shared({ policies: { global: { limit: 1, window: '1h', by: 'ip' } } })
  const counted: number[] = []
  for (const more of [{}, { keySecret: `${keySecret} other` }, { keyPrefix: uniquePrefix() }, {}]) {
    const { app } = await build(t, { ...options, ...more })
    addLogin(app)
    counted.push(...await statuses(app, 1, { url: '/' }))
    await app.inject(login('somebody@example.com'))
  }
  t.same(counted, [404, 404, 404, 429])
  const client = new Redis(redisUrl())
  t.teardown(() => { client.disconnect() })
  const keys = await client.keys(`${options.keyPrefix ?? ''}*`)
  t.ok(keys.length > 0)
  for (const key of keys) {
    t.match(key.slice((options.keyPrefix ?? '').length), /^[A-Za-z0-9_{}-]{22,40}$/)
    t.ok(await client.pttl(key) > 0, 'every key ends by itself')
  }
})

test('a Redis that dies mid-way leaves a local engine that decides fast, and its return is noticed', async (t) => {
  const server = await ownRedis(t)
  const { app, events } = await build(t, {
    redis: server.url,
    keySecret,
    policies: { global: { limit: 3, window: '1h', by: 'ip' } },
  })
  app.get('/', async () => 'ok')
  t.same(await statuses(app, 1, { url: '/' }), [200])
  const inFlight = Promise.all(
    Array.from({ length: 20 }, (_, index) => app.inject({ url: '/', remoteAddress: `203.0.113.${index}` })),
  )
  await server.kill()
  t.same(new Set((await inFlight).map(({ statusCode }) => statusCode)), new Set([200]))
  const start = performance.now()
  t.same(await statuses(app, 5, { url: '/' }), [200, 200, 200, 429, 429])
  t.ok(performance.now() - start < 400, 'nobody waits for a Redis that is gone')
  t.same(events.filter(({ name }) => name.startsWith('store')), [{
    name: 'store_unavailable',
    store: 'rate-limit',
    fallback: 'local',
  }])

  await server.start()
  for (let tries = 0; tries < 100 && !events.some(({ name }) => name === 'store_recovered'); tries++) {
    await wait(50)
    await app.inject({ url: '/', remoteAddress: '203.0.113.200' })
  }
  t.same(events.filter(({ name }) => name.startsWith('store')).map(({ name }) => name), [
    'store_unavailable',
    'store_recovered',
  ])
})

test('a Redis that hangs costs each request the deadline, and what it was asked then counts at most once', async (t) => {
  const server = await ownRedis(t)
  const { app } = await build(t, {
    redis: server.url,
    keySecret,
    deadline: '40ms',
    policies: { global: { limit: 10, window: '1h', by: 'ip' } },
  })
  addLogin(app)
  app.get('/', async () => 'ok')
  await statuses(app, 1, { url: '/' })
  server.pause()
  const start = performance.now()
  const answers = await Promise.all(Array.from({ length: 3 }, () => app.inject({ url: '/', remoteAddress: REMOTE })))
  t.ok(performance.now() - start < 1000)
  t.same(answers.map(({ statusCode }) => statusCode), [200, 200, 200])
  // Well past the end of their time, whatever two clocks disagree about.
  await wait(150)
  server.resume()
  await wait(50)
  t.match(
    (await app.inject({ url: '/', remoteAddress: REMOTE })).headers['ratelimit'],
    new RegExp(`"global";r=${8 - LATE_COUNTS};`),
  )
})

test('closed limits answer 503 with Retry-After, open ones admit, and no text of Redis leaves the process', async (t) => {
  const server = await ownRedis(t)
  const { app } = await build(t, {
    redis: server.url,
    keySecret,
    policies: {
      closed: { limit: 5, window: '1h', by: 'ip', onOutage: 'closed' },
      open: { limit: 1, window: '1h', by: 'ip', onOutage: 'open' },
      guess: { limit: 1, window: '1h', by: { header: 'x-key' }, count: 'failures' },
    },
  })
  for (const name of ['closed', 'open', 'guess']) {
    app.get(`/${name}`, { security: { rateLimit: { only: [name] } } }, async () =>
      'ok')
  }
  await app.ready()
  await server.kill()
  const refused = await app.inject('/closed')
  t.equal(refused.statusCode, 503)
  t.equal(refused.headers['retry-after'], '1')
  t.equal(refused.headers['ratelimit'], undefined)
  t.same(Object.keys(refused.json<object>()).sort(), ['code', 'error', 'message', 'statusCode'])
  t.notMatch(refused.body, /redis|stream|connect|ECONN|enableOffline/i)
  t.same(await statuses(app, 3, { url: '/open' }), [200, 200, 200])
  t.same(await statuses(app, 3, { url: '/guess' }), [200, 200, 200], 'success gives back to the local engine too')
})

test('a Redis that breaks every script is an outage, not a 500', async (t) => {
  const prefix = uniquePrefix()
  const { app, events } = await build(
    t,
    shared({ keyPrefix: prefix, policies: { global: { limit: 2, window: '1h', by: 'ip' } } }),
  )
  const client = new Redis(redisUrl())
  t.teardown(async () => {
    await client.del(...await client.keys(`${prefix}*`))
    client.disconnect()
  })
  await statuses(app, 1, { url: '/' })
  for (const key of await client.keys(`${prefix}*`)) {
    await client.del(key)
    await client.set(key, 'not a list', 'EX', 60)
  }
  t.same(await statuses(app, 5, { url: '/' }), [404, 404, 429, 429, 429])
  t.same(events.filter(({ name }) => name.startsWith('store')).map(({ name }) => name), ['store_unavailable'])
})

test('an unreachable Redis stops the boot without showing its URL', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close().catch(() => {}))
  const problems = await bootProblems(() =>
    app.register(rateLimit, { redis: 'redis://user:never-shown@127.0.0.1:1', keySecret })
  )
  t.match(problems, [{ path: 'rateLimit.redis', message: /no connection/ }])
  t.notMatch(JSON.stringify(problems), /never-shown|127\.0\.0\.1/)
})

test("the app's own client is used in whatever state it comes, and stays open", async (t) => {
  for (
    const [name, options] of Object.entries({
      connecting: {},
      lazy: { lazyConnect: true },
      'numbers as text': { stringNumbers: true },
      'pipelining by itself': { enableAutoPipelining: true },
      'a prefix of its own': { keyPrefix: 'app:' },
    })
  ) {
    const client = new Redis(redisUrl(), {
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      ...options,
    })
    t.teardown(() => {
      client.disconnect()
    })
    const app = Fastify()
    await app.register(rateLimit, shared({ redis: client, policies: { global: { limit: 1, window: '1h', by: 'ip' } } }))
    t.same(await statuses(app, 2, { url: '/' }), [404, 429], name)
    await app.close()
    t.equal(await client.ping(), 'PONG', name)
  }
})

test('closing the server closes the connection that the plugin opened', async (t) => {
  const server = await ownRedis(t)
  const watcher = new Redis(server.url)
  t.teardown(() => { watcher.disconnect() })
  await once(watcher, 'ready')
  const app = Fastify()
  await app.register(rateLimit, { redis: server.url, keySecret })
  await app.ready()
  const connections = async (): Promise<number> =>
    (await watcher.client('LIST') as string).split('\n').filter((line) => line.includes('bulwark-rate-limit')).length
  t.equal(await connections(), 1)
  await app.close()
  for (let tries = 0; tries < 50 && await connections() > 0; tries++) await wait(10)
  t.equal(await connections(), 0)
})

test('REDIS_URL and JWT_ACCESS_SECRET of app.config are the defaults', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.decorate('config', { REDIS_URL: redisUrl(), JWT_ACCESS_SECRET: keySecret } as never)
  await app.register(rateLimit, { keyPrefix: uniquePrefix() })
  t.equal(app.security.limits.store, 'redis')
})
