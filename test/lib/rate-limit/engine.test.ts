import { test } from 'tap'
import { renderPolicyField, tooManyRequests } from '../../../lib/rate-limit/answers.js'
import { LimitEngine, type Decision, type LimitSet } from '../../../lib/rate-limit/engine.js'
import { resolvePolicies, type Limit, type OnOutage, type ResolvedLimit } from '../../../lib/rate-limit/limits.js'
import { createQuota } from '../../../lib/rate-limit/quota.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'

/** A remote store that answers, or does not, as the test says. */
class SwitchedStore implements LimitStore {
  readonly kind = 'redis'
  up = true
  given = 0
  readonly #inner = new MemoryStore()

  async consume (...args: Parameters<LimitStore['consume']>): Promise<Verdict> {
    if (!this.up) throw new Error('READONLY secret text of Redis')
    return this.#inner.consume(...args)
  }

  async giveBack (...args: Parameters<LimitStore['giveBack']>): Promise<void> {
    if (!this.up) throw new Error('down')
    this.given++
    this.#inner.giveBack(...args)
  }

  peek (): never { throw new Error('not yet') }
  reset (): never { throw new Error('not yet') }
  ban (): never { throw new Error('not yet') }

  close (): void {}
}

function setOf (...onOutage: OnOutage[]): LimitSet {
  return { quotas: onOutage.map(() => createQuota('exact', 2, 60_000, false)), onOutage }
}

function engineOn (store: LimitStore): { engine: LimitEngine, transitions: boolean[] } {
  const transitions: boolean[] = []
  return { engine: new LimitEngine(store, new MemoryStore(), (available) => { transitions.push(available) }), transitions }
}

async function outcomes (engine: LimitEngine, set: LimitSet, times: number): Promise<string[]> {
  const found: string[] = []
  for (let count = 0; count < times; count++) found.push((await engine.decide(set, set.quotas.map((_quota, index) => `k${index}`))).outcome)
  return found
}

test('in memory it decides without a promise', (t) => {
  const { engine, transitions } = engineOn(new MemoryStore())
  const decision = engine.decide(setOf('closed'), ['k'])
  t.notOk(decision instanceof Promise)
  t.equal(engine.giveBack(setOf('closed'), ['k'], decision as Decision, [true]), undefined)
  t.same(transitions, [])
  engine.close()
  t.end()
})

test('while the store is lost, each limit does what it declares', async (t) => {
  const table: readonly (readonly [OnOutage[], string[]])[] = [
    [['local'], ['admitted', 'admitted', 'refused', 'refused']],
    [['open'], ['admitted', 'admitted', 'admitted', 'admitted']],
    [['closed'], ['unavailable', 'unavailable', 'unavailable', 'unavailable']],
    [['open', 'local'], ['admitted', 'admitted', 'refused', 'refused']],
    [['local', 'closed'], ['unavailable', 'unavailable', 'unavailable', 'unavailable']],
    [['open', 'open'], ['admitted', 'admitted', 'admitted', 'admitted']],
  ]
  for (const [onOutage, expected] of table) {
    const store = new SwitchedStore()
    store.up = false
    const { engine } = engineOn(store)
    t.same(await outcomes(engine, setOf(...onOutage), 4), expected, onOutage.join())
  }
})

test('a closed limit uses up no local count', async (t) => {
  const store = new SwitchedStore()
  store.up = false
  const { engine } = engineOn(store)
  await outcomes(engine, setOf('local', 'closed'), 5)
  t.same(await outcomes(engine, setOf('local'), 3), ['admitted', 'admitted', 'refused'])
})

test('the loss and the return of the store are told once each', async (t) => {
  const store = new SwitchedStore()
  const { engine, transitions } = engineOn(store)
  await outcomes(engine, setOf('local'), 2)
  store.up = false
  await Promise.all(Array.from({ length: 20 }, () => outcomes(engine, setOf('local'), 1)))
  t.same(transitions, [false])
  store.up = true
  await outcomes(engine, setOf('local'), 3)
  t.same(transitions, [false, true])
})

