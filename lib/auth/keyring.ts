import { createHmac, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import type { Problem } from '../errors.js'

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

/** Turns an untrusted keyring into a checked one, or adds every problem there is and returns null. */
export function resolveKeyring (_input: unknown, path: string, _kind: 'access' | 'refresh', problems: Problem[]): Keyring | null {
  problems.push({ path, message: 'Not written yet.', mend: '' })
  return null
}

/** Whether the two keyrings have a key in common. */
export function shareKeys (a: Keyring, b: Keyring): boolean {
  return a.current.verifyWith.equals(b.current.verifyWith)
}

/** A keyring of one HS256 secret. */
export function secretKeyring (secret: string): Keyring {
  const bytes = Buffer.from(secret)
  const key = createSecretKey(bytes)
  return Object.freeze({ current: Object.freeze({ kid: secretKeyId(bytes), alg: 'HS256', signWith: key, verifyWith: key }), verifyOnly: [] })
}

/** Names the key without telling anything of it: 64 bits of an HMAC under the key itself. */
function secretKeyId (key: Buffer): string {
  return createHmac('sha256', key).update('fastify-bulwark key id').digest().toString('base64url', 0, 8)
}

/** The public members of a keyring's asymmetric keys (RFC 7517); secrets are never in it. */
export function publicKeySet (keyring: Keyring): { readonly keys: readonly Readonly<Record<string, unknown>>[] } {
  const keys = [keyring.current, ...keyring.verifyOnly].filter(({ alg }) => alg !== 'HS256')
  return Object.freeze({ keys: keys.map(({ kid, alg, verifyWith }) => Object.freeze({ ...createPublicKey(verifyWith).export({ format: 'jwk' }), kid, alg, use: 'sig' })) })
}
