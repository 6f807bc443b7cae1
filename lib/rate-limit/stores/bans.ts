import type { Penalty } from '../quota.js'
import { BAN, BLOCKS, FULL, LADDER, REFUSALS } from './slots.js'
import type { Table } from './table.js'

/** Refusals and bans, each in a slot of the same table beside the counts, so that they are bounded with them. */
export class Bans {
  readonly #table: Table

  constructor (table: Table) {
    this.#table = table
  }

  /** End of the ban in milliseconds; zero when none stands. */
  until (a: number, b: number, now: number): number {
    const { slots } = this.#table
    if (slots.bans === 0) return 0
    const slot = slots.find(a, b, BAN)
    if (slot === -1) return 0
    const end = slots.stamp(slot)
    return end > now ? end : 0
  }

  /** Notes a refusal. Gives the end of the ban that it leads to, zero when to none. */
  refuse (a: number, b: number, { after, withinMs, bansMs }: Penalty, now: number): number {
    const { slots, logs } = this.#table
    const slot = this.#slot(a, b, REFUSALS, now)
    logs.add(slot, withinMs, 1, 1, now)
    logs.read(slot, withinMs, after, 0, now)
    if (logs.used < after) {
      slots.setSpan(slot, withinMs)
      slots.setLoad(slot, Math.min(FULL - 1, Math.floor(logs.used / after * FULL)))
      return 0
    }
    this.#table.drop(slot)
    const ladder = this.#slot(a, b, LADDER, now)
    const earlier = now < slots.stamp(ladder) ? slots.total(ladder) : 0
    const end = now + (bansMs[Math.min(earlier, bansMs.length - 1)] ?? 0)
    slots.setTotal(ladder, earlier + 1)
    slots.setStamp(ladder, end + withinMs)
    slots.setLoad(ladder, FULL)
    this.set(a, b, end - now, now)
    return end
  }

  /** Sets or, with zero, lifts a ban. The ladder of a penalty stays as it is. */
  set (a: number, b: number, durationMs: number, now: number): void {
    const { slots } = this.#table
    if (durationMs > 0) {
      const slot = this.#slot(a, b, BAN, now)
      slots.setStamp(slot, now + durationMs)
      slots.setLoad(slot, BLOCKS)
      return
    }
    const slot = slots.find(a, b, BAN)
    if (slot !== -1) this.#table.drop(slot)
  }

  #slot (a: number, b: number, kind: number, now: number): number {
    const slot = this.#table.slots.find(a, b, kind)
    return slot === -1 ? this.#table.claim(a, b, kind, now) : slot
  }
}
