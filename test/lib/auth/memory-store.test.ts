import { test } from 'tap'
import { MemorySessionStore } from '../../../lib/auth/memory-store.js'
import { createId } from '../../../lib/auth/rotation.js'

test('expired sessions and tombstones are swept as new sessions come, living ones never', async (t) => {
  let now = 0
  const store = new MemorySessionStore({ idleMs: 1000, absoluteMs: 5000, graceMs: 10, tombstoneMs: 500 }, () => now)
  const open = async (userId: string): Promise<string> => {
    const sessionId = createId()
    await store.create({ userId, sessionId, jtiHash: 'h0', context: '' })
    return sessionId
  }
  for (let i = 0; i < 1000; i++) await open('flood')
  for (let i = 0; i < 500; i++) await store.end('killed', await open('killed'), 'logout')
  t.equal(store.size, 1500)
  now = 900
  const alive = await open('ada')
  now = 1100
  for (let i = 0; i < 600; i++) await open('later')
  t.ok(store.size <= 700, `${store.size} entries are left of 2101`)
  t.equal(store.isAlive('ada', alive), true, 'however many others come')
  t.same(await store.endAll('flood', 'revoked'), [], 'the expired ones are gone from their user too')
  t.equal((await store.endAll('later', 'revoked')).length, 600)
})

test('the look-up of a local store is synchronous', async (t) => {
  const store = new MemorySessionStore({ idleMs: 1000, absoluteMs: 5000, graceMs: 10, tombstoneMs: 500 }, () => 0)
  t.type(store.isAlive('ada', 'x'), 'boolean')
  await store.create({ userId: 'ada', sessionId: 's', jtiHash: '', context: '' })
  t.equal(store.isAlive('ada', 's'), true)
  t.equal(store.isAlive('bob', 's'), false)
  store.close()
  t.equal(store.isAlive('ada', 's'), false)
})
