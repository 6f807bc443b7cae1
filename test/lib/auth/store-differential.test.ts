import { randomBytes } from 'node:crypto'
import { test } from 'tap'
import { inMemory, inRedis, Login, POLICY } from './stores.js'

test('memory and Redis agree on some hundred random steps', async (t) => {
  const [memory, redis] = [await inMemory(t, POLICY), await inRedis(t, POLICY)]
  const seen = new Map<string, number>()
  const random = pseudoRandom(Number(process.env['SEED'] ?? 8))
  const logins: { ids: [Login, Login], top: number }[] = []
  for (let step = 0; step < 700; step++) {
    if (logins.length < 4 || random() < 0.03) {
      const userId = `user${Math.floor(random() * 3)}`
      const [first, second] = [new Login(memory.store, userId), new Login(redis.store, userId)]
      // The same session in both stores.
      Object.assign(second, { sessionId: first.sessionId })
      await first.open()
      await second.open()
      logins.push({ ids: [first, second], top: 0 })
    }
    if (random() < 0.15) {
      const milliseconds = Math.floor(random() < 0.8 ? random() * 12_000 : random() * 110_000)
      await memory.advance(milliseconds)
      await redis.advance(milliseconds)
    }
    const login = logins[Math.max(0, logins.length - 1 - Math.floor(random() * 5))]
    if (login === undefined) continue
    const [first, second] = login.ids
    const dice = random()
    if (dice < 0.04) {
      t.equal(await second.alive(), await first.alive())
    } else if (dice < 0.06) {
      t.equal(await redis.store.end(second.userId, second.sessionId, 'logout'), await memory.store.end(first.userId, first.sessionId, 'logout'))
    } else if (dice < 0.07) {
      t.same([...await redis.store.endAll(second.userId, 'revoked')].sort(), [...await memory.store.endAll(first.userId, 'revoked')].sort())
    } else {
      const generation = Math.max(0, login.top - (random() < 0.65 ? 0 : random() < 0.92 ? 1 : 2) + (random() < 0.06 ? 1 : 0))
      const changes = { ...(random() < 0.02 ? { jtiHash: randomBytes(8).toString('hex') } : {}), ...(random() < 0.04 ? { context: 'other' } : {}) }
      const [expected, found] = [await first.status(generation, changes), await second.status(generation, changes)]
      // Redis forgets an idle session by itself; in memory the step that finds it says so. To a client both are one.
      const same = (status: string): string => status === 'expired' || status === 'gone expired' ? 'gone -' : status
      if (same(found) !== same(expected)) t.fail(`step ${step}: memory says ${expected}, Redis says ${found}`)
      const [status = '', top] = expected.split(' ')
      seen.set(status, (seen.get(status) ?? 0) + 1)
      if (top !== undefined && /^\d+$/.test(top)) login.top = Number(top)
    }
  }
  for (const status of ['rotated', 'coalesced', 'grace', 'ahead', 'reuse', 'gone', 'expired']) t.ok((seen.get(status) ?? 0) > 0, `${status}: ${seen.get(status) ?? 0}`)
})

function pseudoRandom (seed: number): () => number {
  let state = seed
  // mulberry32
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
