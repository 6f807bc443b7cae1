import { test } from 'tap'
import { DeadlineExceeded } from '../../../lib/redis/connection.js'
import { renderItems, renderPolicyField, tooManyRequests } from '../../../lib/rate-limit/answers.js'
import { compileTally, PolicyCounters } from '../../../lib/rate-limit/counters.js'
import { LimitEngine, type Decision, type LimitSet, type LocalStore } from '../../../lib/rate-limit/engine.js'
import type { Limit, OnOutage } from '../../../lib/rate-limit/options.js'
import { resolvePolicies, type ResolvedLimit } from '../../../lib/rate-limit/policies.js'
import { createQuota, NOT_COUNTED, type Reading } from '../../../lib/rate-limit/quota.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'

/** A remote store that answers, or does not, as the test says. */
class SwitchedStore implements LimitStore {
  readonly kind = 'redis'
  up = true
  asked = 0
  given = 0
  readonly #inner: MemoryStore

  constructor (now?: () => number) {
    this.#inner = new MemoryStore(now === undefined ? {} : { now })
  }

  async consume (...args: Parameters<LimitStore['consume']>): Promise<Verdict> {
    this.asked++
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

function engineOn (store: LimitStore): { engine: LimitEngine, transitions: boolean[], clock: { now: number } } {
  const transitions: boolean[] = []
  const clock = { now: 1000 }
  const now = (): number => clock.now
  return {
    engine: new LimitEngine(store, new MemoryStore({ now }), (available) => {
      transitions.push(available)
    }, { now }),
    transitions,
    clock,
  }
}

async function outcomes (engine: LimitEngine, set: LimitSet, times: number): Promise<string[]> {
  const found: string[] = []
  for (let count = 0; count < times; count++) {
    found.push((await engine.decide(set, set.quotas.map((_quota, index) => `k${index}`))).outcome)
  }
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
  const { engine, transitions, clock } = engineOn(store)
  await outcomes(engine, setOf('local'), 2)
  store.up = false
  await Promise.all(Array.from({ length: 20 }, () => outcomes(engine, setOf('local'), 1)))
  t.same(transitions, [false])
  store.up = true
  await outcomes(engine, setOf('local'), 3)
  t.same(transitions, [false], 'before the cool-down ends nobody looks')
  t.equal(store.asked, 22)
  clock.now += 100
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
  t.same(transitions, [], 'one failure is no outage yet')
  t.equal(engine.counters().store.failures, 1)
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
  const limits = limitsOf({ limit: 2, window: '90s', by: 'ip' }, { limit: 3, window: '1500ms', by: 'ip' }, {
    limit: 66,
    window: '7001ms',
    by: 'ip',
  })
  const set: LimitSet = { quotas: limits.map(({ quota }) => quota), onOutage: limits.map(({ onOutage }) => onOutage) }
  const decide = (): Decision => engine.decide(set, ['a', 'b', 'c']) as Decision
  t.equal(decide().outcome, 'admitted')
  clock.now += 333
  t.equal(decide().outcome, 'admitted')
  clock.now += 400
  const refused = decide()
  t.equal(refused.outcome, 'refused')
  const error = tooManyRequests(limits, refused)
  t.equal(error.headers['retry-after'], '90', '89.267 seconds, rounded up')
  t.same(error.members, { retryAfter: 90, violatedPolicies: ['p'] })
  const start = clock.now
  clock.now = start + 90_000 - 733 - 1
  t.equal(decide().outcome, 'refused', 'one millisecond early')
  clock.now = start + Number(error.headers['retry-after']) * 1000
  t.equal(decide().outcome, 'admitted')
  t.end()
})

/** Answers what the test wrote, and writes down what it was asked. */
class ScriptedStore implements LimitStore {
  readonly asked: string[] = []
  readings: Reading[] = []
  error: Error | null = null

  constructor (readonly kind: 'memory' | 'redis') {}

  consume (): Promise<Verdict> {
    return this.#answer('consume', { admitted: this.readings.every(({ room }) => room), readings: this.readings })
  }
  giveBack (): Promise<void> {
    return this.#answer('giveBack', undefined)
  }
  peek (): Promise<readonly Reading[]> {
    return this.#answer('peek', this.readings)
  }
  reset (keys: readonly string[]): Promise<void> {
    return this.#answer(`reset ${keys.join()}`, undefined)
  }
  ban (keys: readonly string[], durationMs: number): Promise<void> {
    return this.#answer(`ban ${keys.join()} ${durationMs}`, undefined)
  }
  close (): void {}

  async #answer<T> (asked: string, answer: T): Promise<T> {
    this.asked.push(asked)
    if (this.error !== null) throw this.error
    return answer
  }
}

