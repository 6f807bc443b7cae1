import type { Penalty } from '../quota.js'
import { BAN, BLOCKS, FULL, REFUSALS } from './slots.js'
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
    let slot = slots.find(a, b, REFUSALS)
    if (slot === -1) slot = this.#table.claim(a, b, REFUSALS, now)
    logs.add(slot, withinMs, 1, 1, now)
    logs.read(slot, withinMs, after, 0, now)
    if (logs.used < after) {
      slots.setSpan(slot, withinMs)
      slots.setLoad(slot, Math.min(FULL - 1, Math.floor(logs.used / after * FULL)))
      return 0
    }
    this.#table.drop(slot)
    let ban = slots.find(a, b, BAN)
    const earlier = ban !== -1 && now < slots.stamp(ban) + withinMs ? slots.total(ban) : 0
    const end = now + (bansMs[Math.min(earlier, bansMs.length - 1)] ?? 0)
    if (ban === -1) ban = this.#table.claim(a, b, BAN, now)
    slots.setStamp(ban, end)
    slots.setTotal(ban, earlier + 1)
    slots.setSpan(ban, withinMs)
    slots.setLoad(ban, BLOCKS)
    return end
  }

  /** Sets or, with zero, lifts a ban by hand. It leaves the number of earlier bans as it is. */
  set (a: number, b: number, durationMs: number, now: number): void {
    const { slots } = this.#table
    let slot = slots.find(a, b, BAN)
    if (slot === -1) {
      if (durationMs === 0) return
      slot = this.#table.claim(a, b, BAN, now)
    }
    slots.setStamp(slot, durationMs === 0 ? Math.min(now, slots.stamp(slot)) : now + durationMs)
    slots.setLoad(slot, BLOCKS)
    if (slots.endsAt(slot) <= now) this.#table.drop(slot)
  }
}
