import { CircuitBreaker, type BreakerOptions, type BreakerState } from './breaker.js'
import type { LimitStore } from './stores/store.js'

interface Lane {
  readonly breaker: CircuitBreaker
  /** Keys that went there once: when they go elsewhere, another node has taken over. */
  readonly keys: readonly string[]
}

const ONLY_LANE = ''
/** Nodes come and go under new addresses; what is known of the old ones must not grow without bound. */
const MAX_LANES = 4096
const SWEEP_MS = 100

/**
 * A breaker for each part of the store that fails by itself: one for a server, one for each node of a Cluster (and for
 * each set of nodes that one request needs), so that a node that is lost closes no way to the others. Tells of a loss
 * once, when the first part is lost, and of the return once, when none is lost any more.
 */
export class Breakers {
  readonly #store: Pick<LimitStore, 'laneOf'>
  readonly #now: () => number
  readonly #onTransition: (available: boolean) => void
  readonly #lanes = new Map<string, Lane>()
  readonly #lost = new Set<string>()
  #sweepAt = 0

  constructor (
    store: Pick<LimitStore, 'laneOf'>,
    { now = () => performance.now(), onTransition = () => {} }: BreakerOptions = {},
  ) {
    this.#store = store
    this.#now = now
    this.#onTransition = onTransition
  }

  /** The breaker of the part that serves these keys. */
  of (keys: readonly string[]): CircuitBreaker {
    if (this.#lost.size > 0) this.#sweep()
    const name = this.#laneOf(keys)
    const known = this.#lanes.get(name)
    if (known !== undefined) return known.breaker
    if (this.#lanes.size >= MAX_LANES) for (const other of [...this.#lanes.keys()]) this.#forget(other)
    const breaker: CircuitBreaker = new CircuitBreaker({
      now: this.#now,
      onTransition: (available) => { if (this.#lanes.get(name)?.breaker === breaker) this.#tell(name, available) },
    })
    this.#lanes.set(name, { breaker, keys })
    return breaker
  }

  /** The worst of all parts. */
  get state (): BreakerState {
    const states = [...this.#lanes.values()].map(({ breaker }) => breaker.state)
    return states.find((state) => state === 'open') ?? states.find((state) => state === 'half-open') ?? 'closed'
  }

  #laneOf (keys: readonly string[]): string {
    return this.#store.laneOf === undefined ? ONLY_LANE : this.#store.laneOf(keys)
  }

  /** A node whose slots another one took over is never asked again, so its breaker would stay open for ever. */
  #sweep (): void {
    const now = this.#now()
    if (now < this.#sweepAt) return
    this.#sweepAt = now + SWEEP_MS
    for (const name of [...this.#lost]) {
      const lane = this.#lanes.get(name)
      if (lane === undefined || this.#laneOf(lane.keys) !== name) this.#forget(name)
    }
  }

  #forget (name: string): void {
    this.#lanes.delete(name)
    this.#tell(name, true)
  }

  #tell (name: string, available: boolean): void {
    const before = this.#lost.size
    if (available) this.#lost.delete(name)
    else this.#lost.add(name)
    if ((before === 0) !== (this.#lost.size === 0)) this.#onTransition(available)
  }
}
