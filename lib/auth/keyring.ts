import { createHash, createHmac, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import type { Problem } from '../response/errors.js'
import { checkOptions } from '../options/check-options.js'
import { SECRET_FIX } from '../options/secret-strength.js'
import { importKey } from './key-import.js'

/** What tokens may be signed with (RFC 7518, RFC 8037). Each key has one, and only that one is accepted for it. */
export type TokenAlgorithm = 'HS256' | 'ES256' | 'EdDSA' | 'RS256'

/** A key that tokens are signed and verified with. */
export interface SigningKey {
  readonly kid: string
  readonly alg: TokenAlgorithm
  /** The secret, or the private key. */
  readonly signWith: KeyObject
  /** The secret, or the public key. */
  readonly verifyWith: KeyObject
}

/** A key of the past, or of the future, that tokens are still, or already, verified with. */
export interface VerifyOnlyKey {
  readonly kid: string
  readonly alg: TokenAlgorithm
  readonly verifyWith: KeyObject
  /** Epoch seconds: from then on its tokens are refused, cached ones too. */
  readonly until: number
}

/** The keys of one kind of token, all with different `kid`s. */
export interface Keyring {
  readonly current: SigningKey
  readonly verifyOnly: readonly VerifyOnlyKey[]
}

/** How a key is written: the secret of HS256, or a PEM (PKCS #8 private, SPKI public where it only verifies). */
export interface KeyOption {
  readonly alg: TokenAlgorithm
  readonly key: string
  /** Default: the RFC 7638 thumbprint of an asymmetric key, 64 bits of an HMAC under itself for a secret. */
  readonly kid?: string
}

/** How a keyring is written. */
export interface KeyringOption {
  readonly current: KeyOption
  /** Each with the ISO 8601 time at which its tokens are refused. */
  readonly verifyOnly?: readonly (KeyOption & { readonly until: string })[]
}

/** Printable text without space, quotes and backslash: it stands in a header and in logs as it is. */
const KID_PATTERN = '^[\\x21\\x23-\\x26\\x28-\\x5b\\x5d-\\x7e]{1,64}$'
/** ISO 8601 with seconds or without, and always with a zone. */
const UNTIL_PATTERN =
  '^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])' +
  'T([01]\\d|2[0-3]):[0-5]\\d(:[0-5]\\d(\\.\\d{1,9})?)?(Z|[+-](0\\d|1[0-4]):[0-5]\\d)$'
const UNTIL_FIX = 'Write an ISO 8601 time with its zone, for example 2030-01-31T12:00:00Z.'
/** More is a mistake, and each key is one more that a token may be signed with. */
const MAX_VERIFY_ONLY = 16

const keyMembers = {
  alg: Type.Unsafe<TokenAlgorithm>(
    Type.Union(['HS256', 'ES256', 'EdDSA', 'RS256'].map((name) => Type.Literal(name)), {
      fix: 'Write one of: HS256, ES256, EdDSA, RS256.',
    }),
  ),
  key: Type.String({ minLength: 1, fix: 'Give the secret of HS256 or the PEM text of the key.' }),
  kid: Type.Optional(
    Type.String({
      pattern: KID_PATTERN,
      fix: 'Write 1 to 64 printable ASCII characters without spaces, quotes and backslashes, or leave it out.',
    }),
  ),
}
const CurrentKeySchema = Type.Object(keyMembers, {
  additionalProperties: false,
  fix: 'Write { alg, key }, the key that signs.',
})
const VerifyOnlyKeySchema = Type.Object({
  ...keyMembers,
  until: Type.String({ pattern: UNTIL_PATTERN, fix: UNTIL_FIX }),
}, { additionalProperties: false, fix: 'Write { alg, key, until }.' })
const KeyringSchema = Type.Object({
  current: CurrentKeySchema,
  verifyOnly: Type.Optional(
    Type.Array(VerifyOnlyKeySchema, {
      maxItems: MAX_VERIFY_ONLY,
      fix: `Write a list of { alg, key, until }, at most ${MAX_VERIFY_ONLY}.`,
    }),
  ),
}, { additionalProperties: false, fix: 'Write { current: { alg, key }, verifyOnly: [{ alg, key, until }] }.' })

/**
 * Turns an untrusted keyring into a checked one, or adds every problem there is and returns null. No problem holds
 * the text of a key.
 */
export function resolveKeyring (
  input: unknown,
  path: string,
  kind: 'access' | 'refresh',
  problems: Problem[],
): Keyring | null {
  const before = problems.length
  const written = checkOptions(KeyringSchema, input, path, problems)
  if (written === null) return null
  const current = resolveKey(written.current, 'sign', `${path}.current`, kind, problems)
  const verifyOnly = (written.verifyOnly ?? []).map((option, index) => {
    const at = `${path}.verifyOnly[${index}]`
    const key = resolveKey(option, 'verify', at, kind, problems)
    const until = resolveUntil(option.until, `${at}.until`, problems)
    return key === null
      ? null
      : Object.freeze<VerifyOnlyKey>({ kid: key.kid, alg: key.alg, verifyWith: key.verifyWith, until })
  })
  refuseRepetitions(
    [current, ...verifyOnly],
    (index) => index === 0 ? `${path}.current` : `${path}.verifyOnly[${index - 1}]`,
    problems,
  )
  if (current === null || problems.length > before) return null
  return Object.freeze<Keyring>({ current, verifyOnly: Object.freeze(verifyOnly.filter((key) => key !== null)) })
}

function resolveKey (
  { alg, key, kid }: KeyOption,
  use: 'sign' | 'verify',
  path: string,
  kind: 'access' | 'refresh',
  problems: Problem[],
): SigningKey | null {
  if (kind === 'refresh' && alg !== 'HS256') {
    problems.push({
      path: `${path}.alg`,
      message: 'Refresh tokens are signed with HS256 only.',
      fix: `Only this service reads them, and the ids of their successors are derived from the secret. ${SECRET_FIX}`,
    })
    return null
  }
  const imported = importKey(alg, key, use)
  if ('problems' in imported) {
    problems.push(...imported.problems.map((problem) => ({ path: `${path}.key`, ...problem })))
    return null
  }
  if (kid?.includes(key) === true) {
    problems.push({
      path: `${path}.kid`,
      message: 'It contains the secret, and every token shows it.',
      fix: 'Choose another, or leave it out.',
    })
    return null
  }
  return Object.freeze<SigningKey>({ kid: kid ?? keyId(imported.verifyWith), alg, ...imported })
}

/** Epoch seconds; rounded down, so that no key outlives its end. */
function resolveUntil (text: string, path: string, problems: Problem[]): number {
  const at = Date.parse(text)
  // Date.parse takes the 30th of February for the 2nd of March.
  const day = new Date(`${text.slice(0, 10)}T00:00:00Z`)
  if (Number.isNaN(at) || day.getUTCDate() !== Number(text.slice(8, 10))) {
    problems.push({ path, message: 'There is no such day.', fix: UNTIL_FIX })
  }
  return Math.floor(at / 1000)
}

function refuseRepetitions (
  keys: readonly ({ kid: string, verifyWith: KeyObject } | null)[],
  pathOf: (index: number) => string,
  problems: Problem[],
): void {
  keys.forEach((key, index) => {
    for (const earlier of keys.slice(0, index)) {
      if (key === null || earlier === null) continue
      if (isSameKey(key.verifyWith, earlier.verifyWith)) {
        problems.push({
          path: `${pathOf(index)}.key`,
          message: 'This key is in the keyring twice.',
          fix: 'Write each key once; a key that signs also verifies.',
        })
      } else if (key.kid === earlier.kid) {
        problems.push({
          path: `${pathOf(index)}.kid`,
          message: 'Another key has this kid.',
          fix: 'Give each key its own, or leave it out.',
        })
      }
    }
  })
}

/** Whether the two keyrings have a key in common. */
export function shareKeys (a: Keyring, b: Keyring): boolean {
  const keysOf = ({ current, verifyOnly }: Keyring): KeyObject[] =>
    [current, ...verifyOnly].map(({ verifyWith }) => verifyWith)
  return keysOf(a).some((key) => keysOf(b).some((other) => isSameKey(key, other)))
}

/** Secrets by what they sign: HMAC pads a key with zeros and hashes a long one, so two texts may be one key. */
function isSameKey (a: KeyObject, b: KeyObject): boolean {
  if (a.type !== 'secret' || b.type !== 'secret') return a.equals(b)
  return macOfSelf(a).equals(macOfSelf(b))
}

/** A keyring of one HS256 secret. */
export function secretKeyring (secret: string): Keyring {
  const key = createSecretKey(Buffer.from(secret))
  return Object.freeze({
    current: Object.freeze({ kid: keyId(key), alg: 'HS256', signWith: key, verifyWith: key }),
    verifyOnly: Object.freeze([]),
  })
}

/** Names a secret without telling anything of it, and a public key as everybody names it (RFC 7638). */
function keyId (key: KeyObject): string {
  if (key.type === 'secret') return macOfSelf(key).toString('base64url', 0, 8)
  const members = publicMembers(key)
  const sorted = Object.fromEntries(Object.entries(members).sort(([a], [b]) => a < b ? -1 : 1))
  return createHash('sha256').update(JSON.stringify(sorted)).digest('base64url')
}

function macOfSelf (key: KeyObject): Buffer {
  return createHmac('sha256', key).update('fastify-bulwark key id').digest()
}

/** What a public key has to have in a JWK (RFC 7518, section 6; RFC 8037), and nothing else. */
function publicMembers (key: KeyObject): Readonly<Record<string, unknown>> {
  const { kty, crv, x, y, n, e } = createPublicOnly(key).export({ format: 'jwk' })
  switch (kty) {
    case 'EC': return { kty, crv, x, y }
    case 'OKP': return { kty, crv, x }
    default: return { kty, n, e }
  }
}

function createPublicOnly (key: KeyObject): KeyObject {
  return key.type === 'private' ? createPublicKey(key) : key
}

/**
 * The public members of a keyring's asymmetric keys (RFC 7517); secrets and private members are never in it. Keys
 * whose end is not after `nowSeconds` are left out: other services should not trust them longer than this one does.
 */
export function publicKeySet (
  { current, verifyOnly }: Keyring,
  nowSeconds = 0,
): { readonly keys: readonly Readonly<Record<string, unknown>>[] } {
  const keys = [current, ...verifyOnly.filter(({ until }) => nowSeconds < until)].filter(({ verifyWith }) =>
    verifyWith.type !== 'secret'
  )
  return Object.freeze({
    keys: Object.freeze(keys.map(({ kid, alg, verifyWith }) =>
      Object.freeze({ ...publicMembers(verifyWith), kid, alg, use: 'sig' })
    )),
  })
}
