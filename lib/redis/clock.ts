/**
 * What is known of Redis' clock from its answers. Each proves that its clock is ahead of our monotonic one by at least
 * (its time - received) and less than (its time + 1 - sent), since Redis tells whole milliseconds. Together they are as
 * exact as the fastest answer. One that contradicts the others means another clock: a failover, or a step.
 */
export class RedisClock {
  #low = -Infinity
  #high = Infinity

  /** False before the first answer. */
  get known (): boolean {
    return this.#high !== Infinity
  }

  /**
   * All in milliseconds; `sentAt` and `receivedAt` by this process' monotonic clock. True when Redis' clock proved to
   * be later than it was thought.
   */
  observe (sentAt: number, receivedAt: number, redisNow: number): boolean {
    const [low, high] = [redisNow - receivedAt, redisNow + 1 - sentAt]
    const isLater = low > this.#high
    if (isLater || high < this.#low) [this.#low, this.#high] = [low, high]
    else [this.#low, this.#high] = [Math.max(low, this.#low), Math.min(high, this.#high)]
    return isLater
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
