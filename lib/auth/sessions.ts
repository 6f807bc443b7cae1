import type { ErrorCode } from '../errors.js'
import type { SecurityEvent } from '../events/catalogue.js'
import type { AuthContext } from './context.js'
import { createId, createJtiOf, hashJti, ID_PATTERN } from './rotation.js'
import type { EndReason, SessionPolicy, SessionState, SessionStore } from './session-store.js'
import { CLOCK_TOLERANCE_SECONDS, createTokenCodec, isEpochSeconds, type TokenCodec, type TokenTimes } from './tokens.js'
import type { KnownUser, UserModel } from './users.js'

export interface AccessToken extends TokenTimes { readonly context: AuthContext }

export interface RefreshToken extends TokenTimes {
  readonly userId: string
  readonly sessionId: string
  readonly generation: number
  readonly salt: string
  readonly jti: string
}

/** A pair of tokens for one user, with their lives in seconds from now. */
export interface IssuedTokens {
  readonly access: string
  readonly refresh: string
  readonly accessMaxAge: number
  readonly refreshMaxAge: number
  readonly context: AuthContext
}

export interface SessionSettings {
  readonly users: UserModel
  readonly accessSecret: string
  readonly refreshSecret: string
  readonly issuer: string
  readonly audience: string
  readonly accessTtlSeconds: number
  readonly policy: SessionPolicy
  readonly store: SessionStore
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Throws when the tokens would not fit into a cookie; asked before anything changes in the store. */
  readonly assertFits: (access: string, refresh: string) => void
}

/** What happened, for the caller to answer and to tell as events. */
export type Refreshed =
  | { readonly tokens: IssuedTokens, readonly events: readonly SecurityEvent[] }
  | { readonly refused: ErrorCode, readonly events: readonly SecurityEvent[] }

/** Sessions apart from HTTP: opens, refreshes and ends them, and reads their tokens. */
export interface Sessions {
  readonly access: TokenCodec<AccessToken>
  readonly refresh: TokenCodec<RefreshToken>
  open (user: KnownUser, clientContext: string): Promise<IssuedTokens>
  renew (token: string, clientContext: string, loadUser: (userId: string) => Promise<unknown>): Promise<Refreshed>
  /** The user and session a token belongs to, also when it has expired; null when it is not one of ours. */
  ownerOf (token: string): { readonly userId: string, readonly sessionId: string } | null
}

/** Verified access tokens remembered per process, at most twice this number: some 2 KB each. */
const CACHED_TOKENS = 1024

