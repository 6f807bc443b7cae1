import { test } from 'tap'
import { createQuota, NOT_COUNTED, type Quota, type Reading } from '../../../lib/rate-limit/quota.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'

/**
 * One set: who goes for whom does not depend on the random key of a store. Its pool has 1024 chunks of three records.
 */
const ONE_SET = 16
const MINUTE = 60_000
const HOUR = 3_600_000
const five = [createQuota('exact', 5, MINUTE, false)]
const thousands = [createQuota('exact', 9000, 100 * HOUR, false)]

function open (capacity = ONE_SET): { store: MemoryStore, clock: { now: number } } {
  const clock = { now: 1000 }
  return { store: new MemoryStore({ capacity, now: () => clock.now }), clock }
}

/** One request in each millisecond from the next. */
function fill (
  store: MemoryStore,
  clock: { now: number },
  quota: readonly Quota[],
  key: string,
  requests: number,
): void {
  for (let count = 0; count < requests; count++) {
    clock.now++
    store.consume(quota, [key])
  }
}

const named = (name: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${name}${index}`)
const readingOf = (store: MemoryStore, quota: readonly Quota[], key: string): Reading =>
  store.peek(quota, [key])[0] as Reading
const usedOf = (store: MemoryStore, quota: readonly Quota[], keys: readonly string[]): number[] =>
  keys.map((key) => readingOf(store, quota, key).used)

test('a flood does not make the limiter forget that a caller was banned before', (t) => {
  const { store, clock } = open()
  const quota = [
    createQuota('exact', 1, 10_000, false, { penalty: { after: 1, withinMs: HOUR, bansMs: [20_000, 500_000] } }),
  ]
  store.consume(quota, ['k'])
  t.equal(store.consume(quota, ['k']).readings[0]?.waitMs, 20_000)
  clock.now += 20_000
  for (let flood = 0; flood < 100; flood++) store.consume(five, [`foreign${flood}`])
  t.equal(store.consume(quota, ['k']).admitted, true)
  t.equal(store.consume(quota, ['k']).readings[0]?.waitMs, 500_000)
  t.end()
})

test('of callers who are all blocked the one goes who would be let in first', (t) => {
  const { store, clock } = open()
  const hour = [createQuota('exact', 1, HOUR, false)]
  const minute = [createQuota('exact', 1, MINUTE, false)]
  store.consume(hour, ['longest'])
  clock.now += 10
  for (const key of named('k', 15)) store.consume(minute, [key])
  clock.now += 10
  store.consume(minute, ['one more'])
  t.equal(readingOf(store, hour, 'longest').room, false)
  t.same(usedOf(store, minute, named('k', 15)).filter((used) => used === 0), [0])
  t.end()
})

test('who was blocked and has room again weighs what he has used, not what he waited for', (t) => {
  const { store, clock } = open()
  const [fifty, two] = [[createQuota('exact', 50, MINUTE, false)], [createQuota('exact', 2, MINUTE, false)]]
  store.consume(fifty, ['fifty'])
  clock.now += 10
  store.consume(two, ['two'])
  clock.now += 30_000
  for (let count = 0; count < 49; count++) store.consume(fifty, ['fifty'])
  store.consume(two, ['two'])
  // Spans are kept a tenth too long at most.
  clock.now += 38_000
  for (const key of named('blocked', 14)) for (let count = 0; count < 5; count++) store.consume(five, [key])
  t.same([readingOf(store, fifty, 'fifty').used, readingOf(store, two, 'two').used], [49, 1])
  store.consume(five, ['one more'])
  t.same([readingOf(store, fifty, 'fifty').used, readingOf(store, two, 'two').used], [49, 0])
  t.end()
})

test('a key whose window has become longer is not taken for expired', (t) => {
  const { store, clock } = open()
  store.consume([createQuota('exact', 5, 1000, false)], ['k'])
  while (store.consume(five, ['k']).admitted);
  clock.now += 10_000
  for (let flood = 0; flood < 100; flood++) store.consume(five, [`foreign${flood}`])
  t.equal(readingOf(store, five, 'k').room, false)
  t.end()
})

test('limits of one request that take each other\'s slot still count under their own keys', (t) => {
  const { store, clock } = open()
  for (const key of named('blocked', 14)) for (let count = 0; count < 5; count++) store.consume(five, [key])
  store.consume(five, ['light'])
  clock.now += 10
  store.consume(five, ['later'])
  const two = [createQuota('exact', 2, MINUTE, false)]
  // The new key takes the slot of the light one, which then takes the later one's.
  t.equal(store.consume([...two, ...five], ['new', 'light']).admitted, true)
  t.same(usedOf(store, five, ['new', 'light', 'later']), [1, 1, 0])
  t.end()
})

test('a log that was shortened holds each request, for a moment too long at most, and not a moment longer', (t) => {
  const { store, clock } = open()
  const quota = [createQuota('exact', 301, MINUTE, false)]
  fill(store, clock, quota, 'k', 300)
  const start = clock.now - 300
  // The pool is full with the last of these, and the longest log pays.
  for (const key of named('other', 14)) fill(store, clock, thousands, key, 198)
  fill(store, clock, thousands, 'other0', 1)
  fill(store, clock, quota, 'k', 1)
  const refused = store.consume(quota, ['k'])
  t.equal(refused.admitted, false)
  const promised = clock.now + (refused.readings[0]?.waitMs ?? 0)
  t.equal(promised, start + 1 + MINUTE)
  let [late, early] = [0, 0]
  for (let left = 1; left <= 300; left++) {
    clock.now = start + left + MINUTE
    const held = readingOf(store, quota, 'k').used - (301 - left)
    if (held < 0) early++
    if (held > 0) late++
    t.ok(held <= 1, 'no more than its one neighbour')
  }
  t.equal(early, 0)
  t.ok(late > 100, `was shortened: ${late}`)
  t.equal(readingOf(store, quota, 'k').used, 1, 'nothing of them is left')
  clock.now = promised
  t.equal(store.consume(quota, ['k']).admitted, true)
  t.end()
})

test('callers beside one that wears the pool out, over and over, are counted exactly', (t) => {
  const { store, clock } = open()
  const quota = [createQuota('exact', 100, HOUR, false)]
  const light = named('light', 14)
  for (let round = 0; round < 3; round++) {
    fill(store, clock, thousands, 'heavy', 3100)
    store.reset(['heavy'])
    fill(store, clock, thousands, 'heavy', 2900)
    const stamps = light.map(() => new Array<number>())
    for (let count = 0; count < 15; count++) {
      for (const [index, key] of light.entries()) {
        fill(store, clock, quota, key, 1)
        stamps[index]?.push(clock.now)
      }
    }
    for (const left of [1, 2, 7, 14]) {
      for (const [index, key] of light.entries()) {
        clock.now = (stamps[index]?.[left - 1] ?? 0) + HOUR
        t.equal(readingOf(store, quota, key).used, 15 - left)
      }
    }
    store.reset(['heavy', ...light])
  }
  t.end()
})

test('logs that have ended give way before any that counts is shortened', (t) => {
  const { store, clock } = open()
  const hundreds = [createQuota('exact', 300, MINUTE, false)]
  for (const key of named('ended', 14)) fill(store, clock, hundreds, key, 210)
  clock.now += 70_000
  const start = clock.now
  fill(store, clock, thousands, 'k', 2900)
  t.ok(store.size <= 3, `${store.size} slots`)
  const { windowMs } = thousands[0] as Quota
  for (const left of [1, 2, 3, 1000, 1001, 2899]) {
    clock.now = start + left + windowMs
    t.equal(readingOf(store, thousands, 'k').used, 2900 - left)
  }
  t.end()
})

test('a worn-out pool changes nothing of when blocked callers were told to return', (t) => {
  const { store, clock } = open(2048)
  const two = [createQuota('exact', 2, MINUTE, false)]
  const blocked = named('blocked', 1030)
  for (const key of blocked) fill(store, clock, two, key, 2)
  const told = new Map(blocked.map((key) => [key, clock.now + readingOf(store, two, key).waitMs]))
  for (const key of named('newcomer', 100)) fill(store, clock, five, key, 3)
  const present = blocked.filter((key) => readingOf(store, two, key).used === 2)
  // By chance a set or two of 16 has to take more than 16 of them.
  t.ok(present.length > 1000, `${present.length} are still here`)
  t.same(present.filter((key) => clock.now + readingOf(store, two, key).waitMs !== told.get(key)), [])
  clock.now = Math.max(...told.values())
  t.same(present.filter((key) => !store.consume(two, [key]).admitted), [])
  t.end()
})

test('a sliding caller returns when he was told, though his first bucket was given back and the pool is worn out', (t) => {
  const { store, clock } = open(1024)
  const sliding = createQuota('sliding', 12, MINUTE, false)
  const { bucketMs } = sliding
  clock.now = 100 * bucketMs
  const mark = store.consume([sliding], ['k']).readings[0]?.mark ?? NOT_COUNTED
  for (let count = 0; count < 12; count++) {
    clock.now += bucketMs
    t.equal(store.consume([sliding], ['k']).admitted, true)
    if (count === 0) store.giveBack([sliding], ['k'], [mark])
  }
  const promised = clock.now + (store.consume([sliding], ['k']).readings[0]?.waitMs ?? 0)
  for (const key of named('other', 340)) fill(store, clock, thousands, key, 9)
  for (const key of named('other', 340)) fill(store, clock, thousands, key, 1)
  t.equal(readingOf(store, [sliding], 'k').used, 12)
  t.equal(clock.now + readingOf(store, [sliding], 'k').waitMs, promised)
  clock.now = promised
  t.equal(store.consume([sliding], ['k']).admitted, true)
  t.end()
})

test('a log that was very long and is short again is no endless source of chunks', (t) => {
  for (let rest = 1; rest <= 8; rest++) {
    const { store, clock } = open()
    const thousand = [createQuota('exact', 1000, MINUTE, false)]
    fill(store, clock, thousand, 'k', 900)
    clock.now += MINUTE - rest
    fill(store, clock, thousand, 'k', 3)
    const left = readingOf(store, thousand, 'k').used
    const others = named('other', 15)
    for (let round = 0; round < 300; round++) for (const key of others) fill(store, clock, thousands, key, 1)
    t.equal(readingOf(store, thousand, 'k').used <= left, true)
    t.same(new Set(usedOf(store, thousands, others)), new Set([300]))
    clock.now += 99 * HOUR
    t.same(new Set(usedOf(store, thousands, others)), new Set([300]))
  }
  t.end()
})
