import fc from 'fast-check'
import { createQuota, type Algorithm, type Quota } from '../../../lib/rate-limit/quota.js'

interface Admitted {
  readonly stamp: number
  readonly cost: number
  returned: boolean
  /** Had left the window when a later one came: gone for good, whatever the clock does. */
  gone: boolean
}

/** What the algorithms promise, over a plain array of what was admitted for one caller. Slow, and in no way clever. */
export class PlainOracle {
  readonly #quota: Quota
  readonly #admitted: Admitted[] = []
  /** What was admitted and given back, in order; for the theorem of `gcra`. */
  readonly #events: { readonly stamp: number, readonly units: number }[] = []

  constructor (quota: Quota) {
    this.#quota = quota
  }

  used (now: number): number {
    const { algorithm, windowMs, bucketMs } = this.#quota
    const at = this.#standingStill(now)
    if (algorithm === 'exact') return this.#sum(({ stamp }) => stamp > at - windowMs)
    if (algorithm === 'fixed') {
      return this.#sum(({ stamp }) => Math.floor(stamp / windowMs) === Math.floor(at / windowMs))
    }
    if (algorithm === 'gcra') return Math.ceil(Math.max(0, this.#drainedAtUs() - now * 1000) / this.#unitUs())
    // A bucket counts until the last request that was ever admitted in it has left the window.
    const last = new Map<number, number>()
    for (const { stamp } of this.#admitted) {
      last.set(Math.floor(stamp / bucketMs), Math.max(stamp, last.get(Math.floor(stamp / bucketMs)) ?? 0))
    }
    return this.#sum(({ stamp }) => (last.get(Math.floor(stamp / bucketMs)) ?? 0) > at - windowMs)
  }

  admits (now: number, cost: number): boolean {
    if (this.#quota.algorithm !== 'gcra') return this.used(now) + cost <= this.#quota.limit
    // The widest rule there is that keeps the theorem: no span that ends now would hold more than it may.
    return Math.max(this.#drainedAtUs(), now * 1000) + cost * this.#unitUs() - now * 1000 <=
      this.#quota.burst * this.#unitUs()
  }

  admit (now: number, cost: number): void {
    const stamp = this.#quota.algorithm === 'gcra' ? now : this.#standingStill(now)
    for (const entry of this.#admitted) {
      entry.gone ||= this.#quota.algorithm === 'exact' && entry.stamp <= stamp - this.#quota.windowMs
    }
    this.#admitted.push({ stamp, cost, returned: false, gone: false })
    this.#events.push({ stamp: now, units: cost })
  }

  /** Takes out what was admitted as the `index`th. */
  giveBack (index: number, now: number): void {
    const entry = this.#admitted[index]
    if (entry === undefined || entry.returned) return
    entry.returned = true
    this.#events.push({ stamp: now, units: -entry.cost })
  }

  /** What the theorem of the algorithm says after an admission at `now`; null when it holds. */
  broken (now: number): string | null {
    const { algorithm, limit, windowMs, burst } = this.#quota
    if (algorithm === 'gcra') {
      let units = 0
      for (const { stamp, units: more } of this.#events.toReversed()) {
        units += more
        if (more > 0 && units * this.#unitUs() > burst * this.#unitUs() + (now - stamp) * 1000) {
          return `${units} units since ${stamp}`
        }
      }
      return null
    }
    const at = this.#standingStill(now)
    const bound = algorithm === 'fixed' ? 2 * limit : limit
    const units = this.#sum(({ stamp }) => stamp > at - windowMs)
    return units > bound || this.used(now) > limit ? `${units} units in a window, ${this.used(now)} used` : null
  }

  #sum (counts: (entry: Admitted) => boolean): number {
    return this.#admitted.filter((entry) => !entry.returned && !entry.gone && counts(entry)).reduce(
      (sum, { cost }) => sum + cost,
      0,
    )
  }

  /** A log whose newest stamp was given back no longer knows of it; a counter does. */
  #standingStill (now: number): number {
    const known = this.#quota.algorithm === 'exact'
      ? this.#admitted.filter(({ returned, gone }) => !returned && !gone)
      : this.#admitted
    return Math.max(now, ...known.map(({ stamp }) => stamp))
  }

  #unitUs (): number {
    return Math.ceil(this.#quota.windowMs * 1000 / this.#quota.limit)
  }

  /** Over every earlier start, the time that what came since then takes to drain; the latest decides. */
  #drainedAtUs (): number {
    let units = 0
    let latest = 0
    for (const { stamp, cost } of this.#admitted.toReversed()) {
      units += cost
      latest = Math.max(latest, stamp * 1000 + units * this.#unitUs())
    }
    return latest
  }
}

export interface Step {
  /** Milliseconds since the step before, below zero when the clock steps back. */
  readonly advance: number
  readonly caller: number
  readonly cost: number
  readonly action: 'consume' | 'peek' | 'giveBack' | 'reset' | 'ban' | 'unban'
  /** Which admitted request is given back: an old one, the newest, or one a second time. */
  readonly pick: number
}

export const CALLERS = 3

/**
 * Bursts, lulls, hits within 10 ms of the edges of windows and buckets, clocks that step back, refunds early, late and
 * twice.
 */
export function arbitrarySteps (
  quota: Quota,
  actions: readonly Step['action'][],
  length: number,
): fc.Arbitrary<Step[]> {
  const { windowMs, bucketMs, limit } = quota
  const near = (edge: number): fc.Arbitrary<number> => fc.integer({ min: Math.max(0, edge - 10), max: edge + 10 })
  const advance = fc.oneof(
    { weight: 30, arbitrary: fc.constant(0) },
    { weight: 30, arbitrary: fc.integer({ min: 0, max: Math.ceil(windowMs / limit) }) },
    { weight: 8, arbitrary: near(bucketMs) },
    { weight: 3, arbitrary: near(windowMs) },
    { weight: 2, arbitrary: fc.integer({ min: -windowMs, max: -1 }) },
    { weight: 1, arbitrary: fc.constant(3 * windowMs) },
  )
  const step = fc.record({
    advance,
    caller: fc.nat(CALLERS - 1),
    cost: fc.constantFrom(1, 1, 1, 2, Math.min(3, quota.burst)),
    action: fc.oneof({ weight: 6, arbitrary: fc.constant('consume' as const) }, {
      weight: 2,
      arbitrary: fc.constantFrom(...actions),
    }),
    pick: fc.nat(),
  })
  return fc.array(step, { minLength: length, maxLength: length })
}

/** The same limit for requests of another cost. */
export function atCost (quota: Quota, cost: number): Quota {
  return createQuota(quota.algorithm, quota.limit, quota.windowMs, quota.shadow, {
    burst: quota.burst,
    cost: Math.min(cost, quota.burst),
    penalty: quota.penalty,
  })
}

/**
 * Two limits of each algorithm; a window that is no multiple of anything, and one in which microseconds do not come out
 * even.
 */
export const SHAPES: Readonly<Record<Algorithm, readonly Quota[]>> = {
  exact: [createQuota('exact', 5, 60_000, false), createQuota('exact', 40, 10_007, false)],
  sliding: [createQuota('sliding', 7, 10_007, false), createQuota('sliding', 100, 900_000, false)],
  gcra: [createQuota('gcra', 7, 10_007, false, { burst: 3 }), createQuota('gcra', 60, 60_000, false)],
  fixed: [createQuota('fixed', 5, 10_007, false), createQuota('fixed', 50, 60_000, false)],
}

export const ALGORITHMS = Object.keys(SHAPES) as Algorithm[]
