import { NOT_COUNTED, type Quota, type Reading } from './quota.js'

const DEFAULT_CAPACITY = 10_000
/** A reset, a lifted ban or a larger limit that another instance made is seen after so long. */
const MAX_AGE_MS = 10_000
/** A failure-counting limit has room again whenever an attempt of its own caller succeeds, here or at another instance. */
const MAX_AGE_OF_FAILURES_MS = 1000

interface Denial {
  /** Of this very limit: changed limits are new quotas, which no old denial speaks for. */
  readonly quota: Quota
  readonly used: number
  readonly banned: boolean
  /** Until then the answer holds. */
  readonly validUntil: number
  /** Waiting until then succeeds. */
  readonly roomAt: number
}

/**
 * Remembers whom the shared store refused, so that a blocked flood costs it no command. Holds at most twice `capacity` denials in
 * two generations: when the young one is full it becomes the old one, and the old one is dropped. Constant time, no timers, no
 * scans; a denial that is dropped too early costs one question.
 */
export class DenyCache {
  readonly #capacity: number
  readonly #now: () => number
  #young = new Map<string, Denial>()
  #old = new Map<string, Denial>()

  /** `now` answers milliseconds that never run backwards; by default the process' monotonic clock. */
  constructor ({ capacity = DEFAULT_CAPACITY, now = () => performance.now() }: { readonly capacity?: number, readonly now?: () => number } = {}) {
    this.#capacity = capacity
    this.#now = now
  }

  get size (): number {
    return this.#young.size + this.#old.size
  }

  /** What the store would answer for a key that it is known to refuse; null when it must be asked. */
  find (quota: Quota, key: string): Reading | null {
    const denial = this.#young.get(key) ?? this.#old.get(key)
    if (denial?.quota !== quota) return null
    const now = this.#now()
    if (now >= denial.validUntil) return null
    const { used, banned } = denial
    return { room: false, used, waitMs: Math.ceil(denial.roomAt - now), mark: NOT_COUNTED, ...(banned && { banned }) }
  }

  /** Remembers a refusal by the store, which was asked at `askedAt` on this cache's clock and has just answered. */
  remember (quota: Quota, key: string, reading: Reading, askedAt: number, countsFailures: boolean): void {
    const banned = reading.banned === true
    // The store must see each refusal that may lead to a ban.
    if (reading.room || quota.shadow || (quota.penalty !== null && !banned)) return
    // When in between it decided is not known: the denial ends by the earliest moment, and Retry-After names the latest.
    const maxAgeMs = countsFailures && !banned ? MAX_AGE_OF_FAILURES_MS : MAX_AGE_MS
    const validUntil = askedAt + Math.min(reading.waitMs, maxAgeMs)
    const now = this.#now()
    if (validUntil <= now) return
    if (this.#young.size >= this.#capacity) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, { quota, used: reading.used, banned, validUntil, roomAt: now + reading.waitMs })
  }

  forget (key: string): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }

  clear (): void {
    this.#young.clear()
    this.#old.clear()
  }
}
