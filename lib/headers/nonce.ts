import { randomFillSync } from 'node:crypto'

const NONCE_BYTES = 16
const pool = Buffer.allocUnsafeSlow(NONCE_BYTES * 256)
let used = pool.length

/** 128 random bits as base64 (CSP3 asks for at least that), drawn from a pool because one syscall a nonce is dear. */
export function createNonce (): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const nonce = pool.toString('base64', used, used + NONCE_BYTES)
  // Overwritten, so that a later leak of the pool's memory cannot show nonces already sent.
  pool.fill(0, used, used + NONCE_BYTES)
  used += NONCE_BYTES
  return nonce
}
