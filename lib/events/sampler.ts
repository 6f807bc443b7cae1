import type { EventName } from './catalogue.js'

/** How long one window of an event's log lines lasts. */
export const WINDOW_MILLISECONDS = 10_000

/** What a window left out of the log. */
export interface Suppressed { readonly name: EventName, readonly count: number }

interface Window { startedAt: number, logged: number, suppressed: number }

/** Lets at most `limit` lines of each event into the log within a window, and counts exactly what it leaves out. */
export class EventSampler {
  readonly #limit: number
  readonly #windows = new Map<EventName, Window>()

  constructor (limit: number) {
    this.#limit = limit
  }

  /** True when this event may be logged. Call `ended` first, so that a window that is over reports what it left out. */
  admits (name: EventName, now: number): boolean {
    let window = this.#windows.get(name)
    if (window === undefined) {
      window = { startedAt: now, logged: 0, suppressed: 0 }
      this.#windows.set(name, window)
    } else if (isOver(window, now)) {
      window.startedAt = now
      window.logged = 0
    }
    if (window.logged < this.#limit) {
      window.logged++
      return true
    }
    window.suppressed++
    return false
  }

  /** What this event's window left out, when that window is over; it is reported once. */
  ended (name: EventName, now: number): Suppressed | null {
    const window = this.#windows.get(name)
    return window !== undefined && window.suppressed > 0 && isOver(window, now) ? take(name, window) : null
  }

  /** What every window that is over left out; all windows when `now` is Infinity. */
  allEnded (now: number): Suppressed[] {
    return [...this.#windows].filter(([, window]) => window.suppressed > 0 && isOver(window, now)).map(([name, window]) => take(name, window))
  }
}

/** A clock that was set back ends the window too: it must not silence an event until it has caught up. */
function isOver (window: Window, now: number): boolean {
  return now - window.startedAt >= WINDOW_MILLISECONDS || now < window.startedAt
}

function take (name: EventName, window: Window): Suppressed {
  const count = window.suppressed
  window.suppressed = 0
  return { name, count }
}
