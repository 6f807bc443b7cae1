import { test } from 'tap'
import { createQuota, NOT_COUNTED } from '../../../lib/rate-limit/quota.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'

const CAPACITY = 500
const five = [createQuota('exact', 5, 60_000, false)]

function storeWithClock (capacity = CAPACITY): { store: MemoryStore, clock: { now: number } } {
  const clock = { now: 1000 }
  return { store: new MemoryStore({ capacity, now: () => clock.now }), clock }
}

function block (store: MemoryStore, key: string): void {
  while (store.consume(five, [key]).admitted);
}

test('a blocked key survives a flood of foreign keys ten times the capacity', (t) => {
  for (const quota of [createQuota('exact', 5, 60_000, false), createQuota('sliding', 100, 60_000, false)]) {
    const { store } = storeWithClock()
    const blocked = Array.from({ length: 20 }, (_, index) => `blocked${index}`)
    for (const key of blocked) while (store.consume([quota], [key]).admitted);
    for (let flood = 0; flood < 10 * CAPACITY; flood++) store.consume([quota], [`foreign${flood}`])
    t.equal(store.size, CAPACITY, 'never more keys than the capacity')
    for (const key of blocked) t.equal(store.consume([quota], [key]).admitted, false, key)
  }
  t.end()
})

test('a caller near the limit outlives callers with one request each', (t) => {
  const { store } = storeWithClock()
  for (let count = 0; count < 4; count++) store.consume(five, ['near'])
  for (let flood = 0; flood < 10 * CAPACITY; flood++) store.consume(five, [`foreign${flood}`])
  t.equal(store.consume(five, ['near']).readings[0]?.used, 5)
  t.equal(store.consume(five, ['near']).admitted, false)
  t.end()
})

test('a flood of keys that are themselves blocked pushes the one out that is free soonest, not the table over its capacity', (t) => {
  const { store, clock } = storeWithClock(100)
  for (let flood = 0; flood < 1000; flood++) {
    clock.now += 1
    block(store, `blocked${flood}`)
  }
  t.equal(store.size, 100)
  t.equal(store.consume(five, ['blocked999']).admitted, false)
  t.end()
})

test('keys whose window is over give way before any other, blocked ones included', (t) => {
  const { store, clock } = storeWithClock(64)
  for (let index = 0; index < 63; index++) block(store, `old${index}`)
  clock.now += 60_001
  for (let count = 0; count < 3; count++) store.consume(five, ['live'])
  for (let flood = 0; flood < 40; flood++) {
    store.consume(five, [`new${flood}`])
    store.consume(five, [`new${flood}`])
    store.consume(five, [`new${flood}`])
    store.consume(five, [`new${flood}`])
  }
  t.equal(store.consume(five, ['live']).readings[0]?.used, 4)
  t.end()
})

test('a refused request and a reading of an unknown key create nothing', (t) => {
  const { store } = storeWithClock()
  block(store, 'a')
  const set = [...five, createQuota('exact', 9, 1000, false)]
  t.equal(store.consume(set, ['a', 'never']).admitted, false)
  t.equal(store.size, 1)
  store.giveBack(set, ['x', 'y'], [1000, 1000])
  t.equal(store.size, 1)
  t.end()
})

test('giving back unblocks at once, and only as much as was taken', (t) => {
  const { store } = storeWithClock()
  const marks = Array.from({ length: 5 }, () => store.consume(five, ['k']).readings[0]?.mark ?? NOT_COUNTED)
  store.giveBack(five, ['k'], [marks[0] ?? NOT_COUNTED])
  t.equal(store.consume(five, ['k']).admitted, true)
  t.equal(store.consume(five, ['k']).admitted, false)
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
