import { isDuration, parseDuration } from '../options/duration.js'
import type { ErrorCode, SecurityError } from '../response/errors.js'
import { isPlainObject } from '../options/check-options.js'
import { readSignOptions, readVerifyOptions } from './jwt-options.js'
import type { Keyring } from './keyring.js'
import { createTokenCodec, MAX_TOKEN_BYTES, type TokenTimes } from './tokens.js'

export interface AppTokenSettings {
  readonly keyring: Keyring
  readonly issuer: string
  readonly audience: string
  /** The life of a token that does not say. */
  readonly accessTtlSeconds: number
  readonly maxTtlSeconds: number
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly unauthorized: (code: ErrorCode) => SecurityError
}

/** Tokens that an app signs for its own ends: links in mails, download tickets. They open no session and no route. */
export interface AppTokens {
  /** @throws TypeError or RangeError for a payload or an option that cannot be kept. */
  sign (payload: unknown, options: unknown): string
  /** @throws SecurityError, 401 `TOKEN_INVALID` or `TOKEN_EXPIRED`. */
  verify (token: unknown, options: unknown): Readonly<Record<string, unknown>>
  /** What any token says; nothing is verified. @throws SecurityError, 401 `TOKEN_INVALID`, when it is none. */
  decode (token: unknown, complete: boolean): unknown
}

/** Claims that the suite sets, or that say something in a session's token. */
const RESERVED: ReadonlySet<string> = new Set([
  'iss', 'aud', 'iat', 'exp', 'nbf', 'sid', 'tv', 'gen', 'slt', 'amr', 'auth_time', '__proto__',
])

interface AppToken extends TokenTimes { readonly payload: Readonly<Record<string, unknown>> }

export function createAppTokens (
  { keyring, issuer, audience, accessTtlSeconds, maxTtlSeconds, now, unauthorized }: AppTokenSettings,
): AppTokens {
  const codec = createTokenCodec<AppToken>({
    typ: 'JWT',
    keyring,
    issuer,
    audience,
    lifetimeSeconds: maxTtlSeconds,
    cache: 0,
    parse: (payload, { iat, exp }) => ({ iat, exp, payload }),
  })
  const nowSeconds = (): number => Math.floor(now() / 1000)

  return Object.freeze<AppTokens>({
    sign (given, written) {
      const { expiresIn, ...named } = readSignOptions('jwtSign', written)
      const claims = claimsOf(given)
      for (const [name, value] of Object.entries(named)) {
        if (claims[name] !== undefined)
          {throw new TypeError(`jwtSign: "${name}" stands in the payload and in the options.`)}
        claims[name] = value
      }
      const lifetime = expiresIn === undefined ? accessTtlSeconds : secondsOf(expiresIn)
      if (lifetime > maxTtlSeconds)
        {throw new RangeError(`jwtSign: expiresIn is longer than refreshAbsolute, ${maxTtlSeconds} seconds.`)}
      const iat = nowSeconds()
      const token = codec.sign({ ...claims, iat, exp: iat + lifetime })
      if (token.length > MAX_TOKEN_BYTES)
        {throw new RangeError(`jwtSign: the token would take ${token.length} bytes; ${MAX_TOKEN_BYTES} are verified.`)}
      return token
    },
    verify (token, written) {
      readVerifyOptions('app.jwt.verify', written)
      const verified = typeof token === 'string' ? codec.verify(token, nowSeconds()) : 'TOKEN_INVALID'
      if (typeof verified === 'string') throw unauthorized(verified)
      return verified.payload
    },
    decode (token, complete) {
      const decoded = typeof token === 'string' ? decode(token) : null
      if (decoded === null) throw unauthorized('TOKEN_INVALID')
      return complete ? decoded : decoded.payload
    },
  })
}

/** Through JSON, as the token carries them: a `toJSON` or a getter cannot smuggle a reserved name in. */
function claimsOf (payload: unknown): Record<string, unknown> {
  const copy: unknown = isPlainObject(payload) ? JSON.parse(JSON.stringify(payload)) : null
  if (!isPlainObject(copy)) throw new TypeError('jwtSign: the payload is not a plain object.')
  for (const name of Object.keys(copy)) {
    if (RESERVED.has(name))
      {throw new TypeError(
        `jwtSign: the claim "${name}" has a meaning of its own in this suite's tokens; how long a token holds is expiresIn.`,
      )}
  }
  return copy
}

/** A number counts seconds, as in @fastify/jwt; a text is a duration with a unit. */
function secondsOf (expiresIn: unknown): number {
  const seconds = isDuration(expiresIn) ? parseDuration(expiresIn) / 1000 : expiresIn
  if (typeof seconds === 'number' && Number.isSafeInteger(seconds) && seconds > 0) return seconds
  throw new TypeError(
    "jwtSign: expiresIn is neither a positive whole number of seconds nor a duration of whole seconds such as '10m'.",
  )
}

interface DecodedToken {
  readonly header: Record<string, unknown>
  readonly payload: Record<string, unknown>
  readonly signature: string
  readonly input: string
}

function decode (token: string): DecodedToken | null {
  if (token.length > MAX_TOKEN_BYTES) return null
  const [first = '', second = '', signature, ...rest] = token.split('.')
  const header = jsonObject(first)
  const payload = jsonObject(second)
  if (header === null || payload === null || signature === undefined || rest.length > 0) return null
  return { header, payload, signature, input: `${first}.${second}` }
}

function jsonObject (segment: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString())
    return isPlainObject(value) ? value : null
  } catch {
    return null
  }
}
