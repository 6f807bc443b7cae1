import { Generations } from '../common/generations.js'
import { NOT_COUNTED, type Quota, type Reading } from './quota.js'

const DEFAULT_CAPACITY = 20_000
/** A reset, a lifted ban or a larger limit that another instance made is seen after so long. */
const MAX_AGE_MS = 10_000
/**
 * A failure-counting limit has room again whenever an attempt of its own caller succeeds, here or at another instance.
 */
const MAX_AGE_OF_FAILURES_MS = 1000

interface Remembered {
  /** Of this very limit: another quota under the same key is another question. */
  readonly quota: Quota
  readonly room: boolean
  readonly used: number
  readonly banned: boolean
  /** Until then the answer holds. */
  readonly validUntil: number
  /** Waiting until then succeeds; with room, a unit more is free then. */
  readonly freeAt: number
}

/**
 * Remembers what the shared store said when it refused a request, so that a blocked flood costs it no command. It also
 * remembers which other limits of that request had room: without them it could not say how long to wait for all.
 * What is dropped too early costs one question.
 */
export class DenyCache {
  readonly #now: () => number
  readonly #remembered: Generations<string, Remembered>

  /** `now` answers milliseconds that never run backwards; by default the process' monotonic clock. */
  constructor (
    { capacity = DEFAULT_CAPACITY, now = () => performance.now() }: {
      readonly capacity?: number
      readonly now?: () => number
    } = {},
  ) {
    this.#now = now
    this.#remembered = new Generations(capacity)
  }

  get size (): number {
    return this.#remembered.size
  }

  /** What the store would answer; null when it must be asked. */
  find (quota: Quota, key: string): Reading | null {
    const known = this.#remembered.get(key)
    if (known?.quota !== quota) return null
    const now = this.#now()
    if (now >= known.validUntil) return null
    const { room, used, banned } = known
    return {
      room,
      used,
      waitMs: Math.max(1, Math.ceil(known.freeAt - now)),
      mark: NOT_COUNTED,
      ...(banned && { banned }),
    }
  }

  /**
   * Remembers the reading of a refused request; the store was asked at `askedAt` on this cache's clock and has just
   * answered.
   */
  remember (quota: Quota, key: string, reading: Reading, askedAt: number, countsFailures: boolean): void {
    const { room, used, waitMs, banned = false } = reading
    // The store must see each refusal that may lead to a ban.
    if (quota.shadow || (quota.penalty !== null && !room && !banned)) {
      this.forget(key)
      return
    }
    const maxAgeMs = countsFailures && !room && !banned ? MAX_AGE_OF_FAILURES_MS : MAX_AGE_MS
    // When in between the store decided is not known: a refusal ends by the earliest moment, and Retry-After names the
    // latest.
    const validUntil = askedAt + (room ? maxAgeMs : Math.min(waitMs, maxAgeMs))
    const now = this.#now()
    if (validUntil <= now) return
    this.#remembered.set(key, { quota, room, used, banned, validUntil, freeAt: now + waitMs })
  }

  forget (key: string): void {
    this.#remembered.delete(key)
  }

  clear (): void {
    this.#remembered.clear()
  }
}
