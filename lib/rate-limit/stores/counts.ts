import { NOT_COUNTED, type Quota, type Reading } from '../quota.js'
import { BLOCKS, EXACT, FIXED, FULL, GCRA, MAX_TOTAL, SLIDING, type Slots } from './slots.js'
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
    this.#measure(slot, quota, now)
    return { room: this.#room, used: this.#used, waitMs: this.#waitMs, mark: NOT_COUNTED }
  }

  /** Counts a request; only after `read` said that there is room at the same `now`. */
  add (slot: number, quota: Quota, now: number, reading: Reading): void {
    const { slots, logs } = this.#table
    const { algorithm, windowMs, bucketMs } = quota
    const before = reading.used
    reading.used += quota.cost
    if (algorithm === 'gcra') {
      const micros = Math.max(slots.micros(slot), now * 1000) + quota.cost * drainMicros(quota)
      slots.setMicros(slot, micros)
      reading.waitMs = waitForNext(micros - now * 1000, reading.used, quota)
      reading.mark = now
    } else if (algorithm === 'fixed') {
      const at = Math.max(now, slots.stamp(slot))
      slots.setStamp(slot, at)
      slots.setTotal(slot, before + costOf(quota))
      reading.mark = Math.floor(at / windowMs)
      reading.waitMs = (reading.mark + 1) * windowMs - now
    } else {
      const width = algorithm === 'exact' ? 1 : bucketMs
      const at = logs.add(slot, windowMs, width, costOf(quota), now)
      reading.mark = Math.floor(at / width)
      if (before === 0) reading.waitMs = at + windowMs - now
    }
    slots.setSpan(slot, windowMs)
    weigh(slots, slot, quota, reading.used)
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
      if (micros > now * 1000) slots.setMicros(slot, Math.max(now * 1000, micros - quota.cost * drainMicros(quota)))
    } else if (Math.floor(slots.stamp(slot) / windowMs) === mark) {
      slots.setTotal(slot, Math.max(0, slots.total(slot) - cost))
    }
    this.#measure(slot, quota, now)
    weigh(slots, slot, quota, this.#used)
  }

  #measure (slot: number, quota: Quota, now: number): void {
    const { slots, logs } = this.#table
    const { algorithm, windowMs } = quota
    if (algorithm === 'gcra') {
      this.#measureGcra(slots.micros(slot), quota, now)
      return
    }
    const limit = Math.min(quota.limit, MAX_TOTAL)
    const cost = costOf(quota)
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

  #measureGcra (micros: number, quota: Quota, now: number): void {
    const drain = drainMicros(quota)
    const queue = Math.max(micros - now * 1000, 0)
    const excess = queue + (quota.cost - quota.burst) * drain
    this.#used = Math.ceil(queue / drain)
    this.#room = excess <= 0
    this.#waitMs = excess > 0 ? Math.ceil(excess / 1000) : waitForNext(queue, this.#used, quota)
  }
}

/** Says how much would be lost with the slot: of a shadow limit a report, which is nothing beside a refusal. */
function weigh (slots: Slots, slot: number, quota: Quota, used: number): void {
  const size = quota.algorithm === 'gcra' ? quota.burst : Math.min(quota.limit, MAX_TOTAL)
  if (quota.shadow) slots.setLoad(slot, 0)
  else if (used + quota.cost > size) slots.setLoad(slot, BLOCKS)
  else slots.setLoad(slot, Math.min(FULL - 1, Math.floor(used / size * FULL)))
}

/** More than 2²⁸ a window are not counted in memory: such a limit is held to that number, hence stricter. */
function costOf (quota: Quota): number {
  return Math.min(quota.cost, MAX_TOTAL)
}

/** Microseconds in which a unit drains, rounded up: no window gets more than the limit and the burst. */
function drainMicros ({ windowMs, limit }: Quota): number {
  return Math.ceil(windowMs * 1000 / limit)
}

function waitForNext (queue: number, used: number, quota: Quota): number {
  return used === 0 ? quota.windowMs : Math.ceil((queue - (used - 1) * drainMicros(quota)) / 1000)
}