export function createSessions (settings: SessionSettings): Sessions {
  const { users, store, policy, now } = settings
  const jtiOf = createJtiOf(Buffer.from(settings.refreshSecret))
  const access = createAccessCodec(settings)
  const refresh = createRefreshCodec(settings)

  function issue (user: KnownUser, sessionId: string, salt: string, state: SessionState): IssuedTokens {
    const nowSeconds = Math.floor(now() / 1000)
    const sessionEnd = Math.floor(state.idleAt / 1000)
    const exp = Math.max(nowSeconds + 1, Math.min(nowSeconds + settings.accessTtlSeconds, sessionEnd))
    const { id, ...claims } = user
    const accessToken = access.sign({ sub: id, sid: sessionId, ...claims, auth_time: state.authTime, iat: nowSeconds, exp, jti: createId() })
    // Times of the store and not of now: winner and losers of a race mint the same text.
    const refreshToken = refresh.sign({
      sub: id,
      sid: sessionId,
      gen: state.generation,
      slt: salt,
      jti: jtiOf(sessionId, salt, state.generation),
      iat: Math.floor(state.rotatedAt / 1000),
      exp: sessionEnd,
    })
    return {
      access: accessToken,
      refresh: refreshToken,
      accessMaxAge: exp - nowSeconds,
      refreshMaxAge: Math.max(1, sessionEnd - nowSeconds),
      context: contextOf(user, sessionId, state.authTime, exp),
    }
  }

  /** A session of this user would look so; tried before the store changes, because a failure after it would cost the session. */
  function assertIssuable (user: KnownUser, sessionId: string, salt: string): void {
    const at = now()
    const trial = issue(user, sessionId, salt, { generation: 0, rotatedAt: at, idleAt: at + policy.idleMs, absoluteAt: at + policy.absoluteMs, authTime: Math.floor(at / 1000) })
    settings.assertFits(trial.access, trial.refresh)
  }

  return Object.freeze<Sessions>({
    access,
    refresh,

    async open (user, clientContext) {
      const sessionId = createId()
      const salt = createId()
      assertIssuable(user, sessionId, salt)
      const state = await store.create({ userId: user.id, sessionId, jtiHash: hashJti(jtiOf(sessionId, salt, 0)), context: clientContext })
      return issue(user, sessionId, salt, state)
    },

    async renew (token, clientContext, loadUser) {
      const claims = refresh.verify(token, Math.floor(now() / 1000))
      if (claims === 'TOKEN_INVALID') return refuse('TOKEN_INVALID', [{ name: 'authn_token_invalid', kind: 'refresh', code: claims }])
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
      if (user.id !== userId) throw new Error('auth: loadUser gave another user than the one it was asked for')
      assertIssuable(user, sessionId, salt)
      const answer = await store.rotate({
        userId, sessionId, generation, jtiHash: hashJti(jti), nextJtiHash: hashJti(jtiOf(sessionId, salt, generation + 1)), context: clientContext,
      })
      switch (answer.status) {
        case 'rotated': return { tokens: issue(user, sessionId, salt, answer.state), events: [{ name: 'session_renewed', userId, sessionId }] }
        case 'coalesced':
        case 'grace': return { tokens: issue(user, sessionId, salt, answer.state), events: [] }
        case 'expired': return refuse('SESSION_REVOKED', [{ name: 'session_expired', userId, sessionId }])
        case 'reuse': return refuse('REFRESH_REUSED', [{ name: 'authn_token_reuse', userId, sessionId }, revoked(userId, sessionId, 'reuse')])
        // Whoever comes second, thief or owner, is told the same: the owner's client can then warn.
        case 'gone': return refuse(answer.reason === 'reuse' ? 'REFRESH_REUSED' : 'SESSION_REVOKED', [])
        // The store lost a write (a failover). The token is genuine, so nothing is revoked, but nothing can follow it either.
        case 'ahead': return refuse('TOKEN_INVALID', [{ name: 'authn_token_invalid', kind: 'refresh', code: 'GENERATION_AHEAD' }])
      }
    },

    ownerOf (token) {
      const owner = access.read(token)?.context ?? refresh.read(token)
      return owner === null ? null : { userId: owner.userId, sessionId: owner.sessionId }
    },
  })
}

/** The event of a session that ended before its time. */
export function revoked (userId: string, sessionId: string, reason: EndReason): SecurityEvent {
  return { name: 'authn_token_revoked', userId, sessionId, reason }
}

function refuse (refused: ErrorCode, events: readonly SecurityEvent[]): Refreshed {
  return { refused, events }
}

function createAccessCodec ({ users, accessSecret, issuer, audience, accessTtlSeconds }: SessionSettings): TokenCodec<AccessToken> {
  return createTokenCodec<AccessToken>({
    typ: 'at+jwt',
    secret: accessSecret,
    issuer,
    audience,
    lifetimeSeconds: accessTtlSeconds,
    cache: CACHED_TOKENS,
    parse (payload, { iat, exp }) {
      const { sid, auth_time: authTime, jti } = payload
      if (!isId(sid) || !isId(jti) || !isEpochSeconds(authTime) || authTime > iat + CLOCK_TOLERANCE_SECONDS) return null
      const user = users.fromClaims(payload)
      return user === null ? null : Object.freeze({ iat, exp, context: contextOf(user, sid, authTime, exp) })
    },
  })
}

function createRefreshCodec ({ refreshSecret, issuer, audience, policy }: SessionSettings): TokenCodec<RefreshToken> {
  return createTokenCodec<RefreshToken>({
    typ: 'rt+jwt',
    secret: refreshSecret,
    issuer,
    audience: `${audience}/refresh`,
    lifetimeSeconds: Math.ceil(policy.idleMs / 1000),
    cache: 0,
    parse ({ sub, sid, gen, slt, jti }, { iat, exp }) {
      if (typeof sub !== 'string' || sub === '' || !isId(sid) || !isId(slt) || !isId(jti)) return null
      if (typeof gen !== 'number' || !Number.isSafeInteger(gen) || gen < 0) return null
      return Object.freeze({ iat, exp, userId: sub, sessionId: sid, generation: gen, salt: slt, jti })
    },
  })
}

function contextOf (user: KnownUser, sessionId: string, authTime: number, expiresAt: number): AuthContext {
  return Object.freeze({ userId: user.id, sessionId, roles: user.roles, authTime, expiresAt, user })
}

function isId (value: unknown): value is string {
  return typeof value === 'string' && ID_PATTERN.test(value)
}
