import { addExact, readExact, removeExact, type ExactLog } from '../exact.js'
import { NOT_COUNTED, type Quota, type Reading } from '../quota.js'
import { addSliding, emptyCounts, readSliding, removeSliding, type SlidingCounts } from '../sliding.js'
import type { LimitStore, Verdict } from './store.js'

const DEFAULT_CAPACITY = 100_000
const SAMPLE = 8

interface Entry {
  readonly key: string
  readonly quota: Quota
  readonly state: { readonly log: ExactLog } | { readonly counts: SlidingCounts }
  /** Counted requests when it was last written. */
  used: number
  /** When the last of its counts leaves the window. */
  expiresAt: number
  /** When it has room again; 0 while it has. */
  blockedUntil: number
  /** Its place in the pool of blocked or of open entries. */
  at: number
  pool: Entry[]
}

/**
 * Counts in this process, synchronously and without timers, for at most `capacity` keys. When it is full, a new key
 * takes the place of an expired or the least loaded one of a small random sample; a key that blocks somebody goes only when every
 * key of the sample blocks somebody, so that a flood of foreign keys frees nobody.
 */
export class MemoryStore implements LimitStore {
  readonly kind = 'memory'
  readonly #capacity: number
  readonly #now: () => number
  readonly #entries = new Map<string, Entry>()
  readonly #open: Entry[] = []
  readonly #blocked: Entry[] = []

  /** `now` answers milliseconds that never run backwards; by default the process' monotonic clock. */
  constructor (options: { capacity?: number, now?: () => number } = {}) {
    this.#capacity = options.capacity ?? DEFAULT_CAPACITY
    this.#now = options.now ?? monotonicMs
  }

  get size (): number {
    return this.#entries.size
  }

  consume (quotas: readonly Quota[], keys: readonly string[]): Verdict {
    const now = this.#now()
    const readings: Reading[] = []
    let admitted = true
    for (let index = 0; index < quotas.length; index++) {
      const quota = quotas[index] as Quota
      const reading = read(this.#entries.get(keys[index] as string), quota, now)
      readings.push(reading)
      if (!reading.room && !quota.shadow) admitted = false
    }
    if (!admitted) return { admitted, readings }
    for (let index = 0; index < quotas.length; index++) {
      const reading = readings[index] as Reading
      if (reading.room) this.#count(keys[index] as string, quotas[index] as Quota, now, reading)
    }
    return { admitted, readings }
  }

  giveBack (_quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): undefined {
    for (let index = 0; index < keys.length; index++) {
      const mark = marks[index] ?? NOT_COUNTED
      const entry = this.#entries.get(keys[index] as string)
      if (mark === NOT_COUNTED || entry === undefined) continue
      const { state } = entry
      if (!('log' in state ? removeExact(state.log, mark) : removeSliding(state.counts, mark))) continue
      entry.used = Math.max(0, entry.used - 1)
      if (entry.used < entry.quota.limit) this.#move(entry, this.#open)
    }
  }

  peek (): never { throw new Error('not yet') }
  reset (): never { throw new Error('not yet') }
  ban (): never { throw new Error('not yet') }

  close (): void {
    this.#entries.clear()
    this.#open.length = 0
    this.#blocked.length = 0
  }

  #count (key: string, quota: Quota, now: number, reading: Reading): void {
    const entry = this.#entries.get(key) ?? this.#create(key, quota, now)
    if ('log' in entry.state) addExact(entry.state.log, quota, now, reading)
    else addSliding(entry.state.counts, quota, now, reading)
    entry.expiresAt = now + quota.windowMs
    entry.used = reading.used
    const full = reading.used >= quota.limit
    entry.blockedUntil = full ? now + reading.waitMs : 0
    this.#move(entry, full ? this.#blocked : this.#open)
  }

  #create (key: string, quota: Quota, now: number): Entry {
    if (this.#entries.size >= this.#capacity) this.#remove(this.#victim(now))
    const state = quota.algorithm === 'exact' ? { log: [] } : { counts: emptyCounts() }
    const entry: Entry = { key, quota, state, used: 0, expiresAt: now, blockedUntil: 0, at: this.#open.length, pool: this.#open }
    this.#open.push(entry)
    this.#entries.set(key, entry)
    return entry
  }

  #victim (now: number): Entry {
    let victim: Entry | undefined
    let lightest = Infinity
    for (let tries = 0; tries < SAMPLE; tries++) {
      for (const entry of [pick(this.#open), pick(this.#blocked)]) {
        if (entry === undefined || entry.blockedUntil > now) continue
        const load = entry.expiresAt <= now ? -1 : entry.used / entry.quota.limit
        if (load < lightest) { victim = entry; lightest = load }
      }
    }
    if (victim !== undefined) return victim
    let soonest = pick(this.#blocked) as Entry
    for (let tries = 1; tries < SAMPLE; tries++) {
      const entry = pick(this.#blocked) as Entry
      if (entry.blockedUntil < soonest.blockedUntil) soonest = entry
    }
    return soonest
  }

  #remove (entry: Entry): void {
    this.#entries.delete(entry.key)
    leavePool(entry)
  }

  #move (entry: Entry, pool: Entry[]): void {
    if (pool === this.#open) entry.blockedUntil = 0
    if (entry.pool === pool) return
    leavePool(entry)
    entry.pool = pool
    entry.at = pool.length
    pool.push(entry)
  }
}

function monotonicMs (): number {
  return Math.floor(performance.now())
}

function read (entry: Entry | undefined, quota: Quota, now: number): Reading {
  if (entry === undefined) return quota.algorithm === 'exact' ? readExact([], quota, now) : readSliding(null, quota, now)
  return 'log' in entry.state ? readExact(entry.state.log, quota, now) : readSliding(entry.state.counts, quota, now)
}

/** The draw decides only which key is forgotten, so it need not be unpredictable. */
function pick (pool: readonly Entry[]): Entry | undefined {
  return pool[Math.floor(Math.random() * pool.length)]
}

/** The last entry takes the place of the leaving one: constant time, no order to keep. */
function leavePool (entry: Entry): void {
  const last = entry.pool.pop()
  if (last === undefined || last === entry) return
  entry.pool[entry.at] = last
  last.at = entry.at
}
