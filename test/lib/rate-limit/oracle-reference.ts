import { addExact, readExact, removeExact, type ExactLog } from '../../../lib/rate-limit/exact.js'
import { addFixed, readFixed, removeFixed, type FixedCount } from '../../../lib/rate-limit/fixed.js'
import { addGcra, readGcra, removeGcra, type GcraState } from '../../../lib/rate-limit/gcra.js'
import { addRefusal, banByHand, emptyPenalty, isBanned, underBan,
  type PenaltyState } from '../../../lib/rate-limit/penalty.js'
import { NOT_COUNTED, type Quota, type Reading } from '../../../lib/rate-limit/quota.js'
import { addSliding, emptyCounts, readSliding, removeSliding,
  type SlidingCounts } from '../../../lib/rate-limit/sliding.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'

interface Caller {
  readonly log: ExactLog
  readonly sliding: SlidingCounts
  readonly gcra: GcraState
  readonly fixed: FixedCount
  readonly penalty: PenaltyState
}

/** The pure functions and nothing else: what the stores must agree with. It forgets nothing and knows no bound. */
export class ReferenceStore implements LimitStore {
  readonly kind = 'memory'
  readonly #now: () => number
  readonly #callers = new Map<string, Caller>()

  constructor (now: () => number) {
    this.#now = now
  }

  consume (quotas: readonly Quota[], keys: readonly string[]): Verdict {
    const now = this.#now()
    const readings = this.peek(quotas, keys)
    const admitted = quotas.every((quota, index) => quota.shadow || readings[index]?.room === true)
    for (const [index, quota] of quotas.entries()) {
      const caller = this.#caller(keys[index] as string)
      const reading = readings[index] as Reading
      if (admitted && reading.room) add(caller, quota, now, reading)
      if (!admitted && !reading.room && reading.banned !== true && !quota.shadow && quota.penalty !== null)
        {addRefusal(caller.penalty, quota.penalty, now, reading)}
    }
    return { admitted, readings }
  }

  giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): undefined {
    for (const [index, quota] of quotas.entries()) {
      const mark = marks[index] ?? NOT_COUNTED
      if (mark !== NOT_COUNTED) remove(this.#caller(keys[index] as string), quota, this.#now(), mark)
    }
  }

  peek (quotas: readonly Quota[], keys: readonly string[]): Reading[] {
    const now = this.#now()
    return quotas.map((quota, index) => {
      const caller = this.#caller(keys[index] as string)
      const reading = read(caller, quota, now)
      return isBanned(caller.penalty, now) ? underBan(caller.penalty, reading, now) : reading
    })
  }

  reset (keys: readonly string[]): undefined {
    for (const key of keys) this.#callers.delete(key)
  }

  ban (keys: readonly string[], durationMs: number): undefined {
    for (const key of keys) banByHand(this.#caller(key).penalty, this.#now(), durationMs)
  }

  close (): void {
    this.#callers.clear()
  }

  #caller (key: string): Caller {
    let caller = this.#callers.get(key)
    if (caller === undefined) {
      caller = {
        log: [],
        sliding: emptyCounts(),
        gcra: { tatUs: 0 },
        fixed: { number: 0, count: 0 },
        penalty: emptyPenalty(),
      }
      this.#callers.set(key, caller)
    }
    return caller
  }
}

function read (caller: Caller, quota: Quota, now: number): Reading {
  switch (quota.algorithm) {
    case 'exact': return readExact(caller.log, quota, now)
    case 'sliding': return readSliding(caller.sliding, quota, now)
    case 'gcra': return readGcra(caller.gcra, quota, now)
    case 'fixed': return readFixed(caller.fixed, quota, now)
  }
}

function add (caller: Caller, quota: Quota, now: number, reading: Reading): void {
  switch (quota.algorithm) {
    case 'exact': addExact(caller.log, quota, now, reading); return
    case 'sliding': addSliding(caller.sliding, quota, now, reading); return
    case 'gcra': addGcra(caller.gcra, quota, now, reading); return
    case 'fixed': addFixed(caller.fixed, quota, now, reading)
  }
}

function remove (caller: Caller, quota: Quota, now: number, mark: number): boolean {
  switch (quota.algorithm) {
    case 'exact': return removeExact(caller.log, mark, quota.cost)
    case 'sliding': return removeSliding(caller.sliding, mark, quota.cost)
    case 'gcra': return removeGcra(caller.gcra, quota, now)
    case 'fixed': return removeFixed(caller.fixed, mark, quota.cost)
  }
}
