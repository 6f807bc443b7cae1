import { createHash } from 'node:crypto'
import { nodeOf } from '../redis/cluster-node.js'
import type { RedisConnection } from '../redis/connection.js'
import { ScriptRunner, textOf, unknownAnswer, type Arg } from '../redis/script-runner.js'
import type { Script } from '../redis/script.js'
import { SecurityError } from '../response/errors.js'
import { endReasonOf, sessionInfosOf, STATE_PARTS, stateOf } from './redis-answers.js'
import { listenTo } from './redis-changes.js'
import { CHECK, CREATE, END, END_ALL, LIST, OUTDATE, ROTATE } from './scripts.js'
import { MAX_GRACE_USES, type CreateAnswer, type EndedSession, type EndReason, type Liveness, type NewSession,
  type Presented, type RotationAnswer, type SessionInfo, type SessionPolicy,
  type SessionStore } from './session-store.js'

/** After this a caller gets 503: longer than any healthy answer takes, short enough that requests do not pile up. */
export const REDIS_DEADLINE_MS = 500

/** How often an idle instance looks at Redis' clock. */
const SYNC_EVERY_MS = 10_000

export interface RedisSessionStoreOptions {
  readonly connection: RedisConnection
  readonly keyPrefix: string
  readonly policy: SessionPolicy
  /** Told when Redis stops answering (with the cause) and when it answers again (null). */
  readonly onHealth?: (cause: unknown) => void
  /** For tests: epoch milliseconds instead of Redis' own clock. */
  readonly now?: () => number
}

/**
 * Sessions in Redis, one atomic script a step, on Redis' own clock. All keys of a user share one hash tag, so a script
 * stays in one cluster slot; every key has an expiry. Every failure is `STORE_UNAVAILABLE`, never an answer.
 */
export class RedisSessionStore implements SessionStore {
  readonly kind = 'redis'
  readonly #connection: RedisConnection
  readonly #keyPrefix: string
  readonly #channel: string
  /** Names the slot whose node's clock is the store's: each node of a Cluster has its own. */
  readonly #clockKey: string
  readonly #policy: SessionPolicy
  readonly #onHealth: (cause: unknown) => void
  readonly #runner: ScriptRunner
  readonly #timer: NodeJS.Timeout
  readonly #listeners: ((sessionIds: readonly string[]) => void)[] = []
  #stopListening: (() => void) | null = null
  #isHealthy = true

