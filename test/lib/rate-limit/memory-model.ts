import { LIVE_BUCKETS, NOT_COUNTED, type Quota, type Reading } from '../../../lib/rate-limit/quota.js'

interface Bucket { count: number, last: number }

/** What is known of one key: plain lists without any bound. */
class Caller {
  units: number[] = []
  buckets = new Map<number, Bucket>()
  micros = 0
  window = { number: 0, count: 0 }
  refusals: number[] = []
  bannedUntil = 0
  bans = 0
  forgetAt = 0
}

/** The semantics of lib/rate-limit/quota.ts, written down as plainly as possible and without any bound. */
export class Model {
  readonly #callers = new Map<string, Caller>()

  consume (quotas: readonly Quota[], keys: readonly string[], now: number): { admitted: boolean, readings: Reading[] } {
    const readings = this.peek(quotas, keys, now)
    const admitted = readings.every(({ room }, index) => room || quotas[index]?.shadow === true)
    for (const [index, quota] of quotas.entries()) {
      const [caller, reading] = [this.#caller(keys[index] as string), readings[index] as Reading]
      if (admitted && reading.room) add(caller, quota, now, reading)
      else if (!reading.room && reading.banned !== true && !quota.shadow && quota.penalty !== null) {
        refuse(caller, quota.penalty, now, reading)
      }
    }
    return { admitted, readings }
  }

  peek (quotas: readonly Quota[], keys: readonly string[], now: number): Reading[] {
    return quotas.map((quota, index) => {
      const caller = this.#caller(keys[index] as string)
      const { room, used, waitMs, mark } = read(caller, quota, now)
      const left = caller.bannedUntil - now
      return left > 0
        ? { room: false, used, waitMs: room ? left : Math.max(left, waitMs), mark, banned: true }
        : { room, used, waitMs, mark }
    })
  }

  giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[], now: number): void {
    for (const [index, quota] of quotas.entries()) {
      const mark = marks[index] ?? NOT_COUNTED
      const caller = this.#callers.get(keys[index] as string)
      if (mark === NOT_COUNTED || caller === undefined) continue
      for (let unit = 0; unit < quota.cost; unit++) {
        const at = caller.units.indexOf(mark)
        if (quota.algorithm === 'exact' && at !== -1) caller.units.splice(at, 1)
      }
      const bucket = caller.buckets.get(mark)
      if (quota.algorithm === 'sliding' && bucket !== undefined) bucket.count = Math.max(0, bucket.count - quota.cost)
      if (quota.algorithm === 'gcra' && caller.micros > now * 1000) {
        caller.micros = Math.max(now * 1000, caller.micros - quota.cost * drain(quota))
      }
      if (quota.algorithm === 'fixed' && caller.window.number === mark) {
        caller.window.count = Math.max(0, caller.window.count - quota.cost)
      }
    }
  }

  reset (keys: readonly string[]): void {
    for (const key of keys) this.#callers.delete(key)
  }

  ban (keys: readonly string[], durationMs: number, now: number): void {
    for (const key of keys) this.#caller(key).bannedUntil = durationMs === 0 ? 0 : now + durationMs
  }

  #caller (key: string): Caller {
    const caller = this.#callers.get(key) ?? new Caller()
    this.#callers.set(key, caller)
    return caller
  }
}

const drain = ({ windowMs, limit }: Quota): number => Math.ceil(windowMs * 1000 / limit)

/** Ascending `[stamp at which they leave, units]` of what counts at `now`. */
function leavers (caller: Caller, quota: Quota, now: number): [number, number][] {
  if (quota.algorithm === 'exact') {
    const at = Math.max(now, caller.units.at(-1) ?? now)
    return caller.units.filter((stamp) => stamp > at - quota.windowMs).map((stamp) => [stamp + quota.windowMs, 1])
  }
  const buckets = [...caller.buckets.values()].sort((a, b) => a.last - b.last)
  const at = Math.max(now, buckets.at(-1)?.last ?? now)
  return buckets.filter(({ last, count }) => last > at - quota.windowMs && count > 0).map((
    { last, count },
  ) => [last + quota.windowMs, count])
}

