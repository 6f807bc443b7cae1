import { nearest } from '../options/nearest.js'
import type { LimitSet } from './engine.js'
import { compileKeys, type RequestKey } from './keys.js'
import type { LimitPhase, Policies, ResolvedLimit } from './policies.js'
import { createQuota } from './quota.js'

/** The limits that are decided in one step, with all that boot can prepare for it. */
export interface PhasePlan extends LimitSet {
  readonly phase: LimitPhase
  readonly limits: readonly ResolvedLimit[]
  readonly keyOf: readonly RequestKey[]
  /** Which reservations end when the request succeeds. */
  readonly failuresOnly: readonly boolean[]
}

const PHASES: readonly LimitPhase[] = ['limit-address', 'limit-user', 'limit-body']

/** The policies of one server, and the plans that are made of them. */
export class Planner {
  readonly policies: Policies
  readonly apiKeyHeader: string
  readonly #keys: ReadonlyMap<ResolvedLimit, RequestKey>

  constructor (policies: Policies, secret: string, apiKeyHeader: string) {
    this.policies = policies
    this.apiKeyHeader = apiKeyHeader
    this.#keys = new Map([...policies.values()].flatMap((limits) => [...compileKeys(secret, limits, apiKeyHeader)]))
  }

  limitsOf (names: readonly string[]): readonly ResolvedLimit[] {
    return names.flatMap((name) => this.policies.get(name) ?? [])
  }

  /**
   * The limits of a policy, or the one limit that is named as headers name it (`login:3`).
   * @throws RangeError when there is none of that name.
   */
  named (name: string): readonly ResolvedLimit[] {
    const limits = this.policies.get(name)
    if (limits !== undefined) return limits
    const one = [...this.policies.values()].flat().find(({ item }) => item === name)
    if (one !== undefined) return [one]
    throw new RangeError(`There is no rate-limit policy "${name}". ${hintFor(name, [...this.policies.keys()])}`)
  }

  /** One plan a phase: only the limits of one phase are decided in one step. `cost` replaces the limits' own. */
  plansOf (limits: readonly ResolvedLimit[], cost?: number): readonly PhasePlan[] {
    return PHASES
      .map((phase) => this.#planOf(phase, limits.filter((limit) => limit.phase === phase), cost))
      .filter((plan) => plan.limits.length > 0)
  }

  #planOf (phase: LimitPhase, limits: readonly ResolvedLimit[], cost: number | undefined): PhasePlan {
    return Object.freeze({
      phase,
      limits: Object.freeze(limits),
      quotas: Object.freeze(limits.map(({ quota }) => {
        if (cost === undefined) return quota
        const { algorithm, limit, windowMs, shadow, burst, penalty } = quota
        return createQuota(algorithm, limit, windowMs, shadow, { burst, cost, penalty })
      })),
      onOutage: Object.freeze(limits.map(({ onOutage }) => onOutage)),
      keyOf: Object.freeze(limits.map((limit) => this.#keyOf(limit))),
      failuresOnly: Object.freeze(limits.map(({ failuresOnly }) => failuresOnly)),
    })
  }

  #keyOf (limit: ResolvedLimit): RequestKey {
    const key = this.#keys.get(limit)
    if (key === undefined) throw new Error(`The limit "${limit.item}" is of another limiter.`)
    return key
  }
}

/** What to write instead of a name that is not known. */
export function hintFor (name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === null ? `Known: ${known.join(', ')}.` : `Did you mean "${near}"?`
}
