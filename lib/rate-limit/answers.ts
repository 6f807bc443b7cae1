import { refusal, type SecurityError } from '../response/errors.js'
import type { Decision } from './engine.js'
import type { ResolvedLimit } from './policies.js'
import { capacityOf } from './quota.js'

/**
 * What a caller is told of the limits of one route: `RateLimit` and `RateLimit-Policy` of
 * draft-ietf-httpapi-ratelimit-headers-10.
 */

/** `"global";q=100;w=900, "search";q=30;w=60`, or null when no limit may be shown. Built at boot. */
export function renderPolicyField (limits: readonly ResolvedLimit[]): string | null {
  const items = limits.filter(({ exposed }) => exposed).map(({ item, quota }) =>
    `"${item}";q=${quota.limit};w=${wholeSeconds(quota.windowMs)}`
  )
  return items.length === 0 ? null : items.join(', ')
}

/** `"global";r=97;t=840` for each limit that may be shown and was counted. */
export function renderItems (limits: readonly ResolvedLimit[], { readings }: Decision): string {
  const items = limits.map(({ item, exposed, quota }, index) => {
    const reading = readings[index] ?? null
    if (!exposed || reading === null) return ''
    const remaining = reading.banned === true ? 0 : Math.max(0, capacityOf(quota) - reading.used)
    return `"${item}";r=${remaining};t=${wholeSeconds(reading.waitMs)}`
  })
  return items.filter((text) => text !== '').join(', ')
}

/** The limits that had no room: `enforced` ones refused the request, `shadow` ones would have. */
export function exceeded (
  limits: readonly ResolvedLimit[],
  { readings }: Decision,
  which: 'enforced' | 'shadow',
): readonly ResolvedLimit[] {
  return limits.filter(({ quota }, index) => readings[index]?.room === false && quota.shadow === (which === 'shadow'))
}

/** 429. Honouring Retry-After succeeds: it waits for the last of the violated limits and is rounded up. */
export function tooManyRequests (limits: readonly ResolvedLimit[], decision: Decision): SecurityError {
  const violated = exceeded(limits, decision, 'enforced')
  const waitMs = violated.map((limit) => decision.readings[limits.indexOf(limit)]?.waitMs ?? 0)
  return rateLimited(Math.max(0, ...waitMs), [...new Set(violated.map(({ policy }) => policy))])
}

export function rateLimited (waitMs: number, violatedPolicies: readonly string[]): SecurityError {
  const retryAfter = wholeSeconds(waitMs)
  return refusal('RATE_LIMITED', {
    headers: { 'retry-after': String(retryAfter), 'cache-control': 'no-store' },
    members: { retryAfter, violatedPolicies },
  })
}

/** 503 for a limit that is closed while its store cannot be asked. */
export function storeUnavailable (): SecurityError {
  return refusal('STORE_UNAVAILABLE', { headers: { 'retry-after': '1', 'cache-control': 'no-store' } })
}

function wholeSeconds (milliseconds: number): number {
  return Math.max(1, Math.ceil(milliseconds / 1000))
}
