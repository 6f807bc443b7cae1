import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SecurityEvent } from '../events/catalogue.js'
import type { PlacedStep, RouteInfo, Step, Verdict } from '../policy/section.js'
import type { Problem } from '../response/errors.js'
import { addressDenied, isUndeclaredProxy, type AddressLists } from './address-lists.js'
import { exceeded, renderItems, renderPolicyField, storeUnavailable, tooManyRequests } from './answers.js'
import { compileTally } from './counters.js'
import type { Decision, LimitEngine } from './engine.js'
import type { PhasePlan, Planner } from './plan.js'
import { checkBodyParts } from './route-names.js'
import { isSkipped } from './skip.js'

/** What all routes of one server share. */
export interface LimiterContext {
  readonly engine: LimitEngine
  readonly planner: Planner
  readonly lists: AddressLists | null
  /** Answers with these statuses count as failures; server errors always do. */
  readonly failureStatuses: ReadonlySet<number>
  readonly emit: (event: SecurityEvent, request: FastifyRequest | null) => void
}

/** What one phase decided. */
export interface Decided { readonly plan: PhasePlan, readonly keys: readonly string[], readonly decision: Decision }

/** What the limiter holds of one request. */
export class RequestLimits {
  readonly decided: Decided[] = []
  /** The limiter itself refused, so no guess was made. */
  refused = false
  /** The reservations are kept or given back, once and for all. */
  settled = false
  /** The end of the response settles, if nothing did before. */
  watched = false
}

export const kLimits: unique symbol = Symbol('bulwark.limits')

declare module 'fastify' {
  interface FastifyRequest { [kLimits]: RequestLimits | null }
}

const PLACES = {
  'limit-address': { hook: 'onRequest', phase: 'limit-address' },
  'limit-user': { hook: 'onRequest', phase: 'limit-user' },
  'limit-body': { hook: 'preValidation', phase: 'limit-body' },
} as const

/** The steps of one route, or of a scope's 404: decide in each phase, settle when the answer is known. */
export function compileLimits (
  names: readonly string[],
  route: RouteInfo | null,
  context: LimiterContext,
  problems: Problem[],
): readonly PlacedStep[] {
  const { planner, lists } = context
  const limits = planner.limitsOf(names)
  if (route !== null) for (const limit of limits) checkBodyParts(limit, route, problems)
  // A 404 has no body to count by.
  const plans = planner.plansOf(route === null ? limits.filter(({ phase }) => phase !== 'limit-body') : limits)
  const used = plans.flatMap((plan) => plan.limits)
  const countsFailures = used.some(({ failuresOnly }) => failuresOnly)
  const steps: PlacedStep[] = plans.map((plan, index) => {
    const later = new Set(plans.slice(index + 1).flatMap((one) => one.limits.map(({ policy }) => policy)))
    return { ...PLACES[plan.phase], run: compileStep(plan, { ...context, later, countsFailures }) }
  })
  if (lists !== null) steps.unshift({ ...PLACES['limit-address'], run: denyingStep(lists, context) })
  if (plans.length === 0) return steps
  const policyField = renderPolicyField(used)
  return [...steps, {
    hook: 'onSend',
    phase: 'limit-settle',
    run: function settleAndTell (request, reply) {
      // Where no limit counts failures, nothing is ever given back.
      const settling = countsFailures ? settle(request, reply, context, isGone(reply)) : undefined
      if (settling !== undefined) return settling.then(() => tell(request, reply, policyField))
      tell(request, reply, policyField)
      return undefined
    },
  }]
}

/** A denied address is refused on routes without limits, too. */
function denyingStep (lists: AddressLists, { emit }: LimiterContext): Step {
  return function refuseDenied (request) {
    if (lists(request.ip) !== 'denied') return undefined
    emit({ name: 'address_denied', list: 'rateLimit.deny' }, request)
    return addressDenied()
  }
}

/** What boot knows of the deciding steps of one route. */
interface RouteContext extends LimiterContext {
  /** Policies of which a later phase decides more. */
  readonly later: ReadonlySet<string>
  readonly countsFailures: boolean
}

function compileStep (plan: PhasePlan, context: RouteContext): Step {
  const whole = decidingStep(plan, context)
  const counted = plan.limits.some(({ skip }) => skip !== null) ? unlessSkipped(plan, whole, context) : whole
  return context.lists === null ? counted : unlessAllowed(counted, context.lists, context)
}

const QUIET_MS = 60_000

function unlessAllowed (run: Step, lists: AddressLists, { emit }: LimiterContext): Step {
  let quietUntil = 0
  return function limitUnlessAllowed (request, reply) {
    if (lists(request.ip) !== 'allowed') return run(request, reply)
    // No limit holds an allowed address: the option says so, and the boot log repeats it. Not so an undeclared proxy.
    if (!isUndeclaredProxy(request)) return undefined
    const now = performance.now()
    if (now >= quietUntil) {
      quietUntil = now + QUIET_MS
      const header = request.headers.forwarded === undefined ? 'x-forwarded-for' : 'forwarded'
      emit({ name: 'proxy_headers_untrusted', header }, request)
    }
    return run(request, reply)
  }
}

