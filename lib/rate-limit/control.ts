import { isDuration, parseDuration, type Duration } from '../options/duration.js'
import { SecurityError } from '../response/errors.js'
import { sourceOf, type Caller } from './caller-key.js'
import type { LimiterCounts } from './counters.js'
import type { LimitEngine } from './engine.js'
import type { PhasePlan, Planner } from './plan.js'
import type { ResolvedLimit } from './policies.js'
import { capacityOf, type Reading } from './quota.js'

export type { Caller } from './caller-key.js'

export type { LimiterCounts as LimitCounters } from './counters.js'

/** How one limit stands to one caller. */
export interface LimitState {
  /** The policy's name; `login:2` for its second limit. */
  readonly item: string
  readonly limit: number
  readonly used: number
  readonly remaining: number
  /** Milliseconds until the caller has room; without a refusal, until the next unit comes free. */
  readonly waitMs: number
  /** True when the caller's next request would be refused (of a shadow limit: reported). */
  readonly blocked: boolean
  readonly banned: boolean
}

/** `app.security.limits`: the limiter at run time. What names an unknown policy or an incomplete caller throws. */
export interface LimitsApi {
  readonly policies: readonly string[]
  readonly store: 'memory' | 'redis'
  /** How a policy (`login`) or one limit of it (`login:3`) stands to a caller; counts nothing. */
  readonly inspect: (policy: string, caller: Caller) => Promise<readonly LimitState[]>
  /** Forgets the caller's counts, refusals and bans. */
  readonly reset: (policy: string, caller: Caller) => Promise<void>
  /** Refuses the caller for this duration; its counts do not matter. */
  readonly ban: (policy: string, caller: Caller, duration: Duration) => Promise<void>
  /** Lifts a ban and keeps the counts. */
  readonly unban: (policy: string, caller: Caller) => Promise<void>
  readonly counters: () => LimiterCounts
}

const MAX_BAN_MS = 366 * 86_400_000

export function createControl (planner: Planner, engine: LimitEngine): LimitsApi {
  const keysFor = (policy: string, caller: Caller): readonly (readonly [PhasePlan, readonly string[]])[] => {
    const limits = planner.named(policy)
    const source = sourceOf(caller, limits, planner.apiKeyHeader, null)
    return planner.plansOf(limits).map((plan) => [plan, plan.keyOf.map((keyOf) => keyOf(source))])
  }
  const setBan = async (policy: string, caller: Caller, durationMs: number): Promise<void> => {
    for (const [, keys] of keysFor(policy, caller)) await available(() => engine.ban(keys, durationMs))
  }
  return Object.freeze({
    policies: Object.freeze([...planner.policies.keys()]),
    store: engine.kind,
    async inspect (policy: string, caller: Caller) {
      const states = new Map<string, LimitState>()
      for (const [plan, keys] of keysFor(policy, caller)) {
        const readings = await available(() => engine.peek(plan, keys))
        for (const [index, limit] of plan.limits.entries())
          {states.set(limit.item, stateOf(limit, readings[index] ?? null))}
      }
      return Object.freeze([...states.values()].sort(byPosition))
    },
    async reset (policy: string, caller: Caller) {
      for (const [, keys] of keysFor(policy, caller)) await available(() => engine.reset(keys))
    },
    async ban (policy: string, caller: Caller, duration: Duration) { await setBan(policy, caller, banMs(duration)) },
    async unban (policy: string, caller: Caller) { await setBan(policy, caller, 0) },
    counters: () => engine.counters(),
  })
}

/** What an administrator asked must not look done when the store did not hear it. */
async function available<T> (ask: () => T | Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (cause) {
    throw new SecurityError('STORE_UNAVAILABLE', { cause })
  }
}

function stateOf ({ item, quota }: ResolvedLimit, reading: Reading | null): LimitState {
  if (reading === null) {
    throw new SecurityError('STORE_UNAVAILABLE', { cause: new Error(`the store told nothing of "${item}"`) })
  }
  const { room, used, waitMs, banned = false } = reading
  return Object.freeze({
    item,
    limit: quota.limit,
    used,
    remaining: Math.max(0, capacityOf(quota) - used),
    waitMs,
    blocked: !room,
    banned,
  })
}

/** As the policy lists them; they were asked phase by phase. */
function byPosition (a: LimitState, b: LimitState): number {
  return positionOf(a.item) - positionOf(b.item)
}

function positionOf (item: string): number {
  const colon = item.indexOf(':')
  return colon === -1 ? 1 : Number(item.slice(colon + 1))
}

function banMs (duration: unknown): number {
  if (!isDuration(duration) || parseDuration(duration) > MAX_BAN_MS) {
    throw new TypeError("Write the ban as a duration with a unit, at most '366d': '15m'.")
  }
  return parseDuration(duration)
}
