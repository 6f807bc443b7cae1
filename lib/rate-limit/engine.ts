import { SecurityError } from '../response/errors.js'
import { DeadlineExceeded } from '../redis/connection.js'
import { NO_ENTRY, type CircuitBreaker } from './breaker.js'
import { Breakers } from './breakers.js'
import { PolicyCounters, type LimiterCounts } from './counters.js'
import { DenyCache } from './deny-cache.js'
import type { OnOutage } from './options.js'
import { NOT_COUNTED, type Quota, type Reading } from './quota.js'
import type { LimitStore, Verdict } from './stores/store.js'

/** What the engine needs to know of the limits that are decided in one step. */
export interface LimitSet {
  readonly quotas: readonly Quota[]
  /** One for each quota. */
  readonly onOutage: readonly OnOutage[]
  /** Which reservations end when the request succeeds; none when absent. */
  readonly failuresOnly?: readonly boolean[]
}

export interface Decision {
  /** `unavailable`: the store cannot be asked, and a limit of the set is closed in that case. */
  readonly outcome: 'admitted' | 'refused' | 'unavailable'
  /** Who decided. */
  readonly source: 'store' | 'deny-cache' | 'fallback'
  /** One for each quota; null where nothing was counted. */
  readonly readings: readonly (Reading | null)[]
  /** Where the reservations are held. */
  readonly store: LimitStore
}

/** A store that decides at once: the one that stands in. */
export interface LocalStore extends LimitStore {
  consume (quotas: readonly Quota[], keys: readonly string[]): Verdict
  peek (quotas: readonly Quota[], keys: readonly string[]): readonly Reading[]
}

/** A request that asks the store, and where it must say how that ended. */
interface Entry { readonly breaker: CircuitBreaker, readonly ticket: number }

/** Told once when the store is lost and once when it answers again. */
export type OnTransition = (available: boolean) => void

export interface EngineOptions {
  /** Milliseconds that never run backwards; by default the process' monotonic clock. */
  readonly now?: () => number
  readonly denyCache?: DenyCache
}

/**
 * Asks the store, and knows what to do while it cannot be asked. A shared store is asked behind a deny cache and a
 * breaker, and must reject by its deadline; a memory store answers at once and needs neither.
 */
export class LimitEngine {
  readonly policies = new PolicyCounters()
  readonly #store: LimitStore
  readonly #fallback: LocalStore
  readonly #now: () => number
  readonly #denied: DenyCache
  readonly #breakers: Breakers
  #failures = 0
  #closed = false

  constructor (store: LimitStore, fallback: LocalStore, onTransition: OnTransition, options: EngineOptions = {}) {
    this.#store = store
    this.#fallback = fallback
    this.#now = options.now ?? (() => performance.now())
    this.#denied = options.denyCache ?? new DenyCache({ now: this.#now })
    this.#breakers = new Breakers(store, {
      now: this.#now,
      // What a closing connection leaves unanswered is no outage.
      onTransition: (available) => { if (!this.#closed) onTransition(available) },
    })
  }

  get kind (): LimitStore['kind'] {
    return this.#store.kind
  }

