import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { MemorySessionStore } from '../../../lib/auth/memory-store.js'
import { RedisSessionStore } from '../../../lib/auth/redis-store.js'
import { createId, hashJti } from '../../../lib/auth/rotation.js'
import { MAX_GRACE_USES, type Presented, type RotationAnswer, type SessionPolicy, type SessionStore } from '../../../lib/auth/session-store.js'
import { redisUrl, uniquePrefix } from '../../helpers/redis.js'

const POLICY: SessionPolicy = { idleMs: 100_000, absoluteMs: 300_000, graceMs: 10_000, tombstoneMs: 50_000 }

interface Harness { readonly store: SessionStore, readonly advance: (milliseconds: number) => Promise<void> }
type MakeStore = (t: Test, policy: SessionPolicy) => Promise<Harness>

const inMemory: MakeStore = async (_t, policy) => {
  let now = Date.now()
  return { store: new MemorySessionStore(policy, () => now), advance: async (milliseconds) => { now += milliseconds } }
}

/** Time passes for Redis by moving the scripts' clock, and by dropping every key whose expiry then lies in the past. */
const inRedis: MakeStore = async (t, policy) => {
  const client = new Redis(redisUrl(), { enableOfflineQueue: false, lazyConnect: true })
  await client.connect()
  const keyPrefix = uniquePrefix()
  let now = Date.now()
  t.teardown(async () => {
    const keys = await keysUnder(client, keyPrefix)
    if (keys.length > 0) await client.del(...keys)
    client.disconnect()
  })
  const store = new RedisSessionStore({ connection: { client, close: () => {} }, keyPrefix, policy, now: () => now })
  return {
    store,
    async advance (milliseconds) {
      now += milliseconds
      for (const key of await keysUnder(client, keyPrefix)) {
        if (await client.pexpiretime(key) <= now) await client.del(key)
      }
    },
  }
}

async function keysUnder (client: Redis, prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const batch of client.scanStream({ match: `${prefix}*`, count: 1000 })) keys.push(...batch as string[])
  return keys
}

/** One login with its tokens' hashes by generation. */
class Login {
  readonly sessionId = createId()
  readonly #store: SessionStore
  readonly userId: string
  constructor (store: SessionStore, userId = 'ada') { this.#store = store; this.userId = userId }

  async open (): Promise<this> {
    await this.#store.create({ userId: this.userId, sessionId: this.sessionId, jtiHash: this.#hash(0), context: 'browser' })
    return this
  }

  async present (generation: number, changes: Partial<Presented> = {}): Promise<RotationAnswer> {
    const { userId, sessionId } = this
    return await this.#store.rotate({ userId, sessionId, generation, jtiHash: this.#hash(generation), nextJtiHash: this.#hash(generation + 1), context: 'browser', ...changes })
  }

  async status (generation: number, changes: Partial<Presented> = {}): Promise<string> {
    const answer = await this.present(generation, changes)
    return 'state' in answer ? `${answer.status} ${answer.state.generation}` : answer.status === 'gone' ? `gone ${answer.reason ?? '-'}` : answer.status
  }

  async alive (): Promise<boolean> { return await this.#store.isAlive(this.userId, this.sessionId) }

  #hash (generation: number): string { return hashJti(`${this.sessionId} ${generation}`) }
}

function testSessionStore (name: string, make: MakeStore): void {
  test(`${name}: a session rotates, coalesces within the grace, and rotates again after it`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const login = await new Login(store).open()
    t.equal(await login.status(0), 'rotated 1')
    t.equal(await login.status(1), 'coalesced 1', 'the successor is too young to be replaced')
    t.equal(await login.status(0), 'grace 1', 'the token before it gets the same successor')
    await advance(POLICY.graceMs - 1)
    t.equal(await login.status(0), 'grace 1', 'up to the last millisecond')
    await advance(1)
    t.equal(await login.status(1), 'rotated 2')
    t.equal(await login.status(1), 'grace 2')
  })

  test(`${name}: of many parallel refreshes one rotates and all get the same successor`, async (t) => {
    const { store } = await make(t, POLICY)
    const login = await new Login(store).open()
    const answers = await Promise.all(Array.from({ length: 100 }, () => login.present(0)))
    t.equal(answers.filter(({ status }) => status === 'rotated').length, 1)
    t.equal(answers.filter(({ status }) => status === 'grace').length, 99)
    t.equal(new Set(answers.map((answer) => JSON.stringify('state' in answer ? answer.state : null))).size, 1)
  })

  test(`${name}: what is not the current or the previous token in time ends the session`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const cases: Record<string, (login: Login) => Promise<string>> = {
      'the previous token after the grace': async (login) => { await login.present(0); await advance(POLICY.graceMs); return await login.status(0) },
      'the token before the previous one': async (login) => { await login.present(0); await advance(POLICY.graceMs); await login.present(1); return await login.status(0) },
      'the previous token from another client': async (login) => { await login.present(0); return await login.status(0, { context: 'thief' }) },
      'another id of the current generation': async (login) => await login.status(0, { jtiHash: hashJti('guess') }),
      'another id of the previous generation': async (login) => { await login.present(0); return await login.status(0, { jtiHash: hashJti('guess') }) },
      'a negative generation': async (login) => await login.status(-1, { jtiHash: '' }),
    }
    for (const [what, play] of Object.entries(cases)) {
      const login = await new Login(store).open()
      t.equal(await play(login), 'reuse', what)
      t.equal(await login.alive(), false)
      t.equal(await login.status(1), 'gone reuse', 'the tombstone says why')
      await advance(POLICY.tombstoneMs)
      t.equal(await login.status(1), 'gone -', 'and does not stand for ever')
    }
  })

