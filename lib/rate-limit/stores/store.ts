import type { Quota, Reading } from '../quota.js'

/** What a store decided for all limits of one phase. */
export interface Verdict {
  /**
   * True when every limit that is not in shadow had room. Otherwise nothing at all was counted, but for refusals of a
   * penalty.
   */
  readonly admitted: boolean
  /** One for each quota, in order. */
  readonly readings: readonly Reading[]
}

/**
 * Counts requests. The contract, in memory as on Redis: `consume` decides all limits in one step, all or nothing, and a
 * refused request changes no counter; every key ends by itself; `giveBack` takes exactly the marked requests out again.
 * A promise rejects only when the store could not be asked.
 */
export interface LimitStore {
  readonly kind: 'memory' | 'redis'
  /** No two keys of one call are the same. */
  consume (quotas: readonly Quota[], keys: readonly string[]): Verdict | Promise<Verdict>
  /** `marks` holds `NOT_COUNTED` where there is nothing to give back. */
  giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): undefined | Promise<void>
  /** What `consume` would read, without counting anything. */
  peek (quotas: readonly Quota[], keys: readonly string[]): readonly Reading[] | Promise<readonly Reading[]>
  /** Forgets the counts, the refusals and the bans of these keys. */
  reset (keys: readonly string[]): undefined | Promise<void>
  /** Refuses the keys for this duration; their counts do not matter. Zero lifts a ban and keeps the counts. */
  ban (keys: readonly string[], durationMs: number): undefined | Promise<void>
  /**
   * Names what serves these keys and fails by itself: the nodes of a Cluster. Absent where all of the store fails
   * together.
   */
  laneOf? (keys: readonly string[]): string
  close (): void
}
