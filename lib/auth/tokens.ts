import { createSigner, createVerifier } from 'fast-jwt'
import { isPlainObject } from '../options.js'
import type { Keyring } from './keyring.js'
import { TokenCache } from './token-cache.js'

/** Why a token is refused. `TOKEN_EXPIRED` is only said of a token whose signature is valid. */
export type TokenRefusal = 'TOKEN_INVALID' | 'TOKEN_EXPIRED'

/** Longer text is not looked at: no cookie of ours is. */
export const MAX_TOKEN_BYTES = 4096
/** How far apart the clocks of two instances may be. */
export const CLOCK_TOLERANCE_SECONDS = 5

export interface TokenTimes { readonly iat: number, readonly exp: number }

export interface TokenKind<T extends TokenTimes> {
  /** The exact `typ` of the header, for example `at+jwt` (RFC 9068). */
  readonly typ: string
  readonly keyring: Keyring
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
  /** Signs the claims; `iss` and `aud` are added. */
  sign (claims: TokenTimes & Readonly<Record<string, unknown>>): string
  /** What the token says when its signature and form are valid, whatever the time; otherwise null. */
  read (token: string): T | null
  /** What the token says when it also holds now, or why not. Never throws. */
  verify (token: string, nowSeconds: number): T | TokenRefusal
}

/** Payload and signature: base64url without padding. 43 characters carry 32 bytes, the last one has two unused bits. */
const PAYLOAD_AND_SIGNATURE = /^([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/**
 * Signs and verifies one kind of token with one HS256 key; the verifier is built once, here.
 *
 * Only this suite mints these tokens, so their header has exactly one spelling: it is compared as text. That leaves
 * no `alg`, `typ`, `kid`, `crit`, `b64`, `jku`, `jwk` or `x5c` for anybody to choose. The payload likewise must be the
 * canonical encoding of what it says, which refuses repeated names, odd numbers and text that is not UTF-8.
 */
export function createTokenCodec<T extends TokenTimes> (kind: TokenKind<T>): TokenCodec<T> {
  const { kid, signWith } = kind.keyring.current
  const key = signWith.export()
  const signer = createSigner({ key, algorithm: 'HS256', kid, header: { alg: 'HS256', typ: kind.typ } })
  const verifier = createVerifier({ key, algorithms: ['HS256'], checkTyp: kind.typ, ignoreExpiration: true, ignoreNotBefore: true, cache: false })
  const probe = signer({ iat: 0 })
  const header = probe.slice(0, probe.indexOf('.') + 1)
  const cache = kind.cache > 0 ? new TokenCache<T>(kind.cache) : null

  function read (token: string): T | null {
    const known = cache?.get(token)
    if (known !== undefined) return known
    if (token.length > MAX_TOKEN_BYTES || !token.startsWith(header)) return null
    const segment = PAYLOAD_AND_SIGNATURE.exec(token.slice(header.length))?.[1]
    if (segment === undefined) return null
    const payload = verifiedPayload(verifier, token)
    if (payload === null || Buffer.from(JSON.stringify(payload)).toString('base64url') !== segment) return null
    const claims = parsePayload(kind, payload)
    if (claims !== null) cache?.set(token, claims)
    return claims
  }

  return Object.freeze<TokenCodec<T>>({
    sign: (claims) => signer({ iss: kind.issuer, aud: kind.audience, ...claims }),
    read,
    verify (token, nowSeconds) {
      const claims = read(token)
      if (claims === null || claims.iat > nowSeconds + CLOCK_TOLERANCE_SECONDS) return 'TOKEN_INVALID'
      return claims.exp > nowSeconds ? claims : 'TOKEN_EXPIRED'
    },
  })
}

function verifiedPayload (verifier: (token: string) => unknown, token: string): Record<string, unknown> | null {
  try {
    const payload = verifier(token)
    return isPlainObject(payload) ? payload : null
  } catch {
    // Whatever the library says, the caller learns one thing: the token is not valid.
    return null
  }
}

function parsePayload<T extends TokenTimes> (kind: TokenKind<T>, payload: Record<string, unknown>): T | null {
  const { iss, aud, iat, exp } = payload
  if (iss !== kind.issuer || aud !== kind.audience) return null
  if (!isEpochSeconds(iat) || !isEpochSeconds(exp)) return null
  if (exp <= iat || exp - iat > kind.lifetimeSeconds) return null
  // Never minted here, and ignoring it would accept a token before its time.
  if ('nbf' in payload) return null
  return kind.parse(payload, { iat, exp })
}

/** A finite whole number of seconds; `1e999` parses to Infinity and is none. */
export function isEpochSeconds (value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
