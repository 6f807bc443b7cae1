import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { test } from 'tap'
import { createQuota, NOT_COUNTED, type Quota } from '../../../lib/rate-limit/quota.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'

const CAPACITY = 512
const HOUR = 3_600_000
const five = [createQuota('exact', 5, 60_000, false)]

function storeWithClock (capacity = CAPACITY): { store: MemoryStore, clock: { now: number } } {
  const clock = { now: 1000 }
  return { store: new MemoryStore({ capacity, now: () => clock.now }), clock }
}

function block (store: MemoryStore, key: string, quotas: readonly Quota[] = five): void {
  while (store.consume(quotas, [key]).admitted);
}

function flood (store: MemoryStore, requests: number, quotas: readonly Quota[] = five): void {
  for (let index = 0; index < requests; index++) store.consume(quotas, [`foreign${index}`])
}

function blockedOf (store: MemoryStore, keys: readonly string[], quotas: readonly Quota[] = five): number {
  return keys.filter((key) => store.peek(quotas, [key])[0]?.room === false).length
}

const named = (name: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${name}${index}`)

test('a flood of 400,000 foreign keys frees 0 of 500 blocked callers', (t) => {
  const { store } = storeWithClock(25_000)
  const blocked = named('blocked', 500)
  for (const key of blocked) block(store, key)
  flood(store, 400_000)
  t.equal(blockedOf(store, blocked), 500)
  t.ok(store.size <= 2 * 25_000, `${store.size} callers`)
  t.end()
})

test('callers blocked by any algorithm, or banned, survive a flood a hundred times the capacity', (t) => {
  for (const algorithm of ['exact', 'sliding', 'gcra', 'fixed'] as const) {
    const quota = [createQuota(algorithm, 5, 60_000, false, { burst: 4 })]
    const { store } = storeWithClock()
    const blocked = named('blocked', 20)
    for (const key of blocked) block(store, key, quota)
    store.ban(['banned'], 60_000)
    flood(store, 100 * CAPACITY, quota)
    t.ok(store.size <= CAPACITY + 21, `${store.size} callers`)
    t.equal(blockedOf(store, [...blocked, 'banned'], quota), 21, algorithm)
    t.ok(store.evictions > 90 * CAPACITY)
  }
  t.end()
})

test('of blocked callers at least the newer half of the capacity is known', (t) => {
  const { store } = storeWithClock()
  const blocked = named('blocked', 10 * CAPACITY)
  for (const key of blocked) block(store, key)
  t.equal(blockedOf(store, blocked.slice(-CAPACITY / 2)), CAPACITY / 2)
  t.ok(store.size <= 2 * CAPACITY)
  t.end()
})

test('a caller who has no room under a shadow limit only is not held', (t) => {
  const { store } = storeWithClock()
  block(store, 'blocked')
  const shadow = [createQuota('exact', 1, 60_000, true)]
  flood(store, 100 * CAPACITY, shadow)
  t.equal(blockedOf(store, ['blocked']), 1)
  t.equal(blockedOf(store, ['foreign0'], shadow), 0, 'pushed out')
  t.end()
})

test('a caller who has room again is no longer held', (t) => {
  const { store, clock } = storeWithClock()
  block(store, 'returned')
  block(store, 'given back')
  clock.now += 60_000
  t.equal(store.consume(five, ['returned']).admitted, true)
  const marks = Array.from({ length: 5 }, () => store.consume(five, ['given back']).readings[0]?.mark ?? NOT_COUNTED)
  store.giveBack(five, ['given back'], [marks[0] ?? NOT_COUNTED])
  flood(store, 10 * CAPACITY)
  t.same(store.peek(five, ['returned'])[0]?.used, 0)
  t.same(store.peek(five, ['given back'])[0]?.used, 0)
  t.end()
})

test('a caller who comes back during a flood keeps the count', (t) => {
  const { store } = storeWithClock()
  for (let round = 0; round < 4; round++) {
    store.consume(five, ['regular'])
    flood(store, CAPACITY / 4)
  }
  t.equal(store.peek(five, ['regular'])[0]?.used, 4)
  t.end()
})

test('a flood does not make the store forget that a caller was banned before', (t) => {
  const { store, clock } = storeWithClock()
  const penalty = { after: 1, withinMs: HOUR, bansMs: [20_000, 500_000] }
  const quota = [createQuota('exact', 1, 10_000, false, { penalty })]
  store.consume(quota, ['k'])
  t.equal(store.consume(quota, ['k']).readings[0]?.waitMs, 20_000)
  clock.now += 20_000
  flood(store, 10 * CAPACITY)
  t.equal(store.consume(quota, ['k']).admitted, true)
  t.equal(store.consume(quota, ['k']).readings[0]?.waitMs, 500_000)
  t.end()
})

test('a refused request, a reading and a give-back of an unknown caller remember nothing', (t) => {
  const { store } = storeWithClock()
  block(store, 'a')
  const set = [...five, createQuota('exact', 9, 1000, false)]
  t.equal(store.consume(set, ['a', 'never']).admitted, false)
  store.peek(set, ['x', 'y'])
  store.giveBack(set, ['x', 'y'], [1000, 1000])
  store.reset(['x'])
  store.ban(['x'], 0)
  t.equal(store.size, 1)
  t.end()
})

test('giving back makes room at once and only as much as was taken; of a caller who was dropped it gives nothing', (t) => {
  const { store } = storeWithClock()
  const marks = Array.from({ length: 5 }, () => store.consume(five, ['k']).readings[0]?.mark ?? NOT_COUNTED)
  store.giveBack(five, ['k'], [marks[0] ?? NOT_COUNTED])
  t.equal(store.consume(five, ['k']).admitted, true)
  t.equal(store.consume(five, ['k']).admitted, false)
  const light = store.consume(five, ['light']).readings[0]?.mark ?? NOT_COUNTED
  flood(store, 2 * CAPACITY)
  store.giveBack(five, ['light'], [light])
  t.equal(store.peek(five, ['light'])[0]?.used, 0)
  t.equal(blockedOf(store, ['k']), 1)
  t.end()
})

test('a ladder of bans grows, is forgotten, and reset and a ban by hand go round it', (t) => {
  const { store, clock } = storeWithClock()
  const quota = [createQuota('exact', 1, 10, false, { penalty: { after: 2, withinMs: 5000, bansMs: [100, 1000] } })]
  const provoke = (): number => {
    store.consume(quota, ['k'])
    store.consume(quota, ['k'])
    return store.consume(quota, ['k']).readings[0]?.waitMs ?? 0
  }
  t.same([provoke(), store.peek(quota, ['k'])[0]?.banned], [100, true])
  clock.now += 99
  t.same(store.consume(quota, ['k']).readings[0], { room: false, used: 0, waitMs: 1, mark: NOT_COUNTED, banned: true })
  clock.now += 1
  t.equal(provoke(), 1000)
  store.ban(['k'], 0)
  clock.now += 10
  t.equal(provoke(), 1000, 'the last step repeats')
  clock.now += 6000
  t.equal(provoke(), 100, 'forgotten')
  store.reset(['k'])
  t.equal(provoke(), 100, 'reset')
  store.ban(['other'], 2 ** 60)
  t.equal(store.consume(quota, ['other']).readings[0]?.banned, true, 'a ban longer than the clock can tell')
  t.end()
})

test('bans and ladders are bounded with everything else', (t) => {
  const { store } = storeWithClock()
  const quota = [createQuota('exact', 1, 60_000, false, { penalty: { after: 1, withinMs: 60_000, bansMs: [60_000] } })]
  for (let index = 0; index < 10_000; index++) {
    block(store, `punished${index}`, quota)
    store.ban([`by hand${index}`], 60_000)
  }
  t.ok(store.size <= CAPACITY, `${store.size} callers`)
  t.end()
})

test('a thousand stamps, and keys of any length and any characters, count one by one', (t) => {
  const { store, clock } = storeWithClock()
  const thousand = [createQuota('exact', 1000, HOUR, false)]
  const hostile = [
    '',
    '\0',
    '\0\0',
    'ÿ',
    'Ā',
    'a\u0100',
    '\ud800',
    '😀',
    'x'.repeat(100_000),
    `${'x'.repeat(99_999)}y`,
    '__proto__',
    'constructor',
  ]
  for (const [index, key] of hostile.entries()) {
    for (let count = 0; count <= index; count++) store.consume(thousand, [key])
  }
  t.same(hostile.map((key) => store.peek(thousand, [key])[0]?.used), hostile.map((_, index) => index + 1))
  for (let count = 0; count < 1000; count++) {
    clock.now += 3
    t.equal(store.consume(thousand, ['long']).admitted, true)
  }
  const { readings: [reading] } = store.consume(thousand, ['long'])
  t.same([reading?.used, reading?.room, reading?.waitMs], [1000, false, HOUR - 999 * 3])
  t.end()
})

test('a caller costs at most 600 bytes', (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const heap = (): number => {
    collect()
    return process.memoryUsage().heapUsed
  }
  for (const algorithm of ['exact', 'sliding', 'gcra', 'fixed'] as const) {
    const quota = [createQuota(algorithm, 100, 900_000, false)]
    const before = heap()
    const store = new MemoryStore({ capacity: 50_000 })
    for (let index = 0; index < 25_000; index++) store.consume(quota, [`{${String(index).padStart(22)}}0s9zz`])
    const bytes = (heap() - before) / 25_000
    t.ok(bytes < 600, `${algorithm}: ${bytes} bytes`)
    t.equal(store.size, 25_000)
  }
  t.end()
})

test('a capacity that is no whole number from 64 to 2^24 is refused', (t) => {
  for (const capacity of [0, -1, 63, 64.5, NaN, Infinity, 2 ** 24 + 1]) {
    t.throws(() => new MemoryStore({ capacity }), RangeError)
  }
  t.equal(new MemoryStore({ capacity: 64 }).size, 0)
  t.end()
})

test('close forgets everything, and without a clock of the test the process\' own is used', (t) => {
  const store = new MemoryStore()
  block(store, 'k')
  store.close()
  t.equal(store.size, 0)
  t.equal(store.consume(five, ['k']).admitted, true)
  t.end()
})
