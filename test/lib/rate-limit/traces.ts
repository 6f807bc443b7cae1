import { createQuota, type Quota } from '../../../lib/rate-limit/quota.js'

/** A small seeded generator (mulberry32), so that a failing trace can be run again. */
export function seeded (seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export interface TraceStep {
  readonly now: number
  /** Index of the caller. */
  readonly caller: number
  /** Give the newest open reservation of this caller back first. */
  readonly giveBack: boolean
}

/** Bursts, lulls, and hits within 10 ms of the window's and of a bucket's edge. */
export function randomTrace (
  random: () => number,
  quota: Quota,
  length: number,
  callers: number,
  start = 1_000_000,
): TraceStep[] {
  const steps: TraceStep[] = []
  let now = start
  const jitter = (): number => Math.floor(random() * 21) - 10
  for (let index = 0; index < length; index++) {
    const kind = random()
    if (kind < 0.6) now += Math.floor(random() * (quota.windowMs / quota.limit))
    else if (kind < 0.7) now += Math.max(0, quota.bucketMs + jitter())
    else if (kind < 0.73) now += Math.max(0, quota.windowMs + jitter())
    else if (kind < 0.74) now += 3 * quota.windowMs
    steps.push({ now, caller: Math.floor(random() * callers), giveBack: random() < 0.15 })
  }
  return steps
}

interface Admitted { readonly stamp: number, returned: boolean }

/** What the algorithms promise, over a plain array of admitted stamps of one caller. */
export class Oracle {
  readonly #quota: Quota
  readonly #admitted: Admitted[] = []

  constructor (quota: Quota) {
    this.#quota = quota
  }

  /** Requests that stand in the window that ends now: never more than the limit. */
  inWindow (now: number, windowMs = this.#quota.windowMs): number {
    return this.#admitted.filter(({ stamp, returned }) => !returned && stamp > now - windowMs).length
  }

  /** What the algorithm counts now. */
  used (now: number): number {
    if (this.#quota.algorithm === 'exact') return this.inWindow(now)
    const buckets = new Map<number, { count: number, last: number }>()
    for (const { stamp, returned } of this.#admitted) {
      const number = Math.floor(stamp / this.#quota.bucketMs)
      const bucket = buckets.get(number) ?? { count: 0, last: 0 }
      buckets.set(number, { count: bucket.count + (returned ? 0 : 1), last: Math.max(bucket.last, stamp) })
    }
    return [...buckets.values()].filter(({ last }) => last > now - this.#quota.windowMs).reduce(
      (sum, { count }) => sum + count,
      0,
    )
  }

  admits (now: number): boolean {
    return this.used(now) < this.#quota.limit
  }

  admit (now: number): void {
    this.#admitted.push({ stamp: now, returned: false })
    while ((this.#admitted[0]?.stamp ?? now) < now - 3 * this.#quota.windowMs) this.#admitted.shift()
  }

  /** Takes the newest standing one out. */
  giveBack (): void {
    const newest = this.#admitted.findLast(({ returned }) => !returned)
    if (newest !== undefined) newest.returned = true
  }
}

/** Limits of each kind, among them those whose window is no multiple of the buckets. */
export const QUOTAS: readonly Quota[] = [
  createQuota('exact', 1, 1000, false),
  createQuota('exact', 5, 60_000, false),
  createQuota('exact', 64, 10_007, false),
  createQuota('sliding', 1, 1000, false),
  createQuota('sliding', 7, 10_007, false),
  createQuota('sliding', 100, 900_000, false),
]
