import type { FastifyRequest } from 'fastify'
import { exceeded } from './answers.js'
import { sourceOf, type Caller } from './caller-key.js'
import { isAllowed } from './address-lists.js'
import { compileTally } from './counters.js'
import type { KeySource } from './keys.js'
import type { PhasePlan } from './plan.js'
import type { ResolvedLimit } from './policies.js'
import { capacityOf, NOT_COUNTED } from './quota.js'
import { isSkipped } from './skip.js'
import { kLimits, type Decided, type LimiterContext } from './steps.js'

/** What a policy says to a request that asks for itself. */
export interface Consumed {
  /** False when a limit has no room, or when one that is `closed` cannot be asked. Nothing was counted then. */
  readonly admitted: boolean
  /** Units left of the limit that has least; limits in shadow aside. */
  readonly remaining: number
  /** Whole seconds, rounded up; 0 when admitted. */
  readonly retryAfterSeconds: number
}

export interface ConsumeOptions {
  /** Units to take, instead of each limit's own cost. */
  readonly cost?: number
  /** Parts of the key that are not those of this request. */
  readonly caller?: Caller
}

/** `request.rateLimit`: limits for decisions that a route declaration cannot make. `N` are the known policy names. */
export class RequestLimiter<N extends string = string> {
  readonly #request: FastifyRequest
  readonly #context: LimiterContext
  readonly #taken = new Map<string, Decided[]>()

  constructor (request: FastifyRequest, context: LimiterContext) {
    this.#request = request
    this.#context = context
  }

  /**
   * Takes units of all limits of a policy, or of none. They stay taken for every status of the answer, unless `reward`
   * gives them back.
   * @throws RangeError for an unknown policy or a cost that no window has room for, TypeError for a caller that cannot
   * be one.
   */
  async consume (policy: N, { cost, caller }: ConsumeOptions = {}): Promise<Consumed> {
    const { planner, engine } = this.#context
    const named = planner.named(policy)
    checkCost(cost, named)
    const source = this.#sourceOf(caller, named)
    if (caller === undefined && isAllowed(this.#context.lists, this.#request)) return admittedFreely(named)
    const limits = named.filter((limit) => !isSkipped(limit, this.#request))
    const taken: Decided[] = []
    const plans = planner.plansOf(limits, cost)
    for (const [index, plan] of plans.entries()) {
      const step = await this.#decide(plan, source)
      const later = plans.slice(index + 1).flatMap((one) => one.limits)
      compileTally(engine.policies, plan.limits, new Set(later.map((limit) => limit.policy)))(step.decision)
      if (step.decision.outcome !== 'admitted') {
        for (const earlier of taken) await this.#giveBack(earlier, () => true)
        return refused(step)
      }
      taken.push(step)
    }
    if (taken.length === 0) return admittedFreely(named)
    this.#taken.set(policy, [...this.#taken.get(policy) ?? [], ...taken])
    return { admitted: true, remaining: Math.min(...taken.map(remainingOf)), retryAfterSeconds: 0 }
  }

  /**
   * Gives back what `consume` took of the policy for this request; when it took nothing, what the route's own limits
   * counted. Once.
   */
  async reward (policy: N): Promise<void> {
    this.#context.planner.named(policy)
    const taken = this.#taken.get(policy)
    this.#taken.delete(policy)
    for (const one of taken ?? this.#request[kLimits]?.decided ?? []) {
      await this.#giveBack(one, (limit) => taken !== undefined || limit.policy === policy || limit.item === policy)
    }
  }

  /**
   * Counts units against the caller without asking for room: as many as there still is room for, in each limit of the
   * policy.
   */
  async penalize (policy: N, cost?: number): Promise<void> {
    const { planner, lists, engine } = this.#context
    const named = planner.named(policy)
    checkCost(cost, named)
    if (isAllowed(lists, this.#request)) return
    let local = false
    for (const limit of named) {
      for (const plan of planner.plansOf([limit], cost)) {
        const { decision } = await this.#decide(plan, this.#request)
        local ||= decision.source === 'fallback'
        const [reading] = decision.readings
        const room = capacityOf(limit.quota) - (reading?.used ?? Infinity)
        if (reading?.room === false && reading.banned !== true && room > 0) {
          for (const rest of planner.plansOf([limit], room)) await this.#decide(rest, this.#request)
        }
      }
    }
    for (const name of new Set(named.map((limit) => limit.policy))) {
      const counts = engine.policies.of(name)
      counts.penalized++
      if (local) counts.fallback++
    }
  }

  #sourceOf (caller: Caller | undefined, limits: readonly ResolvedLimit[]): KeySource {
    return caller === undefined
      ? this.#request
      : sourceOf(caller, limits, this.#context.planner.apiKeyHeader, this.#request)
  }

  async #decide (plan: PhasePlan, source: KeySource): Promise<Decided> {
    const { engine, emit } = this.#context
    const keys = plan.keyOf.map((keyOf) => keyOf(source))
    const decision = await engine.decide(plan, keys)
    const over = decision.outcome === 'refused' ? exceeded(plan.limits, decision, 'enforced') : []
    const shadow = decision.outcome === 'admitted' ? exceeded(plan.limits, decision, 'shadow') : []
    const policies = [...over.map(({ item }) => item), ...shadow.map(({ item }) => `${item} (shadow)`)]
    if (policies.length > 0) emit({ name: 'excess_rate_limit_exceeded', policies }, this.#request)
    return { plan, keys, decision }
  }

  async #giveBack ({ plan, keys, decision }: Decided, mine: (limit: ResolvedLimit) => boolean): Promise<void> {
    const held = plan.limits.map(mine)
    const giving = this.#context.engine.giveBack(plan, keys, decision, held)
    // Settling this request later then finds nothing left to give back.
    for (const [index, reading] of decision.readings.entries()) {
      if (held[index] === true && reading !== null) reading.mark = NOT_COUNTED
    }
    await giving
  }
}

function checkCost (cost: number | undefined, limits: readonly ResolvedLimit[]): void {
  const most = Math.min(...limits.map(({ quota }) => capacityOf(quota)))
  if (cost === undefined || (Number.isInteger(cost) && cost >= 1 && cost <= most)) return
  throw new RangeError(`A cost is a whole number from 1 to the smallest limit of the policy, ${most}.`)
}

function admittedFreely (limits: readonly ResolvedLimit[]): Consumed {
  return { admitted: true, remaining: Math.min(...limits.map(({ quota }) => capacityOf(quota))), retryAfterSeconds: 0 }
}

function remainingOf ({ plan, decision }: Decided): number {
  const left = plan.quotas.map((quota, index) =>
    quota.shadow ? Infinity : Math.max(0, capacityOf(quota) - (decision.readings[index]?.used ?? 0))
  )
  const least = Math.min(...left)
  return least === Infinity ? Math.min(...plan.quotas.map(capacityOf)) : least
}

function refused (step: Decided): Consumed {
  const { plan, decision } = step
  const waits = plan.quotas.map(({ shadow }, index) => {
    const reading = decision.readings[index]
    return reading?.room === false && !shadow ? reading.waitMs : 0
  })
  return {
    admitted: false,
    remaining: remainingOf(step),
    retryAfterSeconds: Math.max(1, Math.ceil(Math.max(...waits) / 1000)),
  }
}
