/**
 * A bounded map from token text to what was verified about it. Two generations: when the young one is full the old
 * one is dropped, so the size is bounded without any bookkeeping per hit. Only verified tokens enter, so nobody can
 * flood it without a key; expiry and revocation are checked by the caller on every use.
 */
export class TokenCache<T> {
  readonly #capacity: number
  #young = new Map<string, T>()
  #old = new Map<string, T>()

  /** Holds at most twice `capacity` entries. */
  constructor (capacity: number) {
    this.#capacity = capacity
  }

  get size (): number {
    return this.#young.size + this.#old.size
  }

  get (token: string): T | undefined {
    const young = this.#young.get(token)
    if (young !== undefined) return young
    const old = this.#old.get(token)
    if (old !== undefined) this.set(token, old)
    return old
  }

  set (token: string, value: T): void {
    if (this.#young.size >= this.#capacity) {
      this.#old = this.#young
      this.#young = new Map()
    }
    // A copy: the text is a slice of the Cookie header and would keep all of that alive.
    this.#young.set(Buffer.from(token, 'latin1').toString('latin1'), value)
  }
}
