/**
 * What is known of Redis' clock from its answers. Each proves that its clock is ahead of our monotonic one by at least
 * (its time - received) and less than (its time + 1 - sent), since Redis tells whole milliseconds. What all answers
 * prove together is as exact as the fastest of them. An answer that contradicts it means another clock: a failover, or
 * a step.
 */
export class StoreClock {
  #low = -Infinity
  #high = Infinity

  /** False before the first answer. */
  get known (): boolean {
    return this.#high !== Infinity
  }

  /**
   * All in milliseconds; `sentAt` and `receivedAt` by this process' monotonic clock. True when the clock proved later
   * than it was thought.
   */
  observe (sentAt: number, receivedAt: number, serverNow: number): boolean {
    const [low, high] = [serverNow - receivedAt, serverNow + 1 - sentAt]
    const later = low > this.#high
    if (later || high < this.#low) [this.#low, this.#high] = [low, high]
    else [this.#low, this.#high] = [Math.max(low, this.#low), Math.min(high, this.#high)]
    return later
  }

  /** The earliest that Redis' clock may say at a moment of ours. */
  earliest (monotonicMs: number): number {
    return Math.floor(monotonicMs + this.#low)
  }

  /** The latest that it may say. */
  latest (monotonicMs: number): number {
    return Math.ceil(monotonicMs + this.#high)
  }

  at (monotonicMs: number): number {
    return Math.floor(monotonicMs + (this.#low + this.#high) / 2)
  }
}
