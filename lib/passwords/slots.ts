import { refusal } from '../response/errors.js'

/** Runs an operation as soon as there is room. See `createSlots`. */
export type Slots = <T>(operation: () => Promise<T>, signal?: AbortSignal) => Promise<T>

/** About what a full queue takes on a small machine. */
const RETRY_AFTER_SECONDS = '2'

/**
 * Runs at most `concurrency` operations at once and lets at most `queue` wait, first come, first served. Further ones
 * are refused at once: SecurityError SERVICE_UNAVAILABLE with Retry-After. A signal that aborts frees its place in the
 * queue and rejects with its reason; an operation that has begun runs to its end.
 */
export function createSlots (concurrency: number, queue: number): Slots {
  const waiting: (() => void)[] = []
  let running = 0

  function turn (signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const start = (): void => {
        // An abort after this must not free the place a second time.
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        waiting.splice(waiting.indexOf(start), 1)
        reject(signal?.reason as Error)
      }
      waiting.push(start)
      signal?.addEventListener('abort', leave, { once: true })
    })
  }

  return async function inSlot (operation, signal) {
    signal?.throwIfAborted()
    if (running < concurrency) {
      running++
    } else {
      if (waiting.length >= queue) {
        throw refusal('SERVICE_UNAVAILABLE', { headers: { 'retry-after': RETRY_AFTER_SECONDS } })
      }
      await turn(signal)
    }
    try {
      return await operation()
    } finally {
      // The slot is handed over, so `running` stays as it is.
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}
