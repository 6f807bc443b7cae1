import { hash, timingSafeEqual, verify, type KeyObject } from 'node:crypto'
import type { TokenAlgorithm } from './keyring.js'

/** Longer input has no valid signature. */
export const MAX_INPUT_LENGTH = 4096

/** How the signatures of one key look and whether one is right. */
export interface SignatureCheck {
  /** Characters of the base64url text. */
  readonly length: number
  /**
   * Whether `signature`, of that length, is the canonical text of a valid signature of `input`. Never throws, and the
   * time it takes tells nothing of how wrong it is.
   */
  readonly isValid: (input: string, signature: string) => boolean
}

/**
 * Built once for each key, for node:crypto. The verifier of fast-jwt parses header and payload before it looks at the
 * signature and throws an Error for each refusal, which made a refused token three times as dear as an accepted one.
 */
export function createSignatureCheck (alg: TokenAlgorithm, key: KeyObject): SignatureCheck {
  return alg === 'HS256' ? hmacCheck(key) : publicKeyCheck(alg, key)
}

/** Compared as text: it has one spelling, so that its unused bits cannot differ either. */
function hmacCheck (key: KeyObject): SignatureCheck {
  const length = 43
  const right = Buffer.alloc(length)
  const given = Buffer.alloc(length)
  const hmac = createHmacSha256(key)
  return {
    length,
    isValid (input, signature) {
      if (input.length > MAX_INPUT_LENGTH || signature.length !== length) return false
      right.write(hmac(input))
      // Text that is not ASCII would not fit and leave bytes of the signature before it.
      return given.write(signature) === length && timingSafeEqual(given, right)
    },
  }
}

const BLOCK_BYTES = 64
const DIGEST_BYTES = 32

/**
 * HMAC-SHA-256 (RFC 2104) of the UTF-8 bytes of a text of at most `MAX_INPUT_LENGTH`, in base64url. By one-shot
 * digests: the garbage collector has to finish each Hmac object of node:crypto by itself, which in a busy server cost
 * three times the digests.
 */
function createHmacSha256 (key: KeyObject): (input: string) => string {
  const exported = key.export()
  const secret = exported.length > BLOCK_BYTES ? hash('sha256', exported, 'buffer') : exported
  // The longest UTF-8 of a UTF-16 unit has three bytes, so no text is ever cut.
  const inner = Buffer.alloc(BLOCK_BYTES + 3 * MAX_INPUT_LENGTH)
  const outer = Buffer.alloc(BLOCK_BYTES + DIGEST_BYTES)
  for (let index = 0; index < BLOCK_BYTES; index++) {
    const byte = secret[index] ?? 0
    inner[index] = byte ^ 0x36
    outer[index] = byte ^ 0x5c
  }
  return (input) => {
    const end = BLOCK_BYTES + inner.write(input, BLOCK_BYTES)
    outer.write(hash('sha256', inner.subarray(0, end), 'binary'), BLOCK_BYTES, 'binary')
    return hash('sha256', outer, 'base64url')
  }
}

/**
 * ES256 signatures come in pairs, (r, s) and (r, n - s), and both are valid: whoever has a token can spell it one other
 * way. So nothing may name a token by its text; the cache may, where the twin merely takes one more place.
 */
function publicKeyCheck (alg: Exclude<TokenAlgorithm, 'HS256'>, key: KeyObject): SignatureCheck {
  const bytes = alg === 'RS256' ? Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8) : 64
  const hash = alg === 'EdDSA' ? null : 'sha256'
  const verifyWith = { key, dsaEncoding: 'ieee-p1363' } as const
  return {
    length: Math.ceil(bytes * 8 / 6),
    isValid (input, signature) {
      const raw = Buffer.from(signature, 'base64url')
      if (raw.length !== bytes || raw.toString('base64url') !== signature) return false
      try {
        return verify(hash, Buffer.from(input), verifyWith, raw)
      } catch {
        // node:crypto answers most malformed signatures with false; none may become a 500.
        return false
      }
    },
  }
}
