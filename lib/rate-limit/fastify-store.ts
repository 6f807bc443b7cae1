import { createHmac } from 'node:crypto'
import { Generations } from '../common/generations.js'
import { isPlainObject } from '../options/check-options.js'
import { SecurityError, type Problem } from '../response/errors.js'
import { storeUnavailable } from './answers.js'
import type { LimitEngine, LimitSet } from './engine.js'
import { deriveKeySecret } from './keys.js'
import type { OnOutage } from './options.js'
import { createQuota } from './quota.js'

/**
 * What @fastify/rate-limit wants to know: more than `max` is a refusal, `ttl` are the milliseconds until it is worth
 * asking again.
 */
export interface StoredCount { readonly current: number, readonly ttl: number }

export type StoredCountCallback = (error: Error | null, result?: StoredCount) => void

/** The store as @fastify/rate-limit (version 11) calls it. */
export interface RateLimitStore {
  incr (key: string, callback: StoredCountCallback, timeWindow: number, max: number): void
  /** For `createRateLimit()(request, { increment: false })`: what `incr` would say, without counting. */
  read (key: string, callback: StoredCountCallback, timeWindow: number, max: number): void
  child (params: object): RateLimitStore
}

export interface StoreClassOptions {
  readonly engine: LimitEngine
  /** What the secret of the keys is derived from; null draws a random one. */
  readonly keySecret: string | null
  readonly onOutage: OnOutage
  /** Told what is wrong with the options of a limiter. */
  readonly report: (problems: readonly Problem[]) => void
}

interface Shared extends StoreClassOptions {
  readonly digest: (text: string) => string
  instances: number
  /** Limiters of `createRateLimit` and `rateLimit` that have no `groupId`. */
  unnamed: number
}

/** What this limiter is called in events, counters and problem documents. */
export const FASTIFY_POLICY = '@fastify/rate-limit'

const KEY_LENGTH = 22
const SCOPE_LENGTH = 11
const MAX_PLANS = 512
const MAX_UNNAMED = 1000
const MAX_EXACT_LIMIT = 64
const MAX_WINDOW_MS = 366 * 86_400_000

/** Makes a class for the option `store` of @fastify/rate-limit, which counts in this engine. */
export function createStoreClass (options: StoreClassOptions): new (params: object) => RateLimitStore {
  const secret = deriveKeySecret(options.keySecret)
  const shared: Shared = {
    ...options,
    digest: (text) =>
      createHmac('sha256', secret).update('@fastify/rate-limit ').update(text).digest('base64url').slice(0, KEY_LENGTH),
    instances: 0,
    unnamed: 0,
  }
  return class extends FastifyStore {
    constructor (params: object) {
      super(shared, params, `${++shared.instances}`, '*')
    }
  }
}

/** One limit as the store counts it. */
interface Plan {
  /** Null where `max` is 0: there is nothing to count. */
  readonly set: LimitSet | null
  readonly windowMs: number
  readonly max: number
  /** Ends each key, so that another window or algorithm starts anew. */
  readonly suffix: string
}

/** Counts for one limiter of @fastify/rate-limit, in the key space that `scope` names. */
class FastifyStore implements RateLimitStore {
  readonly #shared: Shared
  readonly #instance: string
  readonly #tag: string
  /** Where limits of several sizes meet in one count, the size must not decide how it is stored. */
  readonly #maxVaries: boolean
  readonly #plans = new Generations<string, Plan>(MAX_PLANS)

  constructor (shared: Shared, params: object, instance: string, scope: string) {
    const { max, groupId } = params as Readonly<Record<string, unknown>>
    shared.report(problemsOf(params as Readonly<Record<string, unknown>>, shared.onOutage, pathOf(scope)))
    this.#shared = shared
    this.#instance = instance
    this.#tag = shared.digest(`scope ${instance} ${scope}`).slice(0, SCOPE_LENGTH)
    this.#maxVaries = typeof max === 'function' || typeof groupId === 'string'
  }

