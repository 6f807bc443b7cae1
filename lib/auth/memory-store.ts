import {
  MAX_GRACE_USES, type CreateAnswer, type EndedSession, type EndReason, type Liveness, type NewSession, type Presented, type RotationAnswer,
  type SessionInfo, type SessionPolicy, type SessionState, type SessionStore,
} from './session-store.js'

interface Session {
  readonly userId: string
  generation: number
  currentHash: string
  previousHash: string
  rotatedAt: number
  idleAt: number
  readonly createdAt: number
  readonly absoluteAt: number
  readonly authTime: number
  readonly label: string
  readonly methods: readonly string[]
  /** The user's `nbe` that it was created, or kept, under. */
  notBefore: number
  context: string
  graceUses: number
}

/** What is kept of a user: see `SessionStore`. */
interface UserMarks { tokenVersion: number, notBefore: number, until: number }

interface Tombstone { readonly reason: EndReason, readonly until: number }

/** Entries looked at for each new session: more than one, so that sweeping outruns any rate of logins. */
const SWEPT_PER_INSERT = 4

/**
 * Sessions of one process. The same state machine as the Redis script, atomic because it never waits. Nothing is
 * evicted, because only a login adds an entry; expired ones are swept as new ones come, without a timer.
 */
export class MemorySessionStore implements SessionStore {
  readonly kind = 'memory'
  readonly #policy: SessionPolicy
  readonly #now: () => number
  readonly #sessions = new Map<string, Session>()
  readonly #byUser = new Map<string, Set<string>>()
  readonly #users = new Map<string, UserMarks>()
  readonly #listeners: ((sessionIds: readonly string[]) => void)[] = []
  readonly #tombstones = new Map<string, Tombstone>()
  #sessionSweep: Iterator<[string, Session]> | null = null
  #tombstoneSweep: Iterator<[string, Tombstone]> | null = null

  constructor (policy: SessionPolicy, now: () => number) {
    this.#policy = policy
    this.#now = now
  }

  /** Sessions and tombstones held, expired ones included. */
  get size (): number {
    return this.#sessions.size + this.#tombstones.size
  }

  now (): number {
    return this.#now()
  }

  onChange (listener: (sessionIds: readonly string[]) => void): void {
    this.#listeners.push(listener)
  }

