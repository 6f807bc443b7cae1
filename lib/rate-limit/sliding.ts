import { NOT_COUNTED, type Counting, type Counts, type Quota, type Reading } from './quota.js'

/**
 * Counts are pairs, one for each sub-bucket that holds something, oldest first: the stamp of its last request, then how
 * many units count. A whole bucket stays until its last request leaves the window.
 */
export const sliding: Counting = { read: readSliding, add: addSliding, remove: removeSliding }

function readSliding (pairs: Readonly<Counts>, quota: Quota, now: number): Reading {
  const first = firstLive(pairs, quota, now)
  let used = 0
  for (let at = first; at < pairs.length; at += 2) used += unitsAt(pairs, at)
  const room = used + quota.cost <= quota.limit
  let waitMs = quota.windowMs
  let left = used
  for (let at = first; at < pairs.length; at += 2) {
    left -= unitsAt(pairs, at)
    if (left < used && (room || left + quota.cost <= quota.limit)) {
      waitMs = stampAt(pairs, at) + quota.windowMs - now
      break
    }
  }
  return { room, used, waitMs, mark: NOT_COUNTED }
}

function addSliding (pairs: Counts, quota: Quota, now: number, reading: Reading): void {
  const stamp = latest(pairs, now)
  const bucket = Math.floor(stamp / quota.bucketMs)
  pairs.splice(0, firstLive(pairs, quota, now))
  const last = pairs.length - 2
  if (last >= 0 && bucketAt(pairs, last, quota) === bucket) {
    pairs[last] = stamp
    pairs[last + 1] = unitsAt(pairs, last) + quota.cost
  } else {
    pairs.push(stamp, quota.cost)
  }
  if (reading.used === 0) reading.waitMs = stamp + quota.windowMs - now
  reading.used += quota.cost
  reading.mark = bucket
}

function removeSliding (pairs: Counts, quota: Quota, mark: number): void {
  for (let at = 0; at < pairs.length; at += 2) {
    // The pair stays, so that its stamp still tells how late it was.
    if (bucketAt(pairs, at, quota) === mark) pairs[at + 1] = Math.max(0, unitsAt(pairs, at) - quota.cost)
  }
}

function firstLive (pairs: Readonly<Counts>, quota: Quota, now: number): number {
  const edge = latest(pairs, now) - quota.windowMs
  let first = 0
  while (first < pairs.length && stampAt(pairs, first) <= edge) first += 2
  return first
}

function latest (pairs: Readonly<Counts>, now: number): number {
  return Math.max(now, pairs.at(-2) ?? now)
}

function stampAt (pairs: Readonly<Counts>, at: number): number {
  return pairs[at] as number
}

function unitsAt (pairs: Readonly<Counts>, at: number): number {
  return pairs[at + 1] as number
}

function bucketAt (pairs: Readonly<Counts>, at: number, quota: Quota): number {
  return Math.floor(stampAt(pairs, at) / quota.bucketMs)
}
