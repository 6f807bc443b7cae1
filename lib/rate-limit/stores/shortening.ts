import { RECORDS, WORDS, type Chunks } from './chunks.js'
import { BLOCKS, MANY, type Slots } from './slots.js'

/** Slots that are looked at for a chunk when all are in use. */
const SAMPLE = 48

/**
 * What happens when the pool is exhausted: nobody's count is forgotten. The longest log of a sample joins records with
 * their younger neighbours, and the joined one leaves with the younger: it gets coarser, hence stricter, never laxer.
 * The longest go first, so who wears the pool out pays for it first.
 */
export class Shortening {
  readonly #slots: Slots
  readonly #chunks: Chunks
  #hand = 0

  constructor (slots: Slots, chunks: Chunks) {
    this.#slots = slots
    this.#chunks = chunks
  }

  /**
   * Frees at least one chunk, that of an expired log if there is one in the sample. False when nobody there holds one.
   */
  reclaim (slot: number, now: number): boolean {
    const slots = this.#slots
    let victim = slot
    let chunks = this.#length(slot)
    let heaviest = weight(slots, slot)
    for (let step = 0; step < SAMPLE; step++) {
      const other = slots.at(this.#hand)
      this.#hand = this.#hand + 1 === slots.count ? 0 : this.#hand + 1
      if (slots.chunks(other) === 0 || other === slot) continue
      if (slots.endsAt(other) <= now) {
        this.#chunks.release(other)
        slots.clear(other)
        return true
      }
      if (weight(slots, other) <= heaviest) continue
      const length = this.#length(other)
      // Who was told when there is room again finds it then, as long as the oldest record stays as it is.
      if ((length === 1 && slots.load(other) === BLOCKS) || weight(slots, other) <= heaviest) continue
      victim = other
      chunks = length
      heaviest = weight(slots, other)
    }
    if (chunks === 0) return false
    if (chunks === 1) {
      slots.setCoarse(victim, true)
      this.#chunks.release(victim)
      return true
    }
    while (!this.rewrite(victim, true));
    return true
  }

  /**
   * Chunks of a log, `MANY` at most. A slot that has counted so far does not know how many are left: they are counted
   * again.
   */
  #length (slot: number): number {
    const slots = this.#slots
    if (slots.chunks(slot) !== MANY) return slots.chunks(slot)
    const tail = slots.tail(slot)
    let length = 1
    for (let chunk = this.#chunks.next(tail); chunk !== tail && length < MANY; chunk = this.#chunks.next(chunk))
      {length++}
    slots.setChunks(slot, length, tail)
    return length
  }

  /**
   * Closes the gaps that empty records leave or, to `join`, puts every two records but the oldest and the newest
   * together. True when chunks came free.
   */
  rewrite (slot: number, join: boolean): boolean {
    const slots = this.#slots
    const tail = slots.tail(slot)
    if (tail === 0) return true
    const filled = slots.filled(slot)
    let stamp = slots.stamp(slot)
    const newest = stamp
    let from = this.#chunks.next(tail)
    let place = slots.first(slot)
    let to = from
    let kept = 0
    let held = 0
    let holds = false
    let more = true
    while (more) {
      const at = WORDS * from + 1 + 2 * place
      const count = this.#chunks.countAt(at)
      const recordStamp = this.#chunks.stampAt(at, newest)
      more = from !== tail || place + 1 < filled
      if (++place === RECORDS && more) {
        from = this.#chunks.next(from)
        place = 0
      }
      // An empty one must not stand for the oldest; of a bucket that still fills, the newest, its place is kept.
      if (count === 0 && (more || !join)) continue
      if (join && kept > 0 && !holds && more) {
        held = count
        holds = true
        continue
      }
      if (kept > 0 && kept % RECORDS === 0) to = this.#chunks.next(to)
      this.#chunks.write(WORDS * to + 1 + 2 * (kept % RECORDS), recordStamp, count + held)
      stamp = recordStamp
      kept++
      held = 0
      holds = false
    }
    if (join) slots.setCoarse(slot, true)
    slots.setStamp(slot, stamp)
    const came = this.#cut(slot, to, kept)
    if (kept < 2) this.#chunks.release(slot)
    return came || kept < 2
  }

  /** Ends the log behind its `kept` records, the last of which stands in `chunk`. */
  #cut (slot: number, chunk: number, kept: number): boolean {
    const slots = this.#slots
    const tail = slots.tail(slot)
    slots.setChunks(slot, Math.max(1, Math.ceil(kept / RECORDS)), chunk)
    slots.setEnds(slot, 0, kept === 0 ? 0 : (kept - 1) % RECORDS + 1)
    if (chunk === tail) return false
    const first = this.#chunks.next(tail)
    const after = this.#chunks.next(chunk)
    this.#chunks.free(after, tail)
    this.#chunks.link(chunk, first)
    return true
  }
}

/** The longest log first, of equally long ones the least loaded. */
function weight (slots: Slots, slot: number): number {
  return slots.chunks(slot) * 16 + BLOCKS - slots.load(slot)
}
