import { test } from 'tap'
import { RedisClock } from '../../../lib/redis/clock.js'

test('what is known of the clock is what all answers prove, until one proves another clock', async (t) => {
  const clock = new RedisClock()
  t.equal(clock.known, false)
  t.equal(clock.observe(100, 110, 1_000_105), false)
  t.same([clock.earliest(0), clock.latest(0), clock.known], [999_995, 1_000_006, true])
  clock.observe(200, 202, 1_000_201)
  t.same([clock.earliest(0), clock.latest(0)], [999_999, 1_000_002], 'the faster answer')
  clock.observe(300, 400, 1_000_350)
  t.same([clock.earliest(0), clock.latest(0), clock.at(0)], [999_999, 1_000_002, 1_000_000], 'a slow one adds nothing')
  t.equal(clock.observe(500, 502, 400_501), false, 'a clock that is ten minutes behind')
  t.equal(clock.latest(0), 400_002)
  t.equal(clock.observe(600, 602, 1_000_601), true, 'and one that is ahead')
  t.equal(clock.earliest(0), 999_999)
})

test('the latest that the clock may say is never beyond a command\'s way there', (t) => {
  const clock = new RedisClock()
  t.equal(clock.observe(100, 140, 5020), false)
  t.equal(clock.latest(100), 5021, 'as if it had been sent and run at once')
  t.equal(clock.observe(200, 202, 5101), false)
  t.equal(clock.latest(200), 5102, 'a quicker answer knows better')
  t.equal(clock.observe(300, 900, 5290), false, 'a slow one proves nothing')
  t.equal(clock.latest(300), 5202)
  t.equal(clock.observe(1000, 1004, 15_000), true, 'a clock that is ahead proves the estimate too low')
  t.equal(clock.latest(1000), 15_001)
  t.equal(clock.observe(1100, 1104, 2000), false, 'a clock that is behind is taken at once')
  t.equal(clock.latest(1100), 2001)
  t.end()
})
