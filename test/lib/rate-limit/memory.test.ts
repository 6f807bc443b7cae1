import { test } from 'tap'
import { createQuota, NOT_COUNTED, type Quota } from '../../../lib/rate-limit/quota.js'
import { Fingerprint } from '../../../lib/rate-limit/stores/fingerprint.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import { seeded } from './traces.js'

const CAPACITY = 512
const five = [createQuota('exact', 5, 60_000, false)]

function storeWithClock (capacity = CAPACITY): { store: MemoryStore, clock: { now: number } } {
  const clock = { now: 1000 }
  return { store: new MemoryStore({ capacity, now: () => clock.now }), clock }
}

function block (store: MemoryStore, key: string, quotas: readonly Quota[] = five): void {
  while (store.consume(quotas, [key]).admitted);
}

function blockedOf (store: MemoryStore, keys: readonly string[], quotas: readonly Quota[] = five): number {
  return keys.filter((key) => store.peek(quotas, [key])[0]?.room === false).length
}

const named = (name: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${name}${index}`)

test('keys that are blocked by any algorithm, or banned, survive a flood of foreign keys a hundred times the capacity', (t) => {
  const quotas = (['exact', 'sliding', 'gcra', 'fixed'] as const).map((
    algorithm,
  ) => [createQuota(algorithm, 5, 60_000, false)])
  for (const quota of quotas) {
    const { store } = storeWithClock()
    const blocked = named('blocked', 20)
    for (const key of blocked) block(store, key, quota)
    store.ban(['banned'], 60_000)
    for (let flood = 0; flood < 100 * CAPACITY; flood++) store.consume(quota, [`foreign${flood}`])
    t.equal(store.size, CAPACITY, 'never more slots than the capacity')
    t.equal(blockedOf(store, [...blocked, 'banned'], quota), 21)
    t.ok(store.evictions > 90 * CAPACITY)
  }
  t.end()
})

test('in a store of 20,000 keys a flood of a million frees nobody of the tenth that is blocked', (t) => {
  for (const [share, flooding] of [[0.01, 200_000], [0.1, 1_000_000]] as const) {
    const { store } = storeWithClock(20_000)
    const blocked = named('blocked', 20_000 * share)
    for (const key of blocked) block(store, key)
    for (let flood = 0; flood < flooding; flood++) store.consume(five, [`foreign${flood}`])
    t.equal(blockedOf(store, blocked), blocked.length, `${share * 100} % blocked`)
  }
  t.end()
})

test('at half the capacity blocked, 99 in a hundred survive; beyond the capacity the table is still full of blocked keys', (t) => {
  const { store } = storeWithClock(4096)
  const half = named('half', 2048)
  for (const key of half) block(store, key)
  for (let flood = 0; flood < 200_000; flood++) store.consume(five, [`foreign${flood}`])
  t.ok(blockedOf(store, half) >= 0.99 * half.length, `${blockedOf(store, half)} of ${half.length}`)
  const many = named('many', 20_000)
  for (const key of many) block(store, key)
  t.equal(store.size, 4096)
  t.ok(blockedOf(store, [...half, ...many]) > 0.9 * 4096, `${blockedOf(store, [...half, ...many])} of 4096`)
  t.end()
})

test('a caller near the limit outlives callers with one request each; a full shadow limit does not outlive a blocking one', (t) => {
  const { store } = storeWithClock(16)
  const shadow = [createQuota('exact', 5, 60_000, true)]
  for (let count = 0; count < 4; count++) store.consume(five, ['near'])
  for (let index = 0; index < 15; index++)
    {for (let count = 0; count < 6; count++) store.consume(shadow, [`shadow${index}`])}
  for (let flood = 0; flood < 1000; flood++) store.consume(five, [`foreign${flood}`])
  t.equal(store.peek(five, ['near'])[0]?.used, 4)
  block(store, 'near')
  for (let index = 0; index < 15; index++) block(store, `blocked${index}`)
  t.equal(blockedOf(store, ['near', ...named('blocked', 15)]), 16)
  t.end()
})

test('keys whose window is over give way before any other', (t) => {
  const { store, clock } = storeWithClock(16)
  for (let index = 0; index < 15; index++) block(store, `old${index}`)
  clock.now += 70_000
  store.consume(five, ['live'])
  for (let flood = 0; flood < 15; flood++) store.consume(five, [`new${flood}`])
  t.equal(store.evictions, 0)
  t.equal(store.peek(five, ['live'])[0]?.used, 1)
  t.end()
})

test('of keys that weigh the same the one goes that has been silent for longest', (t) => {
  const { store, clock } = storeWithClock(16)
  for (let index = 0; index < 16; index++) {
    store.consume(five, [`k${index}`])
    clock.now += 10
  }
  store.consume(five, ['one more'])
  t.same(named('k', 16).map((key) => store.peek(five, [key])[0]?.used), [0, ...new Array<number>(15).fill(1)])
  t.end()
})

test('a refused request, a reading and a give-back of an unknown key create nothing', (t) => {
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

test('giving back unblocks at once and only as much as was taken; of an evicted key it gives nothing', (t) => {
  const { store } = storeWithClock(16)
  const marks = Array.from({ length: 5 }, () => store.consume(five, ['k']).readings[0]?.mark ?? NOT_COUNTED)
  store.giveBack(five, ['k'], [marks[0] ?? NOT_COUNTED])
  t.equal(store.consume(five, ['k']).admitted, true)
  t.equal(store.consume(five, ['k']).admitted, false)
  const light = store.consume(five, ['light']).readings[0]?.mark ?? NOT_COUNTED
  for (let index = 0; index < 15; index++) block(store, `blocked${index}`)
  t.equal(store.peek(five, ['light'])[0]?.used, 0, 'evicted')
  store.giveBack(five, ['light'], [light])
  t.equal(blockedOf(store, ['k', ...named('blocked', 15)]), 16)
  t.equal(store.size, 16)
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
  t.equal(store.size, CAPACITY)
  t.end()
})

test('when the pool of chunks is exhausted no count is lost: nobody gets more than the limit, and who was told when to return may', (t) => {
  const { store, clock } = storeWithClock(1000)
  const quota = [createQuota('exact', 40, 60_000, false)]
  const random = seeded(7)
  const keys = named('caller', 400)
  const admitted = new Map<string, number[]>()
  const promised = new Map<string, number>()
  let [above, broken, refused] = [0, 0, 0]
  for (let step = 0; step < 60_000; step++) {
    clock.now += Math.floor(random() * 5)
    const key = keys[Math.floor(random() ** 2 * keys.length)] as string
    const stamps = (admitted.get(key) ?? []).filter((stamp) => stamp > clock.now - 60_000)
    const verdict = store.consume(quota, [key])
    if (verdict.admitted) {
      stamps.push(clock.now)
      promised.delete(key)
    } else {
      refused++
      if (clock.now >= (promised.get(key) ?? Infinity)) broken++
      promised.set(key, Math.min(promised.get(key) ?? Infinity, clock.now + (verdict.readings[0]?.waitMs ?? 0)))
    }
    if (stamps.length > 40) above++
    if ((verdict.readings[0]?.used ?? 0) < stamps.length) above++
    admitted.set(key, stamps)
  }
  t.ok(refused > 100, `${refused} refused`)
  t.equal(store.evictions, 0)
  t.same({ above, broken }, { above: 0, broken: 0 })
  t.end()
})

test('an exhausted pool still gives back what was taken', (t) => {
  const { store, clock } = storeWithClock(1000)
  const quota = [createQuota('exact', 100, 600_000, false)]
  const held: [string, number][] = []
  for (let step = 0; step < 20_000; step++) {
    clock.now += 1
    const key = `caller${step % 250}`
    const { admitted, readings } = store.consume(quota, [key])
    if (admitted) held.push([key, readings[0]?.mark ?? NOT_COUNTED])
  }
  for (const [key, mark] of held) store.giveBack(quota, [key], [mark])
  t.equal(store.peek(quota, named('caller', 250)).length, 1)
  t.same(named('caller', 250).filter((key) => store.peek(quota, [key])[0]?.used !== 0), [])
  t.equal(store.size, 0)
  t.end()
})

test('in a shortened log, giving back a request that has left takes out none that counts', (t) => {
  const { store, clock } = storeWithClock(1000)
  const quota = [createQuota('exact', 100, 10_000, false)]
  const callers = named('caller', 250)
  const early: [string, number][] = []
  const take = (rounds: number, keep: boolean): void => {
    for (let step = 0; step < rounds * callers.length; step++) {
      clock.now += 1
      const key = callers[step % callers.length] as string
      const { readings } = store.consume(quota, [key])
      if (keep) early.push([key, readings[0]?.mark ?? NOT_COUNTED])
    }
  }
  take(20, true)
  clock.now += 9000
  take(20, false)
  for (const [key, mark] of early) store.giveBack(quota, [key], [mark])
  t.same(callers.filter((key) => (store.peek(quota, [key])[0]?.used ?? 0) < 20), [])
  t.end()
})

test('a log of a thousand stamps, and keys of any length and any characters, count one by one', (t) => {
  const { store, clock } = storeWithClock()
  const thousand = [createQuota('exact', 1000, 3_600_000, false)]
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
  for (const [index, key] of hostile.entries())
    {for (let count = 0; count <= index; count++) store.consume(thousand, [key])}
  t.same(hostile.map((key) => store.peek(thousand, [key])[0]?.used), hostile.map((_, index) => index + 1))
  for (let count = 0; count < 1000; count++) {
    clock.now += 3
    t.equal(store.consume(thousand, ['long']).admitted, true)
  }
  const { readings: [reading] } = store.consume(thousand, ['long'])
  t.same([reading?.used, reading?.room, reading?.waitMs], [1000, false, 3_600_000 - 999 * 3])
  t.end()
})

test('keys in any regular pattern spread over the table as random ones would', (t) => {
  const patterns: readonly ((index: number) => string)[] = [
    (index) => `${index}`,
    (index) => 'a'.repeat(index),
    (index) => `${index * 4096}`.padStart(22, '0'),
    (index) => String.fromCharCode(index, 0, index),
    (index) => `${'='.repeat(20)}${String.fromCharCode(index)}`,
  ]
  for (const [index, pattern] of patterns.entries()) {
    const store = new MemoryStore({ capacity: 2048 })
    for (let number = 0; number < 1024; number++) store.consume(five, [pattern(number)])
    // Half full: at random a set of 16 overflows once in some hundred.
    t.ok(store.evictions < 20, `pattern ${index}: ${store.evictions} evictions`)
  }
  t.end()
})

test('two stores place the same keys differently, and a fingerprint tells 300,000 strings apart', (t) => {
  const [one, other] = [new Fingerprint(), new Fingerprint()]
  const seen = new Set<string>()
  let same = 0
  for (let index = 0; index < 300_000; index++) {
    one.take(`key${index}`)
    seen.add(`${one.a}:${one.b}`)
    if (index >= 1000) continue
    other.take(`key${index}`)
    if (one.a === other.a) same++
  }
  t.equal(seen.size, 300_000)
  t.equal(same, 0)
  t.end()
})

test('a million keys cost less than 40 bytes each, all told, and not one more byte after a flood', (t) => {
  const measure = (): number => {
    globalThis.gc?.()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return globalThis.gc === undefined ? arrayBuffers : heapUsed + arrayBuffers
  }
  const before = measure()
  const store = new MemoryStore({ capacity: 1_000_000 })
  const built = process.memoryUsage().arrayBuffers
  for (let index = 0; index < 1_200_000; index++) store.consume(five, [`key${index}`])
  const bytes = (measure() - before) / 1_000_000
  t.ok(bytes > 30 && bytes < 40, `${bytes} bytes a key`)
  t.ok(process.memoryUsage().arrayBuffers <= built)
  t.ok(store.size <= 1_000_000)
  t.ok(store.size > 950_000)
  t.end()
})

test('a capacity that is no whole number from 1 to 2^25 is refused', (t) => {
  for (const capacity of [0, -1, 1.5, NaN, Infinity, 2 ** 25 + 1])
    {t.throws(() => new MemoryStore({ capacity }), RangeError)}
  t.equal(new MemoryStore({ capacity: 1 }).size, 0)
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
