/** How one limit counts: all that a store needs to know of it. */
export interface Quota {
  /** `exact` keeps the stamp of each counted request; `sliding` keeps `SUB_BUCKETS` counters a window. */
  readonly algorithm: 'exact' | 'sliding'
  readonly limit: number
  readonly windowMs: number
  /** Width of one sub-bucket of the sliding algorithm, rounded up so that the buckets span the window at least. */
  readonly bucketMs: number
  /** Counts and reports, but its lack of room refuses nobody. */
  readonly shadow: boolean
}

/** What a store says of one limit after it decided. */
export interface Reading {
  /** Whether this limit had room for one more. */
  readonly room: boolean
  /** Requests counted at present, this one included if it was counted. */
  used: number
  /** Milliseconds until a place comes free; the whole window when nothing is counted. */
  waitMs: number
  /** What `giveBack` needs to take this very request out again; `NOT_COUNTED` when it was not counted. */
  mark: number
}

export const NOT_COUNTED = -1

export const SUB_BUCKETS = 15

/**
 * A window that begins inside a bucket touches one bucket more. Each bucket counts in full until its *last* request has left
 * the window: that is what keeps any window at or below the limit. A place comes free at most one bucket late, and never
 * later than a window after its request.
 */
export const LIVE_BUCKETS = SUB_BUCKETS + 1

export function createQuota (algorithm: Quota['algorithm'], limit: number, windowMs: number, shadow: boolean): Quota {
  return Object.freeze({ algorithm, limit, windowMs, bucketMs: Math.ceil(windowMs / SUB_BUCKETS), shadow })
}
