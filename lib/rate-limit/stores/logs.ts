import { BLOCKS, MAX_TOTAL, type Slots } from './slots.js'

const RECORDS = 3
/** A link, then three records of a stamp and a count. */
const WORDS = 1 + 2 * RECORDS
const MIN_CHUNKS = 1024
/** Slots that are looked at for a chunk when all are in use. */
const SAMPLE = 48
const HIGH = 2 ** 32

/**
 * The logs of all keys: records of a stamp and a count, oldest first. A log with one record lives in its slot; a longer one in
 * chunks of 28 bytes from a shared pool, linked in a ring by the last one, half as many chunks as slots.
 *
 * A stamp is kept as its low 32 bits and four more, relative to the newest one in the slot: enough for 795 days.
 *
 * When the pool is exhausted nobody's count is forgotten. The longest log of a sample joins records with their younger
 * neighbours, and the joined one leaves with the younger: it gets coarser, hence stricter, never laxer. Logs that hold a
 * chunk give way before those that never had one, so who wears the pool out pays for it first.
 */
export class Logs {
  /** Answers of `read`: units that count, and milliseconds until enough of them have left. */
  used = 0
  waitMs = 0
  readonly #slots: Slots
  readonly #pool: Uint32Array
  readonly #capacity: number
  #fresh = 1
  #free = 0
  #hand = 0

  constructor (slots: Slots) {
    this.#slots = slots
    this.#capacity = Math.max(MIN_CHUNKS, slots.count / 2)
    this.#pool = new Uint32Array(WORDS * this.#capacity)
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
    let chunk = this.#next(tail)
    let place = slots.first(slot)
    let toLeave = 0
    // The newest record ends the walk at the latest: it is inside the window, and everything has left with it.
    for (;;) {
      const at = WORDS * chunk + 1 + 2 * place
      const stamp = this.#stampAt(at, newest)
      const count = (this.#pool[at + 1] as number) & MAX_TOTAL
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
        chunk = this.#next(chunk)
        place = 0
      }
    }
  }

  /** Stamp of the oldest record. */
  oldest (slot: number): number {
    const newest = this.#slots.stamp(slot)
    const tail = this.#slots.tail(slot)
    return tail === 0 ? newest : this.#stampAt(WORDS * this.#next(tail) + 1 + 2 * this.#slots.first(slot), newest)
  }

  /** Counts and gives the stamp, which is the newest one's where the clock stepped back. `bucketMs` is the width that shares a record. */
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
    // In a coarse log the request stands in the first record that is not older; one that has left must not take another out.
    const near = slots.coarse(slot) && mark * bucketMs > edge
    const tail = slots.tail(slot)
    if (tail === 0) {
      const number = Math.floor(newest / bucketMs)
      if (number === mark || (near && number > mark)) slots.setTotal(slot, Math.max(0, slots.total(slot) - cost))
      return
    }
    let chunk = this.#next(tail)
    let place = slots.first(slot)
    const filled = slots.filled(slot)
    while (chunk !== tail || place < filled) {
      const at = WORDS * chunk + 1 + 2 * place
      const number = Math.floor(this.#stampAt(at, newest) / bucketMs)
      const count = (this.#pool[at + 1] as number) & MAX_TOTAL
      if (count > 0 && (number === mark || (near && number > mark))) {
        const taken = Math.min(count, cost)
        this.#pool[at + 1] = (this.#pool[at + 1] as number) - taken
        slots.setTotal(slot, slots.total(slot) - taken)
        if (taken === count && exact) this.#rewrite(slot, false)
        return
      }
      if (++place === RECORDS && chunk !== tail) {
        chunk = this.#next(chunk)
        place = 0
      }
    }
  }

  /** Forgets the log and gives its chunks back. */
  empty (slot: number): void {
    this.#release(slot)
    this.#slots.setTotal(slot, 0)
    this.#slots.setCoarse(slot, false)
  }

  clearAll (): void {
    this.#fresh = 1
    this.#free = 0
  }

  #next (chunk: number): number {
    return this.#pool[WORDS * chunk] as number
  }

