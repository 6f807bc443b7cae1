import { randomFillSync } from 'node:crypto'

const FINAL_ROUNDS = 3

/**
 * A 64-bit keyed fingerprint of a string: HalfSipHash-1-3, two UTF-16 units a word, under a random key a store. Who cannot see
 * the key can neither aim at one place of the table nor make two strings meet.
 *
 * Two keys that meet share one counter, which is stricter for both and never laxer. By chance that happens to some pair of
 * a million live keys with probability 3e-8 (n² / 2⁶⁵), and to one of a million blocked keys in a flood of a
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
    let v0 = this.#k0
    let v1 = this.#k1 ^ 0xee
    let v2 = this.#k0 ^ 0x6c796765
    let v3 = this.#k1 ^ 0x74656462
    const { length } = text
    let index = 0
    // One loop for all rounds, so that the round stands here once: the words, the last one with the length, then the final ones.
    for (let last = 2 * FINAL_ROUNDS; last > 0;) {
      let word = 0
      if (index < length - 1) {
        word = text.charCodeAt(index) | (text.charCodeAt(index + 1) << 16)
        index += 2
      } else if (index <= length) {
        word = (index < length ? text.charCodeAt(index) : 0) | (length << 16)
        index = length + 1
      } else {
        if (last === 2 * FINAL_ROUNDS) {
          v2 ^= 0xee
        } else if (last === FINAL_ROUNDS) {
          this.a = (v1 ^ v3) | 0
          v1 ^= 0xdd
        }
        last--
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
    if (this.a === 0) this.a = 1
    this.b = (v1 ^ v3) | 0
  }
}
