import { Chunks, RECORDS, WORDS } from './chunks.js'
import { Shortening } from './shortening.js'
import { MANY, type Slots } from './slots.js'

/**
 * The logs of all keys: records of a stamp and a count, oldest first. A log with one record lives in its slot, a longer
 * one in chunks of a shared pool.
 */
export class Logs {
  /** Answers of `read`: units that count, and milliseconds until enough of them have left. */
  used = 0
  waitMs = 0
  readonly #slots: Slots
  readonly #chunks: Chunks
  readonly #shortening: Shortening

  constructor (slots: Slots) {
    this.#slots = slots
    this.#chunks = new Chunks(slots)
    this.#shortening = new Shortening(slots, this.#chunks)
  }

  read (slot: number, windowMs: number, limit: number, cost: number, now: number): void {
    const slots = this.#slots
    const newest = slots.stamp(slot)
    const edge = Math.max(now, newest) - windowMs
    this.used = newest > edge ? slots.total(slot) : 0
    this.waitMs = windowMs
    if (this.used === 0) return
    const tail = slots.tail(slot)
    if (tail === 0) {
      this.waitMs = newest + windowMs - now
      return
    }
    let chunk = this.#chunks.next(tail)
    let place = slots.first(slot)
    let toLeave = 0
    // The newest record ends the walk at the latest: it is inside the window, and everything has left with it.
    for (;;) {
      const at = WORDS * chunk + 1 + 2 * place
      const stamp = this.#chunks.stampAt(at, newest)
      const count = this.#chunks.countAt(at)
      if (stamp <= edge) {
        this.used -= count
      } else {
        if (toLeave === 0) toLeave = Math.max(1, this.used + cost - limit)
        toLeave -= count
        if (toLeave <= 0 || (stamp === newest && chunk === tail)) {
          if (this.used > 0) this.waitMs = stamp + windowMs - now
          return
        }
      }
      if (++place === RECORDS) {
        chunk = this.#chunks.next(chunk)
        place = 0
      }
    }
  }

  /** Stamp of the oldest record. */
  oldest (slot: number): number {
    const newest = this.#slots.stamp(slot)
    const tail = this.#slots.tail(slot)
    return tail === 0
      ? newest
      : this.#chunks.stampAt(WORDS * this.#chunks.next(tail) + 1 + 2 * this.#slots.first(slot), newest)
  }

  /**
   * Counts and gives the stamp, which is the newest one's where the clock stepped back. `bucketMs` is the width that
   * shares a record.
   */
  add (slot: number, windowMs: number, bucketMs: number, cost: number, now: number): number {
    const slots = this.#slots
    const newest = slots.stamp(slot)
    const stamp = Math.max(now, newest)
    if (newest <= stamp - windowMs) this.empty(slot)
    else if (slots.tail(slot) !== 0) this.#leave(slot, stamp - windowMs)
    const total = slots.total(slot)
    if (total === 0 && slots.tail(slot) === 0) this.#restart(slot, stamp, cost)
    else if (Math.floor(newest / bucketMs) === Math.floor(stamp / bucketMs)) this.#join(slot, stamp, cost)
    else this.#push(slot, stamp, cost, now)
    return stamp
  }

  /**
   * Takes up to `cost` units of the record that `mark` names out again; a log without any is empty afterwards. `exact`
   * forgets an empty record, as nothing of the request remains.
   */
  takeOut (slot: number, mark: number, bucketMs: number, cost: number, edge: number, exact: boolean): void {
    const slots = this.#slots
    const newest = slots.stamp(slot)
    // In a coarse log the request stands in the first record that is not older; one that has left must not take another
    // out.
    const near = slots.coarse(slot) && mark * bucketMs > edge
    const tail = slots.tail(slot)
    if (tail === 0) {
      const number = Math.floor(newest / bucketMs)
      if (number === mark || (near && number > mark)) slots.setTotal(slot, Math.max(0, slots.total(slot) - cost))
      return
    }
    let chunk = this.#chunks.next(tail)
    let place = slots.first(slot)
    const filled = slots.filled(slot)
    while (chunk !== tail || place < filled) {
      const at = WORDS * chunk + 1 + 2 * place
      const number = Math.floor(this.#chunks.stampAt(at, newest) / bucketMs)
      const count = this.#chunks.countAt(at)
      if (count > 0 && (number === mark || (near && number > mark))) {
        const taken = Math.min(count, cost)
        this.#chunks.subtract(at, taken)
        slots.setTotal(slot, slots.total(slot) - taken)
        if (taken === count && exact) this.#shortening.rewrite(slot, false)
        return
      }
      if (++place === RECORDS && chunk !== tail) {
        chunk = this.#chunks.next(chunk)
        place = 0
      }
    }
  }

  /** Forgets the log and gives its chunks back. */
  empty (slot: number): void {
    this.#chunks.release(slot)
    this.#slots.setTotal(slot, 0)
    this.#slots.setCoarse(slot, false)
  }

  clearAll (): void {
    this.#chunks.clearAll()
  }

  #restart (slot: number, stamp: number, count: number): void {
    this.#slots.setStamp(slot, stamp)
    this.#slots.setTotal(slot, count)
    this.#slots.setCoarse(slot, false)
  }

