/** What a slot holds. A key has a slot for each kind it needs, so a limit that changes its algorithm begins anew. */
export const EXACT = 1
export const SLIDING = 2
export const GCRA = 3
export const FIXED = 4
/** Refusals of a limit with a penalty; a log, as `EXACT` is. */
export const REFUSALS = 5
/** The stamp is the end of the ban. */
export const BAN = 6
/** The total is the number of bans so far, the stamp the time until which that is remembered. */
export const LADDER = 7

export const WAYS = 16
/** Loads from 0 (hardly used) to 14; `BLOCKS` refuses its caller. */
export const FULL = 14
export const BLOCKS = 15
export const MAX_TOTAL = 2 ** 28 - 1
/** So many chunks or more. */
export const MANY = 255

const HIGH = 2 ** 32
const MAX_STAMP = 2 ** 48 - 1
/** Spans are kept as powers of 2^(1/7), rounded up: a tenth too long at most, and used for eviction only. */
const STEPS = 7
const SPANS = Float64Array.from({ length: 256 }, (_, code) => code === 0 ? 0 : 2 ** (code / STEPS))

/**
 * First lanes of a set, then a record for each of its slots: the second lane and four words. A slot is the place of its
 * record.
 */
export const RECORD = 5
const SET = WAYS * (1 + RECORD)
/**
 * An array of many pages begins 16 bytes behind the start of one (glibc); so many words on, a set begins with a cache
 * line.
 */
const MARGIN = 12
/** Words of a cache line. */
const LINE = 16

/**
 * A fixed number of slots of 24 bytes, in sets of `WAYS`. Looking a key up costs a line for the first lanes of its set
 * and one for its record, mostly of one page, and both are asked for at once. The four words of a record behind its
 * lane:
 * - 0: the low half of the stamp in milliseconds (`GCRA`: of microseconds)
 * - 1: high half of the stamp (16 bits), span (8), kind (3), coarse (1), load (4)
 * - 2: total (28), position of the first record in the first chunk (2), records in the last chunk (2)
 * - 3: chunks of the log (8, stays at 255 from there), its last chunk (24); `GCRA`: the high half of the stamp
 */
export class Slots {
  readonly count: number
  size = 0
  /** Nothing but a use for what `find` reads ahead, which a compiler would leave out otherwise. */
  touched = 0
  /** How many of them are bans. */
  bans = 0
  /** Sets for each value of the first lane. */
  readonly #scale: number
  readonly #lanes: Int32Array
  /** The same memory, unsigned. */
  readonly #words: Uint32Array

  constructor (capacity: number) {
    this.count = Math.ceil(capacity / WAYS) * WAYS
    this.#scale = this.count / WAYS / HIGH
    this.#lanes = new Int32Array(MARGIN + this.count / WAYS * SET)
    this.#words = new Uint32Array(this.#lanes.buffer)
  }

