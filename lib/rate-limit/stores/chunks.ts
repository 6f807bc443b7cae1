import { MAX_TOTAL, type Slots } from './slots.js'

export const RECORDS = 3
/** A link, then three records of a stamp and a count. */
export const WORDS = 1 + 2 * RECORDS
const MIN_CHUNKS = 1024
const HIGH = 2 ** 32

/**
 * The pool of chunks of 28 bytes, half as many as slots. The chunks of a log form a ring, which its slot holds by the
 * last.
 *
 * A stamp is kept as its low 32 bits and four more, relative to the newest one in the slot: enough for 795 days.
 */
export class Chunks {
  readonly #slots: Slots
  readonly #pool: Uint32Array
  readonly #capacity: number
  #fresh = 1
  #free = 0

  constructor (slots: Slots) {
    this.#slots = slots
    this.#capacity = Math.max(MIN_CHUNKS, slots.count / 2)
    this.#pool = new Uint32Array(WORDS * this.#capacity)
  }

  next (chunk: number): number {
    return this.#pool[WORDS * chunk] as number
  }

  stampAt (at: number, newest: number): number {
    const high = Math.floor(newest / HIGH)
    return (high - ((high - ((this.#pool[at + 1] as number) >>> 28)) & 15)) * HIGH + (this.#pool[at] as number)
  }

  write (at: number, stamp: number, count: number): void {
    const high = Math.floor(stamp / HIGH)
    this.#pool[at] = stamp - high * HIGH
    this.#pool[at + 1] = ((high & 15) << 28) | Math.min(count, MAX_TOTAL)
  }

  countAt (at: number): number {
    return (this.#pool[at + 1] as number) & MAX_TOTAL
  }

  link (chunk: number, next: number): void {
    this.#pool[WORDS * chunk] = next
  }

  subtract (at: number, units: number): void {
    this.#pool[at + 1] = (this.#pool[at + 1] as number) - units
  }

  available (): boolean {
    return this.#free !== 0 || this.#fresh < this.#capacity
  }

  allocate (): number {
    if (this.#free === 0) return this.#fresh++
    const chunk = this.#free
    this.#free = this.next(chunk)
    return chunk
  }

  /** Frees the chunks from `first` to `last`, which are linked. */
  free (first: number, last: number): void {
    this.link(last, this.#free)
    this.#free = first
  }

  /** Frees all chunks of a log; its slot keeps the newest stamp and the total. */
  release (slot: number): void {
    const tail = this.#slots.tail(slot)
    if (tail === 0) return
    this.free(this.next(tail), tail)
    this.#slots.setChunks(slot, 0, 0)
    this.#slots.setEnds(slot, 0, 0)
  }

  clearAll (): void {
    this.#fresh = 1
    this.#free = 0
  }
}