  #join (slot: number, stamp: number, cost: number): void {
    const slots = this.#slots
    const tail = slots.tail(slot)
    if (tail !== 0) {
      const at = WORDS * tail + 1 + 2 * (slots.filled(slot) - 1)
      this.#chunks.write(at, stamp, this.#chunks.countAt(at) + cost)
    }
    slots.setStamp(slot, stamp)
    slots.setTotal(slot, slots.total(slot) + cost)
  }

  #push (slot: number, stamp: number, cost: number, now: number): void {
    const slots = this.#slots
    if (slots.tail(slot) === 0 || slots.filled(slot) === RECORDS) {
      if (!this.#chunks.available() && !this.#shortening.reclaim(slot, now)) {
        slots.setCoarse(slot, true)
        this.#join(slot, stamp, cost)
        return
      }
      // Reclaiming may have shortened this very log.
      if (slots.tail(slot) === 0) this.#begin(slot)
      else if (slots.filled(slot) === RECORDS) this.#extend(slot)
    }
    const filled = slots.filled(slot)
    this.#chunks.write(WORDS * slots.tail(slot) + 1 + 2 * filled, stamp, cost)
    slots.setEnds(slot, slots.first(slot), filled + 1)
    slots.setStamp(slot, stamp)
    slots.setTotal(slot, slots.total(slot) + cost)
  }

  /** Moves the one record from the slot to a chunk. */
  #begin (slot: number): void {
    const chunk = this.#chunks.allocate()
    this.#chunks.link(chunk, chunk)
    this.#chunks.write(WORDS * chunk + 1, this.#slots.stamp(slot), this.#slots.total(slot))
    this.#slots.setChunks(slot, 1, chunk)
    this.#slots.setEnds(slot, 0, 1)
  }

  #extend (slot: number): void {
    const slots = this.#slots
    const tail = slots.tail(slot)
    const chunk = this.#chunks.allocate()
    this.#chunks.link(chunk, this.#chunks.next(tail))
    this.#chunks.link(tail, chunk)
    slots.setChunks(slot, slots.chunks(slot) + 1, chunk)
    slots.setEnds(slot, slots.first(slot), 0)
  }

  /** Drops what left the window; the newest record is known to be inside. */
  #leave (slot: number, edge: number): void {
    const slots = this.#slots
    const newest = slots.stamp(slot)
    const tail = slots.tail(slot)
    let chunk = this.#chunks.next(tail)
    let place = slots.first(slot)
    let gone = 0
    for (
      let at = WORDS * chunk + 1 + 2 * place;
      this.#chunks.stampAt(at, newest) <= edge;
      at = WORDS * chunk + 1 + 2 * place
    ) {
      gone += this.#chunks.countAt(at)
      if (++place < RECORDS) continue
      place = 0
      const next = this.#chunks.next(chunk)
      this.#chunks.link(tail, next)
      this.#chunks.free(chunk, chunk)
      const chunks = slots.chunks(slot)
      slots.setChunks(slot, chunks === MANY ? MANY : chunks - 1, tail)
      chunk = next
    }
    if (gone !== 0) slots.setTotal(slot, slots.total(slot) - gone)
    slots.setEnds(slot, place, slots.filled(slot))
    if (chunk === tail && place + 1 === slots.filled(slot)) this.#chunks.release(slot)
  }
}
