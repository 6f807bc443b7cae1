import { NOT_COUNTED, type Quota, type Reading } from './quota.js'

/** The theoretical arrival time: when everything counted so far has drained, in whole microseconds. */
export interface GcraState { tatUs: number }

/** Microseconds that one unit takes to drain, rounded up: the exact rate or a hair below it, never above. */
export function drainUs (quota: Quota): number {
  return Math.ceil(quota.windowMs * 1000 / quota.limit)
}

/**
 * The generic cell rate algorithm (ITU-T I.371, as a virtual queue): `burst` units may stand in the queue, and it
 * drains `limit` units a window. In any span of time, what is admitted less what is given back in it never exceeds the
 * burst and what drains in that span. Reads without a change.
 */
export function readGcra (state: Readonly<GcraState> | null, quota: Quota, now: number): Reading {
  const unit = drainUs(quota)
  const queue = Math.max(0, (state?.tatUs ?? 0) - now * 1000)
  const used = Math.ceil(queue / unit)
  const excess = queue + quota.cost * unit - quota.burst * unit
  if (excess > 0) return { room: false, used, waitMs: Math.ceil(excess / 1000), mark: NOT_COUNTED }
  return { room: true, used, waitMs: waitForNext(queue, used, unit, quota), mark: NOT_COUNTED }
}

/** Counts one request; only after `readGcra` said that there is room at the same `now`. */
export function addGcra (state: GcraState, quota: Quota, now: number, reading: Reading): void {
  const unit = drainUs(quota)
  state.tatUs = Math.max(state.tatUs, now * 1000) + quota.cost * unit
  reading.used += quota.cost
  reading.waitMs = waitForNext(state.tatUs - now * 1000, reading.used, unit, quota)
  reading.mark = now
}

/**
 * Takes the units of one request out of the queue, as far as it is not empty. False when everything has drained
 * already.
 */
export function removeGcra (state: GcraState, quota: Quota, now: number): boolean {
  if (state.tatUs <= now * 1000) return false
  state.tatUs = Math.max(now * 1000, state.tatUs - quota.cost * drainUs(quota))
  return true
}

function waitForNext (queue: number, used: number, unit: number, quota: Quota): number {
  return used === 0 ? quota.windowMs : Math.ceil((queue - (used - 1) * unit) / 1000)
}
