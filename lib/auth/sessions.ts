import type { ErrorCode } from '../response/errors.js'
import type { SecurityEvent } from '../events/catalogue.js'
import type { AuthContext } from './context.js'
import { MAX_METHOD_LENGTH, MAX_METHODS } from './sign-in.js'
import { createId, createJtiOf, hashJti } from './rotation.js'
import type { EndedSession, EndReason, SessionPolicy, SessionState, SessionStore } from './session-store.js'
import { contextOf, createAccessCodec, createRefreshCodec, type AccessToken, type RefreshToken,
  type SessionTokenSettings } from './session-tokens.js'
import type { TokenCodec } from './tokens.js'
import type { KnownUser } from './users.js'

/** A pair of tokens for one user, with their lives in seconds from now. */
export interface IssuedTokens {
  readonly access: string
  readonly refresh: string
  /** Of the access token. */
  readonly expiresIn: number
  /**
   * Of both cookies: until the session ends unless it is refreshed, so that an expired access token is told from none.
   */
  readonly maxAge: number
  readonly context: AuthContext
}

export interface SessionSettings extends SessionTokenSettings {
  readonly policy: SessionPolicy
  readonly store: SessionStore
  /** Throws when the tokens would not fit into a cookie; asked before anything changes in the store. */
  readonly assertFits: (access: string, refresh: string) => void
}

/** Where a new session is opened from. */
export interface Opening {
  readonly clientContext: string
  readonly label: string
  readonly methods: readonly string[]
  /** How long ago the credentials were checked, in milliseconds. */
  readonly ageMs: number
  /** Sessions of the same user that end with it. */
  readonly replaces: readonly string[]
}

export type Opened =
  | { readonly tokens: IssuedTokens, readonly ended: readonly EndedSession[] }
  | { readonly refused: 'full' | 'revoked' }

/** What happened, for the caller to answer and to tell as events. */
export type Refreshed =
  | { readonly tokens: IssuedTokens, readonly events: readonly SecurityEvent[] }
  | { readonly refused: ErrorCode, readonly events: readonly SecurityEvent[] }

/** Sessions apart from HTTP: opens, refreshes and ends them, and reads their tokens. */
export interface Sessions {
  readonly access: TokenCodec<AccessToken>
  readonly refresh: TokenCodec<RefreshToken>
  open (user: KnownUser, opening: Opening): Promise<Opened>
  renew (token: string, clientContext: string, loadUser: (userId: string) => Promise<unknown>): Promise<Refreshed>
  /** The user and session a token belongs to, also when it has expired; null when it is not one of ours. */
  ownerOf (token: string): { readonly userId: string, readonly sessionId: string } | null
}

