import { test } from 'tap'
import { parseDuration } from '../../../lib/options/duration.js'

test('reads each unit as milliseconds', async (t) => {
  const table: [string, number][] = [['1ms', 1], ['500ms', 500], ['10s', 10_000], ['15m', 900_000], ['1h', 3_600_000], [
    '7d',
    604_800_000,
  ]]
  for (const [text, expected] of table) t.equal(parseDuration(text), expected, text)
})

test('refuses what is no positive whole number with a unit', async (t) => {
  for (
    const text of ['', '5', '0s', '-1s', '1.5s', '1 s', 's', '1w', '1S', '01s', '1e3s', '9999999999s', ' 1s', '1s\n']
  ) {
    t.throws(() => parseDuration(text), { name: 'RangeError' }, JSON.stringify(text))
  }
})