  async create ({ userId, sessionId, jtiHash, context, label, methods, ageMs, replaces }: NewSession): Promise<CreateAnswer> {
    const now = this.#now()
    this.#sweep(now)
    const notBefore = this.#marks(userId, now)?.notBefore ?? 0
    if (notBefore > now - ageMs && notBefore !== 0 && ageMs > 0) return { status: 'revoked' }
    const own = this.#byUser.get(userId) ?? new Set()
    const alive = [...own].filter((id) => this.#isAlive(id, now))
    const staying = alive.filter((id) => !replaces.includes(id)).sort((a, b) => this.#rotatedAt(a) - this.#rotatedAt(b))
    const excess = staying.length + 1 - this.#policy.maxSessions
    if (excess > 0 && this.#policy.whenFull === 'refuse') return { status: 'full' }
    const ended: EndedSession[] = [
      ...alive.filter((id) => replaces.includes(id)).map((id) => ({ sessionId: id, reason: 'login' as const })),
      ...staying.slice(0, Math.max(0, excess)).map((id) => ({ sessionId: id, reason: 'evicted' as const })),
    ]
    for (const { sessionId: id, reason } of ended) this.#kill(id, reason, now)
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
      methods,
      notBefore,
      context,
      graceUses: 0,
    }
    this.#sessions.set(sessionId, session)
    const ids = this.#byUser.get(userId)
    if (ids === undefined) this.#byUser.set(userId, new Set([sessionId]))
    else ids.add(sessionId)
    this.#tell(ended.map(({ sessionId: id }) => id))
    return { status: 'created', state: this.#stateOf(session, now), ended }
  }

  async rotate (presented: Presented): Promise<RotationAnswer> {
    const now = this.#now()
    const { userId, sessionId, generation, jtiHash } = presented
    const session = this.#find(userId, sessionId)
    if (session === undefined) return { status: 'gone', reason: this.#tombstone(sessionId, now) }
    if (now >= session.idleAt) {
      this.#kill(sessionId, 'expired', now)
      return { status: 'expired' }
    }
    if (session.notBefore < (this.#marks(userId, now)?.notBefore ?? 0)) {
      this.#kill(sessionId, 'revoked', now)
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
    if (session.generation > 0 && generation === session.generation - 1 && jtiHash === session.previousHash && withinGrace &&
      session.graceUses < MAX_GRACE_USES && presented.context === session.context) {
      session.graceUses += 1
      return { status: 'grace', state: this.#stateOf(session, now) }
    }
    if (generation > session.generation) return { status: 'ahead' }
    this.#kill(sessionId, 'reuse', now)
    const ended = this.#policy.onReuse === 'user' ? [sessionId, ...await this.endAll(userId, 'reuse')] : [sessionId]
    this.#tell(ended)
    return { status: 'reuse', ended }
  }

  check (userId: string, sessionId: string, tokenVersion: number): Liveness {
    const now = this.#now()
    if (this.#find(userId, sessionId) === undefined || !this.#isAlive(sessionId, now)) return 'ended'
    return tokenVersion < (this.#marks(userId, now)?.tokenVersion ?? 0) ? 'outdated' : 'alive'
  }

  async list (userId: string): Promise<readonly SessionInfo[]> {
    const now = this.#now()
    const found: SessionInfo[] = []
    for (const sessionId of this.#byUser.get(userId) ?? []) {
      const session = this.#sessions.get(sessionId)
      if (session === undefined || !this.#isAlive(sessionId, now)) continue
      const { createdAt, rotatedAt, idleAt, absoluteAt, label, methods } = session
      found.push({ sessionId, createdAt, refreshedAt: rotatedAt, idleAt, absoluteAt, label, methods })
    }
    return found.sort((a, b) => b.refreshedAt - a.refreshedAt)
  }

  async end (userId: string, sessionId: string, reason: EndReason): Promise<boolean> {
    const now = this.#now()
    if (this.#find(userId, sessionId) === undefined) return false
    const alive = this.#isAlive(sessionId, now)
    this.#kill(sessionId, reason, now)
    if (alive) this.#tell([sessionId])
    return alive
  }

  async endAll (userId: string, reason: EndReason, except?: string): Promise<readonly string[]> {
    const now = this.#now()
    const ended: string[] = []
    const marks = this.#raise(userId, now)
    const notBefore = Math.max(marks.notBefore + 1, now)
    for (const sessionId of [...this.#byUser.get(userId) ?? []]) {
      const alive = this.#isAlive(sessionId, now)
      if (sessionId === except && alive) {
        const kept = this.#sessions.get(sessionId)
        if (kept !== undefined) kept.notBefore = notBefore
        continue
      }
      this.#kill(sessionId, reason, now)
      if (alive) ended.push(sessionId)
    }
    marks.notBefore = notBefore
    this.#tell(ended)
    return ended
  }

  async outdate (userId: string): Promise<void> {
    const now = this.#now()
    const marks = this.#raise(userId, now)
    marks.tokenVersion = Math.max(marks.tokenVersion + 1, now)
    this.#tell([...this.#byUser.get(userId) ?? []])
  }

  close (): void {
    this.#sessions.clear()
    this.#byUser.clear()
    this.#users.clear()
    this.#tombstones.clear()
  }

  #find (userId: string, sessionId: string): Session | undefined {
    const session = this.#sessions.get(sessionId)
    return session?.userId === userId ? session : undefined
  }

  #isAlive (sessionId: string, now: number): boolean {
    const session = this.#sessions.get(sessionId)
    return session !== undefined && now < session.idleAt && session.notBefore >= (this.#marks(session.userId, now)?.notBefore ?? 0)
  }

  #rotatedAt (sessionId: string): number {
    return this.#sessions.get(sessionId)?.rotatedAt ?? 0
  }

  #marks (userId: string, now: number): UserMarks | undefined {
    const marks = this.#users.get(userId)
    return marks !== undefined && now < marks.until ? marks : undefined
  }

  /** The user's marks, to be raised: kept for as long as a session or a token made before now can live. */
  #raise (userId: string, now: number): UserMarks {
    const marks = this.#marks(userId, now) ?? { tokenVersion: 0, notBefore: 0, until: 0 }
    marks.until = now + this.#policy.absoluteMs + this.#policy.tombstoneMs
    this.#users.set(userId, marks)
    return marks
  }

  #tell (sessionIds: readonly string[]): void {
    if (sessionIds.length > 0) for (const listener of this.#listeners) listener(sessionIds)
  }

  #stateOf ({ userId, generation, currentHash, rotatedAt, idleAt, absoluteAt, authTime, methods }: Session, now: number): SessionState {
    return { generation, jtiHash: currentHash, rotatedAt, idleAt, absoluteAt, authTime, methods, tokenVersion: this.#marks(userId, now)?.tokenVersion ?? 0 }
  }

  #kill (sessionId: string, reason: EndReason, now: number): void {
    const session = this.#sessions.get(sessionId)
    if (session !== undefined) this.#forget(sessionId, session)
    this.#tombstones.set(sessionId, { reason, until: now + this.#policy.tombstoneMs })
  }

  #forget (sessionId: string, session: Session): void {
    this.#sessions.delete(sessionId)
    const own = this.#byUser.get(session.userId)
    own?.delete(sessionId)
    if (own?.size === 0) this.#byUser.delete(session.userId)
  }

  #tombstone (sessionId: string, now: number): EndReason | null {
    const tombstone = this.#tombstones.get(sessionId)
    return tombstone !== undefined && now < tombstone.until ? tombstone.reason : null
  }

  /** A Map's iterator goes on where it stood and tolerates changes, so each insert pays for a few entries only. */
  #sweep (now: number): void {
    for (let i = 0; i < SWEPT_PER_INSERT; i++) {
      this.#sessionSweep ??= this.#sessions.entries()
      const session = this.#sessionSweep.next()
      if (session.done === true) this.#sessionSweep = null
      else if (now >= session.value[1].idleAt) this.#forget(session.value[0], session.value[1])
      this.#tombstoneSweep ??= this.#tombstones.entries()
      const tombstone = this.#tombstoneSweep.next()
      if (tombstone.done === true) this.#tombstoneSweep = null
      else if (now >= tombstone.value[1].until) this.#tombstones.delete(tombstone.value[0])
    }
  }
}