  test(`${name}: the client that rotated is the one that the grace is for`, async (t) => {
    const { store } = await make(t, POLICY)
    const login = await new Login(store).open()
    t.equal(await login.status(0, { context: 'browser after its update' }), 'rotated 1')
    t.equal(await login.status(0, { context: 'browser after its update' }), 'grace 1')
  })

  test(`${name}: grace uses are bounded, and counted anew after each rotation`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const login = await new Login(store).open()
    await login.present(0)
    await Promise.all(Array.from({ length: MAX_GRACE_USES }, () => login.present(0)))
    t.equal(await login.alive(), true)
    await advance(POLICY.graceMs)
    t.equal(await login.status(1), 'rotated 2')
    await Promise.all(Array.from({ length: MAX_GRACE_USES }, () => login.present(1)))
    t.equal(await login.status(1), 'reuse')
  })

  test(`${name}: a generation ahead of the store revokes nothing`, async (t) => {
    const { store } = await make(t, POLICY)
    const login = await new Login(store).open()
    t.equal(await login.status(1), 'ahead')
    t.equal(await login.status(7), 'ahead')
    t.equal(await login.alive(), true)
    t.equal(await login.status(0), 'rotated 1')
  })

  test(`${name}: a session ends when idle, and at its absolute end however often it is refreshed`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const idle = await new Login(store).open()
    await advance(POLICY.idleMs - 1000)
    t.equal(await idle.alive(), true)
    await advance(1000)
    t.equal(await idle.alive(), false)
    t.match(await idle.status(0), /^(expired|gone -)$/, 'Redis may have dropped the key already')

    const busy = await new Login(store).open()
    const [start] = [await busy.present(0)]
    for (let generation = 1; generation <= 3; generation++) {
      await advance(90_000)
      const answer = await busy.present(generation)
      t.equal(answer.status, 'rotated')
      t.match(answer, { state: { absoluteAt: 'state' in start ? start.state.absoluteAt : 0, authTime: 'state' in start ? start.state.authTime : 0 } })
      t.ok('state' in answer && answer.state.idleAt <= answer.state.absoluteAt, 'idle never passes the absolute end')
    }
    await advance(30_000)
    t.equal(await busy.alive(), false)
    t.match(await busy.status(4), /^(expired|gone -)$/)
  })

  test(`${name}: ending is per session, per user, and says what was alive`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const [a, b, c] = [await new Login(store).open(), await new Login(store).open(), await new Login(store, 'bob').open()]
    t.equal(await store.end('bob', a.sessionId, 'logout'), false, 'a session belongs to its user')
    t.equal(await a.alive(), true)
    t.equal(await store.end('ada', a.sessionId, 'logout'), true)
    t.equal(await store.end('ada', a.sessionId, 'logout'), false, 'twice is once')
    t.equal(await a.status(0), 'gone logout')
    const d = await new Login(store).open()
    t.same([...await store.endAll('ada', 'revoked')].sort(), [b.sessionId, d.sessionId].sort())
    t.same(await store.endAll('ada', 'revoked'), [])
    t.same([await b.alive(), await d.alive(), await c.alive()], [false, false, true])
    t.equal(await b.status(0), 'gone revoked')
    await advance(POLICY.idleMs)
    t.same(await store.endAll('bob', 'revoked'), [], 'an expired session was not alive')
    t.same(await store.endAll('nobody', 'revoked'), [])
  })

  test(`${name}: a refresh and a logout in either order leave nothing alive`, async (t) => {
    const { store } = await make(t, POLICY)
    for (let round = 0; round < 20; round++) {
      const login = await new Login(store).open()
      const steps = [login.present(0), store.end('ada', login.sessionId, 'logout'), login.present(0)]
      await Promise.all(round % 2 === 0 ? steps : steps.reverse())
      t.equal(await login.alive(), false)
      t.equal(await login.status(1), 'gone logout')
    }
  })

  test(`${name}: any text may be a user id`, async (t) => {
    const { store } = await make(t, POLICY)
    for (const userId of ['{a}', '}{', 'a:b', '*', ' ', '\u0000', '__proto__', '🙂', 'x'.repeat(255)]) {
      const login = await new Login(store, userId).open()
      t.equal(await login.status(0), 'rotated 1')
      t.same(await store.endAll(userId, 'revoked'), [login.sessionId])
    }
  })
}

testSessionStore('memory', inMemory)
testSessionStore('redis', inRedis)

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
