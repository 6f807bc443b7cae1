import type { SessionInfo } from './session-store.js'

/** The order of a list: the one refreshed last first. Ids break ties, so that all stores agree. */
export function byRefresh (
  a: Pick<SessionInfo, 'sessionId' | 'refreshedAt'>,
  b: Pick<SessionInfo, 'sessionId' | 'refreshedAt'>,
): number {
  return b.refreshedAt - a.refreshedAt || (a.sessionId < b.sessionId ? 1 : -1)
}
