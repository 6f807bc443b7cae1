import { test } from 'tap'
import { createQuota, type Algorithm, type Quota } from '../../../lib/rate-limit/quota.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import { Model } from './memory-model.js'
import { randomTrace, seeded } from './traces.js'

const DAY = 86_400_000
const penalty = { after: 3, withinMs: 5000, bansMs: [700, 4000, 20_000] }

/** Each algorithm with windows of 15 ms to 366 days, costs, bursts, a shadow, a ladder of bans. */
const CASES: readonly (readonly Quota[])[] = (['exact', 'sliding', 'gcra', 'fixed'] as const).flatMap((
  algorithm: Algorithm,
) => [
  [createQuota(algorithm, 1, 1000, false)],
  [createQuota(algorithm, 64, 10_007, false, { burst: 20 })],
  [createQuota(algorithm, 20, 15, false, { burst: 12, cost: 3 })],
  [createQuota(algorithm, 400, 366 * DAY, false, { burst: 70, cost: 7 })],
  [createQuota(algorithm, 9, 60 * DAY, false, {
    cost: 2,
    penalty: { ...penalty, withinMs: 200 * DAY, bansMs: [DAY, 80 * DAY] },
  })],
  [
    createQuota(algorithm, 5, 1000, false, { penalty }),
    createQuota('exact', 12, 3000, true, { cost: 2, penalty }),
    createQuota(algorithm, 30, 9000, false),
  ],
])

test('on random traces every verdict, reading and mark is that of the plain model', (t) => {
  for (const [index, quotas] of CASES.entries()) {
    const first = quotas[0] as Quota
    const random = seeded(index + 1)
    const clock = { now: 0 }
    const store = new MemoryStore({ capacity: 1000, now: () => clock.now })
    const model = new Model()
    const marks: { keys: string[], marks: number[] }[] = []
    const faults: unknown[] = []
    let admissions = 0
    for (const step of randomTrace(random, first, 3000, 3, 1_800_000_000_000)) {
      // One step in thirty the clock stands back, by up to two windows.
      clock.now = random() < 0.03 ? Math.max(0, step.now - Math.floor(random() * 2 * first.windowMs)) : step.now
      const keys = quotas.map((_, limit) => `caller${step.caller}:${limit}`)
      if (step.giveBack) {
        // Late ones, and now and then one for a second time.
        const given = random() < 0.2
          ? marks[Math.floor(random() * marks.length)]
          : marks.splice(Math.floor(random() * marks.length), 1)[0]
        if (given !== undefined) {
          store.giveBack(quotas, given.keys, given.marks)
          model.giveBack(quotas, given.keys, given.marks, clock.now)
        }
      }
      if (random() < 0.005) {
        store.reset(keys)
        model.reset(keys)
      }
      if (random() < 0.01) {
        const ms = random() < 0.5 ? 0 : Math.floor(random() * first.windowMs)
        store.ban(keys, ms)
        model.ban(keys, ms, clock.now)
      }
      const pairs = [[store.peek(quotas, keys), model.peek(quotas, keys, clock.now)]]
      const [actual, expected] = [store.consume(quotas, keys), model.consume(quotas, keys, clock.now)]
      pairs.push([actual.readings, expected.readings])
      if (actual.admitted) {
        admissions++
        marks.push({ keys, marks: actual.readings.map(({ mark }) => mark) })
        if (marks.length > 40) marks.shift()
      }
      if (actual.admitted !== expected.admitted || pairs.some(([a, b]) => JSON.stringify(a) !== JSON.stringify(b))) {
        faults.push({ now: clock.now, pairs })
      }
      if (faults.length > 1) break
    }
    t.same(faults, [], `${first.algorithm} ${first.limit} per ${first.windowMs} ms, ${quotas.length} limits`)
    t.ok(admissions > 300, `${admissions} admitted`)
    t.equal(store.evictions, 0)
  }
  t.end()
})
