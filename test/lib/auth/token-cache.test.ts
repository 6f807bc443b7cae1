import { randomBytes } from 'node:crypto'
import { test } from 'tap'
import { TokenCache, type VerifiedToken } from '../../../lib/auth/token-cache.js'

const verified = (token: string, value: number): VerifiedToken<number> => ({ token, value, until: 9 })

test('the cache is bounded and keeps what is in use', async (t) => {
  const cache = new TokenCache<number>(10)
  for (let i = 0; i < 1000; i++) cache.add(verified(`token${i}`, i))
  t.ok(cache.size <= 20)
  t.equal(cache.get('token999')?.value, 999)
  t.equal(cache.get('token0')?.value, undefined)
  cache.add(verified('kept', 1))
  for (let i = 0; i < 1000; i++) { cache.add(verified(`other${i}`, i)); cache.get('kept') }
  t.equal(cache.get('kept')?.value, 1, 'what is in use stays')
})

test('a token is only found by its whole text, whatever its end', async (t) => {
  const end = '.0123456789abcdef'
  const cache = new TokenCache<number>(2)
  cache.add(verified(`one${end}`, 1))
  for (const other of [`two${end}`, end, end.slice(-12), end.slice(-5), `xone${end}`, '', 'one', `one${end} `])
    {t.equal(cache.get(other)?.value, undefined, other)}
  t.equal(cache.get(`one${end}`)?.value, 1)
  cache.add(verified(`two${end}`, 2))
  t.equal(cache.get(`two${end}`)?.value, 2)
  t.equal(cache.get(`one${end}`)?.value, undefined, 'verified once more, and no harm done')
  cache.add(verified('a', 3))
  cache.add(verified('b', 4))
  t.equal(cache.get(`xtwo${end}`)?.value, undefined, 'of the older generation, too')
  t.equal(cache.get(`two${end}`)?.value, 2)
  for (const short of ['', 'x', 'short']) {
    cache.add(verified(short, 5))
    t.equal(cache.get(short)?.value, 5)
  }
  t.ok(cache.size <= 4)
})

test('what is offered is kept from its second time on', async (t) => {
  const cache = new TokenCache<number>(100)
  for (const token of ['eyJ.eyJ.0123456789abcdef', 'eyJ.eyJ.0123456789abcdeg', 'eyJ.eyJ.0123556789abcdef', 'short']) {
    cache.offer(verified(token, 1))
    t.equal(cache.get(token)?.value, undefined, `${token}: once`)
    cache.offer(verified(token, 2))
    t.equal(cache.get(token)?.value, 2, `${token}: twice`)
  }
})

test('tokens that come once drive out none that are in use', async (t) => {
  const cache = new TokenCache<number>(100)
  for (let i = 0; i < 100; i++) cache.add(verified(`used${i}.${randomBytes(32).toString('base64url')}`, i))
  const { size } = cache
  for (let i = 0; i < 100_000; i++) cache.offer(verified(randomBytes(32).toString('base64url'), i))
  t.equal(cache.size, size)
})
