import { test } from 'tap'
import { EventSampler, WINDOW_MILLISECONDS, type Suppressed } from '../../../lib/events/sampler.js'

const LIMITS = { total: 100, caller: 20 }

/** What the log would show of these callers' failed sign-ins within one window. */
function attack (
  sampler: EventSampler,
  callers: Iterable<string>,
  now = 0,
): { logged: number, by: Map<string, number> } {
  let logged = 0
  const by = new Map<string, number>()
  for (const caller of callers) {
    if (!sampler.admits('authn_login_fail', caller, now)) continue
    logged++
    by.set(caller, (by.get(caller) ?? 0) + 1)
  }
  return { logged, by }
}

function * times (count: number, caller: (index: number) => string): Generator<string> {
  for (let index = 0; index < count; index++) yield caller(index)
}

const rest = (sampler: EventSampler): Suppressed =>
  sampler.ended('authn_login_fail', WINDOW_MILLISECONDS) ?? { name: 'authn_login_fail', count: 0, callers: [] }

test('ten thousand of one caller leave its share of lines, and an exact count', async (t) => {
  const sampler = new EventSampler(LIMITS)
  t.equal(attack(sampler, times(10_000, () => '192.0.2.1')).logged, 20)
  t.same(rest(sampler), {
    name: 'authn_login_fail',
    count: 9_980,
    callers: [{ caller: '192.0.2.1', suppressed: 9_980 }],
  })
})

test('ten thousand of ten thousand callers leave no more lines than the event may have, and an exact count', async (t) => {
  const sampler = new EventSampler(LIMITS)
  t.equal(attack(sampler, times(10_000, (index) => `10.0.${index >> 8}.${index & 255}`)).logged, 100)
  const { count, callers } = rest(sampler)
  t.equal(count, 9_900)
  t.equal(callers.length, 5, 'some are named, not all')
})

test('a loud caller does not hide a quiet one', async (t) => {
  const sampler = new EventSampler(LIMITS)
  const { by } = attack(sampler, times(5_000, (index) => index === 4_000 ? 'quiet' : 'loud'))
  t.equal(by.get('quiet'), 1)
})

test('the loudest callers are named with exact counts, through a crowd of ten thousand others', async (t) => {
  const sampler = new EventSampler(LIMITS)
  const crowd = times(20_000, (index) => index % 10 === 0 ? 'loud' : index % 25 === 1 ? 'second' : `other-${index}`)
  const { logged, by } = attack(sampler, crowd)
  const { count, callers } = rest(sampler)
  t.equal(logged + count, 20_000)
  t.same(callers.slice(0, 2), [{ caller: 'loud', suppressed: 2_000 - (by.get('loud') ?? 0) }, {
    caller: 'second',
    suppressed: 800 - (by.get('second') ?? 0),
  }])
})

test('the memory of callers is bounded', async (t) => {
  const sampler = new EventSampler(LIMITS)
  const before = process.memoryUsage().heapUsed
  attack(sampler, times(300_000, (index) => `caller-${index}`))
  t.ok(process.memoryUsage().heapUsed - before < 64 * 1024 * 1024)
  // Forgotten since: it is counted, and named with less.
  attack(sampler, ['caller-0'])
  t.equal(rest(sampler).count, 300_001 - 100)
})

test('each window begins anew, for the event and for its callers', async (t) => {
  const sampler = new EventSampler({ total: 3, caller: 2 })
  t.equal(attack(sampler, ['a', 'a', 'a', 'b', 'b']).logged, 3)
  t.same(rest(sampler).callers, [{ caller: 'a', suppressed: 1 }, { caller: 'b', suppressed: 1 }])
  t.equal(attack(sampler, ['a', 'a', 'a'], WINDOW_MILLISECONDS).logged, 2)
  t.same(sampler.allEnded(Infinity), [{
    name: 'authn_login_fail',
    count: 1,
    callers: [{ caller: 'a', suppressed: 1 }],
  }])
})

test('a window without a loss is not reported', async (t) => {
  const sampler = new EventSampler(LIMITS)
  attack(sampler, ['a'])
  t.equal(sampler.ended('authn_login_fail', WINDOW_MILLISECONDS), null)
  t.same(sampler.allEnded(Infinity), [])
})

test('a caller that used up its share without a loss has it again in the next window', async (t) => {
  const sampler = new EventSampler({ total: 100, caller: 2 })
  t.equal(attack(sampler, ['a', 'a']).logged, 2)
  t.equal(attack(sampler, ['a', 'a'], WINDOW_MILLISECONDS).logged, 2)
})
