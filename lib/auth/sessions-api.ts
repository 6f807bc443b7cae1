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
   * Ends all sessions of a user, on every instance, but `except`; resolves to how many. A login of theirs that is under
   * way gets none. Call it after a change of password.
   */
  revokeUser (userId: string, options?: { readonly except?: string }): Promise<number>
  /**
   * Has a user's access tokens refreshed at once, where a route looks at more than the token: `loadUser` is asked
   * again, and roles and claims are those of now. Call it after a change of privileges.
   */
  outdate (userId: string): Promise<void>
}

/** What is no id has no sessions, and revoking those would look as if it had worked. */
function idOf (value: unknown, method: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw new TypeError(`app.security.sessions.${method}: an id is not a text`)
}

export function createSessionsApi (store: SessionStore, flows: AuthFlows): SessionsApi {
  return Object.freeze<SessionsApi>({
    store: store.kind,
    list: async (userId) => store.list(idOf(userId, 'list')),
    revoke: async (userId, sessionId) => flows.revoke(idOf(userId, 'revoke'), idOf(sessionId, 'revoke'), null),
    revokeUser: async (userId, { except } = {}) => flows.revokeAll(idOf(userId, 'revokeUser'), except ?? null, null),
    outdate: async (userId) => store.outdate(idOf(userId, 'outdate')),
  })
}