test('a reservation goes back to the store that holds it, also after the store returned', async (t) => {
  const store = new SwitchedStore()
  store.up = false
  const { engine } = engineOn(store)
  const set = setOf('local')
  const first = await engine.decide(set, ['k'])
  await engine.decide(set, ['k'])
  store.up = true
  await engine.giveBack(set, ['k'], first, [true])
  t.equal(store.given, 0)
  store.up = false
  t.same((await engine.decide(set, ['k'])).outcome, 'admitted')
  t.same((await engine.decide(set, ['k'])).outcome, 'refused')
})

test('a store that is lost before the give-back keeps the count and throws nothing', async (t) => {
  const store = new SwitchedStore()
  const { engine, transitions } = engineOn(store)
  const set = setOf('local')
  const decision = await engine.decide(set, ['k'])
  store.up = false
  await engine.giveBack(set, ['k'], decision, [true])
  t.same(transitions, [false])
  store.up = true
  t.equal((await engine.decide(set, ['k'])).readings[0]?.used, 2)
})

test('only what is held and counted goes back', async (t) => {
  const store = new SwitchedStore()
  const { engine } = engineOn(store)
  const set = setOf('local', 'local')
  const decision = await engine.decide(set, ['a', 'b'])
  t.equal(engine.giveBack(set, ['a', 'b'], decision, [false, false]), undefined)
  await engine.giveBack(set, ['a', 'b'], decision, [false, true])
  t.same((await engine.decide(set, ['a', 'b'])).readings.map((reading) => reading?.used), [2, 1])
})

test('honouring Retry-After succeeds for all violated limits together; the longest wait less one millisecond is refused', (t) => {
  const clock = { now: 50_000 }
  const engine = new LimitEngine(new MemoryStore({ now: () => clock.now }), new MemoryStore(), () => {})
  const limits = limitsOf({ limit: 2, window: '90s', by: 'ip' }, { limit: 3, window: '1500ms', by: 'ip' }, { limit: 66, window: '7001ms', by: 'ip' })
  const set: LimitSet = { quotas: limits.map(({ quota }) => quota), onOutage: limits.map(({ onOutage }) => onOutage) }
  const decide = (): Decision => engine.decide(set, ['a', 'b', 'c']) as Decision
  t.equal(decide().outcome, 'admitted')
  clock.now += 333
  t.equal(decide().outcome, 'admitted')
  clock.now += 400
  const refused = decide()
  t.equal(refused.outcome, 'refused')
  const error = tooManyRequests(limits, refused, {})
  t.equal(error.headers['retry-after'], '90', '89.267 seconds, rounded up')
  t.same(error.members, { retryAfter: 90, violatedPolicies: ['p'] })
  const start = clock.now
  clock.now = start + 90_000 - 733 - 1
  t.equal(decide().outcome, 'refused', 'one millisecond early')
  clock.now = start + Number(error.headers['retry-after']) * 1000
  t.equal(decide().outcome, 'admitted')
  t.end()
})

test('what may be told of limits excludes accounts and shadows', (t) => {
  const limits = limitsOf(
    { limit: 10, window: '1500ms', by: 'ip' }, { limit: 5, window: '1m', by: ['ip', { body: 'email' }] },
    { limit: 7, window: '1m', by: 'ip', mode: 'shadow' }, { limit: 9, window: '1h', by: 'user' },
  )
  t.equal(renderPolicyField(limits), '"p";q=10;w=2, "p:4";q=9;w=3600')
  t.equal(renderPolicyField(limits.slice(1, 3)), null)
  t.end()
})

function limitsOf (...limits: Limit[]): readonly ResolvedLimit[] {
  return resolvePolicies({ p: limits }, 'policies', []).get('p') ?? []
}
