export type BreakerState = 'closed' | 'open' | 'half-open'

export interface BreakerOptions {
  /** Milliseconds that never run backwards; by default the process' monotonic clock. */
  readonly now?: () => number
  /** Told once when the breaker leaves `closed` and once when it is closed again. */
  readonly onTransition?: (available: boolean) => void
}

/** What `enter` answers when the store must not be asked. */
export const NO_ENTRY = 0

const FAILURES_TO_OPEN = 5
/** Short at first, because most losses are a hiccup; the longest bounds how late a return is seen. */
const FIRST_COOL_DOWN_MS = 100
const LONGEST_COOL_DOWN_MS = 500
/** A store that is lost again so soon is about as slow as the deadline: the breaker then opens for longer. */
const STEADY_MS = 10_000

/**
 * Says whether a store may be asked. Every ticket is given back once, to `succeeded` or to `failed`.
 *
 * It opens after five failures without an answer between them. One connection answers in order, so all requests behind
 * an overdue one wait too: they count as failing with it, and until the store answers again, one request at a time
 * asks.
 * While it is open, no request asks; after a cool-down, which doubles with each loss, a single one does.
 */
export class CircuitBreaker {
  readonly #now: () => number
  readonly #onTransition: (available: boolean) => void
  #state: BreakerState = 'closed'
  /** Failures since the last answer. */
  #failures = 0
  /** Tickets that are not given back yet. */
  #inside = 0
  #lastTicket = NO_ENTRY
  /** The one ticket that may ask while it is doubtful whether the store answers. */
  #trial = NO_ENTRY
  #overdue = false
  #coolDownMs = FIRST_COOL_DOWN_MS
  #probeAt = 0
  #closedAt = -Infinity

  constructor ({ now = () => performance.now(), onTransition = () => {} }: BreakerOptions = {}) {
    this.#now = now
    this.#onTransition = onTransition
  }

  get state (): BreakerState {
    return this.#state
  }

  /** A ticket to give to `succeeded` or `failed`, or `NO_ENTRY`. */
  enter (): number {
    if (this.#state === 'closed' && !this.#overdue) return this.#admit()
    if (this.#trial !== NO_ENTRY) return NO_ENTRY
    if (this.#state === 'open') {
      if (this.#now() < this.#probeAt) return NO_ENTRY
      this.#state = 'half-open'
    }
    this.#trial = this.#admit()
    return this.#trial
  }

  succeeded (ticket: number): void {
    this.#inside--
    if (this.#state === 'closed') {
      this.#forgive()
    } else if (ticket === this.#trial) {
      this.#state = 'closed'
      this.#closedAt = this.#now()
      this.#forgive()
      this.#onTransition(true)
    }
  }

  /** `late`: the store did not answer in time. An error, in contrast, keeps no request waiting. */
  failed (ticket: number, late: boolean): void {
    this.#inside--
    this.#failures++
    const tried = ticket === this.#trial
    if (tried) this.#trial = NO_ENTRY
    if (this.#state === 'half-open' && tried) {
      this.#open(true)
    } else if (this.#state === 'closed') {
      if (late) this.#overdue = true
      if (this.#failures + (late ? this.#inside : 0) < FAILURES_TO_OPEN) return
      this.#open(this.#now() - this.#closedAt < STEADY_MS)
      this.#onTransition(false)
    }
  }

  #forgive (): void {
    this.#failures = 0
    this.#overdue = false
    this.#trial = NO_ENTRY
  }

  #admit (): number {
    this.#inside++
    this.#lastTicket++
    return this.#lastTicket
  }

  #open (again: boolean): void {
    this.#state = 'open'
    this.#coolDownMs = again ? Math.min(this.#coolDownMs * 2, LONGEST_COOL_DOWN_MS) : FIRST_COOL_DOWN_MS
    this.#trial = NO_ENTRY
    this.#probeAt = this.#now() + this.#coolDownMs
  }
}
