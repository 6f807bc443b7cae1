import { test } from 'tap'
import { MemorySessionStore } from '../../../lib/auth/memory-store.js'
import { createId } from '../../../lib/auth/rotation.js'
import type { SessionPolicy } from '../../../lib/auth/session-store.js'

const POLICY: SessionPolicy = {
  idleMs: 1000,
  absoluteMs: 5000,
  graceMs: 10,
  tombstoneMs: 500,
  maxSessions: 10_000,
  whenFull: 'refuse',
  onReuse: 'session',
}
const REST = { context: '', label: '', methods: [], ageMs: 0, replaces: [] }

test('expired sessions and tombstones are swept as new sessions come, living ones never', async (t) => {
  let now = 0
  const store = new MemorySessionStore(POLICY, () => now)
  const open = async (userId: string): Promise<string> => {
    const sessionId = createId()
    await store.create({ userId, sessionId, jtiHash: 'h0', ...REST })
    return sessionId
  }
  for (let i = 0; i < 1000; i++) await open('flood')
  for (let i = 0; i < 500; i++) await store.end('killed', await open('killed'), 'logout')
  t.equal(store.size, 1500)
  now = 1400
  const alive = await open('ada')
  now = 1600
  for (let i = 0; i < 600; i++) await open('later')
  t.ok(store.size <= 700, `${store.size} entries are left of 2101`)
  t.equal(store.check('ada', alive, 0), 'alive', 'however many others come')
  t.same(await store.endAll('flood', 'revoked'), [], 'the expired ones are gone from their user too')
  t.equal((await store.endAll('later', 'revoked')).length, 600)
})

test('the look-up of a local store is synchronous', async (t) => {
  const store = new MemorySessionStore(POLICY, () => 0)
  t.type(store.check('ada', 'x', 0), 'string')
  await store.create({ userId: 'ada', sessionId: 's', jtiHash: '', ...REST })
  t.equal(store.check('ada', 's', 0), 'alive')
  t.equal(store.check('bob', 's', 0), 'ended')
  store.close()
  t.equal(store.check('ada', 's', 0), 'ended')
})

test('marks of users who are gone are swept, however many are revoked', async (t) => {
  let now = 0
  const store = new MemorySessionStore(POLICY, () => now)
  for (let i = 0; i < 1000; i++) await (i % 2 === 0 ? store.endAll(`user${i}`, 'revoked') : store.outdate(`user${i}`))
  t.equal(store.size, 1000)
  now = POLICY.absoluteMs + POLICY.tombstoneMs
  for (let i = 0; i < 600; i++) await store.endAll(`later${i}`, 'revoked')
  t.ok(store.size <= 600, `${store.size} are left of 1600`)
})