  #stampAt (at: number, newest: number): number {
    const high = Math.floor(newest / HIGH)
    return (high - ((high - ((this.#pool[at + 1] as number) >>> 28)) & 15)) * HIGH + (this.#pool[at] as number)
  }

  #write (at: number, stamp: number, count: number): void {
    const high = Math.floor(stamp / HIGH)
    this.#pool[at] = stamp - high * HIGH
    this.#pool[at + 1] = ((high & 15) << 28) | Math.min(count, MAX_TOTAL)
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
      this.#write(at, stamp, ((this.#pool[at + 1] as number) & MAX_TOTAL) + cost)
    }
    slots.setStamp(slot, stamp)
    slots.setTotal(slot, slots.total(slot) + cost)
  }

  #push (slot: number, stamp: number, cost: number, now: number): void {
    const slots = this.#slots
    if (slots.tail(slot) === 0 || slots.filled(slot) === RECORDS) {
      if (!this.#available() && !this.#reclaim(slot, now)) {
        slots.setCoarse(slot, true)
        this.#join(slot, stamp, cost)
        return
      }
      // Reclaiming may have shortened this very log.
      if (slots.tail(slot) === 0) this.#begin(slot)
      else if (slots.filled(slot) === RECORDS) this.#extend(slot)
    }
    const filled = slots.filled(slot)
    this.#write(WORDS * slots.tail(slot) + 1 + 2 * filled, stamp, cost)
    slots.setEnds(slot, slots.first(slot), filled + 1)
    slots.setStamp(slot, stamp)
    slots.setTotal(slot, slots.total(slot) + cost)
  }

  /** Moves the one record from the slot to a chunk. */
  #begin (slot: number): void {
    const chunk = this.#allocate()
    this.#pool[WORDS * chunk] = chunk
    this.#write(WORDS * chunk + 1, this.#slots.stamp(slot), this.#slots.total(slot))
    this.#slots.setChunks(slot, 1, chunk)
    this.#slots.setEnds(slot, 0, 1)
  }

