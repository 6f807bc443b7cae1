import { test } from 'tap'
import { DenyCache } from '../../../lib/rate-limit/deny-cache.js'
import { createQuota, NOT_COUNTED, type Reading } from '../../../lib/rate-limit/quota.js'

const quota = createQuota('exact', 3, 60_000, false)
const refused = (waitMs: number): Reading => ({ room: false, used: 3, waitMs, mark: NOT_COUNTED })

function create (capacity = 200): { cache: DenyCache, clock: { now: number } } {
  const clock = { now: 1000 }
  return { cache: new DenyCache({ capacity, now: () => clock.now }), clock }
}

test('holds as long as the store said, ten seconds at most, one second for failures, ten for a ban', (t) => {
  const table: readonly (readonly [string, Reading, boolean, number])[] = [
    ['short', refused(4000), false, 4000],
    ['one millisecond', refused(1), false, 1],
    ['long', refused(900_000), false, 10_000],
    ['failures, short', refused(300), true, 300],
    ['failures, long', refused(900_000), true, 1000],
    ['a ban of a failure limit', { ...refused(900_000), banned: true }, true, 10_000],
  ]
  for (const [name, reading, countsFailures, holdsMs] of table) {
    const { cache, clock } = create()
    cache.remember(quota, 'k', reading, clock.now, countsFailures)
    t.same(cache.find(quota, 'k'), reading, name)
    clock.now += holdsMs - 1
    t.equal(cache.find(quota, 'k')?.waitMs, reading.waitMs - holdsMs + 1, name)
    clock.now += 1
    t.equal(cache.find(quota, 'k'), null, name)
  }
  t.end()
})

test('does not know when on the way the store decided: never holds too long, never names too short a wait', (t) => {
  const { cache, clock } = create()
  clock.now = 1040
  cache.remember(quota, 'k', refused(500), 1000, false)
  t.equal(cache.find(quota, 'k')?.waitMs, 500)
  clock.now = 1499.5
  t.equal(cache.find(quota, 'k')?.waitMs, 41)
  clock.now = 1500
  t.equal(cache.find(quota, 'k'), null)
  cache.remember(quota, 'k', refused(30), 1470, false)
  t.equal(cache.size, 1, 'what has ended before it was answered is not kept')
  t.end()
})

test('speaks only for the very limit that refused', (t) => {
  const { cache, clock } = create()
  cache.remember(quota, 'k', refused(5000), clock.now, false)
  t.equal(cache.find(createQuota('exact', 3, 60_000, false), 'k'), null, 'another cost is another question')
  t.equal(cache.find(quota, 'l'), null)
  t.end()
})

test('remembers for ten seconds that another limit of a refused request had room', (t) => {
  const { cache, clock } = create()
  const roomy: Reading = { room: true, used: 1, waitMs: 100, mark: NOT_COUNTED }
  cache.remember(quota, 'k', roomy, clock.now, true)
  t.same(cache.find(quota, 'k'), roomy)
  clock.now += 9999
  t.same(cache.find(quota, 'k'), { ...roomy, waitMs: 1 })
  clock.now += 1
  t.equal(cache.find(quota, 'k'), null)
  t.end()
})

test('remembers no shadow and no refusal that may lead to a ban', (t) => {
  const { cache, clock } = create()
  const penalty = { after: 2, withinMs: 1000, bansMs: [1000] }
  const [shadow, laddered] = [
    createQuota('exact', 3, 60_000, true),
    createQuota('exact', 3, 60_000, false, { penalty }),
  ]
  cache.remember(shadow, 'b', refused(100), clock.now, false)
  cache.remember(laddered, 'c', { ...refused(100), room: true }, clock.now, false)
  cache.remember(laddered, 'c', refused(100), clock.now, false)
  t.equal(cache.size, 0, 'nor what it knew before')
  cache.remember(laddered, 'c', { ...refused(100), banned: true }, clock.now, false)
  t.match(cache.find(laddered, 'c'), { banned: true })
  t.end()
})

test('stays bounded under a flood of blocked keys, and what was asked about lately is there', (t) => {
  const { cache, clock } = create(200)
  for (let key = 0; key < 10_000; key++) {
    cache.remember(quota, `k${key}`, refused(5000), clock.now, false)
    if (cache.size > 200) t.fail(`holds ${cache.size}`)
  }
  t.ok(cache.size >= 100)
  for (let key = 9900; key < 10_000; key++) if (cache.find(quota, `k${key}`) === null) t.fail(`k${key} is lost`)
  t.equal(cache.find(quota, 'k1'), null)
  t.end()
})

test('forgets one key or all, of either generation, and an old denial never hides a newer one', (t) => {
  const { cache, clock } = create(4)
  for (const key of ['a', 'b', 'c']) cache.remember(quota, key, refused(5000), clock.now, false)
  cache.remember(quota, 'a', refused(7000), clock.now, false)
  t.equal(cache.find(quota, 'a')?.waitMs, 7000)
  cache.forget('a')
  t.equal(cache.find(quota, 'a'), null)
  t.ok(cache.find(quota, 'b'))
  cache.clear()
  t.equal(cache.size, 0)
  t.end()
})

test('by default it looks at the clock of the process', (t) => {
  const cache = new DenyCache()
  cache.remember(quota, 'k', refused(60_000), performance.now(), false)
  t.ok((cache.find(quota, 'k')?.waitMs ?? 0) > 50_000)
  t.end()
})
