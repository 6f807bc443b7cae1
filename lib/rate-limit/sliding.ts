import { LIVE_BUCKETS, NOT_COUNTED, type Quota, type Reading } from './quota.js'

/** A ring of `LIVE_BUCKETS` sub-buckets; bucket number `n` stands at `n % LIVE_BUCKETS`. */
export interface SlidingCounts {
  readonly counts: number[]
  /** Stamp of the last request in each bucket: a whole bucket stays until that one leaves the window. */
  readonly last: number[]
  /** Number of the newest bucket that was written. */
  newest: number
}

export function emptyCounts (): SlidingCounts {
  return { counts: new Array<number>(LIVE_BUCKETS).fill(0), last: new Array<number>(LIVE_BUCKETS).fill(0), newest: 0 }
}

/** Reads without a change. A clock that stepped back counts as standing still, so that no count leaves early. */
export function readSliding (state: SlidingCounts | null, quota: Quota, now: number): Reading {
  if (state === null) return { room: true, used: 0, waitMs: quota.windowMs, mark: NOT_COUNTED }
  const at = effectiveNow(state, now)
  const oldest = Math.floor(at / quota.bucketMs) - LIVE_BUCKETS + 1
  let used = 0
  for (let bucket = oldest; bucket <= state.newest; bucket++) used += liveCount(state, bucket, at, quota)
  const room = used + quota.cost <= quota.limit
  let waitMs = quota.windowMs
  let left = used
  for (let bucket = oldest; bucket <= state.newest; bucket++) {
    left -= liveCount(state, bucket, at, quota)
    if (left < used && (room || left + quota.cost <= quota.limit)) {
      waitMs = (state.last[bucket % LIVE_BUCKETS] ?? at) + quota.windowMs - now
      break
    }
  }
  return { room, used, waitMs, mark: NOT_COUNTED }
}

/** Counts one request; only after `readSliding` said that there is room at the same `now`. */
export function addSliding (state: SlidingCounts, quota: Quota, now: number, reading: Reading): void {
  const at = effectiveNow(state, now)
  const current = Math.floor(at / quota.bucketMs)
  // Places between the newest and the current bucket hold counts of a round ago.
  for (let bucket = Math.max(state.newest + 1, current - LIVE_BUCKETS + 1); bucket <= current; bucket++)
    {state.counts[bucket % LIVE_BUCKETS] = 0}
  state.newest = current
  const place = current % LIVE_BUCKETS
  state.counts[place] = (state.counts[place] ?? 0) + quota.cost
  state.last[place] = at
  if (reading.used === 0) reading.waitMs = at + quota.windowMs - now
  reading.used += quota.cost
  reading.mark = current
}

/** Takes one request out again. False when its bucket has left the ring already. */
export function removeSliding (state: SlidingCounts, mark: number, cost = 1): boolean {
  const count = state.counts[mark % LIVE_BUCKETS] ?? 0
  if (mark <= state.newest - LIVE_BUCKETS || mark > state.newest || count === 0) return false
  state.counts[mark % LIVE_BUCKETS] = Math.max(0, count - cost)
  return true
}

function effectiveNow (state: SlidingCounts, now: number): number {
  return Math.max(now, state.last[state.newest % LIVE_BUCKETS] ?? now)
}

/**
 * Zero for a bucket that is older than the ring (its place holds a newer one), or whose last request left the window.
 */
function liveCount (state: SlidingCounts, bucket: number, at: number, quota: Quota): number {
  if (bucket < 0 || bucket <= state.newest - LIVE_BUCKETS) return 0
  const place = bucket % LIVE_BUCKETS
  return (state.last[place] ?? 0) > at - quota.windowMs ? state.counts[place] ?? 0 : 0
}