  constructor ({ connection, keyPrefix, policy, onHealth = () => {}, now }: RedisSessionStoreOptions) {
    const { client } = connection
    this.#connection = connection
    this.#keyPrefix = keyPrefix
    // ioredis puts a client's own prefix before keys only.
    this.#channel = `${client.options.keyPrefix ?? ''}${keyPrefix}changes`
    this.#clockKey = `${keyPrefix}{clock}`
    this.#policy = policy
    this.#onHealth = onHealth
    this.#runner = new ScriptRunner(client, {
      deadlineMs: REDIS_DEADLINE_MS,
      nodeOf: (key) => nodeOf(client, key),
      now,
    })
    this.#timer = setInterval(() => { this.#runner.sync(this.#clockKey).catch(() => {}) }, SYNC_EVERY_MS).unref()
  }

  /** Learns Redis' clock, so that `now` is its from the first moment. @throws SecurityError, `STORE_UNAVAILABLE`. */
  async ready (): Promise<void> {
    await this.#guard(this.#runner.sync(this.#clockKey))
  }

  now (): number {
    return this.#runner.now(this.#clockKey)
  }

  async create (
    { userId, sessionId, jtiHash, context, label, methods, ageMs, replaces }: NewSession,
  ): Promise<CreateAnswer> {
    const { idleMs, maxSessions, whenFull } = this.#policy
    const args = [
      sessionId, ageMs, jtiHash, context, label, JSON.stringify(methods), idleMs, maxSessions, whenFull, ...replaces,
    ]
    return await this.#run(CREATE, userId, args, (status, parts) => {
      if (status === 'full' || status === 'revoked') return { status }
      if (status !== 'created') throw unknownAnswer()
      const ended: EndedSession[] = []
      for (let at = STATE_PARTS; at < parts.length; at += 2) {
        ended.push({ sessionId: textOf(parts[at]), reason: endReasonOf(parts[at + 1]) })
      }
      this.#tell(ended.map((session) => session.sessionId))
      return { status, state: stateOf(parts), ended }
    })
  }

  async rotate ({ userId, sessionId, generation, jtiHash, nextJtiHash, context }: Presented): Promise<RotationAnswer> {
    const { graceMs, idleMs, onReuse } = this.#policy
    const args = [sessionId, generation, jtiHash, nextJtiHash, context, graceMs, idleMs, MAX_GRACE_USES, onReuse]
    return await this.#run(ROTATE, userId, args, (status, parts) => {
      switch (status) {
        case 'rotated':
        case 'coalesced':
        case 'grace':
          return { status, state: stateOf(parts) }
        case 'ahead':
          return { status }
        case 'reuse': {
          const ended = parts.map(textOf)
          this.#tell(ended)
          return { status, ended }
        }
        case 'expired':
          this.#tell([sessionId])
          return { status }
        case 'gone':
          this.#tell([sessionId])
          return { status, reason: parts[0] === '' ? null : endReasonOf(parts[0]) }
        default:
          throw unknownAnswer()
      }
    })
  }

  async check (userId: string, sessionId: string, tokenVersion: number): Promise<Liveness> {
    return await this.#run(CHECK, userId, [sessionId, tokenVersion], (liveness) => {
      if (liveness !== 'alive' && liveness !== 'outdated' && liveness !== 'ended') throw unknownAnswer()
      return liveness
    })
  }

  async list (userId: string): Promise<readonly SessionInfo[]> {
    return await this.#run(LIST, userId, [], (_status, parts) => sessionInfosOf(parts))
  }

  async end (userId: string, sessionId: string, reason: EndReason): Promise<boolean> {
    return await this.#run(END, userId, [sessionId, reason], (status) => {
      if (status !== 'ended' && status !== 'dead') throw unknownAnswer()
      this.#tell([sessionId])
      return status === 'ended'
    })
  }

  async endAll (userId: string, reason: EndReason, except?: string): Promise<readonly string[]> {
    return await this.#run(END_ALL, userId, [except ?? '', reason], (_status, parts) => {
      const ended = parts.map(textOf)
      this.#tell(ended)
      return ended
    })
  }

  async outdate (userId: string): Promise<void> {
    await this.#run(OUTDATE, userId, [], (_status, parts) => { this.#tell(parts.map(textOf)) })
  }

  /** Opens a second connection at the first call. */
  onChange (listener: (sessionIds: readonly string[]) => void): void {
    this.#listeners.push(listener)
    this.#stopListening ??= listenTo(this.#connection.client, this.#channel, (message) => {
      this.#tell(message.split(' '))
    })
  }

  close (): void {
    clearInterval(this.#timer)
    this.#stopListening?.()
    this.#connection.close()
  }

  #tell (sessionIds: readonly string[]): void {
    if (sessionIds.length > 0) for (const listener of this.#listeners) listener(sessionIds)
  }

  async #run<T> (
    script: Script,
    userId: string,
    args: readonly Arg[],
    read: (status: unknown, parts: readonly unknown[]) => T,
  ): Promise<T> {
    const { tombstoneMs, absoluteMs } = this.#policy
    const answer = this.#runner.run(script, this.#keysOf(userId), [this.#channel, tombstoneMs, absoluteMs, ...args])
    return await this.#guard(answer.then(([status, ...parts]) => read(status, parts)))
  }

  async #guard<T> (operation: Promise<T>): Promise<T> {
    try {
      const result = await operation
      this.#setHealth(true, null)
      return result
    } catch (cause) {
      this.#setHealth(false, cause)
      throw new SecurityError('STORE_UNAVAILABLE', {
        headers: { 'retry-after': '1' },
        members: { retryAfter: 1 },
        cause,
      })
    }
  }

  #setHealth (isHealthy: boolean, cause: unknown): void {
    if (isHealthy === this.#isHealthy) return
    this.#isHealthy = isHealthy
    this.#onHealth(cause)
  }

  /** The tag is a hash: a user id is foreign text and could hold braces, which would move the key to another slot. */
  #keysOf (userId: string): readonly string[] {
    const tag = createHash('sha256').update(userId).digest('base64url').slice(0, 22)
    const base = `${this.#keyPrefix}{${tag}}:`
    return [`${base}u`, `${base}i`, `${base}s:`, `${base}x:`]
  }
}
