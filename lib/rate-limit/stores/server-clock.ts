/** Stands for a command that may run whenever it arrives. */
export const WITHOUT_END = 0

/**
 * What is known of Redis' clock from its answers. Each proves that its clock is ahead of ours by at most (its time -
 * sent) and at least (its time - received). The least of the upper bounds stands until an answer proves it too low: an
 * estimate that is late by a command's way there lets nothing old through, an early one would drop commands that are
 * fresh.
 */
export class ServerClock {
  #ahead: number | null = null

  /**
   * All in milliseconds; `sentAt` and `receivedAt` by this process' monotonic clock. True when the old estimate proved
   * too low.
   */
  observe (sentAt: number, receivedAt: number, serverNow: number): boolean {
    // Redis tells whole milliseconds, rounded down.
    const most = serverNow + 1 - sentAt
    const tooLow = this.#ahead !== null && this.#ahead < serverNow - receivedAt
    if (this.#ahead === null || tooLow || most < this.#ahead) this.#ahead = most
    return tooLow
  }

  /** What Redis' clock says at a moment of ours, rounded up; `WITHOUT_END` before the first answer. */
  at (monotonicMs: number): number {
    return this.#ahead === null ? WITHOUT_END : Math.ceil(monotonicMs + this.#ahead)
  }
}