  /** First of the `WAYS` slots, `RECORD` apart, of the set that a fingerprint belongs to. */
  setOf (a: number): number {
    return MARGIN + Math.floor((a >>> 0) * this.#scale) * SET + WAYS
  }

  /** The slot of a number from 0 to `count - 1`. */
  at (index: number): number {
    const way = index % WAYS
    return MARGIN + (index - way) / WAYS * SET + WAYS + way * RECORD
  }

  find (a: number, b: number, kind: number): number {
    const set = this.setOf(a)
    const lanes = this.#lanes
    // Asks for all lines of the set at once: a record that were asked for only when its way is known would be waited
    // for by itself.
    this.touched = (lanes[set] as number) ^ (lanes[set + LINE] as number) ^ (lanes[set + 2 * LINE] as number) ^
      (lanes[set + 3 * LINE] as number) ^ (lanes[set + 4 * LINE] as number)
    const second = secondLane(b, kind)
    for (let way = 0, slot = set; way < WAYS; way++, slot += RECORD) {
      if (lanes[set - WAYS + way] === a && lanes[slot] === second) return slot
    }
    return -1
  }

  holds (slot: number, a: number, b: number, kind: number): boolean {
    return this.#lanes[laneOf(slot)] === a && this.#lanes[slot] === secondLane(b, kind)
  }

  empty (slot: number): boolean {
    return this.kind(slot) === 0
  }

  fill (slot: number, a: number, b: number, kind: number): void {
    this.#lanes[laneOf(slot)] = a
    this.#lanes[slot] = secondLane(b, kind)
    this.#words[slot + 2] = kind << 5
    this.size++
    if (kind === BAN) this.bans++
  }

  /** The chunks of its log must have been given back. */
  clear (slot: number): void {
    if (this.kind(slot) === BAN) this.bans--
    this.#lanes[laneOf(slot)] = 0
    for (let at = slot; at < slot + RECORD; at++) this.#lanes[at] = 0
    this.size--
  }

  clearAll (): void {
    this.#lanes.fill(0)
    this.size = 0
    this.bans = 0
  }

  stamp (slot: number): number {
    return ((this.#words[slot + 2] as number) >>> 16) * HIGH + (this.#words[slot + 1] as number)
  }

  setStamp (slot: number, time: number): void {
    const ms = Math.min(time, MAX_STAMP)
    const high = Math.floor(ms / HIGH)
    this.#words[slot + 1] = ms - high * HIGH
    this.#words[slot + 2] = ((this.#words[slot + 2] as number) & 0xffff) | (high << 16)
  }

  /** `GCRA`: microseconds, which need more bits and no log. */
  micros (slot: number): number {
    return (this.#words[slot + 4] as number) * HIGH + (this.#words[slot + 1] as number)
  }

  setMicros (slot: number, micros: number): void {
    const high = Math.floor(micros / HIGH)
    this.#words[slot + 1] = micros - high * HIGH
    this.#words[slot + 4] = high
  }

  kind (slot: number): number {
    return ((this.#words[slot + 2] as number) >>> 5) & 7
  }

  span (slot: number): number {
    return SPANS[((this.#words[slot + 2] as number) >>> 8) & 0xff] as number
  }

  /** Never shorter than `ms`. */
  setSpan (slot: number, ms: number): void {
    const span = this.span(slot)
    if (span >= ms && span < 1.25 * ms) return
    const code = Math.min(255, Math.max(1, Math.ceil(Math.log2(ms) * STEPS)))
    this.#words[slot + 2] = ((this.#words[slot + 2] as number) & ~0xff00) | (code << 8)
  }

  /** Some records hold requests older than their stamp. */
  coarse (slot: number): boolean {
    return ((this.#words[slot + 2] as number) & 16) !== 0
  }

  setCoarse (slot: number, coarse: boolean): void {
    const word = this.#words[slot + 2] as number
    this.#words[slot + 2] = coarse ? word | 16 : word & ~16
  }

  load (slot: number): number {
    return (this.#words[slot + 2] as number) & 15
  }

  setLoad (slot: number, load: number): void {
    this.#words[slot + 2] = ((this.#words[slot + 2] as number) & ~15) | load
  }

  total (slot: number): number {
    return (this.#words[slot + 3] as number) >>> 4
  }

  setTotal (slot: number, total: number): void {
    this.#words[slot + 3] = (Math.min(total, MAX_TOTAL) << 4) | ((this.#words[slot + 3] as number) & 15)
  }

  first (slot: number): number {
    return ((this.#words[slot + 3] as number) >>> 2) & 3
  }

  filled (slot: number): number {
    return (this.#words[slot + 3] as number) & 3
  }

  /** Where the first record stands in the first chunk, and how many the last one holds. */
  setEnds (slot: number, first: number, filled: number): void {
    this.#words[slot + 3] = ((this.#words[slot + 3] as number) & ~15) | (first << 2) | filled
  }

  /** Zero for a log that is its one record. */
  tail (slot: number): number {
    return (this.#words[slot + 4] as number) & 0xffffff
  }

  chunks (slot: number): number {
    return (this.#words[slot + 4] as number) >>> 24
  }

  setChunks (slot: number, chunks: number, tail: number): void {
    this.#words[slot + 4] = (Math.min(chunks, MANY) << 24) | tail
  }

  /** When nothing of it matters any more, for eviction: never too early. */
  endsAt (slot: number): number {
    return this.kind(slot) === GCRA ? this.micros(slot) / 1000 : this.stamp(slot) + this.span(slot)
  }
}

/** Of a slot, the place of its first lane. */
function laneOf (slot: number): number {
  const set = Math.floor((slot - MARGIN) / SET) * SET + MARGIN
  return set + (slot - set - WAYS) / RECORD
}

/** Kinds of one key stand in one set, under different second lanes. */
function secondLane (b: number, kind: number): number {
  return b ^ Math.imul(kind, 0x9e3779b1)
}
