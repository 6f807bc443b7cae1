import { createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto'

const ID_BYTES = 16

/** The base64url text of 128 bits, as session ids, salts and token ids have it. */
export const ID_PATTERN = /^[A-Za-z0-9_-]{21}[AQgw]$/

/** 128 bits from the CSPRNG, base64url. */
export function createId (): string {
  return randomBytes(ID_BYTES).toString('base64url')
}

/**
 * The id of a session's refresh token by generation. Deterministic, so that every instance mints the identical
 * successor; the salt stands in the refresh token only, so neither the store nor the key alone makes one.
 */
export type JtiOf = (sessionId: string, salt: string, generation: number) => string

/** Derives its own key from the refresh key (HKDF, RFC 5869): a key signs or derives, never both. */
export function createJtiOf (refreshKey: Buffer): JtiOf {
  const key = Buffer.from(hkdfSync('sha256', refreshKey, '', 'fastify-bulwark refresh rotation', 32))
  return (sessionId, salt, generation) =>
    createHmac('sha256', key).update(`${sessionId}\0${salt}\0${generation}`).digest().toString('base64url', 0, ID_BYTES)
}

/** What the store keeps of a token id: from its copy no token can be made. */
export function hashJti (jti: string): string {
  return createHash('sha256').update(jti).digest('base64url')
}

/** What tells clients apart within the grace window: a hash of the user agent. */
export function hashContext (userAgent: string | undefined): string {
  return createHash('sha256').update(userAgent ?? '').digest('base64url').slice(0, 22)
}
