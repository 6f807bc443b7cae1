/** 72 bits of the signature. */
const TAIL_LENGTH = 12

/** Nothing that time changes is in it. */
export interface VerifiedToken<T> {
  readonly token: string
  readonly value: T
  /** Epoch seconds at which the token's key ends. */
  readonly until: number
}

/**
 * A bounded map from token text to what was verified about it. Two generations: when the young one is full the old
 * one is dropped, so the size is bounded without any bookkeeping per hit. Only verified tokens enter, so nobody can
 * flood it without a key; expiry, the end of the key and revocation are checked by the caller on every use.
 *
 * Found by the end of the text, because hashing all of it costs four times as much; what is found is then compared
 * as a whole. Two tokens with the same end would only take turns.
 *
 * Keeping a token costs as much as verifying it by HMAC, most of it in the garbage collector. `offer` keeps one the
 * second time it comes (a doorkeeper, as in TinyLFU), so that tokens that come once cost no memory and drive out none
 * that are in use.
 */
export class TokenCache<T> {
  readonly #capacity: number
  /** Of each end that was offered, 32 bits at a place that the others choose. */
  readonly #offered: Int32Array
  #young = new Map<string, VerifiedToken<T>>()
  #old = new Map<string, VerifiedToken<T>>()

  /** Holds at most twice `capacity` entries. */
  constructor (capacity: number) {
    this.#capacity = capacity
    this.#offered = new Int32Array(2 * capacity)
  }

  get size (): number {
    return this.#young.size + this.#old.size
  }

  get (token: string): VerifiedToken<T> | undefined {
    const tail = token.slice(-TAIL_LENGTH)
    const young = this.#young.get(tail)
    if (young !== undefined) return young.token === token ? young : undefined
    const old = this.#old.get(tail)
    if (old?.token !== token) return undefined
    this.#add(tail, old)
    return old
  }

  /** Keeps what was offered before, as far as that is known: a mistake keeps a token at once, or at a later time. */
  offer (entry: VerifiedToken<T>): void {
    const { token } = entry
    let place = 0
    let mark = 0
    for (let at = Math.max(0, token.length - TAIL_LENGTH); at < token.length; at++) {
      const code = token.charCodeAt(at)
      place = Math.imul(place ^ code, 0x01000193)
      mark = Math.imul(mark, 31) + code | 0
    }
    place = (place >>> 0) % this.#offered.length
    if (this.#offered[place] === mark) this.add(entry)
    else this.#offered[place] = mark
  }

  add ({ token, value, until }: VerifiedToken<T>): void {
    // A copy: the text is a slice of the Cookie header and would keep all of that alive.
    const copy = Buffer.from(token, 'latin1').toString('latin1')
    this.#add(copy.slice(-TAIL_LENGTH), { token: copy, value, until })
  }

  #add (tail: string, entry: VerifiedToken<T>): void {
    if (this.#young.size >= this.#capacity) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(tail, entry)
  }
}
