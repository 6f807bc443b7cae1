import { NOT_COUNTED, type Quota, type Reading } from '../quota.js'
import { Bans } from './bans.js'
import { Counts, kindOf, NONE } from './counts.js'
import { Fingerprint } from './fingerprint.js'
import { EXACT, LADDER } from './slots.js'
import type { LimitStore, Verdict } from './store.js'
import { Table } from './table.js'

const DEFAULT_CAPACITY = 100_000
/** As many as 24 bits of chunk numbers allow. */
const MAX_CAPACITY = 2 ** 25

/**
 * Counts in this process, synchronously and without timers, in a fixed number of slots: 38 bytes a key of the capacity,
 * all told (at least 28 kB). When the set of a new key is full, an expired or the least loaded key of that set goes;
 * one that blocks somebody goes only when every key of the set does, so that a flood of foreign keys frees nobody.
 *
 * Keys fall into sets by chance: filling the table to its capacity already costs a tenth of the light ones.
 */
export class MemoryStore implements LimitStore {
  readonly kind = 'memory'
  readonly #now: () => number
  readonly #table: Table
  readonly #counts: Counts
  readonly #bans: Bans
  readonly #fingerprint = new Fingerprint()
  /** Three a limit of the running `consume`: both lanes, and the slot. */
  #places = new Int32Array(3 * 8)

  /**
   * `capacity` is rounded up to whole sets of 16. `now` answers whole milliseconds; by default the process' monotonic
   * clock.
   * @throws RangeError for a capacity that is no whole number from 1 to 2^25
   */
  constructor (options: { capacity?: number, now?: () => number } = {}) {
    const capacity = options.capacity ?? DEFAULT_CAPACITY
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_CAPACITY)
      {throw new RangeError(`capacity must be a whole number from 1 to ${MAX_CAPACITY}`)}
    this.#now = options.now ?? monotonicMs
    this.#table = new Table(capacity)
    this.#counts = new Counts(this.#table)
    this.#bans = new Bans(this.#table)
  }

  /** Slots in use: one a key, and one each for the refusals, the ban and the past bans of a punished one. */
  get size (): number {
    return this.#table.slots.size
  }

  /** Keys that lost their counts to others before these had ended. */
  get evictions (): number {
    return this.#table.evictions
  }

  consume (quotas: readonly Quota[], keys: readonly string[]): Verdict {
    const now = this.#time()
    const readings = new Array<Reading>(quotas.length)
    let admitted = true
    if (3 * quotas.length > this.#places.length) this.#places = new Int32Array(3 * quotas.length)
    for (let index = 0; index < quotas.length; index++) {
      const quota = quotas[index] as Quota
      const reading = this.#read(quota, keys[index] as string, now, index)
      readings[index] = reading
      if (!reading.room && !quota.shadow) admitted = false
    }
    for (let index = 0; index < quotas.length; index++) {
      const quota = quotas[index] as Quota
      const reading = readings[index] as Reading
      if (admitted && reading.room) this.#count(quota, reading, now, index)
      else if (quota.penalty !== null && !reading.room) this.#punish(quota, reading, now, index)
    }
    return { admitted, readings }
  }

  giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): undefined {
    const now = this.#time()
    for (let index = 0; index < quotas.length; index++) {
      const mark = marks[index] ?? NOT_COUNTED
      if (mark === NOT_COUNTED) continue
      const quota = quotas[index] as Quota
      const fingerprint = this.#fingerprint
      fingerprint.take(keys[index] as string)
      const slot = this.#table.slots.find(fingerprint.a, fingerprint.b, kindOf(quota))
      if (slot !== NONE) this.#counts.takeOut(slot, quota, mark, now)
    }
  }

  peek (quotas: readonly Quota[], keys: readonly string[]): readonly Reading[] {
    const now = this.#time()
    return quotas.map((quota, index) => this.#read(quota, keys[index] as string, now, 0))
  }

  reset (keys: readonly string[]): undefined {
    for (const key of keys) {
      this.#fingerprint.take(key)
      for (let kind = EXACT; kind <= LADDER; kind++) {
        const slot = this.#table.slots.find(this.#fingerprint.a, this.#fingerprint.b, kind)
        if (slot !== NONE) this.#table.drop(slot)
      }
    }
  }

  ban (keys: readonly string[], durationMs: number): undefined {
    const now = this.#time()
    for (const key of keys) {
      this.#fingerprint.take(key)
      this.#bans.set(this.#fingerprint.a, this.#fingerprint.b, durationMs, now)
    }
  }

  close (): void {
    this.#table.clear()
  }

  #time (): number {
    return Math.max(0, this.#now())
  }

  #read (quota: Quota, key: string, now: number, index: number): Reading {
    const fingerprint = this.#fingerprint
    fingerprint.take(key)
    const { a, b } = fingerprint
    const slot = this.#table.slots.find(a, b, kindOf(quota))
    const at = 3 * index
    this.#places[at] = a
    this.#places[at + 1] = b
    this.#places[at + 2] = slot
    const reading = this.#counts.read(slot, quota, now)
    const until = this.#bans.until(a, b, now)
    return until === 0 ? reading : banned(reading, until - now)
  }

  #count (quota: Quota, reading: Reading, now: number, index: number): void {
    const at = 3 * index
    const a = this.#places[at] as number
    const b = this.#places[at + 1] as number
    let slot = this.#places[at + 2] as number
    const kind = kindOf(quota)
    // Another limit of this request may have taken the slot, or made it if both share the key.
    if (slot === NONE || !this.#table.slots.holds(slot, a, b, kind)) slot = this.#table.slots.find(a, b, kind)
    if (slot === NONE) slot = this.#table.claim(a, b, kind, now)
    this.#counts.add(slot, quota, now, reading)
  }

  /** A refusal counts towards a ban whichever limit refused the request, if this one had no room either. */
  #punish (quota: Quota, reading: Reading, now: number, index: number): void {
    if (quota.penalty === null || quota.shadow || reading.banned === true) return
    const end = this.#bans.refuse(
      this.#places[3 * index] as number,
      this.#places[3 * index + 1] as number,
      quota.penalty,
      now,
    )
    reading.waitMs = Math.max(reading.waitMs, end - now)
  }
}

function banned (reading: Reading, leftMs: number): Reading {
  return {
    room: false,
    used: reading.used,
    waitMs: reading.room ? leftMs : Math.max(leftMs, reading.waitMs),
    mark: NOT_COUNTED,
    banned: true,
  }
}

/** A third cheaper than `performance.now()`. */
function monotonicMs (): number {
  const [seconds, nanos] = process.hrtime()
  return seconds * 1000 + Math.floor(nanos / 1e6)
}