/** What stands in while the other is lost. */
class LocalScript implements LocalStore {
  readonly kind = 'memory'
  readonly asked: string[] = []
  consume (): Verdict { return { admitted: true, readings: [] } }
  giveBack (): undefined { this.asked.push('giveBack') }
  peek (): readonly Reading[] { return [{ room: true, used: 77, waitMs: 1, mark: -1 }] }
  reset (keys: readonly string[]): undefined { this.asked.push(`reset ${keys.join()}`) }
  ban (keys: readonly string[], durationMs: number): undefined { this.asked.push(`ban ${keys.join()} ${durationMs}`) }
  close (): void {}
}

function refusal (waitMs: number, more: Partial<Reading> = {}): Reading {
  return { room: false, used: 2, waitMs, mark: NOT_COUNTED, ...more }
}

test('a blocked flood asks the store once in ten seconds, and honouring what it is told succeeds', async (t) => {
  const clock = { now: 0 }
  const store = new SwitchedStore(() => clock.now)
  const engine = new LimitEngine(store, new MemoryStore(), () => {}, { now: () => clock.now })
  const set: LimitSet = { quotas: [createQuota('exact', 2, 25_000, false)], onOutage: ['local'] }
  const decide = async (): Promise<Decision> => engine.decide(set, ['k'])
  for (let count = 0; count < 3; count++) await decide()
  t.equal(store.asked, 3)
  const flood: (number | undefined)[] = []
  for (let count = 0; count < 1000; count++) {
    clock.now += 9
    const decision = engine.decide(set, ['k']) as Decision
    flood.push(decision.source === 'deny-cache' ? (decision.readings[0]?.waitMs ?? NaN) + clock.now : NaN)
  }
  t.same(new Set(flood), new Set([25_000]))
  t.equal(store.asked, 3)
  clock.now = 10_000
  t.equal((await decide()).source, 'store', 'a reset elsewhere would be seen now')
  clock.now = 20_000
  await decide()
  t.equal(store.asked, 5)
  clock.now = 24_999
  t.equal((await decide()).outcome, 'refused', 'one millisecond early')
  clock.now = 25_000
  t.equal((await decide()).outcome, 'admitted')
})

test('a limit that counts failures is remembered for a second, and until a reservation of the caller goes back', async (t) => {
  const clock = { now: 0 }
  const store = new SwitchedStore(() => clock.now)
  const engine = new LimitEngine(store, new MemoryStore(), () => {}, { now: () => clock.now })
  const set: LimitSet = { quotas: [createQuota('exact', 2, 60_000, false)], onOutage: ['local'], failuresOnly: [true] }
  const held = await engine.decide(set, ['k'])
  for (let count = 0; count < 3; count++) await engine.decide(set, ['k'])
  t.equal(store.asked, 3)
  clock.now = 999
  t.equal((await engine.decide(set, ['k'])).source, 'deny-cache')
  clock.now = 1000
  t.equal((await engine.decide(set, ['k'])).source, 'store')
  t.equal((await engine.decide(set, ['k'])).source, 'deny-cache')
  // The refusal that is under way while the reservation goes back must not be remembered either.
  clock.now = 2000
  const pending = engine.decide(set, ['k'])
  await Promise.all([engine.giveBack(set, ['k'], held, [true]), pending])
  t.match(await engine.decide(set, ['k']), { source: 'store', outcome: 'admitted' })
})

test('the memory store is asked each time: it is as fast, and sees each reset at once', (t) => {
  const { engine } = engineOn(new MemoryStore())
  const set = setOf('local')
  for (let count = 0; count < 4; count++) t.match(engine.decide(set, ['k']), { source: 'store' })
  t.equal(engine.denyCache.size, 0)
  t.same(engine.counters().store, { breaker: 'closed', failures: 0, evictions: 0 })
  t.end()
})

