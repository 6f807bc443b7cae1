import { setImmediate } from 'node:timers/promises'
import { test } from 'tap'
import { createSlots, type Slots } from '../../../lib/passwords/slots.js'

/** Operations that end when the test says so. */
function harness (
  slots: Slots,
): {
  begin: (name: string, signal?: AbortSignal) => Promise<string>
  end: (name: string, error?: Error) => Promise<void>
  begun: string[]
} {
  const ends = new Map<string, (error?: Error) => void>()
  const begun: string[] = []
  return {
    begun,
    begin: (name, signal) =>
      slots(() => {
        begun.push(name)
        return new Promise((resolve, reject) => {
          ends.set(name, (error) => {
            if (error === undefined) resolve(name)
            else reject(error)
          })
        })
      }, signal),
    end: async (name, error) => {
      ends.get(name)?.(error)
      await setImmediate()
    },
  }
}

test('who comes first is served first, and never more at once than there are slots', async (t) => {
  const { begin, end, begun } = harness(createSlots(2, 10))
  const all = ['a', 'b', 'c', 'd', 'e'].map((name) => begin(name))
  t.same(begun, ['a', 'b'])
  await end('b')
  t.same(begun, ['a', 'b', 'c'])
  await end('a')
  await end('c')
  t.same(begun, ['a', 'b', 'c', 'd', 'e'])
  await end('d')
  await end('e')
  t.same(await Promise.all(all), ['a', 'b', 'c', 'd', 'e'])
})

test('whoever comes when the queue is full is told so at once, and the queue opens again', async (t) => {
  for (const queue of [0, 1, 3]) {
    const { begin, end, begun } = harness(createSlots(1, queue))
    const all = Array.from({ length: 1 + queue }, (_, index) => begin(String(index)))
    for (let i = 0; i < 3; i++) {
      await t.rejects(begin('late'), { code: 'SERVICE_UNAVAILABLE', statusCode: 503, headers: { 'retry-after': '2' } })
    }
    await end('0')
    const next = begin('next')
    for (let i = 1; i <= queue; i++) await end(String(i))
    await end('next')
    t.equal(await next, 'next')
    await Promise.all(all)
    t.same(
      begun,
      [...Array.from({ length: 1 + queue }, (_, index) => String(index)), 'next'],
      'who was refused was not run',
    )
  }
})

test('an operation that fails or throws gives its slot to the next', async (t) => {
  const slots = createSlots(1, 10)
  const { begin, end } = harness(slots)
  const first = t.rejects(begin('a'), { message: 'broken' })
  const second = begin('b')
  await end('a', new Error('broken'))
  await first
  await end('b')
  t.equal(await second, 'b')
  await t.rejects(slots(() => { throw new Error('at once') }), { message: 'at once' })
  t.equal(await slots(async () => 1), 1)
})

test('a wait that is aborted ends with the reason, runs nothing and frees its place', async (t) => {
  const { begin, end, begun } = harness(createSlots(1, 2))
  const first = begin('a')
  const controller = new AbortController()
  const gone = t.rejects(begin('gone', controller.signal), { message: 'hung up' })
  const third = begin('c')
  await t.rejects(begin('d'), { code: 'SERVICE_UNAVAILABLE' })
  controller.abort(new Error('hung up'))
  await gone
  const fourth = begin('e')
  await end('a')
  await end('c')
  await end('e')
  t.same(await Promise.all([first, third, fourth]), ['a', 'c', 'e'])
  t.same(begun, ['a', 'c', 'e'])
})

test('a signal that is aborted already runs nothing, not even when there is room', async (t) => {
  const { begin, begun } = harness(createSlots(1, 1))
  await t.rejects(begin('a', AbortSignal.abort()), { name: 'AbortError' })
  t.same(begun, [])
})

test('an abort after the turn has come changes nothing, and no slot is given twice', async (t) => {
  const { begin, end, begun } = harness(createSlots(1, 5))
  const controller = new AbortController()
  const all = [begin('a'), begin('b', controller.signal), begin('c'), begin('d')]
  const ended = end('a')
  // The turn has been handed over but not begun: one microtask later it will be.
  await Promise.resolve()
  controller.abort()
  await ended
  t.same(begun, ['a', 'b'])
  controller.abort()
  await end('b')
  t.same(begun, ['a', 'b', 'c'])
  await end('c')
  await end('d')
  t.same(await Promise.all(all), ['a', 'b', 'c', 'd'])
})
