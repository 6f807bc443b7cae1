import type { BreakerState } from './breaker.js'
import type { Decision } from './engine.js'
import type { ResolvedLimit } from './policies.js'
import { capacityOf, type Quota } from './quota.js'

/** What happened to the requests that one policy applied to, since the start. */
export interface PolicyCounts {
  /** Let through by all limits of the policy. */
  allowed: number
  /** Refused by the policy, with 429 or 503. */
  denied: number
  /** Let through, but a limit in shadow had no room. */
  shadow: number
  /** Let through, and an enforced limit was at four fifths or above. */
  nearLimit: number
  /** Decided while the shared store could not be asked. */
  fallback: number
  /** Refused without asking the shared store, because it had refused just before. */
  denyCacheHits: number
  /** Calls of `request.rateLimit.penalize`, which neither lets through nor refuses. */
  penalized: number
}

export type LimiterCounts = {
  readonly policies: Readonly<Record<string, Readonly<PolicyCounts>>>
  readonly store: {
    readonly breaker: BreakerState
    /** Questions without an answer, since the start. */
    readonly failures: number
    /** Keys that the memory store dropped for want of room; null when it does not count them. */
    readonly evictions: number | null
  }
}

/** Plain numbers that the request path counts up. */
export class PolicyCounters {
  readonly #policies = new Map<string, PolicyCounts>()

  /** The numbers of a policy; asked for at boot, counted up per request. */
  of (policy: string): PolicyCounts {
    let counts = this.#policies.get(policy)
    if (counts === undefined) {
      counts = { allowed: 0, denied: 0, shadow: 0, nearLimit: 0, fallback: 0, denyCacheHits: 0, penalized: 0 }
      this.#policies.set(policy, counts)
    }
    return counts
  }

  snapshot (): Readonly<Record<string, Readonly<PolicyCounts>>> {
    return Object.fromEntries([...this.#policies].map(([policy, counts]) => [policy, { ...counts }]))
  }
}

/** The number of units from which on a caller is close to being refused. */
export function nearLimitOf (quota: Quota): number {
  return Math.ceil(capacityOf(quota) * 0.8)
}

/** Counts one decision; only increments, and nothing that boot could have looked up. */
export type Tally = (decision: Decision) => void

interface PolicyPart {
  readonly counts: PolicyCounts
  readonly limits: readonly { readonly at: number, readonly shadow: boolean, readonly near: number }[]
  readonly last: boolean
  readonly closed: boolean
}

/**
 * Compiles the counting for limits that are decided in one step; `later` are the policies of which a later step decides
 * more.
 */
export function compileTally (
  counters: PolicyCounters,
  limits: readonly ResolvedLimit[],
  later: ReadonlySet<string>,
): Tally {
  const parts: readonly PolicyPart[] = [...new Set(limits.map(({ policy }) => policy))].map((policy) => ({
    counts: counters.of(policy),
    limits: limits.flatMap((limit, at) =>
      limit.policy === policy ? [{ at, shadow: limit.quota.shadow, near: nearLimitOf(limit.quota) }] : []
    ),
    last: !later.has(policy),
    closed: limits.some((limit) => limit.policy === policy && limit.onOutage === 'closed'),
  }))
  return function tally (decision) {
    for (const part of parts) count(part, decision)
  }
}

function count ({ counts, limits, last, closed }: PolicyPart, { outcome, source, readings }: Decision): void {
  let full = false
  let near = false
  let shadow = false
  for (const limit of limits) {
    const reading = readings[limit.at] ?? null
    if (reading === null) continue
    if (limit.shadow) shadow ||= !reading.room
    else if (!reading.room) full = true
    else near ||= reading.used >= limit.near
  }
  if (source === 'fallback') counts.fallback++
  if (outcome === 'admitted') {
    if (last) counts.allowed++
    if (near) counts.nearLimit++
    if (shadow) counts.shadow++
  } else if (full || (closed && outcome === 'unavailable')) {
    counts.denied++
    if (source === 'deny-cache') counts.denyCacheHits++
  }
}
