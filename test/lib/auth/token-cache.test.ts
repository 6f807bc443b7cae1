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

test('a token is only found by its whole text, whatever its end', async (t) => {
  const end = '.0123456789abcdef'
  const cache = new TokenCache<number>(2)
  cache.set(`one${end}`, 1)
  for (const other of [`two${end}`, end, end.slice(-12), end.slice(-5), `xone${end}`, '', 'one', `one${end} `]) t.equal(cache.get(other), undefined, other)
  t.equal(cache.get(`one${end}`), 1)
  cache.set(`two${end}`, 2)
  t.equal(cache.get(`two${end}`), 2)
  t.equal(cache.get(`one${end}`), undefined, 'verified once more, and no harm done')
  cache.set('a', 3)
  cache.set('b', 4)
  t.equal(cache.get(`xtwo${end}`), undefined, 'of the older generation, too')
  t.equal(cache.get(`two${end}`), 2)
  for (const short of ['', 'x', 'short']) {
    cache.set(short, 5)
    t.equal(cache.get(short), 5)
  }
  t.ok(cache.size <= 4)
})
