import { randomFillSync } from 'node:crypto'

/** Values drawn from the CSPRNG at once: one system call a value would be the dearest part of making it. */
const VALUES_PER_POOL = 256

/** A generator of 128-bit random texts, drawn from a pool of its own. */
export function createRandomSource (encoding: 'base64' | 'hex'): () => string {
  const bytes = 16
  const pool = Buffer.allocUnsafeSlow(bytes * VALUES_PER_POOL)
  let used = pool.length
  return function nextRandom () {
    if (used === pool.length) {
      randomFillSync(pool)
      used = 0
    }
    const text = pool.toString(encoding, used, used + bytes)
    // Overwritten, so that a later leak of the pool's memory cannot show what was handed out.
    pool.fill(0, used, used + bytes)
    used += bytes
    return text
  }
}
