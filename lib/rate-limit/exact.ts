import { NOT_COUNTED, type Counting, type Counts, type Quota, type Reading } from './quota.js'

/** Counts are the stamps of the units, oldest first: a request that costs three stands there three times. */
export const exact: Counting = { read: readExact, add: addExact, remove: removeExact }

function readExact (stamps: Readonly<Counts>, quota: Quota, now: number): Reading {
  const first = firstLive(stamps, quota, now)
  const used = stamps.length - first
  if (used + quota.cost > quota.limit) {
    // The youngest of the units that must leave before the cost fits.
    const leaver = stamps[stamps.length + quota.cost - quota.limit - 1] ?? now
    return { room: false, used, waitMs: leaver + quota.windowMs - now, mark: NOT_COUNTED }
  }
  return { room: true, used, waitMs: (stamps[first] ?? now) + quota.windowMs - now, mark: NOT_COUNTED }
}

function addExact (stamps: Counts, quota: Quota, now: number, reading: Reading): void {
  const stamp = Math.max(now, stamps.at(-1) ?? now)
  stamps.splice(0, firstLive(stamps, quota, now))
  for (let unit = 0; unit < quota.cost; unit++) stamps.push(stamp)
  if (reading.used === 0) reading.waitMs = stamp + quota.windowMs - now
  reading.used += quota.cost
  reading.mark = stamp
}

function removeExact (stamps: Counts, { cost }: Quota, mark: number): void {
  const index = stamps.indexOf(mark)
  if (index === -1) return
  let units = 1
  while (units < cost && stamps[index + units] === mark) units++
  stamps.splice(index, units)
}

function firstLive (stamps: Readonly<Counts>, quota: Quota, now: number): number {
  const edge = Math.max(now, stamps.at(-1) ?? now) - quota.windowMs
  let first = 0
  while (first < stamps.length && (stamps[first] ?? 0) <= edge) first++
  return first
}
