import type { OnOutage } from './limits.js'
import { NOT_COUNTED, type Quota, type Reading } from './quota.js'
import type { MemoryStore } from './stores/memory.js'
import type { LimitStore, Verdict } from './stores/store.js'

/** What the engine needs to know of the limits that are decided in one step. */
export interface LimitSet {
  readonly quotas: readonly Quota[]
  /** One for each quota. */
  readonly onOutage: readonly OnOutage[]
}

export interface Decision {
  /** `unavailable`: the store cannot be asked, and a limit of the set is closed in that case. */
  readonly outcome: 'admitted' | 'refused' | 'unavailable'
  /** One for each quota; null where nobody counted. */
  readonly readings: readonly (Reading | null)[]
  /** Where the reservations are held. */
  readonly store: LimitStore
}

/** Told once when the store is lost and once when it answers again. */
export type OnTransition = (available: boolean) => void

/** Asks the store, and knows what to do while it cannot be asked. */
export class LimitEngine {
  readonly #store: LimitStore
  readonly #fallback: MemoryStore
  readonly #onTransition: OnTransition
  #available = true

  constructor (store: LimitStore, fallback: MemoryStore, onTransition: OnTransition) {
    this.#store = store
    this.#fallback = fallback
    this.#onTransition = onTransition
  }

  /** Decides synchronously in memory; a promise, which never rejects, where it must wait for Redis. */
  decide (set: LimitSet, keys: readonly string[]): Decision | Promise<Decision> {
    const verdict = this.#store.consume(set.quotas, keys)
    if (!(verdict instanceof Promise)) return decisionOf(verdict, this.#store)
    return verdict.then(
      (late) => {
        this.#setAvailable(true)
        return decisionOf(late, this.#store)
      },
      () => {
        this.#setAvailable(false)
        return this.#decideWithoutStore(set, keys)
      },
    )
  }

  /** Gives the reservations that `held` names back. Waits no longer than the store's deadline and never rejects. */
  giveBack (set: LimitSet, keys: readonly string[], decision: Decision, held: readonly boolean[]): undefined | Promise<void> {
    const marks = decision.readings.map((reading, index) => held[index] === true && reading !== null ? reading.mark : NOT_COUNTED)
    if (marks.every((mark) => mark === NOT_COUNTED)) return undefined
    for (const [index, reading] of decision.readings.entries()) {
      if (reading !== null && marks[index] !== NOT_COUNTED) reading.used -= 1
    }
    // A request that cannot be given back stays counted: an outage makes the limiter stricter, never laxer.
    return decision.store.giveBack(set.quotas, keys, marks)?.catch(() => { this.#setAvailable(false) })
  }

  close (): void {
    this.#store.close()
    this.#fallback.close()
  }

  #setAvailable (available: boolean): void {
    if (this.#available === available) return
    this.#available = available
    this.#onTransition(available)
  }

  #decideWithoutStore (set: LimitSet, keys: readonly string[]): Decision {
    const nothing = set.quotas.map(() => null)
    if (set.onOutage.includes('closed')) return { outcome: 'unavailable', readings: nothing, store: this.#fallback }
    const local = set.onOutage.flatMap((onOutage, index) => onOutage === 'local' ? [index] : [])
    const verdict = this.#fallback.consume(local.map((index) => set.quotas[index] as Quota), local.map((index) => keys[index] as string))
    // What is left uncounted are the limits declared `open`: whoever wrote that holds an unlimited minute for a smaller
    // harm than a refused one, for example on a read-only page. It is never a default.
    const readings = set.quotas.map((_quota, index) => verdict.readings[local.indexOf(index)] ?? null)
    return { outcome: verdict.admitted ? 'admitted' : 'refused', readings, store: this.#fallback }
  }
}

function decisionOf (verdict: Verdict, store: LimitStore): Decision {
  return { outcome: verdict.admitted ? 'admitted' : 'refused', readings: verdict.readings, store }
}