/** Decides without the limits that are skipped; what is left is prepared once for each combination. */
function unlessSkipped (plan: PhasePlan, whole: Step, context: RouteContext): Step {
  const variants = new Map<string, Step>()
  return function limitUnlessSkipped (request, reply) {
    const rest = plan.limits.filter((limit) => !isSkipped(limit, request))
    if (rest.length === plan.limits.length) return whole(request, reply)
    const name = rest.map(({ item }) => item).join()
    const known = variants.get(name)
    if (known !== undefined) return known(request, reply)
    const [left] = context.planner.plansOf(rest)
    const variant: Step = left === undefined ? () => undefined : decidingStep(left, context)
    variants.set(name, variant)
    return variant(request, reply)
  }
}

function decidingStep (plan: PhasePlan, context: RouteContext): Step {
  const { engine, emit } = context
  const tally = compileTally(engine.policies, plan.limits, context.later)
  const hasShadow = plan.limits.some(({ quota }) => quota.shadow)

  function conclude (request: FastifyRequest, keys: readonly string[], decision: Decision): Verdict {
    tally(decision)
    const limits = limitsOf(request)
    limits.decided.push({ plan, keys, decision })
    if (decision.outcome === 'admitted') {
      const over = hasShadow ? exceeded(plan.limits, decision, 'shadow') : []
      if (over.length > 0) {
        emit({ name: 'excess_rate_limit_exceeded', policies: over.map(({ item }) => `${item} (shadow)`) }, request)
      }
      return undefined
    }
    limits.refused = true
    if (decision.outcome === 'unavailable') return storeUnavailable()
    const policies = exceeded(plan.limits, decision, 'enforced').map(({ item }) => item)
    emit({ name: 'excess_rate_limit_exceeded', policies }, request)
    // The fields of the limits are told in `onSend`, as with every answer.
    return tooManyRequests(plan.limits, decision)
  }

  return function decideLimits (request, reply) {
    // Before the store is asked, because a caller may leave meanwhile.
    if (context.countsFailures) watchEnd(request, reply, context)
    const keys = plan.keyOf.map((keyOf) => keyOf(request))
    const decision = engine.decide(plan, keys)
    return decision instanceof Promise
      ? decision.then((late) => conclude(request, keys, late))
      : conclude(request, keys, decision)
  }
}

/**
 * For answers that no `onSend` sees: a hijacked reply, and an HTTP/2 stream that was reset before it. Other aborts are
 * handled in `onSend`, or keep the reservation.
 */
function watchEnd (request: FastifyRequest, reply: FastifyReply, context: LimiterContext): void {
  const limits = limitsOf(request)
  if (limits.watched) return
  limits.watched = true
  reply.raw.once('finish', function settleLate () {
    void settle(request, reply, context, !reply.raw.headersSent || isGone(reply))
  })
}

/**
 * Keeps the reservations of failure-counting limits or gives them back, once. They are kept when the answer is a
 * failure or a server error (a fault that a guess can provoke must not be a free guess), and when the caller left
 * before the answer. A refusal of the limiter is no guess, so an earlier phase's reservation goes back.
 */
function settle (
  request: FastifyRequest,
  { statusCode }: FastifyReply,
  { engine, failureStatuses }: LimiterContext,
  lost: boolean,
): undefined | Promise<undefined> {
  const limits = limitsOf(request)
  if (limits.settled) return undefined
  limits.settled = true
  const failed = lost || statusCode >= 500 || failureStatuses.has(statusCode)
  if (failed && !limits.refused) return undefined
  const pending = limits.decided
    .map(({ plan, keys, decision }) => engine.giveBack(plan, keys, decision, plan.failuresOnly))
    .filter((giving) => giving !== undefined)
  return pending.length === 0 ? undefined : Promise.all(pending).then(() => undefined)
}

/** The caller hung up before the answer, or in the middle of it. */
function isGone ({ raw }: FastifyReply): boolean {
  return raw.destroyed && !raw.writableFinished
}

function limitsOf (request: FastifyRequest): RequestLimits {
  return request[kLimits] ??= new RequestLimits()
}

/** Tells the state of the limits that were asked and may be shown. */
function tell (request: FastifyRequest, reply: FastifyReply, policyField: string | null): undefined {
  const limits = request[kLimits]
  if (limits === null || policyField === null) return
  const items = limits.decided
    .map(({ plan, decision }) => renderItems(plan.limits, decision))
    .filter((text) => text !== '')
  reply.header('ratelimit-policy', policyField)
  if (items.length > 0) reply.header('ratelimit', items.join(', '))
}
