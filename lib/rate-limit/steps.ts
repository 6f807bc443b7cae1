import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SecurityEvent } from '../events/catalogue.js'
import type { PlacedStep, Verdict } from '../policy/section.js'
import { exceeded, renderItems, storeUnavailable, tooManyRequests } from './answers.js'
import { compileTally, type Tally } from './counters.js'
import type { Decision, LimitEngine } from './engine.js'
import type { RequestKey } from './keys.js'
import type { PhasePlan, RoutePlan } from './plan.js'

/** What one phase decided. */
interface Decided { readonly plan: PhasePlan, readonly keys: readonly string[], readonly decision: Decision }

/** What the limiter holds of one request. */
export interface RequestLimits {
  readonly decided: readonly Decided[]
  /** The limiter itself refused, so no guess was made. */
  readonly refused: boolean
  /** The reservations are kept or given back, once and for all. */
  readonly settled: boolean
}

class Limits implements RequestLimits {
  readonly decided: Decided[] = []
  refused = false
  settled = false
  /** Settles when the response is over, if nothing did before. */
  watched = false
}

export const kLimits: unique symbol = Symbol('bulwark.limits')

declare module 'fastify' {
  interface FastifyRequest { [kLimits]: RequestLimits | null }
}

export interface StepContext {
  readonly engine: LimitEngine
  /** Answers with these statuses count as failures; server errors always do. */
  readonly failureStatuses: ReadonlySet<number>
  readonly emit: (event: SecurityEvent, request: FastifyRequest | null) => void
}

/** The steps of one route: decide in each phase, settle when the answer is known. */
export function limitSteps (plan: RoutePlan, context: StepContext): readonly PlacedStep[] {
  if (plan.phases.length === 0) return []
  const steps: PlacedStep[] = plan.phases.map((phase, index) => {
    const later = new Set(plan.phases.slice(index + 1).flatMap(({ limits }) => limits.map(({ policy }) => policy)))
    return decidingStep({ plan: phase, route: plan, hasShadow: phase.limits.some(({ quota }) => quota.shadow), tally: compileTally(context.engine.policies, phase.limits, later), context })
  })
  steps.push({ hook: 'onSend', phase: 'limit-settle', run: function settleLimits (request, reply) { return settleAndTell(request, reply, plan, context) } })
  return steps
}

/** What boot knows of one deciding step. */
interface Deciding {
  readonly plan: PhasePlan
  readonly route: RoutePlan
  readonly hasShadow: boolean
  readonly tally: Tally
  readonly context: StepContext
}

function decidingStep (step: Deciding): PlacedStep {
  switch (step.plan.phase) {
    case 'limit-address':
      return {
        hook: 'onRequest',
        phase: 'limit-address',
        run: function limitByAddress (request, reply) {
          return decide(request, reply, step)
        },
      }
    case 'limit-user':
      return {
        hook: 'onRequest',
        phase: 'limit-user',
        run: function limitByUser (request, reply) {
          return decide(request, reply, step)
        },
      }
    case 'limit-body':
      return {
        hook: 'preValidation',
        phase: 'limit-body',
        run: function limitByBody (request, reply) {
          return decide(request, reply, step)
        },
      }
  }
}

function decide (request: FastifyRequest, reply: FastifyReply, step: Deciding): Verdict | Promise<Verdict> {
  const { plan, context } = step
  // Before the store is asked, because a caller may leave meanwhile.
  if (step.route.countsFailures) watchEnd(request, reply, context)
  const keys = keysOf(plan, request)
  const decision = context.engine.decide(plan, keys)
  if (decision instanceof Promise) return decision.then((late) => conclude(request, step, keys, late))
  return conclude(request, step, keys, decision)
}

function keysOf ({ keyOf }: PhasePlan, request: FastifyRequest): readonly string[] {
  if (keyOf.length === 1) return [(keyOf[0] as RequestKey)(request)]
  return keyOf.map((one) => one(request))
}

