import { randomFillSync } from 'node:crypto'

const FINAL_ROUNDS = 3
const WIDE = 0x80

/**
 * A 64-bit keyed fingerprint of a string, by the rounds of HalfSipHash-1-3 under a random key a store; both halves come
 * from one end of the state, as nobody ever sees them. Who cannot see the key can neither aim at one place of the table
 * nor make two strings meet.
 *
 * Two keys that meet share one counter, which is stricter for both and never laxer. By chance that happens to some pair
 * of a million live keys with probability 3e-8 (n² / 2⁶⁵), and to one of a million blocked keys in a flood of a
 * thousand million foreign ones with 5e-5.
 */
export class Fingerprint {
  /** The lanes of the last string; `a` is never zero, which marks an empty slot. */
  a = 1
  b = 0
  readonly #k0: number
  readonly #k1: number

  constructor (key: Readonly<Int32Array> = randomFillSync(new Int32Array(2))) {
    this.#k0 = key[0] ?? 0
    this.#k1 = key[1] ?? 0
  }

  take (text: string): void {
    if (this.#bytes(text, 0) > 0xff) this.#bytes(Buffer.from(text, 'utf16le').toString('latin1'), WIDE)
  }

  /** Four characters a word; the answer exceeds 255 where one of them did not fit into its byte. */
  #bytes (text: string, domain: number): number {
    let v0 = this.#k0
    let v1 = this.#k1 ^ 0xee
    let v2 = this.#k0 ^ 0x6c796765
    let v3 = this.#k1 ^ 0x74656462
    const { length } = text
    let all = 0
    let index = 0
    // The round stands here once: for the words, for the last one with the length, and for the rounds without input.
    for (let left = FINAL_ROUNDS + 1; left > 0;) {
      let word = 0
      if (index + 4 <= length) {
        const a = text.charCodeAt(index)
        const b = text.charCodeAt(index + 1)
        const c = text.charCodeAt(index + 2)
        const d = text.charCodeAt(index + 3)
        all |= a | b | c | d
        word = a | (b << 8) | (c << 16) | (d << 24)
        index += 4
      } else {
        if (left === FINAL_ROUNDS + 1) {
          word = (length ^ domain) << 24
          for (let shift = 0; index < length; index++, shift += 8) {
            all |= text.charCodeAt(index)
            word |= text.charCodeAt(index) << shift
          }
        } else if (left === FINAL_ROUNDS) {
          v2 ^= 0xee
        }
        left--
      }
      v3 ^= word
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
      v0 ^= word
    }
    this.a = ((v1 ^ v3) | 0) || 1
    this.b = (v0 ^ v2) | 0
    return all
  }
}
