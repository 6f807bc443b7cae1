import fc from 'fast-check'
import { test } from 'tap'
import { createQuota, NOT_COUNTED, type Quota, type Reading } from '../../../lib/rate-limit/quota.js'
import { ALGORITHMS, arbitrarySteps, atCost, CALLERS, PlainOracle, SHAPES, type Step } from './oracle.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'

const RUNS = 30
const STEPS = 150
const START = 1_000_000_000

for (const algorithm of ALGORITHMS) {
  for (const quota of SHAPES[algorithm]) {
    const name = `${algorithm} ${quota.limit} per ${quota.windowMs} ms`
    test(`${name} decides, counts and waits as a plain array does, and keeps its theorem`, (t) => {
      // A queue that something was taken out of has no simple past: its theorem alone is held against refunds, below.
      const actions: Step['action'][] = algorithm === 'gcra' ? ['peek'] : ['peek', 'giveBack']
      check(arbitrarySteps(quota, actions, STEPS), (steps) => followSteps(quota, steps, true))
      t.pass(`${RUNS * STEPS} steps`)
      t.end()
    })

    test(`${name} keeps its theorem also against refunds that come early, late or twice`, (t) => {
      check(arbitrarySteps(quota, ['giveBack'], STEPS), (steps) => followSteps(quota, steps, algorithm !== 'gcra'))
      t.pass(`${RUNS * STEPS} steps`)
      t.end()
    })

    test(`${name} admits when the wait is over and not a millisecond earlier, at every cost`, (t) => {
      const clock = { now: START }
      const store = new MemoryStore({ now: () => clock.now })
      for (let cost = 1; cost <= Math.min(4, quota.burst); cost++) {
        clock.now += 10 * quota.windowMs
        const set = [atCost(quota, cost)]
        for (let turn = 0; store.consume(set, ['k']).admitted; turn++) clock.now += turn % 3
        const waitMs = store.peek(set, ['k'])[0]?.waitMs ?? 0
        clock.now += waitMs - 1
        t.equal(store.consume(set, ['k']).admitted, false, `cost ${cost}, one millisecond early`)
        clock.now += 1
        t.equal(store.consume(set, ['k']).admitted, true, `cost ${cost}`)
      }
      t.end()
    })
  }
}

test('a burst at each side of a window\'s edge: only fixed admits twice the limit', (t) => {
  for (const algorithm of ALGORITHMS) {
    const quota = createQuota(algorithm, 20, 60_000, false)
    for (let offset = -10; offset <= 10; offset++) {
      const edge = 100 * quota.windowMs
      const clock = { now: edge - 10 }
      const store = new MemoryStore({ now: () => clock.now })
      const before = admittedBy(store, quota)
      clock.now = edge + offset
      const after = admittedBy(store, quota)
      t.equal(before, 20)
      t.equal(after, algorithm === 'fixed' && offset >= 0 ? 20 : 0, `${algorithm}, ${offset} ms from the edge`)
    }
  }
  t.end()
})

test('a clock that steps back frees nobody', (t) => {
  for (const algorithm of ALGORITHMS) {
    const quota = createQuota(algorithm, 5, 60_000, false)
    const clock = { now: START }
    const store = new MemoryStore({ now: () => clock.now })
    admittedBy(store, quota)
    for (const back of [1, quota.bucketMs, quota.windowMs, 2 * quota.windowMs]) {
      clock.now = START - back
      t.equal(store.consume([quota], ['k']).admitted, false, `${algorithm}, ${back} ms back`)
    }
  }
  t.end()
})

test('a request that costs more than is left changes nothing, and a cheaper one still fits', (t) => {
  for (const algorithm of ALGORITHMS) {
    const quota = createQuota(algorithm, 10, 60_000, false)
    const clock = { now: START }
    const store = new MemoryStore({ now: () => clock.now })
    t.equal(store.consume([atCost(quota, 8)], ['k']).readings[0]?.used, 8)
    const refused = store.consume([atCost(quota, 3)], ['k'])
    t.equal(refused.admitted, false)
    t.match(refused.readings[0], { room: false, used: 8, mark: NOT_COUNTED })
    t.equal(store.consume([atCost(quota, 2)], ['k']).readings[0]?.used, 10, algorithm)
  }
  t.end()
})

test('a limit that changes amid a trace holds from the next request on', (t) => {
  for (const algorithm of ALGORITHMS) {
    check(arbitrarySteps(createQuota(algorithm, 12, 60_000, false), ['consume'], STEPS), (steps) => {
      const clock = { now: START }
      const store = new MemoryStore({ now: () => clock.now })
      for (const { advance, cost, pick } of steps) {
        clock.now += Math.max(0, advance)
        const quota = atCost(createQuota(algorithm, 4 + pick % 3 * 8, 60_000, false), cost)
        const before = store.peek([quota], ['k'])[0] as Reading
        const { admitted, readings: [reading] } = store.consume([quota], ['k'])
        if (admitted !== before.used + quota.cost <= quota.limit && algorithm !== 'gcra') {
          return `${before.used} used of ${quota.limit}, ${admitted ? 'admitted' : 'refused'}`
        }
        if (admitted && (reading?.used ?? 0) > quota.limit) return 'more than the limit of now'
        if (!admitted && (reading?.waitMs ?? 0) < 1) return 'refused without a wait'
      }
      return null
    })
  }
  t.pass('four algorithms')
  t.end()
})