  #extend (slot: number): void {
    const slots = this.#slots
    const tail = slots.tail(slot)
    const chunk = this.#allocate()
    this.#pool[WORDS * chunk] = this.#next(tail)
    this.#pool[WORDS * tail] = chunk
    slots.setChunks(slot, slots.chunks(slot) + 1, chunk)
    slots.setEnds(slot, slots.first(slot), 0)
  }

  /** Drops what left the window; the newest record is known to be inside. */
  #leave (slot: number, edge: number): void {
    const slots = this.#slots
    const newest = slots.stamp(slot)
    const tail = slots.tail(slot)
    let chunk = this.#next(tail)
    let place = slots.first(slot)
    let gone = 0
    for (let at = WORDS * chunk + 1 + 2 * place; this.#stampAt(at, newest) <= edge; at = WORDS * chunk + 1 + 2 * place) {
      gone += (this.#pool[at + 1] as number) & MAX_TOTAL
      if (++place < RECORDS) continue
      place = 0
      const next = this.#next(chunk)
      this.#pool[WORDS * tail] = next
      this.#pool[WORDS * chunk] = this.#free
      this.#free = chunk
      slots.setChunks(slot, this.#fewer(slots.chunks(slot)), tail)
      chunk = next
    }
    if (gone !== 0) slots.setTotal(slot, slots.total(slot) - gone)
    slots.setEnds(slot, place, slots.filled(slot))
    if (chunk === tail && place + 1 === slots.filled(slot)) this.#release(slot)
  }

  #fewer (chunks: number): number {
    return chunks === 255 ? 255 : chunks - 1
  }

  #release (slot: number): void {
    const tail = this.#slots.tail(slot)
    if (tail === 0) return
    const first = this.#next(tail)
    this.#pool[WORDS * tail] = this.#free
    this.#free = first
    this.#slots.setChunks(slot, 0, 0)
    this.#slots.setEnds(slot, 0, 0)
  }

  #available (): boolean {
    return this.#free !== 0 || this.#fresh < this.#capacity
  }

  #allocate (): number {
    if (this.#free === 0) return this.#fresh++
    const chunk = this.#free
    this.#free = this.#next(chunk)
    return chunk
  }

  /** Frees at least one chunk, that of an expired log if there is one in the sample. False when nobody there holds one. */
  #reclaim (slot: number, now: number): boolean {
    const slots = this.#slots
    let victim = slot
    let heaviest = weight(slots, slot)
    for (let step = 0; step < SAMPLE; step++) {
      const other = this.#hand
      this.#hand = other + 1 === slots.count ? 0 : other + 1
      const chunks = slots.chunks(other)
      if (chunks === 0 || other === slot) continue
      if (slots.endsAt(other) <= now) {
        this.empty(other)
        slots.clear(other)
        return true
      }
      // Who was told when there is room again finds it then, as long as the oldest record stays as it is.
      if (chunks === 1 && slots.load(other) === BLOCKS) continue
      if (weight(slots, other) > heaviest) {
        victim = other
        heaviest = weight(slots, other)
      }
    }
    const chunks = slots.chunks(victim)
    if (chunks === 0) return false
    if (chunks === 1) {
      slots.setCoarse(victim, true)
      this.#release(victim)
    }
    while (slots.chunks(victim) === chunks && !this.#rewrite(victim, true));
    return true
  }

  /**
   * Closes the gaps that empty records leave or, to `join`, puts every two records but the oldest and the newest
   * together. True when chunks came free.
   */
  #rewrite (slot: number, join: boolean): boolean {
    const slots = this.#slots
    const pool = this.#pool
    const tail = slots.tail(slot)
    if (tail === 0) return true
    const filled = slots.filled(slot)
    let stamp = slots.stamp(slot)
    const newest = stamp
    let from = this.#next(tail)
    let place = slots.first(slot)
    let to = from
    let kept = 0
    let held = 0
    let holds = false
    let more = true
    while (more) {
      const at = WORDS * from + 1 + 2 * place
      const count = (pool[at + 1] as number) & MAX_TOTAL
      const recordStamp = this.#stampAt(at, newest)
      more = from !== tail || place + 1 < filled
      if (++place === RECORDS && more) {
        from = this.#next(from)
        place = 0
      }
      if (join && kept > 0 && !holds && more) {
        held = count
        holds = true
        continue
      }
      if (!join && count === 0) continue
      if (kept > 0 && kept % RECORDS === 0) to = this.#next(to)
      this.#write(WORDS * to + 1 + 2 * (kept % RECORDS), recordStamp, count + held)
      stamp = recordStamp
      kept++
      held = 0
      holds = false
    }
    if (join) slots.setCoarse(slot, true)
    slots.setStamp(slot, stamp)
    const came = this.#cut(slot, to, kept)
    if (kept < 2) this.#release(slot)
    return came || kept < 2
  }

  /** Ends the log behind its `kept` records, the last of which stands in `chunk`. */
  #cut (slot: number, chunk: number, kept: number): boolean {
    const slots = this.#slots
    const tail = slots.tail(slot)
    slots.setChunks(slot, Math.max(1, Math.ceil(kept / RECORDS)), chunk)
    slots.setEnds(slot, 0, kept === 0 ? 0 : (kept - 1) % RECORDS + 1)
    if (chunk === tail) return false
    const first = this.#next(tail)
    const after = this.#next(chunk)
    this.#pool[WORDS * tail] = this.#free
    this.#free = after
    this.#pool[WORDS * chunk] = first
    return true
  }
}

/** The longest log first, of equally long ones the least loaded. */
function weight (slots: Slots, slot: number): number {
  return slots.chunks(slot) * 16 + BLOCKS - slots.load(slot)
}
