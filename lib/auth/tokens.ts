import type { KeyObject } from 'node:crypto'
import { createSigner } from 'fast-jwt'
import { isPlainObject } from '../options/check-options.js'
import type { Keyring, TokenAlgorithm } from './keyring.js'
import { isPlainlyWritten } from './plain-json.js'
import { createSignatureCheck, type SignatureCheck } from './signature.js'
import { TokenCache, type VerifiedToken } from './token-cache.js'

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
  /** Signs the claims with the current key; `iss` and `aud` are added. */
  sign (claims: TokenTimes & Readonly<Record<string, unknown>>): string
  /**
   * What the token says when its signature and form are valid and its key holds now, even if it has expired; otherwise
   * null.
   */
  read (token: string, nowSeconds: number): T | null
  /** What the token says when it also holds now, or why not. Never throws. */
  verify (token: string, nowSeconds: number): T | TokenRefusal
}

/** What stands for one spelling of the header: the only key, and the only form of signature, that may follow it. */
interface HeaderKey extends SignatureCheck {
  /** Epoch seconds from which its tokens are refused. */
  readonly until: number
  /** Whether verifying a token again costs far more than keeping it. */
  readonly dear: boolean
}

/**
 * Signs with the current key of a keyring and verifies with all of them; what each needs is built once, here.
 *
 * Only this suite mints these tokens, so their header has exactly one spelling for each key, and that text selects the
 * key. It leaves no `alg`, `typ`, `kid`, `crit`, `b64`, `jku`, `jwk` or `x5c` for anybody to choose. The payload must
 * be the canonical encoding of what it says, which refuses repeated names, odd numbers and text that is not UTF-8.
 * Nothing of a token is decoded before its signature is known to be valid.
 */
export function createTokenCodec<T extends TokenTimes> (kind: TokenKind<T>): TokenCodec<T> {
  const { current, verifyOnly } = kind.keyring
  const signer = createSigner({
    key: signingText(current.signWith),
    algorithm: current.alg,
    kid: current.kid,
    header: { alg: current.alg, typ: kind.typ },
  })
  const byHeader: ReadonlyMap<string, HeaderKey> = new Map(
    [{ ...current, until: Infinity }, ...verifyOnly].map((
      key,
    ) => [headerText(kind.typ, key), {
      ...createSignatureCheck(key.alg, key.verifyWith),
      until: key.until,
      dear: key.alg !== 'HS256',
    }]),
  )
  const cache = kind.cache > 0 ? new TokenCache<T>(kind.cache) : null

  /** Verifies, and remembers what is valid. */
  function examine (token: string): VerifiedToken<T> | null {
    if (token.length > MAX_TOKEN_BYTES) return null
    const headerEnd = token.indexOf('.')
    const key = headerEnd === -1 ? undefined : byHeader.get(token.slice(0, headerEnd))
    if (key === undefined) return null
    const payloadEnd = token.length - key.length - 1
    if (
      payloadEnd <= headerEnd || token[payloadEnd] !== '.' ||
      !key.isValid(token.slice(0, payloadEnd), token.slice(payloadEnd + 1))
    ) return null
    const payload = canonicalPayload(token.slice(headerEnd + 1, payloadEnd))
    const claims = payload === null ? null : parsePayload(kind, payload)
    if (claims === null) return null
    const verified = { token, value: claims, until: key.until }
    if (key.dear) cache?.add(verified)
    else cache?.offer(verified)
    return verified
  }

  function read (token: string, nowSeconds: number): T | null {
    const verified = cache?.get(token) ?? examine(token)
    if (verified === null) return null
    // On every use: a key that has ended ends its cached tokens, too.
    return nowSeconds < verified.until ? verified.value : null
  }

  return Object.freeze<TokenCodec<T>>({
    sign: (claims) => signer({ iss: kind.issuer, aud: kind.audience, ...claims }),
    read,
    verify (token, nowSeconds) {
      const claims = read(token, nowSeconds)
      if (claims === null || claims.iat > nowSeconds + CLOCK_TOLERANCE_SECONDS) return 'TOKEN_INVALID'
      return claims.exp > nowSeconds ? claims : 'TOKEN_EXPIRED'
    },
  })
}

/** The first segment as the signer writes it; a test holds the two together. */
function headerText (typ: string, { alg, kid }: { readonly alg: TokenAlgorithm, readonly kid: string }): string {
  return Buffer.from(JSON.stringify({ alg, typ, kid })).toString('base64url')
}

/** fast-jwt takes a Buffer for a secret and a PEM for a private key, which it parses once. */
function signingText (key: KeyObject): string | Buffer {
  return key.type === 'secret' ? key.export() : key.export({ format: 'pem', type: 'pkcs8' })
}

const scratch = Buffer.alloc(MAX_TOKEN_BYTES)

/** The object that a segment is the one encoding of: base64url, UTF-8 and JSON as we write them; otherwise null. */
function canonicalPayload (segment: string): Record<string, unknown> | null {
  const length = scratch.write(segment, 'base64url')
  if (scratch.toString('base64url', 0, length) !== segment) return null
  try {
    const payload: unknown = JSON.parse(scratch.toString('utf8', 0, length))
    if (!isPlainObject(payload)) return null
    return isPlainlyWritten(scratch, length, payload) ||
        scratch.subarray(0, length).equals(Buffer.from(JSON.stringify(payload)))
      ? payload
      : null
  } catch {
    // Signed, and yet no JSON or nested beyond the stack.
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
