import { MemoryRecords, type Session } from './memory-records.js'
import { byRefresh } from './session-order.js'
import { MAX_GRACE_USES, type CreateAnswer, type EndedSession, type EndReason, type Liveness, type NewSession,
  type Presented, type RotationAnswer, type SessionInfo, type SessionPolicy, type SessionState,
  type SessionStore } from './session-store.js'

/**
 * Sessions of one process. The same state machine as the Redis scripts, atomic because it never waits. Nothing that
 * lives is ever dropped: only a login adds a session, and only a revocation marks. What is over is swept as new entries
 * come, without a timer.
 */
export class MemorySessionStore implements SessionStore {
  readonly kind = 'memory'
  readonly #policy: SessionPolicy
  readonly #now: () => number
  readonly #records: MemoryRecords
  readonly #listeners: ((sessionIds: readonly string[]) => void)[] = []

  constructor (policy: SessionPolicy, now: () => number) {
    this.#policy = policy
    this.#now = now
    this.#records = new MemoryRecords(policy)
  }

  /** Sessions, tombstones and users' marks held, expired ones included. */
  get size (): number {
    return this.#records.size
  }

  now (): number {
    return this.#now()
  }

  onChange (listener: (sessionIds: readonly string[]) => void): void {
    this.#listeners.push(listener)
  }

