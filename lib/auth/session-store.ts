/** Why a session ended before its time; kept in its tombstone. */
export type EndReason = 'logout' | 'login' | 'user' | 'revoked' | 'reuse' | 'expired'

/** The same for every session of a store. All durations in milliseconds. */
export interface SessionPolicy {
  /** A session that is not refreshed for this long ends. */
  readonly idleMs: number
  /** A session ends this long after its login, however often it is refreshed. */
  readonly absoluteMs: number
  /** How long after a rotation the token before it still gets the same successor. */
  readonly graceMs: number
  /** How long a tombstone stands: as long as an access token can live. */
  readonly tombstoneMs: number
}

/** How often one superseded token gets its successor again; tabs and retries stay far below, a replay loop does not. */
export const MAX_GRACE_USES = 1000

export interface NewSession {
  readonly userId: string
  readonly sessionId: string
  /** Hash of the first refresh token's id: the store never sees what a token could be made of. */
  readonly jtiHash: string
  /** Hash of what identifies the client (its user agent). */
  readonly context: string
}

export interface Presented {
  readonly userId: string
  readonly sessionId: string
  readonly generation: number
  readonly jtiHash: string
  /** Hash of the id that the successor will have, if this step rotates. */
  readonly nextJtiHash: string
  readonly context: string
}

/** What stands in the store after a step, enough for every instance to mint the identical refresh token. */
export interface SessionState {
  readonly generation: number
  /** Epoch milliseconds on the store's clock. */
  readonly rotatedAt: number
  readonly idleAt: number
  readonly absoluteAt: number
  /** Epoch seconds of the login; refreshing never moves it. */
  readonly authTime: number
}

/**
 * `rotated`: a new generation. `coalesced`: the current one is younger than the grace and stays. `grace`: the token
 * before it, answered with the same successor. `ahead`: newer than the store, which must have lost a write; nothing
 * is revoked. `reuse`: anything else; the session is gone. `expired` and `gone`: there is none (any more).
 */
export type RotationAnswer =
  | { readonly status: 'rotated' | 'coalesced' | 'grace', readonly state: SessionState }
  | { readonly status: 'ahead' | 'reuse' | 'expired' }
  | { readonly status: 'gone', readonly reason: EndReason | null }

/**
 * Where sessions live. Every step is atomic. Methods of a remote store reject with `STORE_UNAVAILABLE` when they
 * cannot tell; they never guess.
 */
export interface SessionStore {
  readonly kind: 'memory' | 'redis'
  create (session: NewSession): Promise<SessionState>
  rotate (presented: Presented): Promise<RotationAnswer>
  /** Synchronous where the store is local, so that a request need not wait. */
  isAlive (userId: string, sessionId: string): boolean | Promise<boolean>
  /** Ends one session; true when it was alive. */
  end (userId: string, sessionId: string, reason: EndReason): Promise<boolean>
  /** Ends all sessions of a user; the ids of those that were alive. */
  endAll (userId: string, reason: EndReason): Promise<readonly string[]>
  close (): void
}
