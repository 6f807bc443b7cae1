import { assertNoProblems, SecurityError, type Problem } from '../response/errors.js'
import { isPlainObject } from '../options/check-options.js'
import { storeUnavailable } from './answers.js'
import type { Decision, LimitEngine, LimitSet } from './engine.js'
import type { OnOutage } from './limits.js'
import { createQuota, type Algorithm, type Penalty } from './quota.js'
import type { LimitStore } from './stores/store.js'

/**
 * What that plugin wants to know: more than `max` is a refusal, `ttl` are the milliseconds until it is worth asking
 * again.
 */
export interface StoredCount { readonly current: number, readonly ttl: number }

export type StoredCountCallback = (error: Error | null, result?: StoredCount) => void

/** The store as that plugin calls it. */
export interface RateLimitStore {
  incr (key: string, callback: StoredCountCallback, timeWindow: number, max: number): void
  /** For `createRateLimit()(request, { increment: false })`: what `incr` would say, without counting. */
  read (key: string, callback: StoredCountCallback, timeWindow: number, max: number): void
  child (params: object): RateLimitStore
}

/** What all stores of one class share. */
export interface AdapterContext {
  readonly engine: LimitEngine
  readonly digest: (text: string) => string
  readonly digestOfRecent: (text: string) => string
  readonly onOutage: OnOutage
  instances: number
  /** Limiters of `createRateLimit` and `rateLimit` that have no `groupId`. */
  unnamed: number
}

/** One limit as the store counts it; made once for each `max` and window. */
interface Plan {
  /** Null where `max` is 0: there is nothing to count. */
  readonly set: LimitSet | null
  /** Counts refusals up to `ban`. */
  readonly refusals: LimitSet | null
  readonly windowMs: number
  readonly max: number
  readonly suffix: string
}

const MAX_MEMO_LENGTH = 64
const MAX_PLANS = 256
const MAX_UNNAMED = 1000
const MAX_EXACT_LIMIT = 64
const MAX_WINDOW_MS = 366 * 86_400_000

/** Counts for one limiter of @fastify/rate-limit, in the key space that `scope` names. */
export class Adapter implements RateLimitStore {
  readonly #shared: AdapterContext
  readonly #instance: string
  readonly #tag: string
  readonly #ban: number
  readonly #renews: boolean
  readonly #backsOff: boolean
  /** Where several limits meet in one count, their numbers must not decide how it is stored. */
  readonly #algorithmOf: (max: number) => Algorithm
  readonly #plans = new Map<number, Map<number, Plan>>()
  #planned = 0

  constructor (shared: AdapterContext, params: object, instance: string, scope: string) {
    const { max, timeWindow, ban, continueExceeding, exponentialBackoff, skipOnError, groupId } = params as Readonly<
      Record<string, unknown>
    >
    const where = scope === '*' ? '@fastify/rate-limit' : `@fastify/rate-limit ${scope}`
    assertNoProblems(problemsOf(timeWindow, skipOnError, shared.onOutage, where))
    this.#shared = shared
    this.#instance = instance
    this.#tag = shared.digest(`scope ${instance} ${scope}`).slice(0, 11)
    this.#ban = typeof ban === 'number' ? ban : -1
    this.#renews = continueExceeding === true
    this.#backsOff = exponentialBackoff === true && !this.#renews
    const varies = typeof max === 'function' || typeof groupId === 'string'
    this.#algorithmOf = (limit) => !varies && limit <= MAX_EXACT_LIMIT ? 'exact' : 'sliding'
  }

