import { Type } from '@sinclair/typebox'
import { isDuration, parseDuration, type Duration } from '../options/duration.js'
import { assertNoProblems, SecurityError, type Problem } from '../response/errors.js'
import { checkOptions } from '../options/check-options.js'
import { sourceOf, type Caller } from './caller-key.js'
import type { LimiterCounts } from './counters.js'
import type { Decision, LimitSet } from './engine.js'
import { resolvePolicies, type Limit, type Policies, type ResolvedLimit } from './limits.js'
import type { LivePolicies } from './live.js'
import type { Quota, Reading } from './quota.js'

export type { Caller } from './caller-key.js'

export type { LimiterCounts as LimitCounters } from './counters.js'

/** What control asks of the engine. */
export interface LimitsPort {
  decide (set: LimitSet, keys: readonly string[]): Decision | Promise<Decision>
  giveBack (
    set: LimitSet,
    keys: readonly string[],
    decision: Decision,
    held: readonly boolean[],
  ): undefined | Promise<void>
  peek (set: LimitSet, keys: readonly string[]): readonly (Reading | null)[] | Promise<readonly (Reading | null)[]>
  reset (keys: readonly string[]): undefined | Promise<void>
  ban (keys: readonly string[], durationMs: number): undefined | Promise<void>
  counters (): LimiterCounts
}

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
  /** Refuses the caller for so long, whatever the counts. */
  readonly ban: (policy: string, caller: Caller, duration: Duration) => Promise<void>
  /** Lifts a ban and keeps the counts. */
  readonly unban: (policy: string, caller: Caller) => Promise<void>
  /**
   * Puts other policies in force, as the `policies` option would, without a restart.
   * @throws BulwarkConfigError, and changes nothing, when something is wrong with them.
   */
  readonly reload: (policies: Readonly<Record<string, Limit | readonly Limit[]>>) => void
  readonly counters: () => LimiterCounts
}

export interface ControlContext {
  readonly live: LivePolicies
  readonly port: LimitsPort
  readonly store: 'memory' | 'redis'
  /** What only the service around the limiter can say of policies. */
  readonly check: (policies: Policies, path: string) => readonly Problem[]
}

const PATH = 'rateLimit.policies'
const PoliciesSchema = Type.Record(Type.String(), Type.Unknown(), {
  description: 'Write { name: { limit, window, by } } or { name: [limit, limit] }.',
})
const MAX_BAN_MS = 366 * 86_400_000

export function createControl ({ live, port, store, check }: ControlContext): LimitsApi {
  const keysFor = (
    policy: string,
    caller: Caller,
  ): readonly (readonly [LimitSet, readonly ResolvedLimit[], readonly string[]])[] => {
    const limits = live.named(policy)
    const source = sourceOf(caller, limits, live.apiKeyHeader, null)
    return live.plansOf(limits).map((plan) => [plan, plan.limits, plan.keyOf.map((keyOf) => keyOf(source))])
  }
  const setBan = async (policy: string, caller: Caller, durationMs: number): Promise<void> => {
    for (const [, , keys] of keysFor(policy, caller)) await available(() => port.ban(keys, durationMs))
  }
  return Object.freeze({
    get policies () { return Object.freeze([...live.policies.keys()]) },
    store,
    async inspect (policy: string, caller: Caller) {
      const states = new Map<string, LimitState>()
      for (const [set, limits, keys] of keysFor(policy, caller)) {
        const readings = await available(() => port.peek(set, keys))
        for (const [index, limit] of limits.entries()) states.set(limit.item, stateOf(limit, readings[index] ?? null))
      }
      return Object.freeze([...states.values()].sort(byPosition))
    },
    async reset (policy: string, caller: Caller) {
      for (const [, , keys] of keysFor(policy, caller)) await available(() => port.reset(keys))
    },
    async ban (policy: string, caller: Caller, duration: Duration) { await setBan(policy, caller, banMs(duration)) },
    async unban (policy: string, caller: Caller) { await setBan(policy, caller, 0) },
    reload (written: Readonly<Record<string, unknown>>) {
      const problems: Problem[] = []
      const checked = checkOptions(PoliciesSchema, written, PATH, problems)
      assertNoProblems(problems)
      const policies = resolvePolicies(checked ?? {}, PATH, problems)
      if (problems.length === 0) problems.push(...check(policies, PATH))
      assertNoProblems(problems)
      live.replace(policies, PATH)
    },
    counters: () => port.counters(),
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
  if (reading === null)
    {throw new SecurityError('STORE_UNAVAILABLE', { cause: new Error(`nobody counts "${item}" at present`) })}
  const { room, used, waitMs, banned = false } = reading
  return Object.freeze({
    item,
    limit: quota.limit,
    used,
    remaining: Math.max(0, roofOf(quota) - used),
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

/** The units that a caller may have at once. */
export function roofOf ({ algorithm, limit, burst }: Quota): number {
  return algorithm === 'gcra' ? burst : limit
}

function banMs (duration: unknown): number {
  if (!isDuration(duration) || parseDuration(duration) > MAX_BAN_MS) {
    throw new TypeError("Write the ban as a duration with a unit, at most '366d': '15m'.")
  }
  return parseDuration(duration)
}
