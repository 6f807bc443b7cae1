import { byRefresh } from './session-order.js'
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

interface Tombstone { readonly userId: string, readonly reason: EndReason, readonly until: number }

/** Entries of each kind looked at for each new one: more than one, so that sweeping outruns any rate of them. */
const SWEPT_PER_INSERT = 4

/**
 * Sessions of one process. The same state machine as the Redis scripts, atomic because it never waits. Nothing that lives is
 * ever dropped: only a login adds a session, and only a revocation marks. What is over is swept as new entries come, without
 * a timer.
 */
export class MemorySessionStore implements SessionStore {
  readonly kind = 'memory'
  readonly #policy: SessionPolicy
  readonly #now: () => number
  readonly #sessions = new Map<string, Session>()
  readonly #byUser = new Map<string, Set<string>>()
  readonly #users = new Map<string, UserMarks>()
  readonly #tombstones = new Map<string, Tombstone>()
  readonly #listeners: ((sessionIds: readonly string[]) => void)[] = []
  readonly #sweepers: readonly ((now: number) => void)[]

  constructor (policy: SessionPolicy, now: () => number) {
    this.#policy = policy
    this.#now = now
    this.#sweepers = [
      sweeper(this.#sessions, (id, session, now) => { if (this.#isOver(session, now)) this.#forget(id, session) }),
      sweeper(this.#tombstones, (id, { until }, now) => { if (now >= until) this.#tombstones.delete(id) }),
      sweeper(this.#users, (id, { until }, now) => { if (now >= until) this.#users.delete(id) }),
    ]
  }

  /** Sessions, tombstones and users' marks held, expired ones included. */
  get size (): number {
    return this.#sessions.size + this.#tombstones.size + this.#users.size
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
    const marks = this.#marks(userId, now)
    const notBefore = marks?.notBefore ?? 0
    // Both times are rounded down: what may have been in the same millisecond counts as before.
    if (ageMs > 0 && notBefore > 0 && notBefore + 1 > Math.floor(now - ageMs)) return { status: 'revoked' }
    const alive = this.#idsOf(userId, now).filter((id) => this.#isAlive(id, now))
    const staying = alive.filter((id) => !replaces.includes(id)).map((id) => ({ sessionId: id, refreshedAt: this.#sessions.get(id)?.rotatedAt ?? 0 })).sort(byRefresh).reverse()
    const excess = staying.length + 1 - this.#policy.maxSessions
    if (excess > 0 && this.#policy.whenFull === 'refuse') return { status: 'full' }
    const ended: EndedSession[] = [
      ...alive.filter((id) => replaces.includes(id)).map((id) => ({ sessionId: id, reason: 'login' as const })),
      ...staying.slice(0, Math.max(0, excess)).map(({ sessionId: id }) => ({ sessionId: id, reason: 'evicted' as const })),
    ]
    for (const { sessionId: id, reason } of ended) this.#kill(id, reason, now)
    if (marks !== undefined) this.#keep(userId, marks, now)
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
    const session = this.#find(userId, sessionId, now)
    if (session === undefined) return { status: 'gone', reason: this.#tombstone(userId, sessionId, now) }
    if (now >= session.idleAt) {
      this.#kill(sessionId, 'expired', now)
      this.#tell([sessionId])
      return { status: 'expired' }
    }
    if (session.notBefore < (this.#marks(userId, now)?.notBefore ?? 0)) {
      this.#kill(sessionId, 'revoked', now)
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
    if (session.generation > 0 && generation === session.generation - 1 && jtiHash === session.previousHash && withinGrace &&
      session.graceUses < MAX_GRACE_USES && presented.context === session.context) {
      session.graceUses += 1
      return { status: 'grace', state: this.#stateOf(session, now) }
    }
    if (generation > session.generation) return { status: 'ahead' }
    this.#kill(sessionId, 'reuse', now)
    const ended = [sessionId, ...this.#policy.onReuse === 'user' ? this.#endAll(userId, 'reuse', undefined, now) : []]
    this.#tell(ended)
    return { status: 'reuse', ended }
  }

  check (userId: string, sessionId: string, tokenVersion: number): Liveness {
    const now = this.#now()
    if (this.#find(userId, sessionId, now) === undefined || !this.#isAlive(sessionId, now)) return 'ended'
    return tokenVersion < (this.#marks(userId, now)?.tokenVersion ?? 0) ? 'outdated' : 'alive'
  }

  async list (userId: string): Promise<readonly SessionInfo[]> {
    const now = this.#now()
    const found: SessionInfo[] = []
    for (const sessionId of this.#idsOf(userId, now)) {
      const session = this.#sessions.get(sessionId)
      if (session === undefined || !this.#isAlive(sessionId, now)) continue
      const { createdAt, rotatedAt, idleAt, absoluteAt, label, methods } = session
      found.push({ sessionId, createdAt, refreshedAt: rotatedAt, idleAt, absoluteAt, label, methods })
    }
    return found.sort(byRefresh)
  }

  async end (userId: string, sessionId: string, reason: EndReason): Promise<boolean> {
    const now = this.#now()
    if (this.#find(userId, sessionId, now) === undefined) return false
    const alive = this.#isAlive(sessionId, now)
    this.#kill(sessionId, reason, now)
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
    const marks = this.#raise(userId, now)
    marks.tokenVersion = Math.max(marks.tokenVersion + 1, now)
    this.#tell(this.#idsOf(userId, now))
  }

  close (): void {
    this.#sessions.clear()
    this.#byUser.clear()
    this.#users.clear()
    this.#tombstones.clear()
  }

  #endAll (userId: string, reason: EndReason, except: string | undefined, now: number): string[] {
    const ended: string[] = []
    const marks = this.#raise(userId, now)
    const notBefore = Math.max(marks.notBefore + 1, now)
    for (const sessionId of this.#idsOf(userId, now)) {
      const session = this.#sessions.get(sessionId)
      const alive = this.#isAlive(sessionId, now)
      if (sessionId === except && alive && session !== undefined) {
        session.notBefore = notBefore
        continue
      }
      this.#kill(sessionId, reason, now)
      if (alive) ended.push(sessionId)
    }
    marks.notBefore = notBefore
    return ended
  }

  #find (userId: string, sessionId: string, now: number): Session | undefined {
    const session = this.#sessions.get(sessionId)
    return session?.userId === userId && !this.#isOver(session, now) ? session : undefined
  }

  /** The sessions that are held, dead ones included; a list of its own, because killing changes the set. */
  #idsOf (userId: string, now: number): string[] {
    return [...this.#byUser.get(userId) ?? []].filter((id) => this.#find(userId, id, now) !== undefined)
  }

  /** A session is kept a tombstone's time longer than it lives, to be told as expired. */
  #isOver (session: Session, now: number): boolean {
    return now >= session.idleAt + this.#policy.tombstoneMs
  }

  #isAlive (sessionId: string, now: number): boolean {
    const session = this.#sessions.get(sessionId)
    return session !== undefined && now < session.idleAt && session.notBefore >= (this.#marks(session.userId, now)?.notBefore ?? 0)
  }

  #marks (userId: string, now: number): UserMarks | undefined {
    const marks = this.#users.get(userId)
    return marks !== undefined && now < marks.until ? marks : undefined
  }

  /** The user's marks, to be raised. */
  #raise (userId: string, now: number): UserMarks {
    this.#sweep(now)
    const marks = this.#marks(userId, now) ?? { tokenVersion: 0, notBefore: 0, until: 0 }
    this.#keep(userId, marks, now)
    return marks
  }

  /** For as long as a session or a token made until now can live. */
  #keep (userId: string, marks: UserMarks, now: number): void {
    marks.until = Math.max(marks.until, now + this.#policy.absoluteMs + this.#policy.tombstoneMs)
    this.#users.set(userId, marks)
  }

  #tell (sessionIds: readonly string[]): void {
    if (sessionIds.length > 0) for (const listener of this.#listeners) listener(sessionIds)
  }

  #stateOf ({ userId, generation, currentHash, rotatedAt, idleAt, absoluteAt, authTime, methods }: Session, now: number): SessionState {
    return { generation, jtiHash: currentHash, rotatedAt, idleAt, absoluteAt, authTime, methods, tokenVersion: this.#marks(userId, now)?.tokenVersion ?? 0 }
  }

  #kill (sessionId: string, reason: EndReason, now: number): void {
    const session = this.#sessions.get(sessionId)
    if (session === undefined) return
    this.#forget(sessionId, session)
    this.#tombstones.set(sessionId, { userId: session.userId, reason, until: now + this.#policy.tombstoneMs })
  }

  #forget (sessionId: string, session: Session): void {
    this.#sessions.delete(sessionId)
    const own = this.#byUser.get(session.userId)
    own?.delete(sessionId)
    if (own?.size === 0) this.#byUser.delete(session.userId)
  }

  #tombstone (userId: string, sessionId: string, now: number): EndReason | null {
    const tombstone = this.#tombstones.get(sessionId)
    return tombstone?.userId === userId && now < tombstone.until ? tombstone.reason : null
  }

  #sweep (now: number): void {
    for (const sweep of this.#sweepers) sweep(now)
  }
}

/** A Map's iterator goes on where it stood and tolerates changes, so each insert pays for a few entries only. */
function sweeper<T> (entries: ReadonlyMap<string, T>, look: (key: string, entry: T, now: number) => void): (now: number) => void {
  let place: Iterator<[string, T]> | null = null
  return (now) => {
    for (let count = 0; count < SWEPT_PER_INSERT; count++) {
      place ??= entries.entries()
      const next = place.next()
      if (next.done === true) place = null
      else look(next.value[0], next.value[1], now)
    }
  }
}