  incr (key: unknown, callback: StoredCountCallback, timeWindow: number, max: number): void {
    answer(this.#count(key, timeWindow, max), callback)
  }

  read (key: unknown, callback: StoredCountCallback, timeWindow: number, max: number): void {
    answer(this.#peek(key, timeWindow, max), callback)
  }

  child (params: object): RateLimitStore {
    return new FastifyStore(this.#shared, params, this.#instance, scopeOf(params, this.#shared))
  }

  async #count (key: unknown, timeWindow: number, maxUnits: number): Promise<StoredCount> {
    const { set, max, windowMs, suffix } = this.#planOf(timeWindow, maxUnits)
    if (set === null) return { current: 1, ttl: windowMs }
    const { engine } = this.#shared
    const { outcome, source, readings: [reading] } = await engine.decide(set, [this.#keyOf(key, suffix)])
    const counts = engine.policies.of(FASTIFY_POLICY)
    if (outcome === 'admitted') counts.allowed++
    else counts.denied++
    if (source === 'fallback') counts.fallback++
    if (source === 'deny-cache') counts.denyCacheHits++
    if (outcome === 'unavailable') throw storeUnavailable()
    // Not counted: `onOutage: 'open'`, which the service chose where a refusal would do more harm.
    if (reading === undefined || reading === null) return { current: 0, ttl: 0 }
    return { current: reading.room ? reading.used : max + 1, ttl: reading.waitMs }
  }

  async #peek (key: unknown, timeWindow: number, maxUnits: number): Promise<StoredCount> {
    const { set, max, windowMs, suffix } = this.#planOf(timeWindow, maxUnits)
    if (set === null) return { current: 1, ttl: windowMs }
    const [reading] = await this.#shared.engine.peek(set, [this.#keyOf(key, suffix)])
    if (reading === undefined) return { current: 0, ttl: 0 }
    // Refused requests are not counted, so a full count must itself say that the next one is too many.
    if (!reading.room) return { current: max + 1, ttl: reading.waitMs }
    return { current: reading.used, ttl: reading.used === 0 ? 0 : reading.waitMs }
  }

  /** In braces, so that what a store keeps beside a key lies in the same slot of a Redis Cluster. */
  #keyOf (key: unknown, suffix: string): string {
    // Key generators are the app's own and may give what is no text; requests without a key share one count.
    const caller = typeof key === 'string' || typeof key === 'number' ? String(key) : ''
    return `{${this.#shared.digest(caller)}}${this.#tag}${suffix}`
  }

  /** Remembered, because the Redis store encodes each list of quotas once. */
  #planOf (timeWindow: number, max: number): Plan {
    const name = `${max} ${timeWindow}`
    const known = this.#plans.get(name)
    if (known !== undefined) return known
    const plan = this.#makePlan(Math.trunc(timeWindow), Math.trunc(max))
    this.#plans.set(name, plan)
    return plan
  }

  #makePlan (windowMs: number, max: number): Plan {
    if (!isWindow(windowMs) || !Number.isSafeInteger(max) || max < 0) {
      const cause = new RangeError('max or timeWindow of @fastify/rate-limit gave a value that cannot limit anything')
      throw new SecurityError('INTERNAL_ERROR', { cause })
    }
    const algorithm = !this.#maxVaries && max <= MAX_EXACT_LIMIT ? 'exact' : 'sliding'
    return {
      set: max === 0
        ? null
        : { quotas: [createQuota(algorithm, max, windowMs, false)], onOutage: [this.#shared.onOutage] },
      windowMs,
      max,
      suffix: `${algorithm.charAt(0)}${windowMs.toString(36)}`,
    }
  }
}

function answer (count: Promise<StoredCount>, callback: StoredCountCallback): void {
  count.then((found) => { callback(null, found) }, (error: unknown) => {
    callback(error instanceof Error ? error : new SecurityError('INTERNAL_ERROR', { cause: error }))
  })
}

/**
 * What counts together: a group, else a route (GET and HEAD are one), else one limiter made by `createRateLimit`. The
 * order in which those are made at boot tells them apart, as it is the same in all instances; a `groupId` names one.
 */
function scopeOf (params: object, shared: Shared): string {
  const { groupId, routeInfo } = params as Readonly<Record<string, unknown>>
  if (typeof groupId === 'string' && groupId !== '') return `group ${groupId}`
  const { method, url, constraints } = isPlainObject(routeInfo) ? routeInfo : {}
  if (typeof url === 'string') {
    const methods = [method].flat().map((name) => String(name).toUpperCase()).map((name) =>
      name === 'HEAD' ? 'GET' : name
    )
    const route = `${[...new Set(methods)].sort().join('|')} ${url}`
    return constraints === undefined ? route : `${route} ${JSON.stringify(constraints)}`
  }
  shared.unnamed++
  if (shared.unnamed > MAX_UNNAMED) {
    const cause = new Error(
      'createRateLimit() and rateLimit() belong at boot: called for each request they never limit anything',
    )
    throw new SecurityError('INTERNAL_ERROR', { cause })
  }
  return `limiter ${shared.unnamed}`
}

function pathOf (scope: string): string {
  if (scope === '*') return '@fastify/rate-limit'
  return /^(?:group|limiter) /.test(scope) ? `@fastify/rate-limit ${scope}` : `${scope} config.rateLimit`
}

function isWindow (windowMs: unknown): boolean {
  return typeof windowMs === 'number' && windowMs >= 1 && windowMs <= MAX_WINDOW_MS
}

const COUNTS_ITSELF = 'Leave it out: limits of the suite are counted in the suite\'s store.'
const USE_PENALTY =
  "Leave it out. Write a policy with `penalty` (rateLimit.policies) and name it in the route's security.rateLimit."

/** Options of @fastify/rate-limit that this store cannot serve. */
const NOT_SERVED: readonly (readonly [string, (value: unknown) => boolean, string])[] = [
  ['ban', (ban) => typeof ban === 'number' && ban >= 0, USE_PENALTY],
  ['continueExceeding', (value) => value === true, USE_PENALTY],
  ['exponentialBackoff', (value) => value === true, USE_PENALTY],
  ['store', (value) => value !== undefined, COUNTS_ITSELF],
  ['redis', (value) => value !== undefined, COUNTS_ITSELF],
  ['nameSpace', (value) => value !== undefined, COUNTS_ITSELF],
  ['cache', (value) => value !== undefined, COUNTS_ITSELF],
]

function problemsOf (params: Readonly<Record<string, unknown>>, onOutage: OnOutage, path: string): Problem[] {
  const problems: Problem[] = NOT_SERVED.filter(([name, isAsked]) => isAsked(params[name])).map(([name, , fix]) => ({
    path: `${path}.${name}`,
    message: `The suite's store does not serve the option ${name} of @fastify/rate-limit.`,
    fix,
  }))
  if (typeof params['timeWindow'] !== 'function' && !isWindow(params['timeWindow'])) {
    problems.push({
      path: `${path}.timeWindow`,
      message: 'timeWindow must be between 1 ms and 1 year.',
      fix: "Write milliseconds, or a text such as '1 minute'.",
    })
  }
  if (params['skipOnError'] === true && onOutage === 'closed') {
    problems.push({
      path: `${path}.skipOnError`,
      message: "It would let through what onOutage 'closed' refuses.",
      fix: "Leave skipOnError out, or write onOutage: 'open'.",
    })
  }
  return problems
}
