import { test } from 'tap'
import { TokenCache } from '../../../lib/auth/token-cache.js'

test('the cache is bounded and keeps what is in use', async (t) => {
  const cache = new TokenCache<number>(10)
  for (let i = 0; i < 1000; i++) cache.set(`token${i}`, i)
  t.ok(cache.size <= 20)
  t.equal(cache.get('token999'), 999)
  t.equal(cache.get('token0'), undefined)
  cache.set('kept', 1)
  for (let i = 0; i < 1000; i++) { cache.set(`other${i}`, i); cache.get('kept') }
  t.equal(cache.get('kept'), 1, 'what is in use stays')
})
