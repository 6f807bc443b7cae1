import { test } from 'tap'
import { createRandomSource } from '../../lib/random.js'

test('gives 128 bits in either encoding, and none twice, also across refills of its pool', async (t) => {
  const hex = createRandomSource('hex')
  const base64 = createRandomSource('base64')
  const seen = new Set<string>()
  for (let count = 0; count < 1000; count++) {
    seen.add(hex())
    seen.add(base64())
  }
  t.equal(seen.size, 2000)
  for (const text of seen) t.equal(Buffer.from(text, text.length === 32 ? 'hex' : 'base64').length, 16)
})
