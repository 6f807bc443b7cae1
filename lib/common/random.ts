import { randomBytes } from 'node:crypto'

/** Values drawn from the CSPRNG at once: the system call and the encoding would be the most expensive part. */
const VALUES_PER_DRAW = 256

/** 128 bits at least, in a number of bytes that the encoding renders without padding. */
const BYTES = { base64: 18, hex: 16 } as const

/**
 * A generator of random texts: 144 bits as 24 base64 characters, or 128 bits as 32 hexadecimal digits. For values of
 * one request: each shares the memory of some eight kilobytes with those that were drawn together with it.
 */
export function createRandomSource (encoding: 'base64' | 'hex'): () => string {
  const bytes = BYTES[encoding]
  const width = encoding === 'hex' ? bytes * 2 : bytes / 3 * 4
  let drawn = ''
  let used = 0
  return function nextRandom () {
    if (used === drawn.length) {
      drawn = randomBytes(bytes * VALUES_PER_DRAW).toString(encoding)
      used = 0
    }
    const value = drawn.slice(used, used + width)
    used += width
    return value
  }
}
