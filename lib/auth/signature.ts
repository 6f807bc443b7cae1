import { createHmac, timingSafeEqual, verify, type KeyObject } from 'node:crypto'
import type { TokenAlgorithm } from './keyring.js'

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
  return {
    length,
    isValid (input, signature) {
      right.write(createHmac('sha256', key).update(input).digest('base64url'))
      // Text that is not ASCII would not fit and leave bytes of the signature before it.
      return given.write(signature) === length && timingSafeEqual(given, right)
    },
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
