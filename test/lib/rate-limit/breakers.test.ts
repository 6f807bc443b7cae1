import { test } from 'tap'
import { NO_ENTRY } from '../../../lib/rate-limit/breaker.js'
import { Breakers } from '../../../lib/rate-limit/breakers.js'
import { LimitEngine, type LimitSet } from '../../../lib/rate-limit/engine.js'
import { createQuota, NOT_COUNTED } from '../../../lib/rate-limit/quota.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'

/** Breakers of a store whose keys are the names of their nodes, but for those that moved. */
function create (
  laneOf: LimitStore['laneOf'] | null = (keys) => keys.map((key) => moved.get(key) ?? key).join(' '),
): { breakers: Breakers, clock: { now: number }, told: boolean[] } {
  const clock = { now: 0 }
  const told: boolean[] = []
  return {
    breakers: new Breakers(laneOf === null ? {} : { laneOf }, {
      now: () => clock.now,
      onTransition: (available) => {
        told.push(available)
      },
    }),
    clock,
    told,
  }
}

const moved = new Map<string, string>()

function lose (breakers: Breakers, ...keys: string[]): void {
  const breaker = breakers.of(keys)
  for (let count = 0; count < 5; count++) breaker.failed(breaker.enter(), false)
}

function find (breakers: Breakers, ...keys: string[]): void {
  const breaker = breakers.of(keys)
  breaker.succeeded(breaker.enter())
}

test('a store that names no parts has one breaker', (t) => {
  const { breakers, told } = create(null)
  t.equal(breakers.of(['a']), breakers.of(['b']))
  t.equal(breakers.state, 'closed')
  lose(breakers, 'a')
  t.equal(breakers.of(['b']).enter(), NO_ENTRY)
  t.equal(breakers.state, 'open')
  t.same(told, [false])
  t.end()
})

test('a node that is lost closes no way to the others, and what needs both has a breaker of its own', (t) => {
  const { breakers } = create()
  lose(breakers, 'a')
  t.equal(breakers.of(['a']).enter(), NO_ENTRY)
  t.not(breakers.of(['b']).enter(), NO_ENTRY)
  t.not(breakers.of(['a', 'b']).enter(), NO_ENTRY)
  lose(breakers, 'a', 'b')
  t.equal(breakers.of(['a', 'b']).enter(), NO_ENTRY)
  t.not(breakers.of(['b']).enter(), NO_ENTRY)
  t.end()
})

test('the first loss and the last return are told, once each; the state is the worst', (t) => {
  const { breakers, clock, told } = create()
  lose(breakers, 'a')
  lose(breakers, 'b')
  find(breakers, 'c')
  clock.now = 1000
  breakers.of(['a']).enter()
  t.equal(breakers.state, 'open', 'of half-open, open and closed')
  find(breakers, 'b')
  t.equal(breakers.state, 'half-open')
  t.same(told, [false])
  const { breakers: second, clock: later, told: heard } = create()
  for (const key of ['a', 'b']) lose(second, key)
  later.now = 1000
  for (const key of ['a', 'b']) find(second, key)
  t.equal(second.state, 'closed')
  t.same(heard, [false, true])
  t.end()
})

test('a lost node whose slots another one took over is forgotten, and a late word of it changes nothing', (t) => {
  const { breakers, clock, told } = create()
  t.teardown(() => { moved.clear() })
  const late = breakers.of(['a'])
  const ticket = late.enter()
  lose(breakers, 'a')
  moved.set('a', 'replica')
  clock.now = 1000
  t.not(breakers.of(['a']), late)
  t.same(told, [false, true])
  t.equal(breakers.state, 'closed')
  late.failed(ticket, true)
  const probe = late.enter()
  late.succeeded(probe)
  t.same(told, [false, true])
  t.equal(breakers.state, 'closed')
  t.end()
})

test('nodes that come and go under new addresses do not add up, and leave no loss behind', (t) => {
  const { breakers, told } = create()
  lose(breakers, 'lost')
  const first = breakers.of(['node 0'])
  for (let node = 1; node < 5000; node++) breakers.of([`node ${node}`])
  t.not(breakers.of(['node 0']), first)
  t.same(told, [false, true])
  t.equal(breakers.state, 'closed')
  t.end()
})

test('the engine goes on asking the other nodes, and refuses only where the lost one would decide', async (t) => {
  const inner = new MemoryStore()
  const asked: string[] = []
  const store: LimitStore = {
    kind: 'redis',
    consume: async (quotas, keys): Promise<Verdict> => {
      asked.push(keys.join())
      if (keys.includes('a')) throw new Error('node lost')
      return inner.consume(quotas, keys)
    },
    giveBack: async () => {},
    peek: async (quotas) => quotas.map(() => ({ room: true, used: 9, waitMs: 1, mark: NOT_COUNTED })),
    reset: async () => {},
    ban: async () => {},
    laneOf: (keys) => keys.join(' '),
    close: () => {},
  }
  const told: boolean[] = []
  const engine = new LimitEngine(store, new MemoryStore(), (available) => { told.push(available) }, { now: () => 1000 })
  t.teardown(() => { engine.close() })
  const closed: LimitSet = { quotas: [createQuota('exact', 20, 60_000, false)], onOutage: ['closed'] }
  for (let count = 0; count < 10; count++) {
    t.match(await engine.decide(closed, ['a']), { outcome: 'unavailable', source: 'fallback' })
    t.match(await engine.decide(closed, ['b']), { outcome: 'admitted', source: 'store' })
  }
  t.equal(asked.filter((keys) => keys === 'a').length, 5)
  t.same(told, [false])
  t.equal(engine.counters().store.breaker, 'open')
  t.same((await engine.peek(closed, ['a'])).map(({ used }) => used), [0], 'what this process counted')
  t.same((await engine.peek(closed, ['b'])).map(({ used }) => used), [9], 'what the node says')
})
