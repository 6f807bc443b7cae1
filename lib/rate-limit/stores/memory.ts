import { Generations } from '../../common/generations.js'
import { exact } from '../exact.js'
import { fixed } from '../fixed.js'
import { gcra } from '../gcra.js'
import { addRefusal, banByHand, emptyPenalty, isBanned, underBan, type PenaltyState } from '../penalty.js'
import { capacityOf, NOT_COUNTED, type Algorithm, type Counting, type Counts, type Quota,
  type Reading } from '../quota.js'
import { sliding } from '../sliding.js'
import type { LimitStore, Verdict } from './store.js'

const ALGORITHMS: Readonly<Record<Algorithm, Counting>> = { exact, sliding, gcra, fixed }

const DEFAULT_CAPACITY = 25_000
/** More than the limits of one request, so that none of them pushes another out. */
const MIN_CAPACITY = 64
/** A Map holds no more. */
const MAX_CAPACITY = 2 ** 24

/** What is known of one caller in one limit. */
interface Caller {
  readonly counts: Counts
  penalty: PenaltyState | null
  /** Kept among the held callers; null before it is kept at all. */
  held: boolean | null
}

/**
 * Counts in this process, synchronously and without timers. Callers who have no room, are banned or were refused under
 * a penalty are held apart from those with room: a flood of new callers pushes out callers with room only, so it frees
 * no refused caller. Of both there are `capacity` at most.
 */
export class MemoryStore implements LimitStore {
  readonly kind = 'memory'
  readonly #now: () => number
  readonly #free: Generations<string, Caller>
  readonly #held: Generations<string, Caller>

  /**
   * `now` answers whole milliseconds; by default the process' monotonic clock.
   * @throws RangeError for a capacity that is no whole number from 64 to 2^24
   */
  constructor ({ capacity = DEFAULT_CAPACITY, now = monotonicMs }: { capacity?: number, now?: () => number } = {}) {
    if (!Number.isInteger(capacity) || capacity < MIN_CAPACITY || capacity > MAX_CAPACITY) {
      throw new RangeError(`capacity must be a whole number from ${MIN_CAPACITY} to ${MAX_CAPACITY}`)
    }
    this.#now = now
    this.#free = new Generations(capacity)
    this.#held = new Generations(capacity)
  }

  /** Callers that are remembered; one who is counted by several limits counts several times. */
  get size (): number {
    return this.#free.size + this.#held.size
  }

  /** Callers that were dropped to make room for others. */
  get evictions (): number {
    return this.#free.evicted + this.#held.evicted
  }

  consume (quotas: readonly Quota[], keys: readonly string[]): Verdict {
    const now = this.#now()
    const callers = keys.map((key) => this.#find(key))
    const readings = quotas.map((quota, index) => read(callers[index], quota, now))
    const admitted = readings.every(({ room }, index) => room || quotas[index]?.shadow === true)
    for (const [index, quota] of quotas.entries()) {
      const key = keys[index] as string
      const reading = readings[index] as Reading
      if (admitted && reading.room) {
        const caller = callers[index] ?? newCaller()
        ALGORITHMS[quota.algorithm].add(caller.counts, quota, now, reading)
        this.#keep(key, caller, isFull(quota, reading))
      } else if (!reading.room && reading.banned !== true && !quota.shadow && quota.penalty !== null) {
        const caller = callers[index] ?? newCaller()
        caller.penalty ??= emptyPenalty()
        addRefusal(caller.penalty, quota.penalty, now, reading)
        this.#keep(key, caller, true)
      }
    }
    return { admitted, readings }
  }

  giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): undefined {
    const now = this.#now()
    for (const [index, quota] of quotas.entries()) {
      const key = keys[index] as string
      const mark = marks[index] ?? NOT_COUNTED
      const caller = mark === NOT_COUNTED ? undefined : this.#find(key)
      if (caller === undefined) continue
      ALGORITHMS[quota.algorithm].remove(caller.counts, quota, mark, now)
      this.#keep(key, caller, isFull(quota, read(caller, quota, now)))
    }
  }

  peek (quotas: readonly Quota[], keys: readonly string[]): readonly Reading[] {
    const now = this.#now()
    return quotas.map((quota, index) => read(this.#find(keys[index] as string), quota, now))
  }

  reset (keys: readonly string[]): undefined {
    for (const key of keys) {
      this.#free.delete(key)
      this.#held.delete(key)
    }
  }

  ban (keys: readonly string[], durationMs: number): undefined {
    const now = this.#now()
    for (const key of keys) {
      const known = this.#find(key)
      // There is no ban to lift.
      if (durationMs === 0 && (known?.penalty ?? null) === null) continue
      const caller = known ?? newCaller()
      banByHand(caller.penalty ??= emptyPenalty(), now, durationMs)
      this.#keep(key, caller, true)
    }
  }

  close (): void {
    this.#free.clear()
    this.#held.clear()
  }

  #find (key: string): Caller | undefined {
    return this.#free.get(key) ?? this.#held.get(key)
  }

  /** A caller with a penalty stays held: forgetting how often it was banned would shorten the next ban. */
  #keep (key: string, caller: Caller, full: boolean): void {
    const held = full || caller.penalty !== null
    if (caller.held === held) return
    if (caller.held !== null) (caller.held ? this.#held : this.#free).delete(key)
    caller.held = held
    const kept = held ? this.#held : this.#free
    kept.set(key, caller)
  }
}

function newCaller (): Caller {
  return { counts: [], penalty: null, held: null }
}

const NO_COUNTS: Readonly<Counts> = Object.freeze([])

function read (caller: Caller | undefined, quota: Quota, now: number): Reading {
  const reading = ALGORITHMS[quota.algorithm].read(caller?.counts ?? NO_COUNTS, quota, now)
  const penalty = caller?.penalty ?? null
  return penalty !== null && isBanned(penalty, now) ? underBan(penalty, reading, now) : reading
}

/** Whether the next request would be refused. */
function isFull (quota: Quota, { used }: Reading): boolean {
  return !quota.shadow && used + quota.cost > capacityOf(quota)
}

function monotonicMs (): number {
  return Math.floor(performance.now())
}
