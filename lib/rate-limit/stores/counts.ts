import { NOT_COUNTED, type Quota, type Reading } from '../quota.js'
import { BLOCKS, EXACT, FIXED, FULL, GCRA, MAX_TOTAL, SLIDING } from './slots.js'
import type { Table } from './table.js'

/** No slot. */
export const NONE = -1

export function kindOf (quota: Quota): number {
  switch (quota.algorithm) {
    case 'exact': return EXACT
    case 'sliding': return SLIDING
    case 'gcra': return GCRA
    case 'fixed': return FIXED
  }
}

/** The four algorithms over slots; lib/rate-limit/quota.ts says what each promises. Reading never changes a slot. */
export class Counts {
  readonly #table: Table
  /** What `#measure` found: as in a reading. */
  #room = true
  #used = 0
  #waitMs = 0

  constructor (table: Table) {
    this.#table = table
  }

  read (slot: number, quota: Quota, now: number): Reading {
    if (slot === NONE) return { room: true, used: 0, waitMs: quota.windowMs, mark: NOT_COUNTED }
    this.#measure(slot, quota, quota.cost, now)
    return { room: this.#room, used: this.#used, waitMs: this.#waitMs, mark: NOT_COUNTED }
  }

  /** Counts a request; only after `read` said that there is room at the same `now`. */
  add (slot: number, quota: Quota, now: number, reading: Reading): void {
    const { slots, logs } = this.#table
    const { algorithm, windowMs, bucketMs } = quota
    const cost = costOf(quota)
    if (algorithm === 'exact') {
      reading.mark = logs.add(slot, windowMs, 1, cost, now)
    } else if (algorithm === 'sliding') {
      reading.mark = Math.floor(logs.add(slot, windowMs, bucketMs, cost, now) / bucketMs)
    } else if (algorithm === 'gcra') {
      slots.setMicros(slot, Math.max(slots.micros(slot), now * 1000) + quota.cost * intervalOf(windowMs, quota.limit))
      reading.mark = now
    } else {
      const at = Math.max(now, slots.stamp(slot))
      const number = Math.floor(at / windowMs)
      slots.setTotal(slot, cost + (Math.floor(slots.stamp(slot) / windowMs) === number ? slots.total(slot) : 0))
      slots.setStamp(slot, at)
      reading.mark = number
    }
    slots.setSpan(slot, windowMs)
    this.#measure(slot, quota, 0, now)
    reading.used = this.#used
    reading.waitMs = this.#waitMs
    this.#weigh(slot, quota)
  }

  /** Takes the request that `mark` names out again, unless it has left the window already. */
  takeOut (slot: number, quota: Quota, mark: number, now: number): void {
    const { slots, logs } = this.#table
    const { algorithm, windowMs } = quota
    const cost = costOf(quota)
    if (algorithm === 'exact' || algorithm === 'sliding') {
      const exact = algorithm === 'exact'
      const edge = Math.max(now, slots.stamp(slot)) - windowMs
      logs.takeOut(slot, mark, exact ? 1 : quota.bucketMs, cost, edge, exact)
      if (exact && slots.total(slot) === 0) {
        this.#table.drop(slot)
        return
      }
    } else if (algorithm === 'gcra') {
      const micros = slots.micros(slot)
      if (micros > now * 1000) slots.setMicros(slot, Math.max(now * 1000, micros - quota.cost * intervalOf(windowMs, quota.limit)))
    } else if (Math.floor(slots.stamp(slot) / windowMs) === mark) {
      slots.setTotal(slot, Math.max(0, slots.total(slot) - cost))
    }
    this.#measure(slot, quota, 0, now)
    this.#weigh(slot, quota)
  }

  /** Whether `cost` units more have room, how many are used, and how long to wait. */
  #measure (slot: number, quota: Quota, cost: number, now: number): void {
    const { slots, logs } = this.#table
    const { algorithm, windowMs } = quota
    if (algorithm === 'gcra') {
      this.#measureGcra(slots.micros(slot), quota, cost, now)
      return
    }
    const limit = Math.min(quota.limit, MAX_TOTAL)
    if (algorithm === 'fixed') {
      const number = Math.floor(Math.max(now, slots.stamp(slot)) / windowMs)
      this.#used = Math.floor(slots.stamp(slot) / windowMs) === number ? slots.total(slot) : 0
      this.#waitMs = this.#used === 0 ? windowMs : (number + 1) * windowMs - now
    } else {
      logs.read(slot, windowMs, limit, cost, now)
      this.#used = logs.used
      this.#waitMs = logs.waitMs
    }
    this.#room = this.#used + cost <= limit
  }

  #measureGcra (micros: number, { windowMs, limit, burst }: Quota, cost: number, now: number): void {
    const interval = intervalOf(windowMs, limit)
    const ahead = Math.max(micros - now * 1000, 0)
    const missing = ahead + (cost - burst) * interval
    this.#used = Math.ceil(ahead / interval)
    this.#room = missing <= 0
    if (missing > 0) this.#waitMs = Math.ceil(missing / 1000)
    else this.#waitMs = this.#used === 0 ? windowMs : Math.max(1, Math.ceil((ahead - (this.#used - 1) * interval) / 1000))
  }

  /** How much would be lost with the slot, after `#measure` with no cost. */
  #weigh (slot: number, quota: Quota): void {
    const { slots } = this.#table
    const used = this.#used
    const size = quota.algorithm === 'gcra' ? quota.burst : Math.min(quota.limit, MAX_TOTAL)
    // A shadow limit blocks nobody.
    if (used + quota.cost > size) slots.setLoad(slot, quota.shadow ? FULL : BLOCKS)
    else slots.setLoad(slot, Math.min(FULL - 1, Math.floor(used / size * FULL)))
  }
}

/** More than 2²⁸ a window are not counted in memory: such a limit is held to that number, hence stricter. */
function costOf (quota: Quota): number {
  return Math.min(quota.cost, MAX_TOTAL)
}

/** Microseconds a unit, rounded up: no window gets more than the limit and the burst. */
function intervalOf (windowMs: number, limit: number): number {
  return Math.ceil(windowMs * 1000 / limit)
}
