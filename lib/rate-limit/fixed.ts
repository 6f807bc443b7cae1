import { NOT_COUNTED, type Counting, type Counts, type Quota, type Reading } from './quota.js'

/**
 * Counts are the number of a window and the units in it; window `n` covers the milliseconds from `n * windowMs`. For
 * compatibility: it admits twice the limit across an edge.
 */
export const fixed: Counting = { read: readFixed, add: addFixed, remove: removeFixed }

function readFixed (counts: Readonly<Counts>, quota: Quota, now: number): Reading {
  const number = windowNumber(counts, quota, now)
  const [known = number, units = 0] = counts
  const used = known === number ? units : 0
  const waitMs = used === 0 ? quota.windowMs : (number + 1) * quota.windowMs - now
  return { room: used + quota.cost <= quota.limit, used, waitMs, mark: NOT_COUNTED }
}

function addFixed (counts: Counts, quota: Quota, now: number, reading: Reading): void {
  const number = windowNumber(counts, quota, now)
  reading.used += quota.cost
  reading.waitMs = (number + 1) * quota.windowMs - now
  reading.mark = number
  counts[0] = number
  counts[1] = reading.used
}

function removeFixed (counts: Counts, { cost }: Quota, mark: number): void {
  const [number, units = 0] = counts
  if (number === mark) counts[1] = Math.max(0, units - cost)
}

function windowNumber ([known = 0]: Readonly<Counts>, quota: Quota, now: number): number {
  return Math.max(Math.floor(now / quota.windowMs), known)
}