function conclude (
  request: FastifyRequest,
  { plan, hasShadow, tally, context }: Deciding,
  keys: readonly string[],
  decision: Decision,
): Verdict {
  tally(decision)
  const limits = limitsOf(request)
  limits.decided.push({ plan, keys, decision })
  if (decision.outcome === 'admitted') {
    if (!hasShadow) return undefined
    const shadow = exceeded(plan.limits, decision, 'shadow')
    if (shadow.length > 0)
      {context.emit({
        name: 'excess_rate_limit_exceeded',
        policies: shadow.map(({ item }) => `${item} (shadow)`),
      }, request)}
    return undefined
  }
  limits.refused = true
  if (decision.outcome === 'unavailable') return storeUnavailable()
  context.emit({
    name: 'excess_rate_limit_exceeded',
    policies: exceeded(plan.limits, decision, 'enforced').map(({ item }) => item),
  }, request)
  // The fields of the limits are told in `onSend`, as with every answer.
  return tooManyRequests(plan.limits, decision)
}

/**
 * For what no `onSend` sees: a hijacked reply, and an HTTP/2 stream that was reset before it. Who hangs up otherwise is
 * found in `onSend`, or leaves what is reserved as it stands.
 */
function watchEnd (request: FastifyRequest, reply: FastifyReply, context: StepContext): void {
  const limits = limitsOf(request)
  if (limits.watched) return
  limits.watched = true
  const settleLate = (): void => { void settle(request, reply, context, !reply.raw.headersSent || isGone(reply)) }
  reply.raw.once('finish', settleLate)
}

function settleAndTell (
  request: FastifyRequest,
  reply: FastifyReply,
  plan: RoutePlan,
  context: StepContext,
): undefined | Promise<undefined> {
  // Where no limit counts failures, nothing is ever given back.
  const settling = plan.countsFailures ? settle(request, reply, context, isGone(reply)) : undefined
  if (settling !== undefined) return settling.then(() => tell(request, reply, plan))
  tell(request, reply, plan)
  return undefined
}

/**
 * Keeps the reservations of failure-counting limits or gives them back, once. They are kept when the answer is a
 * failure; when it is a server error, because a fault that a guess can provoke must not be a free guess; and when the
 * caller left before the answer.
 * What the limiter refused made no guess, so an earlier phase's reservation goes back.
 */
function settle (
  request: FastifyRequest,
  reply: FastifyReply,
  context: StepContext,
  lost: boolean,
): undefined | Promise<undefined> {
  const limits = limitsOf(request)
  if (limits.settled) return undefined
  limits.settled = true
  const { statusCode } = reply
  const failed = lost || statusCode >= 500 || context.failureStatuses.has(statusCode)
  if (failed && !limits.refused) return undefined
  const pending: Promise<void>[] = []
  for (const { plan, keys, decision } of limits.decided) {
    const giving = context.engine.giveBack(plan, keys, decision, plan.failuresOnly)
    if (giving !== undefined) pending.push(giving)
  }
  return pending.length === 0 ? undefined : Promise.all(pending).then(() => undefined)
}

/** The caller hung up before the answer, or in the middle of it. */
function isGone ({ raw }: FastifyReply): boolean {
  return raw.destroyed && !raw.writableFinished
}

function limitsOf (request: FastifyRequest): Limits {
  return (request[kLimits] ??= new Limits()) as Limits
}

function tell (request: FastifyRequest, reply: FastifyReply, plan: RoutePlan): undefined {
  const limits = request[kLimits]
  if (limits !== null) reply.headers(limitFields(limits, plan.policyField))
}

const NO_FIELDS: Readonly<Record<string, string>> = Object.freeze({})

function limitFields (limits: RequestLimits, policyField: string | null): Readonly<Record<string, string>> {
  if (policyField === null) return NO_FIELDS
  let field = ''
  for (const { plan, decision } of limits.decided) {
    const items = renderItems(plan.itemHeads, plan.limits, decision)
    if (items !== '') field += field === '' ? items : `, ${items}`
  }
  return field === '' ? { 'ratelimit-policy': policyField } : { 'ratelimit-policy': policyField, ratelimit: field }
}