  async create (
    { userId, sessionId, jtiHash, context, label, methods, ageMs, replaces }: NewSession,
  ): Promise<CreateAnswer> {
    const now = this.#now()
    this.#records.sweep(now)
    const marks = this.#records.marks(userId, now)
    const notBefore = marks?.notBefore ?? 0
    // Both times are rounded down: what may have been in the same millisecond counts as before.
    if (ageMs > 0 && notBefore > 0 && notBefore + 1 > Math.floor(now - ageMs)) return { status: 'revoked' }
    const alive = this.#records.idsOf(userId, now).filter((id) => this.#records.isAlive(id, now))
    const staying = alive.filter((id) => !replaces.includes(id)).map((id) => ({
      sessionId: id,
      refreshedAt: this.#records.get(id)?.rotatedAt ?? 0,
    })).sort(byRefresh).reverse()
    const excess = staying.length + 1 - this.#policy.maxSessions
    if (excess > 0 && this.#policy.whenFull === 'refuse') return { status: 'full' }
    const ended: EndedSession[] = [
      ...alive.filter((id) => replaces.includes(id)).map((id) => ({ sessionId: id, reason: 'login' as const })),
      ...staying.slice(0, Math.max(0, excess)).map(({ sessionId: id }) => ({
        sessionId: id,
        reason: 'evicted' as const,
      })),
    ]
    for (const { sessionId: id, reason } of ended) this.#records.kill(id, reason, now)
    if (marks !== undefined) this.#records.keep(userId, marks, now)
    const absoluteAt = now + this.#policy.absoluteMs
    const session: Session = {
      userId,
      generation: 0,
      currentHash: jtiHash,
      previousHash: '',
      rotatedAt: now,
      idleAt: Math.min(now + this.#policy.idleMs, absoluteAt),
      createdAt: now,
      absoluteAt,
      authTime: Math.floor(now / 1000),
      label,
      methods: Object.freeze([...methods]),
      notBefore,
      context,
      graceUses: 0,
    }
    this.#records.add(sessionId, session)
    this.#tell(ended.map(({ sessionId: id }) => id))
    return { status: 'created', state: this.#stateOf(session, now), ended }
  }

  async rotate (presented: Presented): Promise<RotationAnswer> {
    const now = this.#now()
    const { userId, sessionId, generation, jtiHash } = presented
    const session = this.#records.find(userId, sessionId, now)
    if (session === undefined) return { status: 'gone', reason: this.#records.tombstone(userId, sessionId, now) }
    if (now >= session.idleAt) {
      this.#records.kill(sessionId, 'expired', now)
      this.#tell([sessionId])
      return { status: 'expired' }
    }
    if (session.notBefore < (this.#records.marks(userId, now)?.notBefore ?? 0)) {
      this.#records.kill(sessionId, 'revoked', now)
      this.#tell([sessionId])
      return { status: 'gone', reason: 'revoked' }
    }
    const withinGrace = now - session.rotatedAt < this.#policy.graceMs
    if (generation === session.generation && jtiHash === session.currentHash) {
      if (session.generation > 0 && withinGrace) return { status: 'coalesced', state: this.#stateOf(session, now) }
      session.previousHash = session.currentHash
      session.currentHash = presented.nextJtiHash
      session.generation += 1
      session.rotatedAt = now
      session.idleAt = Math.min(now + this.#policy.idleMs, session.absoluteAt)
      // Renewed at each rotation: a browser's update changes its user agent within the life of a session.
      session.context = presented.context
      session.graceUses = 0
      return { status: 'rotated', state: this.#stateOf(session, now) }
    }
    if (
      session.generation > 0 && generation === session.generation - 1 && jtiHash === session.previousHash &&
      withinGrace &&
      session.graceUses < MAX_GRACE_USES && presented.context === session.context
    ) {
      session.graceUses += 1
      return { status: 'grace', state: this.#stateOf(session, now) }
    }
    if (generation > session.generation) return { status: 'ahead' }
    this.#records.kill(sessionId, 'reuse', now)
    const ended = [sessionId, ...this.#policy.onReuse === 'user' ? this.#endAll(userId, 'reuse', undefined, now) : []]
    this.#tell(ended)
    return { status: 'reuse', ended }
  }

  check (userId: string, sessionId: string, tokenVersion: number): Liveness {
    const now = this.#now()
    if (this.#records.find(userId, sessionId, now) === undefined || !this.#records.isAlive(sessionId, now)) {
      return 'ended'
    }
    return tokenVersion < (this.#records.marks(userId, now)?.tokenVersion ?? 0) ? 'outdated' : 'alive'
  }

  async list (userId: string): Promise<readonly SessionInfo[]> {
    const now = this.#now()
    const found: SessionInfo[] = []
    for (const sessionId of this.#records.idsOf(userId, now)) {
      const session = this.#records.get(sessionId)
      if (session === undefined || !this.#records.isAlive(sessionId, now)) continue
      const { createdAt, rotatedAt, idleAt, absoluteAt, label, methods } = session
      found.push({ sessionId, createdAt, refreshedAt: rotatedAt, idleAt, absoluteAt, label, methods })
    }
    return found.sort(byRefresh)
  }

  async end (userId: string, sessionId: string, reason: EndReason): Promise<boolean> {
    const now = this.#now()
    if (this.#records.find(userId, sessionId, now) === undefined) return false
    const alive = this.#records.isAlive(sessionId, now)
    this.#records.kill(sessionId, reason, now)
    this.#tell([sessionId])
    return alive
  }

  async endAll (userId: string, reason: EndReason, except?: string): Promise<readonly string[]> {
    const ended = this.#endAll(userId, reason, except, this.#now())
    this.#tell(ended)
    return ended
  }

  async outdate (userId: string): Promise<void> {
    const now = this.#now()
    const marks = this.#records.raise(userId, now)
    marks.tokenVersion = Math.max(marks.tokenVersion + 1, now)
    this.#tell(this.#records.idsOf(userId, now))
  }

  close (): void {
    this.#records.clear()
  }

  #endAll (userId: string, reason: EndReason, except: string | undefined, now: number): string[] {
    const ended: string[] = []
    const marks = this.#records.raise(userId, now)
    const notBefore = Math.max(marks.notBefore + 1, now)
    for (const sessionId of this.#records.idsOf(userId, now)) {
      const session = this.#records.get(sessionId)
      const alive = this.#records.isAlive(sessionId, now)
      if (sessionId === except && alive && session !== undefined) {
        session.notBefore = notBefore
        continue
      }
      this.#records.kill(sessionId, reason, now)
      if (alive) ended.push(sessionId)
    }
    marks.notBefore = notBefore
    return ended
  }

  #tell (sessionIds: readonly string[]): void {
    if (sessionIds.length > 0) for (const listener of this.#listeners) listener(sessionIds)
  }

  #stateOf (
    { userId, generation, currentHash, rotatedAt, idleAt, absoluteAt, authTime, methods }: Session,
    now: number,
  ): SessionState {
    return {
      generation,
      jtiHash: currentHash,
      rotatedAt,
      idleAt,
      absoluteAt,
      authTime,
      methods,
      tokenVersion: this.#records.marks(userId, now)?.tokenVersion ?? 0,
    }
  }

}
