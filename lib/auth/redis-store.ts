import { createHash } from 'node:crypto'
import type { RedisClient, RedisConnection } from '../redis/connection.js'
import { endReasonOf, sessionInfosOf, STATE_PARTS, stateOf, textsOf } from './redis-answers.js'
import { listenTo } from './redis-changes.js'
import { known, ScriptRunner, unknownAnswer, type Keys } from './script-runner.js'
import { CHECK, CREATE, END, END_ALL, LIST, OUTDATE, ROTATE } from './scripts.js'
import { MAX_GRACE_USES, type CreateAnswer, type EndedSession, type EndReason, type Liveness, type NewSession,
  type Presented, type RotationAnswer, type SessionInfo, type SessionPolicy,
  type SessionStore } from './session-store.js'

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
  readonly #connection: RedisConnection<RedisClient>
  readonly #keyPrefix: string
  readonly #channel: string
  readonly #policy: SessionPolicy
  readonly #runner: ScriptRunner
  readonly #listeners: ((sessionIds: readonly string[]) => void)[] = []
  #stopListening: (() => void) | null = null

  constructor ({ connection, keyPrefix, policy, onHealth = () => {}, now }: RedisSessionStoreOptions) {
    const { client } = connection
    this.#connection = connection
    this.#keyPrefix = keyPrefix
    this.#policy = policy
    // ioredis puts a client's own prefix before keys only.
    this.#channel = `${client.options.keyPrefix ?? ''}${keyPrefix}changes`
    this.#runner = new ScriptRunner({
      client,
      deadlineMs: REDIS_DEADLINE_MS,
      clockKey: `${keyPrefix}{clock}`,
      commonArgs: [this.#channel, policy.tombstoneMs, policy.absoluteMs],
      onHealth,
      now,
    })
  }

  /** Learns Redis' clock, so that `now` is its from the first moment. @throws SecurityError, `STORE_UNAVAILABLE`. */
  async ready (): Promise<void> {
    await this.#runner.sync()
  }

  now (): number {
    return this.#runner.now()
  }

  async create (
    { userId, sessionId, jtiHash, context, label, methods, ageMs, replaces }: NewSession,
  ): Promise<CreateAnswer> {
    const { idleMs, maxSessions, whenFull } = this.#policy
    // When the credentials were checked is not counted back from when Redis gets to it: a user revoked while the
    // command travels would slip through.
    const [status, ...rest] = await this.#runner.run(CREATE, this.#keysOf(userId), ({ validUntil, earliest }) => [
      sessionId,
      validUntil,
      ageMs > 0 ? earliest(ageMs) : '',
      jtiHash,
      context,
      label,
      JSON.stringify(methods),
      idleMs,
      maxSessions,
      whenFull,
      ...replaces,
    ])
    if (status === 'full' || status === 'revoked') return { status }
    if (status !== 'created') throw unknownAnswer()
    const state = known(stateOf(rest))
    const pairs = known(textsOf(rest.slice(STATE_PARTS)))
    const ended: EndedSession[] = []
    for (let at = 0; at < pairs.length; at += 2)
      {ended.push({ sessionId: pairs[at] ?? '', reason: known(endReasonOf(pairs[at + 1])) })}
    this.#tell(ended.map(({ sessionId }) => sessionId))
    return { status, state, ended }
  }

  async rotate ({ userId, sessionId, generation, jtiHash, nextJtiHash, context }: Presented): Promise<RotationAnswer> {
    const { graceMs, idleMs, onReuse } = this.#policy
    const [status, ...rest] = await this.#runner.run(ROTATE, this.#keysOf(userId), ({ validUntil }) => [
      sessionId, validUntil, generation, jtiHash, nextJtiHash, context, graceMs, idleMs, MAX_GRACE_USES, onReuse,
    ])
    if (status === 'rotated' || status === 'coalesced' || status === 'grace')
      {return { status, state: known(stateOf(rest)) }}
    if (status === 'ahead') return { status }
    if (status === 'reuse') {
      const ended = known(textsOf(rest))
      this.#tell(ended)
      return { status, ended }
    }
    this.#tell([sessionId])
    if (status === 'expired') return { status }
    if (status !== 'gone') throw unknownAnswer()
    return { status, reason: rest[0] === '' ? null : known(endReasonOf(rest[0])) }
  }

  async check (userId: string, sessionId: string, tokenVersion: number): Promise<Liveness> {
    const [liveness] = await this.#runner.run(CHECK, this.#keysOf(userId), () => [sessionId, tokenVersion])
    if (liveness !== 'alive' && liveness !== 'outdated' && liveness !== 'ended') throw unknownAnswer()
    return liveness
  }

  async list (userId: string): Promise<readonly SessionInfo[]> {
    const [, ...found] = await this.#runner.run(LIST, this.#keysOf(userId), () => [])
    return known(sessionInfosOf(found))
  }

  /** What ends sessions is valid without end: if Redis gets to it late, it is still what was asked for. */
  async end (userId: string, sessionId: string, reason: EndReason): Promise<boolean> {
    const [status] = await this.#runner.run(END, this.#keysOf(userId), () => [sessionId, reason])
    if (status !== 'ended' && status !== 'dead') throw unknownAnswer()
    this.#tell([sessionId])
    return status === 'ended'
  }

  async endAll (userId: string, reason: EndReason, except?: string): Promise<readonly string[]> {
    const [, ...rest] = await this.#runner.run(END_ALL, this.#keysOf(userId), () => [except ?? '', reason])
    const ended = known(textsOf(rest))
    this.#tell(ended)
    return ended
  }

  async outdate (userId: string): Promise<void> {
    const [, ...rest] = await this.#runner.run(OUTDATE, this.#keysOf(userId), () => [])
    this.#tell(known(textsOf(rest)))
  }

  /** Opens a second connection at the first call. */
  onChange (listener: (sessionIds: readonly string[]) => void): void {
    this.#listeners.push(listener)
    this.#stopListening ??= listenTo(this.#connection.client, this.#channel, (message) => {
      this.#tell(message.split(' '))
    })
  }

  close (): void {
    this.#runner.close()
    this.#stopListening?.()
    this.#connection.close()
  }

  #tell (sessionIds: readonly string[]): void {
    if (sessionIds.length > 0) for (const listener of this.#listeners) listener(sessionIds)
  }

  /** The tag is a hash: a user id is foreign text and could hold braces, which would move the key to another slot. */
  #keysOf (userId: string): Keys {
    const tag = createHash('sha256').update(userId).digest('base64url').slice(0, 22)
    const base = `${this.#keyPrefix}{${tag}}:`
    return [`${base}u`, `${base}i`, `${base}s:`, `${base}x:`]
  }
}
