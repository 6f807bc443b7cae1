import type { EndReason, SessionPolicy } from './session-store.js'

/** A session as this process holds it. */
export interface Session {
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
export interface UserMarks { tokenVersion: number, notBefore: number, until: number }

interface Tombstone { readonly userId: string, readonly reason: EndReason, readonly until: number }

/** Entries of each kind looked at for each new one: more than one, so that sweeping outruns any rate of them. */
const SWEPT_PER_INSERT = 4

/**
 * What a memory store holds, by session and by user. Nothing that lives is ever dropped; what is over is swept as new
 * entries come, without a timer.
 */
export class MemoryRecords {
  readonly #policy: SessionPolicy
  readonly #sessions = new Map<string, Session>()
  readonly #byUser = new Map<string, Set<string>>()
  readonly #users = new Map<string, UserMarks>()
  readonly #tombstones = new Map<string, Tombstone>()
  readonly #sweepers: readonly ((now: number) => void)[]

  constructor (policy: SessionPolicy) {
    this.#policy = policy
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

  add (sessionId: string, session: Session): void {
    this.#sessions.set(sessionId, session)
    const ids = this.#byUser.get(session.userId)
    if (ids === undefined) this.#byUser.set(session.userId, new Set([sessionId]))
    else ids.add(sessionId)
  }

  get (sessionId: string): Session | undefined {
    return this.#sessions.get(sessionId)
  }

  find (userId: string, sessionId: string, now: number): Session | undefined {
    const session = this.#sessions.get(sessionId)
    return session?.userId === userId && !this.#isOver(session, now) ? session : undefined
  }

  /** The sessions that are held, dead ones included; a list of its own, because killing changes the set. */
  idsOf (userId: string, now: number): string[] {
    return [...this.#byUser.get(userId) ?? []].filter((id) => this.find(userId, id, now) !== undefined)
  }

  isAlive (sessionId: string, now: number): boolean {
    const session = this.#sessions.get(sessionId)
    return session !== undefined && now < session.idleAt &&
      session.notBefore >= (this.marks(session.userId, now)?.notBefore ?? 0)
  }

  marks (userId: string, now: number): UserMarks | undefined {
    const marks = this.#users.get(userId)
    return marks !== undefined && now < marks.until ? marks : undefined
  }

  /** The user's marks, to be raised. */
  raise (userId: string, now: number): UserMarks {
    this.sweep(now)
    const marks = this.marks(userId, now) ?? { tokenVersion: 0, notBefore: 0, until: 0 }
    this.keep(userId, marks, now)
    return marks
  }

  /** For as long as a session or a token made until now can live. */
  keep (userId: string, marks: UserMarks, now: number): void {
    marks.until = Math.max(marks.until, now + this.#policy.absoluteMs + this.#policy.tombstoneMs)
    this.#users.set(userId, marks)
  }

  kill (sessionId: string, reason: EndReason, now: number): void {
    const session = this.#sessions.get(sessionId)
    if (session === undefined) return
    this.#forget(sessionId, session)
    this.#tombstones.set(sessionId, { userId: session.userId, reason, until: now + this.#policy.tombstoneMs })
  }

  tombstone (userId: string, sessionId: string, now: number): EndReason | null {
    const tombstone = this.#tombstones.get(sessionId)
    return tombstone?.userId === userId && now < tombstone.until ? tombstone.reason : null
  }

  sweep (now: number): void {
    for (const sweep of this.#sweepers) sweep(now)
  }

  clear (): void {
    this.#sessions.clear()
    this.#byUser.clear()
    this.#users.clear()
    this.#tombstones.clear()
  }

  /** A session is kept a tombstone's time longer than it lives, to be told as expired. */
  #isOver (session: Session, now: number): boolean {
    return now >= session.idleAt + this.#policy.tombstoneMs
  }

  #forget (sessionId: string, session: Session): void {
    this.#sessions.delete(sessionId)
    const own = this.#byUser.get(session.userId)
    own?.delete(sessionId)
    if (own?.size === 0) this.#byUser.delete(session.userId)
  }
}

/** A Map's iterator goes on where it stood and tolerates changes, so each insert pays for a few entries only. */
function sweeper<T> (
  entries: ReadonlyMap<string, T>,
  look: (key: string, entry: T, now: number) => void,
): (now: number) => void {
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
