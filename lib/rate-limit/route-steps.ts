import type { FastifyRequest } from 'fastify'
import type { Problem } from '../response/errors.js'
import type { PlacedStep, RouteInfo, Step } from '../policy/section.js'
import type { LivePolicies } from './live.js'
import { addressDenied, isUndeclaredProxy, type Networks } from './networks.js'
import { planPhase, planRoute, type PhasePlan, type RoutePlan } from './plan.js'
import { isSkipped } from './skip.js'
import { limitSteps, type StepContext } from './steps.js'

export interface RouteContext {
  readonly live: LivePolicies
  readonly networks: Networks | null
  readonly steps: StepContext
}

/** The steps of one route. They look their plan up in one place, so that new limits take effect without a restart. */
export function routeSteps (
  names: readonly string[],
  route: RouteInfo | null,
  context: RouteContext,
  problems: Problem[],
): readonly PlacedStep[] {
  const { live, networks } = context
  live.use(names)
  const build = (found: Problem[]): readonly PlacedStep[] =>
    planSteps(planRoute(live.limitsOf(names), live.keyOf, route, found), context)
  let current = build(problems)
  live.onReplace(() => {
    const next = build([])
    return () => { current = next }
  })
  const steps = current.map((step, index): PlacedStep => {
    return {
      ...step,
      run: function limitStep (request, reply) {
        return (current[index] as { run: Step }).run(request, reply)
      },
    }
  })
  return networks === null ? steps : [denyingStep(networks, context), ...steps]
}

/** Also on routes without limits: whoever is denied is denied everywhere. */
function denyingStep (networks: Networks, { steps }: RouteContext): PlacedStep {
  return {
    hook: 'onRequest',
    phase: 'limit-address',
    run: function refuseDenied (request) {
      if (networks(request.ip) !== 'denied') return undefined
      steps.emit({ name: 'address_denied', list: 'rateLimit.deny' }, request)
      return addressDenied()
    },
  }
}

function planSteps (plan: RoutePlan, context: RouteContext): readonly PlacedStep[] {
  return limitSteps(plan, context.steps).map((step): PlacedStep => {
    const phase = plan.phases.find((one) => one.phase === step.phase)
    if (phase === undefined) return step
    const counted = phase.limits.some(({ skip }) => skip !== null)
      ? unlessSkipped(step.run, phase, plan, context)
      : step.run
    return {
      ...step,
      run: context.networks === null ? counted : unlessAllowed(counted, context.networks, context.steps),
    }
  })
}

/** Decides without the limits that are skipped; the plans of what is left are prepared once each. */
function unlessSkipped (run: Step, phase: PhasePlan, plan: RoutePlan, { live, steps }: RouteContext): Step {
  const variants = new Map<string, Step>()
  // The limits of this plan, which a later reload must not change.
  const keys = new Map(phase.limits.map((limit) => [limit, live.keyOf(limit)]))
  const compile = (skipped: readonly boolean[]): Step => {
    const rest = phase.limits.filter((_limit, index) => skipped[index] !== true)
    if (rest.length === 0) return () => undefined
    const left = planPhase(phase.phase, rest, (limit) => keys.get(limit) ?? live.keyOf(limit))
    const phases = plan.phases.map((one) => one === phase ? left : one)
    const deciding = limitSteps({ ...plan, phases }, steps).find((step) => step.phase === phase.phase)
    return (deciding as { run: Step }).run
  }
  return function limitUnlessSkipped (request, reply) {
    const skipped = phase.limits.map((limit) => isSkipped(limit, request))
    if (!skipped.includes(true)) return run(request, reply)
    const name = skipped.join()
    const variant = variants.get(name) ?? compile(skipped)
    variants.set(name, variant)
    return variant(request, reply)
  }
}

const QUIET_MS = 60_000

function unlessAllowed (run: Step, networks: Networks, { emit }: StepContext): Step {
  let quietUntil = 0
  return function limitUnlessAllowed (request, reply) {
    if (networks(request.ip) !== 'allowed') return run(request, reply)
    // An allowed address is never limited: the list says so, and the boot log repeats it. Not so an undeclared proxy.
    if (!isUndeclaredProxy(request)) return undefined
    const now = performance.now()
    if (now >= quietUntil) {
      quietUntil = now + QUIET_MS
      emit({
        name: 'proxy_headers_untrusted',
        header: request.headers.forwarded === undefined ? 'x-forwarded-for' : 'forwarded',
      }, request)
    }
    return run(request, reply)
  }
}

/** Whether no limit holds this request's caller. */
export function isAllowed (networks: Networks | null, request: FastifyRequest): boolean {
  return networks !== null && networks(request.ip) === 'allowed' && !isUndeclaredProxy(request)
}
