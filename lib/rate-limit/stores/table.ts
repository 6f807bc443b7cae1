import { Logs } from './logs.js'
import { BAN, BLOCKS, EXACT, FIXED, FULL, GCRA, MAX_TOTAL, RECORD, REFUSALS, SLIDING, Slots, WAYS } from './slots.js'

/** Slots and logs under one roof: who gets a slot, and who goes for it. */
export class Table {
  readonly slots: Slots
  readonly logs: Logs
  /** Slots that were taken from a key that still counted. */
  evictions = 0

  constructor (capacity: number) {
    this.slots = new Slots(capacity)
    this.logs = new Logs(this.slots)
  }

  /** A slot for a key that has none: an empty one of its set, else an expired one, else the least loaded. */
  claim (a: number, b: number, kind: number, now: number): number {
    const { slots } = this
    const set = slots.setOf(a)
    let slot = -1
    let lightest = Infinity
    for (let other = set; other < set + WAYS * RECORD; other += RECORD) {
      if (slots.empty(other)) {
        slot = other
        lightest = -2
        break
      }
      const worth = this.#worth(other, now)
      if (worth < lightest || (worth === lightest && slots.stamp(other) < slots.stamp(slot))) {
        slot = other
        lightest = worth
      }
    }
    if (lightest >= 0) this.evictions++
    if (lightest !== -2) this.drop(slot)
    slots.fill(slot, a, b, kind)
    return slot
  }

  drop (slot: number): void {
    if (hasLog(this.slots.kind(slot))) this.logs.empty(slot)
    this.slots.clear(slot)
  }

  clear (): void {
    this.slots.clearAll()
    this.logs.clearAll()
  }

  /**
   * What is lost with a slot: nothing (-1) once it has ended, then by load and count. Whoever blocks somebody is worth
   * more than everyone who does not, and among them more the longer it will.
   */
  #worth (slot: number, now: number): number {
    const { slots } = this
    if (slots.endsAt(slot) <= now) return -1
    const load = slots.load(slot)
    if (load === BLOCKS) {
      const until = this.#blockedUntil(slot)
      if (until > now) return BLOCKS * (MAX_TOTAL + 1) + until - now
    }
    return Math.min(load, FULL) * (MAX_TOTAL + 1) + (slots.kind(slot) === GCRA ? 0 : slots.total(slot))
  }

  #blockedUntil (slot: number): number {
    const { slots } = this
    const kind = slots.kind(slot)
    if (kind === BAN) return slots.stamp(slot)
    if (kind === GCRA || kind === FIXED) return slots.endsAt(slot)
    return this.logs.oldest(slot) + slots.span(slot)
  }
}

function hasLog (kind: number): boolean {
  return kind === EXACT || kind === SLIDING || kind === REFUSALS
}