  /** Decides synchronously where it need not wait for Redis; else a promise, which never rejects. */
  decide (set: LimitSet, keys: readonly string[]): Decision | Promise<Decision> {
    if (this.#store.kind === 'memory') {
      const verdict = this.#store.consume(set.quotas, keys)
      return verdict instanceof Promise
        ? verdict.then((late) => decisionOf(late, 'store', this.#store))
        : decisionOf(verdict, 'store', this.#store)
    }
    const denied = this.#recall(set, keys)
    if (denied !== null) return denied
    const entry = this.#enter(keys)
    return entry === null ? this.#decideWithoutStore(set, keys) : this.#askShared(set, keys, entry)
  }

  /** Gives the reservations that `held` names back. Waits no longer than the store's deadline and never rejects. */
  giveBack (
    set: LimitSet,
    keys: readonly string[],
    decision: Decision,
    held: readonly boolean[],
  ): undefined | Promise<void> {
    const marks = decision.readings.map((reading, index) =>
      held[index] === true && reading !== null ? reading.mark : NOT_COUNTED
    )
    if (marks.every((mark) => mark === NOT_COUNTED)) return undefined
    for (const [index, reading] of decision.readings.entries()) {
      if (reading !== null && marks[index] !== NOT_COUNTED) {
        reading.used = Math.max(0, reading.used - (set.quotas[index]?.cost ?? 1))
      }
    }
    if (decision.store.kind === 'memory') return decision.store.giveBack(set.quotas, keys, marks)
    // A request that cannot be given back stays counted: an outage makes the limiter stricter, never laxer.
    const entry = this.#enter(keys)
    return entry === null ? undefined : this.#giveBackShared(set, keys, marks, entry)
  }

  /** What the limits stand at, without counting anything; while the store is lost, what this process counted since. */
  peek (set: LimitSet, keys: readonly string[]): readonly Reading[] | Promise<readonly Reading[]> {
    const found = this.#breakers.of(keys).state === 'closed'
      ? this.#store.peek(set.quotas, keys)
      : this.#fallback.peek(set.quotas, keys)
    return found instanceof Promise ? found.catch(() => this.#fallback.peek(set.quotas, keys)) : found
  }

  /**
   * Forgets counts, refusals and bans of these keys.
   * @throws SecurityError STORE_UNAVAILABLE (rejects) when only this process could forget them.
   */
  reset (keys: readonly string[]): undefined | Promise<void> {
    return this.#control(keys, (store) => store.reset(keys))
  }

  /**
   * Refuses the keys for so long; zero lifts a ban.
   * @throws SecurityError STORE_UNAVAILABLE (rejects) when only this process knows of it.
   */
  ban (keys: readonly string[], durationMs: number): undefined | Promise<void> {
    return this.#control(keys, (store) => store.ban(keys, durationMs))
  }

  /** Whom the store refused a moment ago; `clear` makes the next request of each ask it again. */
  get denyCache (): DenyCache {
    return this.#denied
  }

  counters (): LimiterCounts {
    return {
      policies: this.policies.snapshot(),
      store: {
        breaker: this.#breakers.state,
        failures: this.#failures,
        evictions: evictionsOf(this.#store.kind === 'memory' ? this.#store : this.#fallback),
      },
    }
  }

  close (): void {
    this.#closed = true
    this.#store.close()
    this.#fallback.close()
    this.#denied.clear()
  }

  async #askShared (set: LimitSet, keys: readonly string[], entry: Entry): Promise<Decision> {
    const askedAt = this.#now()
    let verdict: Verdict
    try {
      verdict = await this.#store.consume(set.quotas, keys)
    } catch (error) {
      this.#unanswered(entry, error)
      return this.#decideWithoutStore(set, keys)
    }
    entry.breaker.succeeded(entry.ticket)
    const decision = decisionOf(verdict, 'store', this.#store)
    if (!verdict.admitted) this.#remember(set, keys, decision, askedAt)
    // What was remembered of these callers' other limits has changed.
    else if (this.#denied.size > 0) this.#forget(keys)
    return decision
  }

  async #giveBackShared (
    { quotas }: LimitSet,
    keys: readonly string[],
    marks: readonly number[],
    entry: Entry,
  ): Promise<void> {
    try {
      await this.#store.giveBack(quotas, keys, marks)
      entry.breaker.succeeded(entry.ticket)
    } catch (error) {
      this.#unanswered(entry, error)
    }
    // Only now, because the answer to a request that was refused before this may have come just before.
    this.#forget(keys.filter((_key, index) => marks[index] !== NOT_COUNTED))
  }

  /**
   * The refusal that the store would repeat; null unless all is known that may refuse the request, and so how long to
   * wait.
   */
  #recall ({ quotas }: LimitSet, keys: readonly string[]): Decision | null {
    if (this.#denied.size === 0) return null
    const readings: (Reading | null)[] = []
    let refused = false
    for (let index = 0; index < quotas.length; index++) {
      const quota = quotas[index] as Quota
      const found = quota.shadow ? null : this.#denied.find(quota, keys[index] as string)
      if (found === null && !quota.shadow) return null
      if (found?.room === false) refused = true
      readings.push(found)
    }
    return refused ? { outcome: 'refused', source: 'deny-cache', readings, store: this.#store } : null
  }

  #remember (set: LimitSet, keys: readonly string[], decision: Decision, askedAt: number): void {
    for (const [index, reading] of decision.readings.entries()) {
      if (reading !== null) {
        this.#denied.remember(
          set.quotas[index] as Quota,
          keys[index] as string,
          reading,
          askedAt,
          set.failuresOnly?.[index] === true,
        )
      }
    }
  }

  #forget (keys: readonly string[]): void {
    for (const key of keys) this.#denied.forget(key)
  }

  #enter (keys: readonly string[]): Entry | null {
    const breaker = this.#breakers.of(keys)
    const ticket = breaker.enter()
    return ticket === NO_ENTRY ? null : { breaker, ticket }
  }

  #unanswered ({ breaker, ticket }: Entry, error: unknown): void {
    this.#failures++
    breaker.failed(ticket, error instanceof DeadlineExceeded)
  }

  /**
   * Past the breaker, because what an operator asks for is worth the deadline, and first in this process, which may be
   * cut off.
   */
  #control (keys: readonly string[], run: (store: LimitStore) => undefined | Promise<void>): undefined | Promise<void> {
    if (this.#store.kind === 'memory') return run(this.#store)
    void run(this.#fallback)
    this.#forget(keys)
    return Promise.resolve(run(this.#store)).then(
      // A refusal that was decided before this may have been answered in between.
      () => { this.#forget(keys) },
      (cause: unknown) => { throw new SecurityError('STORE_UNAVAILABLE', { cause }) },
    )
  }

  #decideWithoutStore (set: LimitSet, keys: readonly string[]): Decision {
    const { quotas, onOutage } = set
    if (onOutage.includes('closed')) {
      return {
        outcome: 'unavailable',
        source: 'fallback',
        readings: quotas.map(() => null),
        store: this.#fallback,
      }
    }
    if (!onOutage.includes('open')) return decisionOf(this.#fallback.consume(quotas, keys), 'fallback', this.#fallback)
    const local = onOutage.flatMap((choice, index) => choice === 'local' ? [index] : [])
    const verdict = this.#fallback.consume(
      local.map((index) => quotas[index] as Quota),
      local.map((index) => keys[index] as string),
    )
    // Limits declared `open` stay uncounted. It is never a default: the service chose it where a refusal would do more
    // harm than an unlimited minute, for example on a read-only page.
    const readings = quotas.map((_quota, index) => verdict.readings[local.indexOf(index)] ?? null)
    return { outcome: verdict.admitted ? 'admitted' : 'refused', source: 'fallback', readings, store: this.#fallback }
  }
}

function decisionOf (verdict: Verdict, source: Decision['source'], store: LimitStore): Decision {
  return { outcome: verdict.admitted ? 'admitted' : 'refused', source, readings: verdict.readings, store }
}

function evictionsOf (store: LimitStore): number | null {
  return 'evictions' in store && typeof store.evictions === 'number' ? store.evictions : null
}
