import type { AuthContext } from './context.js'
import { areMethods } from './methods.js'
import { ID_PATTERN } from './rotation.js'
import type { TokenKeys } from './token-keys.js'
import { CLOCK_TOLERANCE_SECONDS, createTokenCodec, isEpochSeconds, type TokenCodec,
  type TokenTimes } from './tokens.js'
import type { KnownUser, UserModel } from './users.js'

export interface AccessToken extends TokenTimes { readonly context: AuthContext }

export interface RefreshToken extends TokenTimes {
  readonly userId: string
  readonly sessionId: string
  readonly generation: number
  readonly salt: string
  readonly jti: string
}

export interface SessionTokenSettings {
  readonly users: UserModel
  /** Made for `ACCESS_TYPE`. */
  readonly accessKeys: TokenKeys
  /** Made for `REFRESH_TYPE`. HS256 only: the ids of refresh tokens are derived from its secrets. */
  readonly refreshKeys: TokenKeys
  readonly issuer: string
  readonly audience: string
  readonly accessTtlSeconds: number
  readonly policy: { readonly idleMs: number }
}

/** The `typ` of access tokens (RFC 9068) and of refresh tokens. */
export const ACCESS_TYPE = 'at+jwt'
export const REFRESH_TYPE = 'rt+jwt'

/** Verified access tokens remembered per process: some 2 KB each. */
const CACHED_TOKENS = 16_384

export function createAccessCodec (
  { users, accessKeys, issuer, audience, accessTtlSeconds }: SessionTokenSettings,
): TokenCodec<AccessToken> {
  return createTokenCodec<AccessToken>({
    keys: accessKeys,
    issuer,
    audience,
    lifetimeSeconds: accessTtlSeconds,
    cache: CACHED_TOKENS,
    parse (payload, { iat, exp }) {
      const { sid, auth_time: authTime, jti, tv: tokenVersion, amr: methods } = payload
      if (!isId(sid) || !isId(jti) || !isEpochSeconds(authTime) || authTime > iat + CLOCK_TOLERANCE_SECONDS) return null
      if (!isCount(tokenVersion) || !areMethods(methods)) return null
      const user = users.fromClaims(payload)
      return user === null
        ? null
        : Object.freeze({
          iat,
          exp,
          context: contextOf(user, { sid, authTime, methods: Object.freeze(methods), tokenVersion }, exp),
        })
    },
  })
}

export function createRefreshCodec (
  { refreshKeys, issuer, audience, policy }: SessionTokenSettings,
): TokenCodec<RefreshToken> {
  return createTokenCodec<RefreshToken>({
    keys: refreshKeys,
    issuer,
    audience: `${audience}/refresh`,
    lifetimeSeconds: Math.ceil(policy.idleMs / 1000),
    cache: 0,
    parse ({ sub, sid, gen, slt, jti }, { iat, exp }) {
      if (typeof sub !== 'string' || sub === '' || !isId(sid) || !isId(slt) || !isId(jti)) return null
      return isCount(gen)
        ? Object.freeze({ iat, exp, userId: sub, sessionId: sid, generation: gen, salt: slt, jti })
        : null
    },
  })
}

const NO_SCOPES: readonly never[] = Object.freeze([])

export function contextOf (
  user: KnownUser,
  { sid, authTime, methods, tokenVersion }: {
    sid: string
    authTime: number
    methods: readonly string[]
    tokenVersion: number
  },
  expiresAt: number,
): AuthContext {
  return Object.freeze({
    userId: user.id,
    sessionId: sid,
    roles: user.roles,
    scopes: user.scopes ?? NO_SCOPES,
    methods,
    authTime,
    expiresAt,
    tokenVersion,
    user,
  })
}

function isId (value: unknown): value is string {
  return typeof value === 'string' && ID_PATTERN.test(value)
}

function isCount (value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
