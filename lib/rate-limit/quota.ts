/**
 * `exact` keeps the stamp of each counted unit; `sliding` keeps `SUB_BUCKETS` counters a window; `gcra` keeps one stamp
 * and shapes traffic; `fixed` keeps one counter a calendar window and, for compatibility, admits twice the limit across
 * its edge.
 */
export type Algorithm = 'exact' | 'sliding' | 'gcra' | 'fixed'

/** A ladder of bans: after so many refusals in a row of `withinMs` the caller is banned, for longer each time. */
export interface Penalty {
  /** Refusals, within `withinMs`, that lead to a ban. */
  readonly after: number
  /** How long refusals and earlier bans are remembered. */
  readonly withinMs: number
  /** The first ban, the second …; the last one repeats. */
  readonly bansMs: readonly number[]
}

/** How one limit counts: all that a store needs to know of it. */
export interface Quota {
  readonly algorithm: Algorithm
  readonly limit: number
  readonly windowMs: number
  /** Width of one sub-bucket of the sliding algorithm, rounded up so that the buckets span the window at least. */
  readonly bucketMs: number
  /** `gcra` only: the units that may come at once, at most the limit. */
  readonly burst: number
  /** Units that one request takes, at most the limit (the burst of `gcra`). */
  readonly cost: number
  /** Counts and reports, but its lack of room refuses no request. */
  readonly shadow: boolean
  readonly penalty: Penalty | null
}

/** The units that a caller may have at once. */
export function capacityOf ({ algorithm, limit, burst }: Quota): number {
  return algorithm === 'gcra' ? burst : limit
}

/** What a store says of one limit after it decided. */
export interface Reading {
  /** Whether this limit had room for the request's cost, and no ban stood against it. */
  readonly room: boolean
  /** Units counted at present, this request's included if it was counted. */
  used: number
  /**
   * Milliseconds: with room, until the next unit comes free (the whole window when nothing is counted); without, until
   * a request of the same cost has room again, a ban included. Waiting that long succeeds, one millisecond less does
   * not.
   */
  waitMs: number
  /** What `giveBack` needs to take this very request out again; `NOT_COUNTED` when it was not counted. */
  mark: number
  /** True when a ban refused it. */
  readonly banned?: boolean
}

export const NOT_COUNTED = -1

/**
 * The counts of one caller in one limit. What the numbers mean is the algorithm's own; an empty list counts nothing.
 */
export type Counts = number[]

/**
 * One algorithm on one caller's counts; `now` in milliseconds. A clock that stepped back counts as standing still, so
 * that nothing leaves early. The scripts in stores/lua.ts are the same for Redis: both give the same answers.
 */
export interface Counting {
  /** Says what `add` would find; changes nothing. */
  read (counts: Readonly<Counts>, quota: Quota, now: number): Reading
  /** Counts one request and updates its reading, which said that there is room at the same `now`. */
  add (counts: Counts, quota: Quota, now: number, reading: Reading): void
  /** Takes out what `add` marked, as far as it still counts. */
  remove (counts: Counts, quota: Quota, mark: number, now: number): void
}

export const SUB_BUCKETS = 15

/**
 * A window that begins inside a bucket touches one bucket more. Each bucket counts in full until its *last* request has
 * left the window: that is what keeps any window at or below the limit. A place comes free at most one bucket late, and
 * never later than a window after its request.
 */
export const LIVE_BUCKETS = SUB_BUCKETS + 1

export type QuotaExtras = Partial<Pick<Quota, 'burst' | 'cost' | 'penalty'>>

export function createQuota (
  algorithm: Algorithm,
  limit: number,
  windowMs: number,
  shadow: boolean,
  { burst = limit, cost = 1, penalty = null }: QuotaExtras = {},
): Quota {
  return Object.freeze({
    algorithm,
    limit,
    windowMs,
    bucketMs: Math.ceil(windowMs / SUB_BUCKETS),
    burst,
    cost,
    shadow,
    penalty,
  })
}
