/**
 * A map that holds at most `capacity` entries, in two generations: when the young one is full, the old one is dropped
 * and the young one takes its place. Constant time, no timers, no order to keep. An entry that is read stays.
 */
export class Generations<Key, Value> {
  readonly #half: number
  #young = new Map<Key, Value>()
  #old = new Map<Key, Value>()
  #evicted = 0

  /** @param capacity the most entries that are held, at least 2 */
  constructor (capacity: number) {
    this.#half = Math.max(1, Math.floor(capacity / 2))
  }

  /** Never more than `capacity`. */
  get size (): number {
    return this.#young.size + this.#old.size
  }

  /** How many entries were dropped to make room. */
  get evicted (): number {
    return this.#evicted
  }

  get (key: Key): Value | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) return young
    const old = this.#old.get(key)
    if (old !== undefined) {
      this.#old.delete(key)
      this.set(key, old)
    }
    return old
  }

  set (key: Key, value: Value): void {
    if (!this.#young.has(key)) {
      this.#old.delete(key)
      if (this.#young.size >= this.#half) this.#dropOld()
    }
    this.#young.set(key, value)
  }

  delete (key: Key): boolean {
    return this.#young.delete(key) || this.#old.delete(key)
  }

  /** Each entry once; those that were read or set last come last. */
  * [Symbol.iterator] (): IterableIterator<[Key, Value]> {
    yield* this.#old
    yield* this.#young
  }

  clear (): void {
    this.#young.clear()
    this.#old.clear()
  }

  #dropOld (): void {
    this.#evicted += this.#old.size
    this.#old = this.#young
    this.#young = new Map()
  }
}
