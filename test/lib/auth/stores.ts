import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { MemorySessionStore } from '../../../lib/auth/memory-store.js'
import { RedisSessionStore } from '../../../lib/auth/redis-store.js'
import { createId, hashJti } from '../../../lib/auth/rotation.js'
import type { CreateAnswer, NewSession, Presented, RotationAnswer, SessionPolicy,
  SessionStore } from '../../../lib/auth/session-store.js'
import { redisUrl, uniquePrefix } from '../../helpers/redis.js'

export const POLICY: SessionPolicy = {
  idleMs: 100_000,
  absoluteMs: 300_000,
  graceMs: 10_000,
  tombstoneMs: 50_000,
  maxSessions: 20,
  whenFull: 'evict',
  onReuse: 'session',
}

export interface Harness { readonly store: SessionStore, readonly advance: (milliseconds: number) => Promise<void> }
export type MakeStore = (t: Test, policy: SessionPolicy) => Promise<Harness>

export const inMemory: MakeStore = async (_t, policy) => {
  let now = Date.now()
  return { store: new MemorySessionStore(policy, () => now), advance: async (milliseconds) => { now += milliseconds } }
}

/** Time passes for Redis by moving the scripts' clock, and by dropping every key whose expiry then lies in the past. */
export const inRedis: MakeStore = async (t, policy) => {
  const client = new Redis(redisUrl(), { enableOfflineQueue: false, lazyConnect: true })
  await client.connect()
  const keyPrefix = uniquePrefix()
  let now = Date.now()
  const store = new RedisSessionStore({ connection: { client, close: () => {} }, keyPrefix, policy, now: () => now })
  t.teardown(async () => {
    store.close()
    const keys = await keysUnder(client, keyPrefix)
    if (keys.length > 0) await client.del(...keys)
    client.disconnect()
  })
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
export class Login {
  readonly sessionId = createId()
  readonly #store: SessionStore
  readonly userId: string
  constructor (store: SessionStore, userId = 'ada') { this.#store = store; this.userId = userId }

  /** The same login as another instance sees it. */
  on (store: SessionStore): Login {
    return Object.assign(new Login(store, this.userId), { sessionId: this.sessionId })
  }

  async open (): Promise<this> {
    await this.create()
    return this
  }

  async create (changes: Partial<NewSession> = {}): Promise<CreateAnswer> {
    const { userId, sessionId } = this
    return await this.#store.create({
      userId,
      sessionId,
      jtiHash: this.hash(0),
      context: 'browser',
      label: 'Firefox',
      methods: ['pwd'],
      ageMs: 0,
      replaces: [],
      ...changes,
    })
  }

  async present (generation: number, changes: Partial<Presented> = {}): Promise<RotationAnswer> {
    const { userId, sessionId } = this
    return await this.#store.rotate({
      userId,
      sessionId,
      generation,
      jtiHash: this.hash(generation),
      nextJtiHash: this.hash(generation + 1),
      context: 'browser',
      ...changes,
    })
  }

  async status (generation: number, changes: Partial<Presented> = {}): Promise<string> {
    const answer = await this.present(generation, changes)
    return 'state' in answer
      ? `${answer.status} ${answer.state.generation}`
      : answer.status === 'gone'
      ? `gone ${answer.reason ?? '-'}`
      : answer.status
  }

  async alive (): Promise<boolean> {
    return await this.#store.check(this.userId, this.sessionId, Number.MAX_SAFE_INTEGER) === 'alive'
  }

  hash (generation: number): string { return hashJti(`${this.sessionId} ${generation}`) }
}