  incr (key: unknown, callback: StoredCountCallback, timeWindow: number, max: number): void {
    answer(() => this.#count(key, this.#planOf(timeWindow, max)), callback)
  }

  read (key: unknown, callback: StoredCountCallback, timeWindow: number, max: number): void {
    answer(() => this.#peek(key, this.#planOf(timeWindow, max)), callback)
  }

  child (params: object): RateLimitStore {
    return new Adapter(this.#shared, params, this.#instance, scopeOf(params, this.#shared))
  }

  #count (key: unknown, plan: Plan): StoredCount | Promise<StoredCount> {
    const counter = this.#keyOf(key, plan)
    if (plan.set === null) return this.#refuse(counter, plan, plan.windowMs, null)
    const decision = this.#shared.engine.decide(plan.set, [counter])
    return decision instanceof Promise
      ? decision.then((late) => this.#conclude(counter, plan, late))
      : this.#conclude(counter, plan, decision)
  }

  #conclude (
    counter: string,
    plan: Plan,
    { outcome, readings: [reading], store }: Decision,
  ): StoredCount | Promise<StoredCount> {
    if (outcome === 'unavailable') throw storeUnavailable()
    // Nobody counted: `onOutage: 'open'`, which whoever wrote it holds for the smaller harm.
    if (reading === undefined || reading === null) return { current: 0, ttl: 0 }
    return reading.room
      ? { current: reading.used, ttl: reading.waitMs }
      : this.#refuse(counter, plan, reading.waitMs, store)
  }

  /** The plugin takes `max + n` for the n-th refusal, and answers 403 from the one after its `ban`-th. */
  async #refuse (counter: string, plan: Plan, waitMs: number, store: LimitStore | null): Promise<StoredCount> {
    if (this.#renews) await renew(store, counter, plan.windowMs)
    const ttl = this.#renews ? plan.windowMs : waitMs
    if (plan.refusals === null) return { current: plan.max + 1, ttl }
    const { readings: [refusals] } = await this.#shared.engine.decide(plan.refusals, [`${counter}!`])
    if (refusals === undefined || refusals === null) return { current: plan.max + 1, ttl }
    return { current: plan.max + (refusals.room ? refusals.used : this.#ban + 1), ttl }
  }

  async #peek (key: unknown, plan: Plan): Promise<StoredCount> {
    if (plan.set === null) return { current: 1, ttl: plan.windowMs }
    const [reading] = await this.#shared.engine.peek(plan.set, [this.#keyOf(key, plan)])
    if (reading === undefined) return { current: 0, ttl: 0 }
    // Refused requests are not counted here, so a full count must itself say that the next one is too many.
    if (!reading.room) return { current: plan.max + 1, ttl: reading.waitMs }
    return { current: reading.used, ttl: reading.used === 0 ? 0 : reading.waitMs }
  }

  /** In braces, so that what a store keeps beside a key lies in the same slot of a Redis Cluster. */
  #keyOf (key: unknown, plan: Plan): string {
    const caller = textOf(key)
    const digest = caller.length <= MAX_MEMO_LENGTH ? this.#shared.digestOfRecent(caller) : this.#shared.digest(caller)
    return `{${digest}}${this.#tag}${plan.suffix}`
  }

  #planOf (timeWindow: number, max: number): Plan {
    const known = this.#plans.get(timeWindow)?.get(max)
    if (known !== undefined) return known
    const windowMs = Math.trunc(timeWindow)
    const limit = Math.trunc(max)
    if (!isWindow(windowMs) || !Number.isSafeInteger(limit) || limit < 0) {
      throw new SecurityError('INTERNAL_ERROR', {
        cause: new RangeError('max or timeWindow of @fastify/rate-limit gave a value that cannot limit anything'),
      })
    }
    const plan = this.#makePlan(windowMs, limit)
    // Functions may give any number of limits.
    if (++this.#planned > MAX_PLANS) {
      this.#plans.clear()
      this.#planned = 1
    }
    const sameWindow = this.#plans.get(timeWindow) ?? new Map<number, Plan>()
    this.#plans.set(timeWindow, sameWindow.set(max, plan))
    return plan
  }

  #makePlan (windowMs: number, max: number): Plan {
    const algorithm = this.#algorithmOf(max)
    const onOutage = [this.#shared.onOutage]
    const ban = this.#ban
    return {
      set: max === 0
        ? null
        : {
          quotas: [createQuota(algorithm, max, windowMs, false, { penalty: this.#backsOff ? ladder(windowMs) : null })],
          onOutage,
        },
      refusals: ban < 1
        ? null
        : { quotas: [createQuota(ban <= MAX_EXACT_LIMIT ? 'exact' : 'sliding', ban, windowMs, false)], onOutage },
      windowMs,
      max,
      suffix: `${algorithm.charAt(0)}${windowMs.toString(36)}`,
    }
  }
}

function answer (ask: () => StoredCount | Promise<StoredCount>, callback: StoredCountCallback): void {
  let count: StoredCount | Promise<StoredCount>
  try {
    count = ask()
  } catch (error) {
    callback(asError(error))
    return
  }
  if (count instanceof Promise)
    {count.then((late) => {
      callback(null, late)
    }, (error: unknown) => {
      callback(asError(error))
    })}
  else callback(null, count)
}

/** A ban that cannot be written is no reason to answer anything else than the refusal that already stands. */
async function renew (store: LimitStore | null, counter: string, windowMs: number): Promise<void> {
  await Promise.resolve().then(() => store?.ban([counter], windowMs)).catch(() => {})
}

function asError (error: unknown): Error {
  return error instanceof Error ? error : new SecurityError('INTERNAL_ERROR', { cause: error })
}

/** Key generators are the app's own, and may give what is no text; whoever has no key shares one count. */
function textOf (key: unknown): string {
  return typeof key === 'string' ? key : typeof key === 'number' ? `${key}` : ''
}

/**
 * What counts together: a group, else a route (GET and HEAD are one), else one limiter made by `createRateLimit`. The
 * order in which those are made at boot tells them apart, as it is the same in all instances; a `groupId` names one.
 */
function scopeOf (params: object, shared: AdapterContext): string {
  const { groupId, routeInfo } = params as Readonly<Record<string, unknown>>
  if (typeof groupId === 'string' && groupId !== '') return `group ${groupId}`
  const { method, url, constraints } = isPlainObject(routeInfo) ? routeInfo : {}
  if (typeof url === 'string') {
    const methods = [method].flat().map((name) => String(name).toUpperCase()).map((name) =>
      name === 'HEAD' ? 'GET' : name
    )
    return `${[...new Set(methods)].sort().join('|')} ${url}${
      constraints === undefined ? '' : ` ${JSON.stringify(constraints)}`
    }`
  }
  shared.unnamed++
  if (shared.unnamed > MAX_UNNAMED)
    {throw new SecurityError('INTERNAL_ERROR', {
      cause: new Error(
        'createRateLimit() and rateLimit() belong at boot: called for each request they never limit anything',
      ),
    })}
  return `limiter ${shared.unnamed}`
}

function isWindow (windowMs: unknown): boolean {
  return typeof windowMs === 'number' && windowMs >= 1 && windowMs <= MAX_WINDOW_MS
}

function problemsOf (timeWindow: unknown, skipOnError: unknown, onOutage: OnOutage, where: string): Problem[] {
  const problems: Problem[] = []
  if (typeof timeWindow !== 'function' && !isWindow(timeWindow)) {
    problems.push({
      path: `${where} timeWindow`,
      message: 'No window in which anything could be counted.',
      fix: "Write milliseconds from 1 to a year, or a text such as '1 minute'.",
    })
  }
  if (skipOnError === true && onOutage === 'closed') {
    problems.push({
      path: `${where} skipOnError`,
      message: "It would let through what onOutage 'closed' refuses.",
      fix: "Leave skipOnError out, or write onOutage: 'open'.",
    })
  }
  return problems
}

/** Each ban twice as long as the one before, up to a thousand windows or a year. */
function ladder (windowMs: number): Penalty {
  const bansMs: number[] = []
  for (let length = windowMs; length <= MAX_WINDOW_MS && bansMs.length <= 10; length *= 2) bansMs.push(length)
  return { after: 1, withinMs: windowMs, bansMs }
}
