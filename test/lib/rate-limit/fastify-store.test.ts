import rateLimitPlugin from '@fastify/rate-limit'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { assertNoProblems } from '../../../lib/response/errors.js'
import { LimitEngine } from '../../../lib/rate-limit/engine.js'
import { createStoreClass } from '../../../lib/rate-limit/fastify-store.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import { RedisStore } from '../../../lib/rate-limit/stores/redis.js'
import type { LimitStore } from '../../../lib/rate-limit/stores/store.js'
import { redisUrl, uniquePrefix } from '../../helpers/redis.js'

async function forEachStore (
  t: Test,
  run: (t: Test, store: LimitStore, clock: { now: number }) => Promise<void>,
): Promise<void> {
  const client = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false })
  await client.connect()
  const prefix = uniquePrefix()
  const clock = { now: 1_000_000 }
  await t.test('memory', (t) => run(t, new MemoryStore({ now: () => clock.now }), clock))
  clock.now = 1_000_000
  await t.test('redis', (t) =>
    run(t, new RedisStore(client, { prefix, deadlineMs: 5000, now: () => clock.now }), clock))
  const keys = await client.keys(`${prefix}*`)
  if (keys.length > 0) await client.del(...keys)
  client.disconnect()
}

async function build (t: Test, store: LimitStore, options: object): Promise<FastifyInstance> {
  // A deny cache would keep a time of its own.
  const engine = new LimitEngine({ ...methodsOf(store), kind: 'memory' }, new MemoryStore(), () => {})
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(rateLimitPlugin, {
    ...options,
    store: createStoreClass({ engine, keySecret: null, onOutage: 'local', report: assertNoProblems }),
  })
  return app
}

function methodsOf (store: LimitStore): Omit<LimitStore, 'kind'> {
  return {
    consume: (quotas, keys) => store.consume(quotas, keys),
    giveBack: (quotas, keys, marks) => store.giveBack(quotas, keys, marks),
    peek: (quotas, keys) => store.peek(quotas, keys),
    reset: (keys) => store.reset(keys),
    ban: (keys, durationMs) => store.ban(keys, durationMs),
    close: () => { store.close() },
  }
}

test('increment: false reads the stores without counting', async (t) => {
  await forEachStore(t, async (t, store) => {
    const app = await build(t, store, { max: 2, timeWindow: 60_000, global: false })
    const limiter = app.createRateLimit({ max: 2, timeWindow: 60_000 })
    app.get('/read', async (request) => {
      const found: unknown[] = []
      for (const increment of [false, true, false, true, false]) {
        const result = await limiter(request, { increment })
        if (!result.isAllowed) found.push([result.remaining, result.isExceeded])
      }
      return found
    })
    t.same((await app.inject('/read')).json(), [[2, false], [1, false], [1, false], [0, false], [0, true]])
  })
})