test('a refusal is repeated only while all that may refuse is known: what is blocked, and what had room', async (t) => {
  const store = new ScriptedStore('redis')
  const engine = new LimitEngine(store, new LocalScript(), () => {}, { now: () => 0 })
  const [first, second, shadow] = [
    createQuota('exact', 2, 60_000, false),
    createQuota('exact', 2, 60_000, false),
    createQuota('exact', 2, 60_000, true),
  ]
  const roomy: Reading = { room: true, used: 1, waitMs: 7, mark: NOT_COUNTED }
  const all: LimitSet = { quotas: [first, second, shadow], onOutage: ['local', 'local', 'local'] }
  const decide = async (set: LimitSet, ...keys: string[]): Promise<Decision> => await engine.decide(set, keys)
  store.readings = [refusal(5000), roomy, refusal(20_000)]
  await decide(all, 'a', 'b', 'c')
  t.match(await decide(all, 'a', 'b', 'c'), {
    source: 'deny-cache',
    outcome: 'refused',
    readings: [{ waitMs: 5000 }, { room: true, used: 1 }, null],
  })
  t.match(await decide({ quotas: [first], onOutage: ['local'] }, 'a'), { source: 'deny-cache' })
  store.readings = [roomy, refusal(9000)]
  t.match(
    await decide({ quotas: [second, first], onOutage: ['local', 'local'] }, 'another', 'a'),
    { source: 'store' },
    'of another key of the second nothing is known',
  )
  store.readings = [{ ...roomy, mark: 1 }]
  t.match(
    await decide({ quotas: [second], onOutage: ['local'] }, 'b'),
    { source: 'store' },
    'what had room is not refused',
  )
  store.readings = [refusal(3000), refusal(90_000), roomy]
  t.match(await decide(all, 'a', 'b', 'c'), { source: 'store' }, 'what was admitted may have filled the second')
  t.match(await decide(all, 'a', 'b', 'c'), {
    source: 'deny-cache',
    readings: [{ waitMs: 3000 }, { waitMs: 90_000 }, null],
  })
  store.readings = [roomy]
  t.match(await decide({ quotas: [shadow], onOutage: ['local'] }, 'c'), { source: 'store' })
})

test('while the store is silent one request at a time waits for it, and open none does', async (t) => {
  const clock = { now: 0 }
  const waiting: ((error: Error) => void)[] = []
  class SilentStore extends ScriptedStore {
    override consume (): Promise<Verdict> { return new Promise((_resolve, reject) => { waiting.push(reject) }) }
  }
  const transitions: boolean[] = []
  const engine = new LimitEngine(new SilentStore('redis'), new MemoryStore(), (available) => {
    transitions.push(available)
  }, { now: () => clock.now })
  const set: LimitSet = { quotas: [createQuota('exact', 50, 60_000, false)], onOutage: ['local'] }
  const inFlight = Array.from({ length: 3 }, () => engine.decide(set, ['k']))
  t.equal(waiting.length, 3)
  waiting.shift()?.(new DeadlineExceeded('late'))
  t.match(await inFlight[0], { outcome: 'admitted', source: 'fallback' })
  const trial = engine.decide(set, ['k'])
  t.ok(trial instanceof Promise)
  for (let count = 0; count < 5; count++) t.match(engine.decide(set, ['k']), { source: 'fallback' })
  t.same(transitions, [])
  for (let count = 0; count < 2; count++) waiting.shift()?.(new DeadlineExceeded('late'))
  await Promise.all(inFlight.map(async (decision) => decision))
  waiting.shift()?.(new DeadlineExceeded('late'))
  await trial
  t.same(transitions, [], 'four')
  const last = engine.decide(set, ['k'])
  waiting.shift()?.(new DeadlineExceeded('late'))
  await last
  t.same(transitions, [false])
  t.equal(engine.counters().store.breaker, 'open')
  const open = Array.from({ length: 100 }, () => engine.decide(set, ['k']))
  t.notOk(open.some((decision) => decision instanceof Promise))
  t.equal(
    open.filter((decision) => (decision as Decision).outcome === 'admitted').length,
    40,
    'fifty in all, ten of which were used up before',
  )
  t.equal(waiting.length, 0)
})

test('peek, reset and ban reach the store, what stands in for it and the deny cache', async (t) => {
  const store = new ScriptedStore('redis')
  const local = new LocalScript()
  const engine = new LimitEngine(store, local, () => {}, { now: () => 0 })
  const set = setOf('local')
  store.readings = [refusal(5000)]
  await engine.decide(set, ['k'])
  t.equal(engine.denyCache.size, 1)
  t.same(await engine.peek(set, ['k']), [refusal(5000)])
  await engine.reset(['k'])
  t.equal(engine.denyCache.size, 0)
  await engine.decide(set, ['k'])
  await engine.ban(['k', 'l'], 1500)
  t.equal(engine.denyCache.size, 0)
  t.same(store.asked, ['consume', 'peek', 'reset k', 'consume', 'ban k,l 1500'])
  t.same(local.asked, ['reset k', 'ban k,l 1500'])

  store.error = new Error('READONLY secret text of Redis')
  await t.rejects(Promise.resolve(engine.ban(['k'], 10)), { code: 'STORE_UNAVAILABLE', message: /^(?!.*secret text)/ })
  await t.rejects(Promise.resolve(engine.reset(['k'])), { code: 'STORE_UNAVAILABLE' })
  t.same(local.asked.slice(2), ['ban k 10', 'reset k'], 'this process holds to it all the same')
  t.match(await engine.peek(set, ['k']), [{ used: 77 }])
})

