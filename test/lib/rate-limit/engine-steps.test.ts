import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { addSection, securityOf } from '../../../lib/policy/install.js'
import { defineSection } from '../../../lib/policy/section.js'
import { LimitEngine } from '../../../lib/rate-limit/engine.js'
import { Planner } from '../../../lib/rate-limit/plan.js'
import { resolvePolicies } from '../../../lib/rate-limit/policies.js'
import { compileLimits, kLimits } from '../../../lib/rate-limit/steps.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'
import { login, statuses } from './app.js'

/** The memory store, as far away as Redis, and as breakable. */
class DistantStore implements LimitStore {
  readonly kind = 'redis'
  up = true
  asked = 0
  readonly #inner: MemoryStore

  constructor (now: () => number) {
    this.#inner = new MemoryStore({ now })
  }

  async consume (...args: Parameters<LimitStore['consume']>): Promise<Verdict> {
    this.asked++
    if (!this.up) throw new Error('secret text of Redis')
    return this.#inner.consume(...args)
  }

  async giveBack (...args: Parameters<LimitStore['giveBack']>): Promise<void> {
    this.asked++
    if (!this.up) throw new Error('secret text of Redis')
    this.#inner.giveBack(...args)
  }

  peek (): never { throw new Error('not asked here') }
  reset (): never { throw new Error('not asked here') }
  ban (): never { throw new Error('not asked here') }
  close (): void {}
}

interface Bench {
  readonly app: FastifyInstance
  readonly engine: LimitEngine
  readonly store: DistantStore
  readonly clock: { now: number }
}

const POLICIES = resolvePolicies({
  global: { limit: 10, window: '1m', by: 'ip' },
  closed: { limit: 10, window: '1m', by: 'ip', onOutage: 'closed' },
  tried: { limit: 2, window: '1m', by: 'ip', count: 'failures' },
}, 'policies', [])

async function build (t: Test, names: readonly string[]): Promise<Bench> {
  const clock = { now: 1000 }
  const now = (): number => clock.now
  const store = new DistantStore(now)
  const engine = new LimitEngine(store, new MemoryStore({ now }), () => {}, { now })
  const planner = new Planner(POLICIES, 'secret of the test', 'x-api-key')
  const context = { engine, planner, lists: null, failureStatuses: new Set([401]), emit: () => {} }
  const app = Fastify()
  t.teardown(() => app.close())
  securityOf(app)
  app.decorateRequest(kLimits, null)
  addSection(app, defineSection<never, readonly string[]>({
    key: 'rateLimit',
    hooks: ['preValidation'],
    resolve: (base) => base,
    compile: (names, route, problems) => compileLimits(names, route, context, problems),
  }), names)
  app.post('/login', async (request, reply) => {
    const { password } = request.body as { password?: string }
    return await reply.code(password === 'right' ? 200 : 401).send({})
  })
  return { app, engine, store, clock }
}

const NONE = { allowed: 0, denied: 0, shadow: 0, nearLimit: 0, fallback: 0, denyCacheHits: 0, penalized: 0 }

test('a policy of several phases allows a request once, and counts who it refuses', async (t) => {
  const { app, engine, store } = await build(t, ['global', 'login'])
  t.same(await statuses(app, 7, login('a@example.com')), [401, 401, 401, 401, 401, 429, 429])
  t.same(engine.counters().policies, {
    global: { ...NONE, allowed: 7 },
    login: { ...NONE, allowed: 5, denied: 2, nearLimit: 2, denyCacheHits: 1 },
  })
  t.equal(store.asked, 7 + 6 + 2, 'seven of the first phase, six of the second, two give-backs')
})

test('what a blocked flood is told is as right as the first refusal, and waiting that long succeeds', async (t) => {
  const { app, store, clock } = await build(t, ['global'])
  const send = async () => await app.inject(login('a@example.com'))
  for (let count = 0; count < 10; count++) {
    await send()
    clock.now += 1000
  }
  t.match((await send()).headers, {
    'retry-after': '50',
    ratelimit: '"global";r=0;t=50',
    'ratelimit-policy': '"global";q=10;w=60',
  })
  clock.now += 2500
  const asked = store.asked
  const flooding = await send()
  t.equal(store.asked, asked)
  t.match(flooding.headers, { 'retry-after': '48', ratelimit: '"global";r=0;t=48', 'cache-control': 'no-store' })
  clock.now += 47_499
  t.equal((await send()).statusCode, 429)
  clock.now += 501
  t.equal((await send()).statusCode, 401)
})

test('an outage is counted as such, for closed policies as a refusal, and shows no text of the store', async (t) => {
  const { app, engine, store } = await build(t, ['global', 'closed'])
  store.up = false
  const answer = await app.inject(login('a@example.com'))
  t.equal(answer.statusCode, 503)
  t.notMatch(answer.body, /secret/)
  await statuses(app, 9, login('a@example.com'))
  t.same(engine.counters().policies, {
    global: { ...NONE, fallback: 10 },
    closed: { ...NONE, fallback: 10, denied: 10 },
  })
  t.match(engine.counters().store, { breaker: 'open', failures: 5 })
  t.equal(store.asked, 5)
})

test('reservations made before an outage stay counted while it lasts, and cost nobody a wait', async (t) => {
  const { app, engine, store, clock } = await build(t, ['tried'])
  t.same(await statuses(app, 3, login('a@example.com', 'right')), [200, 200, 200])
  store.up = false
  t.same(
    await statuses(app, 8, login('a@example.com', 'right')),
    [200, 200, 200, 200, 200, 200, 200, 200],
    'given back locally',
  )
  t.same(await statuses(app, 3, login('a@example.com')), [401, 401, 429], 'held to the local limit')
  store.up = true
  clock.now += 500
  t.same(await statuses(app, 3, login('a@example.com')), [401, 401, 429])
  t.equal(engine.counters().store.breaker, 'closed')
})
