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

/** The part of an item that boot knows: `"global";r=`. Null for a limit that may not be shown. */
export function renderItemHead ({ item, exposed }: ResolvedLimit): string | null {
  return exposed ? `"${item}";r=` : null
}

/** `"global";r=97;t=840` for each limit that may be shown and was counted. */
export function renderItems (
  heads: readonly (string | null)[],
  limits: readonly ResolvedLimit[],
  decision: Decision,
): string {
  let field = ''
  for (let index = 0; index < heads.length; index++) {
    const head = heads[index] ?? null
    const reading = decision.readings[index] ?? null
    if (head === null || reading === null) continue
    const remaining = reading.banned === true ? 0 : Math.max(0, capacityOf((limits[index] as ResolvedLimit).quota) - reading.used)
    field += `${field === '' ? '' : ', '}${head}${remaining};t=${wholeSeconds(reading.waitMs)}`
  }
  return field
}

/** The limits that had no room: `enforced` ones refused the request, `shadow` ones would have. */
export function exceeded (
  limits: readonly ResolvedLimit[],
  decision: Decision,
  which: 'enforced' | 'shadow',
): readonly ResolvedLimit[] {
  const over: ResolvedLimit[] = []
  for (let index = 0; index < limits.length; index++) {
    const limit = limits[index] as ResolvedLimit
    if (decision.readings[index]?.room === false && limit.quota.shadow === (which === 'shadow')) over.push(limit)
  }
  return over
}

/** 429. Honouring Retry-After succeeds: it waits for the last of the violated limits and is rounded up. */
export function tooManyRequests (limits: readonly ResolvedLimit[], decision: Decision): SecurityError {
  let waitMs = 0
  const violatedPolicies: string[] = []
  for (let index = 0; index < limits.length; index++) {
    const { policy, quota } = limits[index] as ResolvedLimit
    const reading = decision.readings[index]
    if (reading?.room !== false || quota.shadow) continue
    waitMs = Math.max(waitMs, reading.waitMs)
    if (!violatedPolicies.includes(policy)) violatedPolicies.push(policy)
  }
  return rateLimited(waitMs, violatedPolicies)
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
