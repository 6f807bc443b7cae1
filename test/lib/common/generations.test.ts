import { test } from 'tap'
import { Generations } from '../../../lib/common/generations.js'

test('holds at most its capacity and counts what it dropped', async (t) => {
  const map = new Generations<number, number>(10)
  for (let key = 0; key < 1000; key++) {
    map.set(key, key)
    t.ok(map.size <= 10, `${map.size} entries`)
  }
  t.equal(map.evicted, 1000 - map.size)
  t.equal(map.get(999), 999, 'the newest is held')
  t.equal(map.get(0), undefined, 'the oldest is not')
})

test('its entries are those that it holds, each once', async (t) => {
  const map = new Generations<number, string>(4)
  for (const key of [1, 2, 3, 4]) map.set(key, String(key))
  map.get(1)
  t.same([...map], [[3, '3'], [4, '4'], [1, '1']])
})

test('an entry that is read stays, however many others come', async (t) => {
  const map = new Generations<string, number>(10)
  map.set('kept', 1)
  for (let key = 0; key < 1000; key++) {
    map.set(String(key), key)
    t.equal(map.get('kept'), 1)
  }
})

test('a key is held once, with its last value', async (t) => {
  const map = new Generations<string, number>(4)
  for (const key of ['a', 'b', 'c']) map.set(key, 1)
  map.set('a', 2)
  t.equal(map.get('a'), 2)
  t.equal(map.size, 3)
  t.equal(map.delete('a'), true)
  t.equal(map.get('a'), undefined)
  t.equal(map.delete('a'), false)
  map.clear()
  t.equal(map.size, 0)
})

test('a capacity below two still holds the newest entry', async (t) => {
  const map = new Generations<string, number>(0)
  map.set('a', 1)
  map.set('b', 2)
  t.equal(map.get('b'), 2)
})
