import { NOT_COUNTED, type Quota, type Reading } from './quota.js'

/** Stamps (milliseconds) of the counted units, oldest first: a request that costs three stands there three times. */
export type ExactLog = number[]

/** Reads without a change. A clock that stepped back counts as standing still, so that no stamp leaves early. */
export function readExact (log: Readonly<ExactLog>, quota: Quota, now: number): Reading {
  const first = firstLive(log, quota, now)
  const used = log.length - first
  if (used + quota.cost > quota.limit) {
    // The youngest of the units that must leave before the cost fits.
    const leaver = log[log.length + quota.cost - quota.limit - 1] ?? now
    return { room: false, used, waitMs: leaver + quota.windowMs - now, mark: NOT_COUNTED }
  }
  return { room: true, used, waitMs: (log[first] ?? now) + quota.windowMs - now, mark: NOT_COUNTED }
}

/** Counts one request; only after `readExact` said that there is room at the same `now`. */
export function addExact (log: ExactLog, quota: Quota, now: number, reading: Reading): void {
  const stamp = Math.max(now, log.at(-1) ?? now)
  log.splice(0, firstLive(log, quota, now))
  for (let unit = 0; unit < quota.cost; unit++) log.push(stamp)
  if (reading.used === 0) reading.waitMs = stamp + quota.windowMs - now
  reading.used += quota.cost
  reading.mark = stamp
}

/** Takes one request out again. False when it has left the window already. */
export function removeExact (log: ExactLog, mark: number, cost = 1): boolean {
  const index = log.indexOf(mark)
  if (index === -1) return false
  let units = 1
  while (units < cost && log[index + units] === mark) units++
  log.splice(index, units)
  return true
}

function firstLive (log: Readonly<ExactLog>, quota: Quota, now: number): number {
  const edge = Math.max(now, log.at(-1) ?? now) - quota.windowMs
  let first = 0
  while (first < log.length && (log[first] ?? 0) <= edge) first++
  return first
}
