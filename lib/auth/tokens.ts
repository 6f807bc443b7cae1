import { Generations } from '../common/generations.js'
import { isPlainObject } from '../options/check-options.js'
import type { TokenKey, TokenKeys } from './token-keys.js'

/** Why a token is refused. `TOKEN_EXPIRED` is only said of a token whose signature is valid. */
export type TokenRefusal = 'TOKEN_INVALID' | 'TOKEN_EXPIRED'

/** Longer text is not looked at: no cookie of ours is. */
export const MAX_TOKEN_BYTES = 4096
/** How far apart the clocks of two instances may be. */
export const CLOCK_TOLERANCE_SECONDS = 5

export interface TokenTimes { readonly iat: number, readonly exp: number }

export interface TokenKind<T extends TokenTimes> {
  readonly keys: TokenKeys
  readonly issuer: string
  readonly audience: string
  /** No token of this kind lives longer. */
  readonly lifetimeSeconds: number
  /** The checked, frozen form of the claims that only this kind has, or null when one is missing or not of its type. */
  readonly parse: (payload: Readonly<Record<string, unknown>>, times: TokenTimes) => T | null
  /** Verified tokens to remember; 0 for a kind that is presented once. */
  readonly cache: number
}

export interface TokenCodec<T extends TokenTimes> {
  /** Signs the claims with the current key; `iss` and `aud` are added. */
  sign (claims: TokenTimes & Readonly<Record<string, unknown>>): string
  /**
   * What the token says when its signature and form are valid and its key holds now, even if it has expired; otherwise
   * null.
   */
  read (token: string, nowSeconds: number): T | null
  /** What the token says when it also holds now, or why not. Never throws. */
  verify (token: string, nowSeconds: number): T | TokenRefusal
  /** The key that the token's header names; null when it names none of ours. Nothing is verified. */
  keyOf (token: string): TokenKey | null
}

/** What time does not change about a token. */
interface VerifiedToken<T> {
  readonly value: T
  /** Epoch seconds at which the token's key ends. */
  readonly until: number
}

/**
 * Signs with the current key of a kind and verifies with all of them, by @fastify/jwt.
 *
 * Only this suite makes these tokens, so their header has exactly one spelling for each key, and that text selects the
 * key. It leaves no `alg`, `typ`, `kid`, `crit`, `b64`, `jku`, `jwk` or `x5c` for anybody to choose. Behind the
 * signature the payload must be the canonical encoding of what it says, and every claim is checked here.
 */
export function createTokenCodec<T extends TokenTimes> (kind: TokenKind<T>): TokenCodec<T> {
  const { current, all } = kind.keys
  const byHeader: ReadonlyMap<string, TokenKey> = new Map(all.map((key) => [key.header, key]))
  // Only verified tokens enter, so that no client can flood it without a key.
  const cache = kind.cache > 0 ? new Generations<string, VerifiedToken<T>>(kind.cache) : null

  function keyOf (token: string): TokenKey | null {
    if (token.length > MAX_TOKEN_BYTES) return null
    return byHeader.get(token.slice(0, token.indexOf('.'))) ?? null
  }

  /** Verifies, and remembers what is valid. */
  function examine (token: string): VerifiedToken<T> | null {
    const key = keyOf(token)
    const payload = key === null ? null : verifiedPayload(key, token)
    const claims = payload === null ? null : parsePayload(kind, payload)
    if (key === null || claims === null) return null
    const verified = Object.freeze({ value: claims, until: key.until })
    // A copy: the text is a slice of the Cookie header and would keep all of that in memory.
    cache?.set(Buffer.from(token, 'latin1').toString('latin1'), verified)
    return verified
  }

  function read (token: string, nowSeconds: number): T | null {
    const verified = cache?.get(token) ?? examine(token)
    if (verified === null) return null
    // On every use: a key that has ended ends its cached tokens, too.
    return nowSeconds < verified.until ? verified.value : null
  }

  return Object.freeze<TokenCodec<T>>({
    sign: (claims) => current.jwt.sign({ iss: kind.issuer, aud: kind.audience, ...claims }),
    read,
    verify (token, nowSeconds) {
      const claims = read(token, nowSeconds)
      if (claims === null || claims.iat > nowSeconds + CLOCK_TOLERANCE_SECONDS) return 'TOKEN_INVALID'
      return claims.exp > nowSeconds ? claims : 'TOKEN_EXPIRED'
    },
    keyOf,
  })
}

/** The payload of a token of three canonical segments whose signature is valid; otherwise null. */
function verifiedPayload ({ jwt }: TokenKey, token: string): Record<string, unknown> | null {
  const [, payload = '', signature = '', ...more] = token.split('.')
  if (more.length > 0 || encode(Buffer.from(signature, 'base64url')) !== signature) return null
  // A forged token is an ordinary request: the stack of the library's error would cost more than the signature.
  const { stackTraceLimit } = Error
  Reflect.set(Error, 'stackTraceLimit', 0)
  try {
    const claims: unknown = jwt.verify(token)
    // There is one canonical spelling. It refuses names that come twice, odd numbers, text that is not UTF-8, white
    // space, and unused bits of base64url.
    return isPlainObject(claims) && encode(Buffer.from(JSON.stringify(claims))) === payload ? claims : null
  } catch {
    // The answer is the same for every reason that the library gives.
    return null
  } finally {
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit)
  }
}

function encode (bytes: Buffer): string {
  return bytes.toString('base64url')
}

function parsePayload<T extends TokenTimes> (kind: TokenKind<T>, payload: Record<string, unknown>): T | null {
  const { iss, aud, iat, exp } = payload
  if (iss !== kind.issuer || aud !== kind.audience) return null
  if (!isEpochSeconds(iat) || !isEpochSeconds(exp)) return null
  if (exp <= iat || exp - iat > kind.lifetimeSeconds) return null
  // Never made here, and ignoring it would accept a token before its time.
  if ('nbf' in payload) return null
  return kind.parse(payload, { iat, exp })
}

/** A finite whole number of seconds; `1e999` parses to Infinity and is none. */
export function isEpochSeconds (value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
