import {
  MAX_GRACE_USES, type EndReason, type NewSession, type Presented, type RotationAnswer, type SessionPolicy, type SessionState, type SessionStore,
} from './session-store.js'

interface Session {
  readonly userId: string
  generation: number
  currentHash: string
  previousHash: string
  rotatedAt: number
  idleAt: number
  readonly absoluteAt: number
  readonly authTime: number
  context: string
  graceUses: number
}

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

  async create ({ userId, sessionId, jtiHash, context }: NewSession): Promise<SessionState> {
    const now = this.#now()
    this.#sweep(now)
    const absoluteAt = now + this.#policy.absoluteMs
    const session: Session = {
      userId,
      generation: 0,
      currentHash: jtiHash,
      previousHash: '',
      rotatedAt: now,
      idleAt: Math.min(now + this.#policy.idleMs, absoluteAt),
      absoluteAt,
      authTime: Math.floor(now / 1000),
      context,
      graceUses: 0,
    }
    this.#sessions.set(sessionId, session)
    const own = this.#byUser.get(userId)
    if (own === undefined) this.#byUser.set(userId, new Set([sessionId]))
    else own.add(sessionId)
    return stateOf(session)
  }

  async rotate (presented: Presented): Promise<RotationAnswer> {
    const now = this.#now()
    const { sessionId, generation, jtiHash } = presented
    const session = this.#find(presented.userId, sessionId)
    if (session === undefined) return { status: 'gone', reason: this.#tombstone(sessionId, now) }
    if (now >= session.idleAt) {
      this.#kill(sessionId, session, 'expired', now)
      return { status: 'expired' }
    }
    const withinGrace = now - session.rotatedAt < this.#policy.graceMs
    if (generation === session.generation && jtiHash === session.currentHash) {
      if (session.generation > 0 && withinGrace) return { status: 'coalesced', state: stateOf(session) }
      session.previousHash = session.currentHash
      session.currentHash = presented.nextJtiHash
      session.generation += 1
      session.rotatedAt = now
      session.idleAt = Math.min(now + this.#policy.idleMs, session.absoluteAt)
      // Renewed at each rotation: a browser's update changes its user agent within the life of a session.
      session.context = presented.context
      session.graceUses = 0
      return { status: 'rotated', state: stateOf(session) }
    }
    if (session.generation > 0 && generation === session.generation - 1 && jtiHash === session.previousHash && withinGrace &&
      session.graceUses < MAX_GRACE_USES && presented.context === session.context) {
      session.graceUses += 1
      return { status: 'grace', state: stateOf(session) }
    }
    if (generation > session.generation) return { status: 'ahead' }
    this.#kill(sessionId, session, 'reuse', now)
    return { status: 'reuse' }
  }

  isAlive (userId: string, sessionId: string): boolean {
    const session = this.#find(userId, sessionId)
    return session !== undefined && this.#now() < session.idleAt
  }

  async end (userId: string, sessionId: string, reason: EndReason): Promise<boolean> {
    const now = this.#now()
    const session = this.#find(userId, sessionId)
    if (session === undefined) return false
    this.#kill(sessionId, session, reason, now)
    return now < session.idleAt
  }

  async endAll (userId: string, reason: EndReason): Promise<readonly string[]> {
    const ended: string[] = []
    for (const sessionId of [...this.#byUser.get(userId) ?? []]) {
      if (await this.end(userId, sessionId, reason)) ended.push(sessionId)
    }
    return ended
  }

  close (): void {
    this.#sessions.clear()
    this.#byUser.clear()
    this.#tombstones.clear()
  }

  #find (userId: string, sessionId: string): Session | undefined {
    const session = this.#sessions.get(sessionId)
    return session?.userId === userId ? session : undefined
  }

  #kill (sessionId: string, session: Session, reason: EndReason, now: number): void {
    this.#forget(sessionId, session)
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

function stateOf ({ generation, rotatedAt, idleAt, absoluteAt, authTime }: Session): SessionState {
  return { generation, rotatedAt, idleAt, absoluteAt, authTime }
}
