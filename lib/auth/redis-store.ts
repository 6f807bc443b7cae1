import { createHash } from 'node:crypto'
import { SecurityError } from '../errors.js'
import { withDeadline, type RedisClient, type RedisConnection } from '../redis.js'
import { CREATE, END, END_ALL, ROTATE, type Script } from './scripts.js'
import {
  MAX_GRACE_USES, type EndReason, type NewSession, type Presented, type RotationAnswer, type SessionPolicy, type SessionState, type SessionStore,
} from './session-store.js'

/** After this a caller gets 503: longer than any healthy answer takes, short enough that requests do not pile up. */
export const REDIS_DEADLINE_MS = 500

export interface RedisSessionStoreOptions {
  readonly connection: RedisConnection<RedisClient>
  readonly keyPrefix: string
  readonly policy: SessionPolicy
  /** Told when Redis stops answering (with the cause) and when it answers again (null). */
  readonly onHealth?: (cause: unknown) => void
  /** For tests: epoch milliseconds instead of Redis' own clock. */
  readonly now?: () => number
}

/**
 * Sessions in Redis, one atomic script a step, on Redis' own clock. All keys of a user share one hash tag, so a script
 * stays in one cluster slot; every key has an expiry. Whatever goes wrong is `STORE_UNAVAILABLE`, never an answer.
 */
export class RedisSessionStore implements SessionStore {
  readonly kind = 'redis'
  readonly #client: RedisClient
  readonly #connection: RedisConnection<RedisClient>
  readonly #keyPrefix: string
  readonly #policy: SessionPolicy
  readonly #onHealth: (cause: unknown) => void
  readonly #now: () => number | ''
  #healthy = true

  constructor ({ connection, keyPrefix, policy, onHealth, now }: RedisSessionStoreOptions) {
    this.#client = connection.client
    this.#connection = connection
    this.#keyPrefix = keyPrefix
    this.#policy = policy
    this.#onHealth = onHealth ?? (() => {})
    this.#now = now ?? (() => '')
  }

  async create ({ userId, sessionId, jtiHash, context }: NewSession): Promise<SessionState> {
    const keys = this.#keys(userId)
    return stateOf(list(await this.#run(CREATE, [keys.session + sessionId, keys.index],
      [sessionId, jtiHash, context, this.#policy.idleMs, this.#policy.absoluteMs])))
  }

  async rotate ({ userId, sessionId, generation, jtiHash, nextJtiHash, context }: Presented): Promise<RotationAnswer> {
    const keys = this.#keys(userId)
    const { graceMs, idleMs, tombstoneMs } = this.#policy
    const [status, ...rest] = list(await this.#run(ROTATE, [keys.session + sessionId, keys.index, keys.tombstone + sessionId],
      [sessionId, generation, jtiHash, nextJtiHash, context, graceMs, idleMs, tombstoneMs, MAX_GRACE_USES]))
    if (status === 'gone') return { status, reason: rest[0] === '' ? null : rest[0] as EndReason }
    if (status === 'expired' || status === 'ahead' || status === 'reuse') return { status }
    if (status !== 'rotated' && status !== 'coalesced' && status !== 'grace') throw unavailable(new Error('the rotation script gave an unknown answer'))
    return { status, state: stateOf(rest) }
  }

  async isAlive (userId: string, sessionId: string): Promise<boolean> {
    return await this.#guarded(() => this.#client.exists(this.#keys(userId).session + sessionId)) === 1
  }

  async end (userId: string, sessionId: string, reason: EndReason): Promise<boolean> {
    const keys = this.#keys(userId)
    return await this.#run(END, [keys.session + sessionId, keys.index, keys.tombstone + sessionId], [sessionId, reason, this.#policy.tombstoneMs]) === 1
  }

  async endAll (userId: string, reason: EndReason): Promise<readonly string[]> {
    const keys = this.#keys(userId)
    return list(await this.#run(END_ALL, [keys.index, keys.session, keys.tombstone], [reason, this.#policy.tombstoneMs])) as string[]
  }

  close (): void {
    this.#connection.close()
  }

  /** The tag is a hash: a user id is foreign text and could hold braces, which would move the key to another slot. */
  #keys (userId: string): { session: string, index: string, tombstone: string } {
    const tag = createHash('sha256').update(userId).digest('base64url').slice(0, 22)
    const base = `${this.#keyPrefix}{${tag}}:`
    return { session: `${base}s:`, index: `${base}i`, tombstone: `${base}x:` }
  }

  async #run ({ lua, sha }: Script, keys: string[], args: (string | number)[]): Promise<unknown> {
    const all = [...keys, this.#now(), ...args]
    return await this.#guarded(async () => {
      try {
        return await this.#client.evalsha(sha, keys.length, ...all)
      } catch (error) {
        if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
        return await this.#client.eval(lua, keys.length, ...all)
      }
    })
  }

  async #guarded<T> (operation: () => Promise<T>): Promise<T> {
    let result: T
    try {
      result = await withDeadline(operation(), REDIS_DEADLINE_MS)
    } catch (cause) {
      if (this.#healthy) {
        this.#healthy = false
        this.#onHealth(cause)
      }
      throw unavailable(cause)
    }
    if (!this.#healthy) {
      this.#healthy = true
      this.#onHealth(null)
    }
    return result
  }
}

function unavailable (cause: unknown): SecurityError {
  return new SecurityError('STORE_UNAVAILABLE', { headers: { 'retry-after': '1' }, members: { retryAfter: 1 }, cause })
}

function list (answer: unknown): unknown[] {
  if (!Array.isArray(answer)) throw unavailable(new Error('a session script gave no list'))
  return answer
}

/** {generation, rotated, idle, absolute, authTime}; a script's integers arrive as numbers. */
function stateOf (values: unknown[]): SessionState {
  const [generation, rotatedAt, idleAt, absoluteAt, authTime] = values.map(Number)
  if (generation === undefined || rotatedAt === undefined || idleAt === undefined || absoluteAt === undefined || authTime === undefined ||
    !values.every(Number.isSafeInteger)) throw unavailable(new Error('a session script gave no session'))
  return { generation, rotatedAt, idleAt, absoluteAt, authTime }
}
