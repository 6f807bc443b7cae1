import { NOT_COUNTED, type Penalty, type Reading } from './quota.js'

/** What is remembered of a caller beside its counts. */
export interface PenaltyState {
  /** When the ban that stands, a manual one included, ends. */
  bannedUntil: number
  /** Bans so far; they count until `forgetAt`. */
  bans: number
  forgetAt: number
  /** Stamps of the refusals since the last ban, oldest first; fewer than the penalty's `after`. */
  refusals: number[]
}

export function emptyPenalty (): PenaltyState {
  return { bannedUntil: 0, bans: 0, forgetAt: 0, refusals: [] }
}

export function isBanned (state: Readonly<PenaltyState> | null, now: number): boolean {
  return state !== null && now < state.bannedUntil
}

/** The reading of the counts with the ban over it: no room until both let through. */
export function underBan (state: Readonly<PenaltyState>, reading: Reading, now: number): Reading {
  const left = state.bannedUntil - now
  return {
    room: false,
    used: reading.used,
    waitMs: reading.room ? left : Math.max(left, reading.waitMs),
    mark: NOT_COUNTED,
    banned: true,
  }
}

/**
 * Remembers a refusal by a limit that lacked room; not for a caller who is banned already, nor for a limit in shadow.
 * The refusal that begins a ban is still one of the counts, so its reading only waits longer.
 */
export function addRefusal (state: PenaltyState, penalty: Penalty, now: number, reading: Reading): void {
  const stamp = Math.max(now, state.refusals.at(-1) ?? now)
  state.refusals = state.refusals.filter((refusal) => refusal > stamp - penalty.withinMs)
  state.refusals.push(stamp)
  if (state.refusals.length < penalty.after) return
  const earlier = now < state.forgetAt ? state.bans : 0
  const banMs = penalty.bansMs[Math.min(earlier, penalty.bansMs.length - 1)] ?? 0
  state.bannedUntil = now + banMs
  state.bans = earlier + 1
  state.forgetAt = state.bannedUntil + penalty.withinMs
  state.refusals = []
  reading.waitMs = Math.max(reading.waitMs, banMs)
}

/** A ban by hand, which 0 lifts, stands beside the ladder and moves no caller up or down on it. */
export function banByHand (state: PenaltyState, now: number, durationMs: number): void {
  state.bannedUntil = durationMs > 0 ? now + durationMs : 0
}
