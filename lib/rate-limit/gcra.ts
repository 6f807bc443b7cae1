import { NOT_COUNTED, type Counting, type Counts, type Quota, type Reading } from './quota.js'

/**
 * The generic cell rate algorithm (ITU-T I.371, as a virtual queue): `burst` units may stand in the queue, and it
 * drains `limit` units a window. In any span of time, what is admitted less what is given back in it never exceeds the
 * burst and what drains in that span. Its one count is the theoretical arrival time: when everything counted so far has
 * drained, in whole microseconds.
 */
export const gcra: Counting = { read: readGcra, add: addGcra, remove: removeGcra }

/** Microseconds that one unit takes to drain, rounded up: the exact rate or a hair below it, never above. */
export function drainUs (quota: Quota): number {
  return Math.ceil(quota.windowMs * 1000 / quota.limit)
}

function readGcra ([arrivalUs = 0]: Readonly<Counts>, quota: Quota, now: number): Reading {
  const unit = drainUs(quota)
  const queue = Math.max(0, arrivalUs - now * 1000)
  const used = Math.ceil(queue / unit)
  const excess = queue + quota.cost * unit - quota.burst * unit
  if (excess > 0) return { room: false, used, waitMs: Math.ceil(excess / 1000), mark: NOT_COUNTED }
  return { room: true, used, waitMs: waitForNext(queue, used, unit, quota), mark: NOT_COUNTED }
}

function addGcra (counts: Counts, quota: Quota, now: number, reading: Reading): void {
  const unit = drainUs(quota)
  const arrivalUs = Math.max(counts[0] ?? 0, now * 1000) + quota.cost * unit
  counts[0] = arrivalUs
  reading.used += quota.cost
  reading.waitMs = waitForNext(arrivalUs - now * 1000, reading.used, unit, quota)
  reading.mark = now
}

function removeGcra (counts: Counts, quota: Quota, _mark: number, now: number): void {
  const [arrivalUs = 0] = counts
  if (arrivalUs > now * 1000) counts[0] = Math.max(now * 1000, arrivalUs - quota.cost * drainUs(quota))
}

function waitForNext (queue: number, used: number, unit: number, quota: Quota): number {
  return used === 0 ? quota.windowMs : Math.ceil((queue - (used - 1) * unit) / 1000)
}
