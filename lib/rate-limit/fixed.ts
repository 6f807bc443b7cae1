import { NOT_COUNTED, type Quota, type Reading } from './quota.js'

/** One counter; window number `n` covers the milliseconds from `n * windowMs`. */
export interface FixedCount {
  number: number
  count: number
}

/** Reads without a change. A clock that stepped back counts as standing still. */
export function readFixed (state: Readonly<FixedCount> | null, quota: Quota, now: number): Reading {
  const number = windowNumber(state, quota, now)
  const used = state !== null && state.number === number ? state.count : 0
  const waitMs = used === 0 ? quota.windowMs : (number + 1) * quota.windowMs - now
  return { room: used + quota.cost <= quota.limit, used, waitMs, mark: NOT_COUNTED }
}

/** Counts one request; only after `readFixed` said that there is room at the same `now`. */
export function addFixed (state: FixedCount, quota: Quota, now: number, reading: Reading): void {
  state.number = windowNumber(state, quota, now)
  state.count = reading.used + quota.cost
  reading.used = state.count
  reading.waitMs = (state.number + 1) * quota.windowMs - now
  reading.mark = state.number
}

/** Takes one request out again. False when its window is over, or holds nothing. */
export function removeFixed (state: FixedCount, mark: number, cost: number): boolean {
  if (state.number !== mark || state.count === 0) return false
  state.count = Math.max(0, state.count - cost)
  return true
}

function windowNumber (state: Readonly<FixedCount> | null, quota: Quota, now: number): number {
  return Math.max(Math.floor(now / quota.windowMs), state?.number ?? 0)
}
