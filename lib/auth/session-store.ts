/** Why a session ended before its time; kept in its tombstone. */
export type EndReason = 'logout' | 'login' | 'user' | 'revoked' | 'reuse' | 'expired' | 'evicted'

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
  /** Live sessions that one user may have. */
  readonly maxSessions: number
  /**
   * What a login beyond them does: `evict` ends the sessions that were refreshed longest ago, `refuse` refuses the
   * login.
   */
  readonly whenFull: 'evict' | 'refuse'
  /** What a reused refresh token ends: its session, or all sessions of its user. */
  readonly onReuse: 'session' | 'user'
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
  /** What the user is shown of the device, at most 256 characters; the store does not look at it. */
  readonly label: string
  /** How the user proved who they are (RFC 8176), for example `['pwd']`. */
  readonly methods: readonly string[]
  /** How long ago the credentials were checked: a user revoked since then gets no session. */
  readonly ageMs: number
  /** Sessions of the same user that this one takes the place of: they end in the same step and do not count as full. */
  readonly replaces: readonly string[]
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
  /** Hash of the current generation's id: tells which key of a keyring made it. */
  readonly jtiHash: string
  /** Epoch milliseconds on the store's clock. */
  readonly rotatedAt: number
  readonly idleAt: number
  readonly absoluteAt: number
  /** Epoch seconds of the login; refreshing never moves it. */
  readonly authTime: number
  readonly methods: readonly string[]
  /** The user's token version: access tokens that carry a smaller one are outdated. */
  readonly tokenVersion: number
}

/** A session as its user sees it. All times in epoch milliseconds on the store's clock. */
export interface SessionInfo {
  readonly sessionId: string
  readonly createdAt: number
  /** The last rotation, or the login. */
  readonly refreshedAt: number
  /** When it ends unless it is refreshed. */
  readonly idleAt: number
  readonly absoluteAt: number
  readonly label: string
  readonly methods: readonly string[]
}

export interface EndedSession { readonly sessionId: string, readonly reason: EndReason }

/**
 * `full`: the user has as many sessions as allowed. `revoked`: the user was revoked after the credentials were checked.
 */
export type CreateAnswer =
  | { readonly status: 'created', readonly state: SessionState, readonly ended: readonly EndedSession[] }
  | { readonly status: 'full' | 'revoked' }

/**
 * `rotated`: a new generation. `coalesced`: the current one is younger than the grace and stays. `grace`: the token
 * before it, answered with the same successor. `ahead`: newer than the store, which must have lost a write; nothing
 * is revoked. `reuse`: anything else; the session is gone, or all of the user's, as `ended` says. `expired` and `gone`:
 * there is none (any more); a session that is older than the user's last revocation is killed and `gone` as `revoked`.
 */
export type RotationAnswer =
  | { readonly status: 'rotated' | 'coalesced' | 'grace', readonly state: SessionState }
  | { readonly status: 'reuse', readonly ended: readonly string[] }
  | { readonly status: 'ahead' | 'expired' }
  | { readonly status: 'gone', readonly reason: EndReason | null }

/** `outdated`: the session lives, but its user's token version is newer than the token: it must be refreshed. */
export type Liveness = 'alive' | 'outdated' | 'ended'

/**
 * Where sessions live. Every step is atomic. Methods of a remote store reject with `STORE_UNAVAILABLE` when they
 * cannot tell; they never guess.
 *
 * Per user the store keeps `tv` (token version) and `nbe` (not before), both 0 until they are first raised and then
 * always `max(old + 1, the store's clock in ms)`, so that they grow even when a clock steps back. A session remembers
 * the `nbe` that held when it was created and is dead as soon as the user's is greater. They are kept for as long as
 * anything made before them can live.
 */
export interface SessionStore {
  readonly kind: 'memory' | 'redis'
  /** Epoch milliseconds on the clock that all instances of this store share. */
  now (): number
  create (session: NewSession): Promise<CreateAnswer>
  rotate (presented: Presented): Promise<RotationAnswer>
  /** Synchronous where the store is local, so that a request need not wait. */
  check (userId: string, sessionId: string, tokenVersion: number): Liveness | Promise<Liveness>
  /** The user's live sessions, the one refreshed last first. */
  list (userId: string): Promise<readonly SessionInfo[]>
  /** Ends one session; true when it was alive. */
  end (userId: string, sessionId: string, reason: EndReason): Promise<boolean>
  /**
   * Ends all sessions of a user but `except`, raises `nbe` (also when there is none, for a login that is under way) and
   * gives the one that stays the new `nbe`. The ids of those that were alive.
   */
  endAll (userId: string, reason: EndReason, except?: string): Promise<readonly string[]>
  /** Raises `tv`: sessions stay, access tokens made before must be refreshed. */
  outdate (userId: string): Promise<void>
  /**
   * Tells of sessions that may have ended or are outdated, by any instance: at once where the store can, else not at
   * all (nothing may rely on it). Listeners must not throw.
   */
  onChange (listener: (sessionIds: readonly string[]) => void): void
  close (): void
}
