import type { Liveness, SessionStore } from './session-store.js'

/** `strict`: the store is asked for each request. `cached`: at most once in a while for each session. */
export type LivenessMode = 'strict' | 'cached'

/** What an access token says of its session. */
export interface TokenOwner { readonly userId: string, readonly sessionId: string, readonly tokenVersion: number }

/** Whether the session of an access token lives. Rejects with `STORE_UNAVAILABLE` when nobody can tell. */
export type CheckLiveness = (mode: LivenessMode, owner: TokenOwner) => Liveness | Promise<Liveness>

export interface LivenessSettings {
  /** How old an answer may be in `cached` mode. */
  readonly delayMs: number
}

export function createLivenessCheck (store: SessionStore, _settings: LivenessSettings): CheckLiveness {
  return (_mode, { userId, sessionId, tokenVersion }) => store.check(userId, sessionId, tokenVersion)
}
