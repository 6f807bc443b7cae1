import { setTimeout as sleep } from 'node:timers/promises'

const TIMEOUT_MS = 10_000

/** Asks every few milliseconds; fails after the given time. */
export async function until (
  what: string,
  isSo: () => boolean | Promise<boolean>,
  timeoutMs = TIMEOUT_MS,
): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!await isSo()) {
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await sleep(10)
  }
}
