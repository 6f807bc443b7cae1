import { NOT_COUNTED, type Quota, type Reading } from './quota.js'

/** Stamps (milliseconds) of the counted requests, oldest first; never more than the limit. */
export type ExactLog = number[]

/** Reads without a change. A clock that stepped back counts as standing still, so that no stamp leaves early. */
export function readExact (log: Readonly<ExactLog>, quota: Quota, now: number): Reading {
  const first = firstLive(log, quota, now)
  const used = log.length - first
  if (used >= quota.limit) {
    const leaver = log[log.length - quota.limit] ?? now
    return { room: false, used, waitMs: leaver + quota.windowMs - now, mark: NOT_COUNTED }
  }
  return { room: true, used, waitMs: (log[first] ?? now) + quota.windowMs - now, mark: NOT_COUNTED }
}

/** Counts one request; only after `readExact` said that there is room at the same `now`. */
export function addExact (log: ExactLog, quota: Quota, now: number, reading: Reading): void {
  const stamp = Math.max(now, log.at(-1) ?? now)
  log.splice(0, firstLive(log, quota, now))
  log.push(stamp)
  if (reading.used === 0) reading.waitMs = stamp + quota.windowMs - now
  reading.used += 1
  reading.mark = stamp
}

/** Takes one request out again. False when it has left the window already. */
export function removeExact (log: ExactLog, mark: number): boolean {
  const index = log.indexOf(mark)
  if (index === -1) return false
  log.splice(index, 1)
  return true
}

function firstLive (log: Readonly<ExactLog>, quota: Quota, now: number): number {
  const edge = Math.max(now, log.at(-1) ?? now) - quota.windowMs
  let first = 0
  while (first < log.length && (log[first] ?? 0) <= edge) first++
  return first
}
