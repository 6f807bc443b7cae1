import { Generations } from '../common/generations.js'
import type { EventName } from './catalogue.js'

/** How long one window of an event's log lines lasts. */
export const WINDOW_MILLISECONDS = 10_000

/** Callers of one event that a window remembers. A forgotten one is named with less than it did, or not at all. */
const REMEMBERED_CALLERS = 1024
/** How many callers the line of a window names. */
const NAMED_CALLERS = 5

/** What one caller did that the log does not show. */
export interface SuppressedCaller { readonly caller: string, readonly suppressed: number }

/** What a window left out of the log. */
export interface Suppressed {
  readonly name: EventName
  /** Exact. */
  readonly count: number
  /** Those with most, the first with the most. */
  readonly callers: readonly SuppressedCaller[]
}

export interface SamplerLimits {
  /** Log lines of one event in a window. */
  readonly total: number
  /** Log lines of one event that one caller may cause in a window. */
  readonly caller: number
}

interface CallerCount { logged: number, suppressed: number }

interface Window {
  startedAt: number
  logged: number
  /** Exact, also for forgotten callers. */
  suppressed: number
  readonly callers: Generations<string, CallerCount>
}

/**
 * Lets a bounded number of lines of each event into the log within a window, and fewer of one caller, so that a loud
 * one does not hide the others. Counts exactly what it leaves out.
 */
export class EventSampler {
  readonly #limits: SamplerLimits
  readonly #windows = new Map<EventName, Window>()

  constructor (limits: SamplerLimits) {
    this.#limits = limits
  }

  /** True when this event may be logged. Call `ended` first, so that a window that is over reports what it left out. */
  admits (name: EventName, caller: string, now: number): boolean {
    let window = this.#windows.get(name)
    if (window === undefined) {
      window = { startedAt: now, logged: 0, suppressed: 0, callers: new Generations(REMEMBERED_CALLERS) }
      this.#windows.set(name, window)
    } else if (isOver(window, now)) {
      window.startedAt = now
      window.logged = 0
      window.callers.clear()
    }
    const counts = window.callers.get(caller) ?? { logged: 0, suppressed: 0 }
    window.callers.set(caller, counts)
    if (window.logged < this.#limits.total && counts.logged < this.#limits.caller) {
      window.logged++
      counts.logged++
      return true
    }
    window.suppressed++
    counts.suppressed++
    return false
  }

  /** What this event's window left out, when that window is over; it is reported once. */
  ended (name: EventName, now: number): Suppressed | null {
    const window = this.#windows.get(name)
    return window !== undefined && window.suppressed > 0 && isOver(window, now) ? take(name, window) : null
  }

  /** What every window that is over left out; all windows when `now` is Infinity. */
  allEnded (now: number): Suppressed[] {
    return [...this.#windows.keys()].map((name) => this.ended(name, now)).filter((suppressed) => suppressed !== null)
  }
}

/** A clock that was set back ends the window too: it must not silence an event until it has caught up. */
function isOver (window: Window, now: number): boolean {
  return now - window.startedAt >= WINDOW_MILLISECONDS || now < window.startedAt
}

function take (name: EventName, window: Window): Suppressed {
  const count = window.suppressed
  const callers = [...window.callers]
    .filter(([, { suppressed }]) => suppressed > 0)
    .sort(([, one], [, other]) => other.suppressed - one.suppressed)
    .slice(0, NAMED_CALLERS)
    .map(([caller, { suppressed }]) => ({ caller, suppressed }))
  window.suppressed = 0
  window.callers.clear()
  return { name, count, callers }
}