test('the ladder of bans follows its model', (t) => {
  const penalty = { after: 3, withinMs: 30_000, bansMs: [5000, 20_000, 60_000] }
  const quota = createQuota('exact', 2, 1000, false, { penalty })
  const advance = fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 0, max: 700 }) }, {
    weight: 1,
    arbitrary: fc.constantFrom(4999, 5000, 20_000, 29_999, 30_000, 60_001, 95_000),
  })
  check(fc.array(advance, { minLength: 200, maxLength: 200 }), (advances) => {
    const clock = { now: START }
    const store = new MemoryStore({ now: () => clock.now })
    const counted: number[] = []
    let refusals: number[] = []
    let bans: { readonly end: number }[] = []
    for (const ms of advances) {
      clock.now += ms
      const { now } = clock
      const last = bans.at(-1)?.end ?? 0
      const { admitted, readings } = store.consume([quota], ['k'])
      const reading = readings[0] as Reading
      const full = counted.filter((stamp) => stamp > now - 1000).length >= 2
      if (now < last) {
        if (admitted || reading.banned !== true || reading.waitMs < last - now) {
          return `at ${now}: not held by the ban until ${last}`
        }
        continue
      }
      if (reading.banned === true) return `at ${now}: banned without a ban`
      if (admitted === full) return `at ${now}: ${admitted ? 'admitted' : 'refused'} against the model`
      if (admitted) { counted.push(now); continue }
      refusals = [...refusals.filter((stamp) => stamp > now - 30_000), now]
      if (refusals.length < 3) continue
      if (now >= last + 30_000) bans = []
      bans.push({ end: now + (penalty.bansMs[Math.min(bans.length, 2)] ?? 0) })
      refusals = []
      if (reading.waitMs < (bans.at(-1)?.end ?? 0) - now) return `at ${now}: the wait forgets the ban that begins`
    }
    return null
  })
  t.pass('the model agrees')
  t.end()
})

interface Taken { readonly mark: number, readonly cost: number, returned: boolean }

function followSteps (quota: Quota, steps: readonly Step[], exactly: boolean): string | null {
  const clock = { now: START }
  const store = new MemoryStore({ now: () => clock.now })
  const oracles = Array.from({ length: CALLERS }, () => new PlainOracle(quota))
  const taken: Taken[][] = Array.from({ length: CALLERS }, () => [])
  for (const { advance, caller, cost: wanted, action, pick } of steps) {
    clock.now += advance
    const { now } = clock
    const costly = atCost(quota, wanted)
    const { cost } = costly
    const oracle = oracles[caller] as PlainOracle
    const marks = taken[caller] as Taken[]
    const key = [`caller${caller}`]
    if (action === 'giveBack') {
      const index = marks.length - 1 - pick % 4
      const held = marks[index]
      // A mark names a moment, not a request: a second refund takes what another request left there. The engine settles
      // each request once; here a second time is tried where nobody else stands.
      if (
        held === undefined || (held.returned && (quota.algorithm === 'gcra' || marks.some(({ mark, returned }) =>
          mark === held.mark && !returned
        )))
      ) continue
      store.giveBack([atCost(quota, held.cost)], key, [held.mark])
      oracle.giveBack(index, now)
      held.returned = true
      continue
    }
    const reading =
      (action === 'peek' ? store.peek([costly], key) : store.consume([costly], key).readings)[0] as Reading
    const where = `at ${now}, caller ${caller}, cost ${cost}`
    const fits = oracle.admits(now, cost)
    if (exactly && reading.room !== fits) return `${where}: room ${reading.room} against the array`
    if (action === 'consume' && reading.room) {
      oracle.admit(now, cost)
      marks.push({ mark: reading.mark, cost, returned: false })
      const broken = oracle.broken(now)
      if (broken !== null) return `${where}: ${broken}`
    }
    if (!exactly) continue
    const used = oracle.used(now)
    if (reading.used !== used) return `${where}: ${reading.used} used instead of ${used}`
    if (
      !reading.room && (!oracle.admits(now + reading.waitMs, cost) || oracle.admits(now + reading.waitMs - 1, cost))
    ) {
      return `${where}: the wait of ${reading.waitMs} ms is wrong`
    }
    if (reading.room && used === 0 && reading.waitMs !== quota.windowMs) {
      return `${where}: nothing counted, and yet a wait of ${reading.waitMs} ms`
    }
    // A bucket that has just been counted in stays a little longer than it said before.
    const late = quota.algorithm === 'sliding' && action === 'consume' ? quota.bucketMs : 0
    if (
      reading.room && used > 0 &&
      (oracle.used(now + reading.waitMs + late) >= used || oracle.used(now + reading.waitMs - 1) !== used)
    ) return `${where}: the next unit is not free after ${reading.waitMs} ms`
  }
  return null
}

/** Runs the property; `follow` names the first fault, and the failing trace is made as short as it can be. */
function check<T> (trace: fc.Arbitrary<T>, follow: (trace: T) => string | null): void {
  fc.assert(fc.property(trace, (value) => {
    const fault = follow(value)
    if (fault !== null) throw new Error(fault)
  }), { numRuns: RUNS, endOnFailure: true })
}

function admittedBy (store: MemoryStore, quota: Quota): number {
  let admitted = 0
  while (store.consume([quota], ['k']).admitted) admitted++
  return admitted
}