test('a refusal that could lead to a ban reaches the store; a ban is remembered', async (t) => {
  const store = new ScriptedStore('redis')
  const engine = new LimitEngine(store, new LocalScript(), () => {}, { now: () => 0 })
  const quota = createQuota('exact', 2, 60_000, false, { penalty: { after: 3, withinMs: 60_000, bansMs: [30_000] } })
  const set: LimitSet = { quotas: [quota], onOutage: ['local'], failuresOnly: [true] }
  store.readings = [refusal(5000)]
  for (let count = 0; count < 3; count++) t.match(await engine.decide(set, ['k']), { source: 'store' })
  store.readings = [refusal(30_000, { banned: true })]
  t.match(await engine.decide(set, ['k']), { source: 'store' })
  t.match(await engine.decide(set, ['k']), { source: 'deny-cache', readings: [{ banned: true, waitMs: 30_000 }] })
})

test('what a closing server leaves unanswered is no outage', async (t) => {
  const store = new SwitchedStore()
  const { engine, transitions } = engineOn(store)
  store.up = false
  engine.close()
  await outcomes(engine, setOf('open'), 10)
  t.same(transitions, [])
})

test('the counters say what became of the requests of each policy', async (t) => {
  const counters = new PolicyCounters()
  const limits = [
    ...limitsOf({ limit: 5, window: '1m', by: 'ip', onOutage: 'closed' }, {
      limit: 5,
      window: '1m',
      by: 'ip',
      mode: 'shadow',
    }),
    ...resolvePolicies({ other: { limit: 9, window: '1m', by: 'ip' } }, 'policies', []).get('other') ?? [],
  ]
  const tally = compileTally(counters, limits, new Set())
  const room = (used: number): Reading => ({ room: true, used, waitMs: 1, mark: 1 })
  const store = new ScriptedStore('redis')
  const seen = (
    outcome: Decision['outcome'],
    readings: (Reading | null)[],
    source: Decision['source'] = 'store',
  ): void => {
    tally({ outcome, source, readings, store })
  }
  seen('admitted', [room(3), room(5), room(1)])
  seen('admitted', [room(4), refusal(1), room(1)])
  seen('refused', [refusal(1), room(1), room(8)])
  seen('refused', [null, null, refusal(1)], 'deny-cache')
  seen('refused', [room(4), refusal(1), refusal(1)], 'fallback')
  seen('unavailable', [null, null, null], 'fallback')
  const none = { allowed: 0, denied: 0, shadow: 0, nearLimit: 0, fallback: 0, denyCacheHits: 0, penalized: 0 }
  t.same(counters.snapshot(), {
    p: { ...none, allowed: 2, denied: 2, shadow: 1, nearLimit: 1, fallback: 2 },
    other: { ...none, allowed: 2, denied: 2, fallback: 2, denyCacheHits: 1 },
  })
  compileTally(counters, limits, new Set(['p']))({
    outcome: 'admitted',
    source: 'store',
    readings: [room(1), room(1), room(1)],
    store,
  })
  t.match(counters.snapshot(), { p: { allowed: 2 }, other: { allowed: 3 } }, 'a later step has the last word on p')
})

test('evictions are those of the memory that is in use, where it counts them', (t) => {
  class Crowded extends LocalScript {
    readonly evictions = 7
  }
  const evictions = (store: LimitStore, fallback: LocalStore): number | null =>
    new LimitEngine(store, fallback, () => {}).counters().store.evictions
  t.equal(evictions(new Crowded(), new LocalScript()), 7)
  t.equal(evictions(new ScriptedStore('redis'), new Crowded()), 7)
  t.equal(evictions(new ScriptedStore('redis'), new LocalScript()), null)
  t.end()
})

test('what may be told of limits excludes accounts and shadows', (t) => {
  const limits = limitsOf(
    { limit: 10, window: '1500ms', by: 'ip' }, { limit: 5, window: '1m', by: ['ip', { body: 'email' }] },
    { limit: 7, window: '1m', by: 'ip', mode: 'shadow' }, { limit: 9, window: '1h', by: 'user' },
  )
  t.equal(renderPolicyField(limits), '"p";q=10;w=2, "p:4";q=9;w=3600')
  t.equal(renderPolicyField(limits.slice(1, 3)), null)
  const readings = limits.map((): Reading => ({ room: true, used: 1, waitMs: 1500, mark: 1 }))
  const decision = { outcome: 'admitted', source: 'store', readings, store: new ScriptedStore('redis') } as const
  t.equal(renderItems(limits, decision), '"p";r=9;t=2, "p:4";r=8;t=2')
  t.end()
})

function limitsOf (...limits: Limit[]): readonly ResolvedLimit[] {
  return resolvePolicies({ p: limits }, 'policies', []).get('p') ?? []
}
