import type { Liveness, SessionStore } from './session-store.js'

/** `strict`: the store is asked for each request. `cached`: at most once in a while for each session. */
export type LivenessMode = 'strict' | 'cached'

/** What an access token says of its session. */
export interface TokenOwner { readonly userId: string, readonly sessionId: string, readonly tokenVersion: number }

/** Whether the session of an access token lives. Rejects with `STORE_UNAVAILABLE` when the store cannot tell. */
export type CheckLiveness = (mode: LivenessMode, owner: TokenOwner) => Liveness | Promise<Liveness>

export interface LivenessSettings {
  /** How old an answer may be in `cached` mode. */
  readonly delayMs: number
  /** For tests: milliseconds of a monotonic clock. */
  readonly now?: () => number
  /** For tests: sessions in each of the two generations of the cache. */
  readonly capacity?: number
}

/** Sessions seen in the last while, at most twice this number: some 200 bytes each. */
const CAPACITY = 16_384

interface Asked extends TokenOwner {
  /** When the question went out: the answer may be as old as that. */
  readonly askedAt: number
}

interface Known extends Asked { readonly liveness: Liveness }

interface Flight extends Asked { readonly answer: Promise<Liveness> }

/**
 * A store in this process is always asked: that costs what a cache would.
 *
 * A remote one is asked in `cached` mode once in `delayMs` for each session, dead ones included, and again at once
 * after it has told of a change. An answer that is younger is given without asking, so a shorter outage of the store is
 * not noticed for a session just seen. An older one is never given, also when the store fails: an attacker who can cut
 * the server off from its store could otherwise keep a revoked session alive for any time. The failure goes to the
 * caller, and is not cached.
 */
export function createLivenessCheck (store: SessionStore, settings: LivenessSettings): CheckLiveness {
  const { delayMs, now = () => performance.now(), capacity = CAPACITY } = settings
  const strict = ({ userId, sessionId, tokenVersion }: TokenOwner): Liveness | Promise<Liveness> =>
    store.check(userId, sessionId, tokenVersion)
  if (store.kind === 'memory') return (_mode, owner) => strict(owner)

  // Two generations: when the young one is full the old one is dropped, so the size is bounded without bookkeeping per
  // hit.
  let young = new Map<string, Known>()
  let old = new Map<string, Known>()
  const flights = new Map<string, Flight>()

  store.onChange((sessionIds) => {
    for (const sessionId of sessionIds) {
      young.delete(sessionId)
      old.delete(sessionId)
      // Its answer may have been made before the change: only those who asked before get it.
      flights.delete(sessionId)
    }
  })

  const isFresh = (asked: Asked | undefined, at: number): asked is Asked =>
    asked !== undefined && at - asked.askedAt < delayMs

  function remember (known: Known): void {
    if (young.size >= capacity) {
      old = young
      young = new Map()
    }
    young.set(known.sessionId, known)
  }

  function ask (owner: TokenOwner, askedAt: number): Promise<Liveness> {
    const { userId, sessionId, tokenVersion } = owner
    const answer = Promise.resolve(strict(owner))
    const flight: Flight = { userId, sessionId, tokenVersion, askedAt, answer }
    const land = (): boolean => flights.get(sessionId) === flight && flights.delete(sessionId)
    flights.set(sessionId, flight)
    answer.then((liveness) => { if (land()) remember({ userId, sessionId, tokenVersion, askedAt, liveness }) }, land)
    return answer
  }

  function cached (owner: TokenOwner): Liveness | Promise<Liveness> {
    const at = now()
    const known = young.get(owner.sessionId) ?? old.get(owner.sessionId)
    if (known !== undefined && isFresh(known, at) && answers(known, owner)) return known.liveness
    const flight = flights.get(owner.sessionId)
    if (flight !== undefined && isFresh(flight, at) && isSame(flight, owner)) return flight.answer
    return ask(owner, at)
  }

  return (mode, owner) => mode === 'cached' ? cached(owner) : strict(owner)
}

function isSame (a: TokenOwner, b: TokenOwner): boolean {
  return a.userId === b.userId && a.tokenVersion === b.tokenVersion
}

/**
 * What holds for one token of a session holds for newer ones if it is alive, for older ones if it is outdated, for all
 * if it has ended.
 */
function answers ({ userId, tokenVersion, liveness }: Known, owner: TokenOwner): boolean {
  if (userId !== owner.userId) return false
  if (liveness === 'alive') return owner.tokenVersion >= tokenVersion
  return liveness === 'ended' || owner.tokenVersion <= tokenVersion
}
