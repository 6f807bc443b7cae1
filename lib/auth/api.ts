import type { AuthFlows } from './flows.js'
import type { SessionInfo, SessionStore } from './session-store.js'

/** `app.security.sessions`. Rejects with `STORE_UNAVAILABLE` (503) when the store does not answer. */
export interface SessionsApi {
  readonly store: 'memory' | 'redis'
  /** The user's live sessions, the one refreshed last first. */
  list (userId: string): Promise<readonly SessionInfo[]>
  /** Ends one session of a user; false when it is none of theirs, or has ended. */
  revoke (userId: string, sessionId: string): Promise<boolean>
  /**
   * Ends all sessions of a user, on every instance, but `except`; resolves to how many. A login of theirs that is under way
   * gets none. Call it after a change of password.
   */
  revokeUser (userId: string, options?: { readonly except?: string }): Promise<number>
  /**
   * Has a user's access tokens refreshed at once, where a route looks at more than the token: `loadUser` is asked again, and
   * roles and claims are those of now. Call it after a change of privileges.
   */
  outdate (userId: string): Promise<void>
}

export function createSessionsApi (store: SessionStore, flows: AuthFlows): SessionsApi {
  return Object.freeze<SessionsApi>({
    store: store.kind,
    list: (userId) => store.list(userId),
    revoke: (userId, sessionId) => flows.revoke(userId, sessionId, null),
    revokeUser: (userId, { except } = {}) => flows.revokeAll(userId, except ?? null, null),
    outdate: (userId) => store.outdate(userId),
  })
}