export function createSessions (settings: SessionSettings): Sessions {
  const { users, store, policy } = settings
  const access = createAccessCodec(settings)
  const refresh = createRefreshCodec(settings)
  const jtiOf = createJtiOf(settings.refreshKeys.current.verifyWith.export())
  // A verify-only secret may have made the id that the store has now, on an instance with other keys.
  const makers = settings.refreshKeys.all.map(({ verifyWith }) => createJtiOf(verifyWith.export()))

  const nowSeconds = (): number => Math.floor(store.now() / 1000)

  /** The id that the store has the hash of; null when no key of this instance made it. */
  function currentJti (sessionId: string, salt: string, { generation, jtiHash }: SessionState): string | null {
    for (const make of makers) {
      const jti = make(sessionId, salt, generation)
      if (hashJti(jti) === jtiHash) return jti
    }
    return null
  }

  function issue (user: KnownUser, sessionId: string, salt: string, jti: string, state: SessionState): IssuedTokens {
    const now = nowSeconds()
    const sessionEnd = Math.floor(state.idleAt / 1000)
    const exp = Math.max(now + 1, Math.min(now + settings.accessTtlSeconds, sessionEnd))
    const { id } = user
    const { methods, authTime, tokenVersion } = state
    const accessToken = access.sign({
      sub: id,
      sid: sessionId,
      ...users.toClaims(user),
      tv: tokenVersion,
      auth_time: authTime,
      amr: methods,
      iat: now,
      exp,
      jti: createId(),
    })
    // Times of the store and not of now: winner and losers of a race mint the same text.
    const refreshToken = refresh.sign({
      sub: id,
      sid: sessionId,
      gen: state.generation,
      slt: salt,
      jti,
      iat: Math.floor(state.rotatedAt / 1000),
      exp: sessionEnd,
    })
    return {
      access: accessToken,
      refresh: refreshToken,
      expiresIn: exp - now,
      maxAge: Math.max(1, sessionEnd - now),
      context: contextOf(user, { sid: sessionId, authTime, methods: Object.freeze([...methods]), tokenVersion }, exp),
    }
  }

  /**
   * A session of this user would look so; tried before the store changes, because a failure after it would cost the
   * session.
   */
  function assertIssuable (user: KnownUser, sessionId: string, salt: string, methods: readonly string[]): void {
    const at = store.now()
    const trial = issue(user, sessionId, salt, createId(), {
      generation: 0,
      jtiHash: '',
      rotatedAt: at,
      idleAt: at + policy.idleMs,
      absoluteAt: at + policy.absoluteMs,
      authTime: Math.floor(at / 1000),
      methods,
      tokenVersion: at,
    })
    settings.assertFits(trial.access, trial.refresh)
  }

  return Object.freeze<Sessions>({
    access,
    refresh,

    async open (user, { clientContext, label, methods, ageMs, replaces }) {
      const sessionId = createId()
      const salt = createId()
      assertIssuable(user, sessionId, salt, methods)
      const jti = jtiOf(sessionId, salt, 0)
      const answer = await store.create({
        userId: user.id,
        sessionId,
        jtiHash: hashJti(jti),
        context: clientContext,
        label,
        methods,
        ageMs,
        replaces,
      })
      if (answer.status !== 'created') return { refused: answer.status }
      return { tokens: issue(user, sessionId, salt, jti, answer.state), ended: answer.ended }
    },

    async renew (token, clientContext, loadUser) {
      const claims = refresh.verify(token, nowSeconds())
      if (claims === 'TOKEN_INVALID') {
        return refuse('TOKEN_INVALID', [{ name: 'authn_token_invalid', kind: 'refresh', code: claims }])
      }
      // Its session is over as well. TOKEN_EXPIRED means "refresh" to a client, which would come back here for ever.
      if (claims === 'TOKEN_EXPIRED') return refuse('SESSION_REVOKED', [])
      const { userId, sessionId, generation, salt, jti } = claims
      // Asked before the rotation: when it fails, nothing has changed and the client may simply try again.
      const loaded = await loadUser(userId)
      if (loaded === null || loaded === undefined) {
        const ended = await store.end(userId, sessionId, 'user')
        return refuse('SESSION_REVOKED', ended ? [revoked(userId, sessionId, 'user')] : [])
      }
      const user = users.fromApp(loaded, 'loadUser')
      if (user.id !== userId) throw new Error('auth: loadUser gave another user than the requested one')
      assertIssuable(user, sessionId, salt, LONGEST_METHODS)
      const next = jtiOf(sessionId, salt, generation + 1)
      const answer = await store.rotate({
        userId,
        sessionId,
        generation,
        jtiHash: hashJti(jti),
        nextJtiHash: hashJti(next),
        context: clientContext,
      })
      switch (answer.status) {
        case 'rotated':
          return {
            tokens: issue(user, sessionId, salt, next, answer.state),
            events: [{ name: 'session_renewed', userId, sessionId }],
          }
        case 'coalesced':
        case 'grace': {
          const current = currentJti(sessionId, salt, answer.state)
          // An instance with a newer key rotated it. Nothing is wrong with the session, but its successor cannot be
          // made here.
          if (current === null) {
            return refuse('TOKEN_INVALID', [{ name: 'authn_token_invalid', kind: 'refresh', code: 'KEY_UNKNOWN' }])
          }
          return { tokens: issue(user, sessionId, salt, current, answer.state), events: [] }
        }
        case 'expired':
          return refuse('SESSION_REVOKED', [{ name: 'session_expired', userId, sessionId }])
        case 'reuse':
          return refuse('REFRESH_REUSED', [
            { name: 'authn_token_reuse', userId, sessionId },
            ...answer.ended.map((ended) => revoked(userId, ended, 'reuse')),
          ])
        // The second of the two, thief or owner, gets the same answer: the owner's client can then warn.
        case 'gone': return refuse(answer.reason === 'reuse' ? 'REFRESH_REUSED' : 'SESSION_REVOKED', [])
        // The store lost a write (a failover). The token is genuine, so nothing is revoked, but nothing can follow it
        // either.
        case 'ahead':
          return refuse('TOKEN_INVALID', [{ name: 'authn_token_invalid', kind: 'refresh', code: 'GENERATION_AHEAD' }])
      }
    },

    ownerOf (token) {
      const owner = access.read(token, nowSeconds())?.context ?? refresh.read(token, nowSeconds())
      return owner === null ? null : { userId: owner.userId, sessionId: owner.sessionId }
    },
  })
}

/** What a login may say of its methods at most, see `METHODS_PATTERN`. */
const LONGEST_METHODS: readonly string[] = Object.freeze(
  Array.from({ length: MAX_METHODS }, () => 'x'.repeat(MAX_METHOD_LENGTH)),
)

/** The event of a session that ended before its time. */
export function revoked (userId: string, sessionId: string, reason: EndReason): SecurityEvent {
  return { name: 'authn_token_revoked', userId, sessionId, reason }
}

function refuse (refused: ErrorCode, events: readonly SecurityEvent[]): Refreshed {
  return { refused, events }
}