function read (caller: Caller, quota: Quota, now: number): Reading {
  const { windowMs, limit, cost, burst } = quota
  const mark = NOT_COUNTED
  if (quota.algorithm === 'gcra') {
    const queue = Math.max(0, caller.micros - now * 1000)
    const used = Math.ceil(queue / drain(quota))
    const excess = queue + (cost - burst) * drain(quota)
    return { room: excess <= 0, used, waitMs: excess > 0 ? Math.ceil(excess / 1000) : drop(queue, used, quota), mark }
  }
  if (quota.algorithm === 'fixed') {
    const number = Math.max(caller.window.number, Math.floor(now / windowMs))
    const used = number === caller.window.number ? caller.window.count : 0
    return { room: used + cost <= limit, used, waitMs: used === 0 ? windowMs : (number + 1) * windowMs - now, mark }
  }
  const leaving = leavers(caller, quota, now)
  const used = leaving.reduce((sum, [, units]) => sum + units, 0)
  const room = used + cost <= limit
  let left = used
  const leaver = leaving.find(([, units]) => {
    left -= units
    return room || left + cost <= limit
  })
  return { room, used, waitMs: leaver === undefined ? windowMs : leaver[0] - now, mark }
}

function drop (queue: number, used: number, quota: Quota): number {
  return used === 0 ? quota.windowMs : Math.ceil((queue - (used - 1) * drain(quota)) / 1000)
}

function add (caller: Caller, quota: Quota, now: number, reading: Reading): void {
  const { windowMs, bucketMs, cost } = quota
  const first = reading.used === 0
  reading.used += cost
  if (quota.algorithm === 'gcra') {
    caller.micros = Math.max(caller.micros, now * 1000) + cost * drain(quota)
    reading.mark = now
    reading.waitMs = drop(caller.micros - now * 1000, reading.used, quota)
  } else if (quota.algorithm === 'fixed') {
    caller.window = { number: Math.max(caller.window.number, Math.floor(now / windowMs)), count: reading.used }
    reading.mark = caller.window.number
    reading.waitMs = (reading.mark + 1) * windowMs - now
  } else if (quota.algorithm === 'exact') {
    const at = Math.max(now, caller.units.at(-1) ?? now)
    caller.units = caller.units.filter((stamp) => stamp > at - windowMs)
    for (let unit = 0; unit < cost; unit++) caller.units.push(at)
    reading.mark = at
    if (first) reading.waitMs = at + windowMs - now
  } else {
    const at = Math.max(now, ...[...caller.buckets.values()].map(({ last }) => last))
    reading.mark = Math.floor(at / bucketMs)
    for (const number of caller.buckets.keys()) if (number <= reading.mark - LIVE_BUCKETS) caller.buckets.delete(number)
    caller.buckets.set(reading.mark, { count: (caller.buckets.get(reading.mark)?.count ?? 0) + cost, last: at })
    if (first) reading.waitMs = at + windowMs - now
  }
}

function refuse (caller: Caller, penalty: NonNullable<Quota['penalty']>, now: number, reading: Reading): void {
  const at = Math.max(now, caller.refusals.at(-1) ?? now)
  caller.refusals = [...caller.refusals.filter((stamp) => stamp > at - penalty.withinMs), at]
  if (caller.refusals.length < penalty.after) return
  const earlier = now < caller.forgetAt ? caller.bans : 0
  const banMs = penalty.bansMs[Math.min(earlier, penalty.bansMs.length - 1)] as number
  Object.assign(caller, {
    bannedUntil: now + banMs,
    bans: earlier + 1,
    forgetAt: now + banMs + penalty.withinMs,
    refusals: [],
  })
  reading.waitMs = Math.max(reading.waitMs, banMs)
}
