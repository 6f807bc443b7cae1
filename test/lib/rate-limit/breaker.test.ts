import { test } from 'tap'
import { CircuitBreaker, NO_ENTRY } from '../../../lib/rate-limit/breaker.js'

interface Bench { readonly breaker: CircuitBreaker, readonly clock: { now: number }, readonly told: boolean[] }

function create (): Bench {
  const clock = { now: 0 }
  const told: boolean[] = []
  return {
    breaker: new CircuitBreaker({
      now: () => clock.now,
      onTransition: (available) => {
        told.push(available)
      },
    }),
    clock,
    told,
  }
}

function lose ({ breaker }: Bench, late = false): void {
  for (let count = 0; count < 5; count++) breaker.failed(breaker.enter(), late)
}

function entries ({ breaker }: Bench, tries: number): number[] {
  return Array.from({ length: tries }, () => breaker.enter()).filter((ticket) => ticket !== NO_ENTRY)
}

test('four failures in a row keep it closed, the fifth opens it, an answer between them begins anew', (t) => {
  const bench = create()
  const { breaker, told } = bench
  for (let round = 0; round < 3; round++) {
    for (let count = 0; count < 4; count++) breaker.failed(breaker.enter(), false)
    breaker.succeeded(breaker.enter())
  }
  t.equal(breaker.state, 'closed')
  lose(bench)
  t.equal(breaker.state, 'open')
  t.same(told, [false])
  t.same(entries(bench, 100), [])
  t.end()
})

test('after the cool-down exactly one request probes, and its answer closes', (t) => {
  const bench = create()
  const { breaker, clock, told } = bench
  lose(bench)
  clock.now = 99.9
  t.same(entries(bench, 3), [])
  clock.now = 100
  const [probe = NO_ENTRY, ...more] = entries(bench, 50)
  t.equal(breaker.state, 'half-open')
  t.same(more, [])
  clock.now = 10_000
  t.same(entries(bench, 5), [], 'also when the probe takes its time')
  breaker.succeeded(probe)
  t.equal(breaker.state, 'closed')
  t.equal(entries(bench, 20).length, 20)
  t.same(told, [false, true])
  t.end()
})

test('each failed probe doubles the cool-down up to half a second, and tells nobody again', (t) => {
  const bench = create()
  const { breaker, clock, told } = bench
  lose(bench)
  for (const coolDown of [100, 200, 400, 500, 500, 500]) {
    clock.now += coolDown - 1
    t.same(entries(bench, 2), [], `${coolDown} ms`)
    clock.now += 1
    const [probe = NO_ENTRY] = entries(bench, 2)
    t.not(probe, NO_ENTRY, `${coolDown} ms`)
    breaker.failed(probe, true)
    t.equal(breaker.state, 'open')
  }
  t.same(told, [false])
  t.end()
})

test('behind one overdue answer all later requests count as failing', (t) => {
  const bench = create()
  const { breaker, told } = bench
  const waiting = entries(bench, 40)
  breaker.failed(waiting[0] ?? NO_ENTRY, true)
  t.equal(breaker.state, 'open')
  for (const ticket of waiting.slice(1)) breaker.failed(ticket, true)
  t.same(told, [false])
  t.end()
})

test('errors that cost no wait open it by their number alone', (t) => {
  const bench = create()
  const waiting = entries(bench, 40)
  for (const ticket of waiting.slice(0, 4)) bench.breaker.failed(ticket, false)
  t.equal(bench.breaker.state, 'closed')
  bench.breaker.failed(waiting[4] ?? NO_ENTRY, false)
  t.equal(bench.breaker.state, 'open')
  t.end()
})

test('while an answer is overdue one request at a time asks; the first answer lets all in again', (t) => {
  const bench = create()
  const { breaker } = bench
  const [first = NO_ENTRY, second = NO_ENTRY] = entries(bench, 2)
  breaker.failed(first, true)
  t.equal(breaker.state, 'closed')
  const [trial = NO_ENTRY, ...more] = entries(bench, 10)
  t.same(more, [])
  breaker.failed(trial, true)
  t.equal(entries(bench, 10).length, 1)
  breaker.succeeded(second)
  t.equal(entries(bench, 10).length, 10)
  t.end()
})

test('what was asked before it opened neither closes it nor counts as the probe', (t) => {
  const bench = create()
  const { breaker, clock, told } = bench
  const [old = NO_ENTRY, older = NO_ENTRY] = entries(bench, 2)
  lose(bench)
  breaker.succeeded(old)
  t.equal(breaker.state, 'open')
  clock.now = 100
  const [probe = NO_ENTRY] = entries(bench, 1)
  breaker.failed(older, true)
  t.equal(breaker.state, 'half-open')
  breaker.succeeded(probe)
  t.same(told, [false, true])
  t.end()
})

test('a store that is about as slow as the deadline does not make it flap', (t) => {
  const bench = create()
  const { breaker, clock, told } = bench
  const end = 8000
  while (clock.now < end) {
    const ticket = breaker.enter()
    clock.now += 1
    if (ticket === NO_ENTRY) continue
    if (breaker.state === 'half-open') breaker.succeeded(ticket)
    else breaker.failed(ticket, false)
  }
  t.ok(told.length <= 2 * (4 + end / 500), `${told.length} events in ${end} ms`)
  // A later loss is a new one.
  clock.now += 100
  breaker.succeeded(breaker.enter())
  clock.now += 600
  const ticket = breaker.enter()
  if (ticket !== NO_ENTRY) breaker.succeeded(ticket)
  clock.now += 10_000
  lose(bench)
  clock.now += 100
  t.equal(entries(bench, 3).length, 1)
  t.end()
})

test('by default it looks at the clock of the process', (t) => {
  const breaker = new CircuitBreaker()
  for (let count = 0; count < 5; count++) breaker.failed(breaker.enter(), false)
  t.equal(breaker.enter(), NO_ENTRY)
  t.end()
})
