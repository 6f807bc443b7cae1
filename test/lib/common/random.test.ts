import { test } from 'tap'
import { createRandomSource } from '../../../lib/common/random.js'

test('gives at least 128 bits in either encoding, and none twice, also across its draws', async (t) => {
  const hex = createRandomSource('hex')
  const base64 = createRandomSource('base64')
  const seen = new Set<string>()
  for (let count = 0; count < 1000; count++) {
    for (const [text, pattern] of [[hex(), /^[0-9a-f]{32}$/], [base64(), /^[A-Za-z0-9+/]{24}$/]] as const) {
      t.match(text, pattern)
      seen.add(text)
    }
  }
  t.equal(seen.size, 2000)
})
