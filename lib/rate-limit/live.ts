import { BulwarkConfigError, type Problem } from '../response/errors.js'
import { nearest } from '../options/check-options.js'
import { compileKeys, type RequestKey } from './keys.js'
import type { Policies, ResolvedLimit } from './limits.js'
import { PHASES, planPhase, type PhasePlan } from './plan.js'
import { createQuota } from './quota.js'

/**
 * Prepares the new form of something that policies went into; what it returns puts that form in force and cannot fail.
 */
export type Rebuild = () => () => void

/** The policies in force. Whatever is made of them is made anew when `replace` gives others. */
export class LivePolicies {
  readonly #secret: string
  readonly #apiKeyHeader: string
  readonly #used = new Set<string>()
  readonly #rebuilds: Rebuild[] = []
  #policies: Policies
  #keys: ReadonlyMap<ResolvedLimit, RequestKey>

  constructor (policies: Policies, secret: string, apiKeyHeader: string) {
    this.#secret = secret
    this.#apiKeyHeader = apiKeyHeader
    this.#policies = policies
    this.#keys = this.#compile(policies)
  }

  get policies (): Policies {
    return this.#policies
  }

  get apiKeyHeader (): string {
    return this.#apiKeyHeader
  }

  readonly keyOf = (limit: ResolvedLimit): RequestKey => {
    const key = this.#keys.get(limit)
    if (key === undefined) throw new Error(`The limit "${limit.item}" is not in force.`)
    return key
  }

  limitsOf (names: readonly string[]): readonly ResolvedLimit[] {
    return names.flatMap((name) => this.#policies.get(name) ?? [])
  }

  /**
   * The limits of a policy, or the one limit that is named as headers name it (`login:3`).
   * @throws RangeError when there is none of that name.
   */
  named (name: string): readonly ResolvedLimit[] {
    const limits = this.#policies.get(name)
    if (limits !== undefined) return limits
    const all = [...this.#policies.values()].flat()
    const one = all.find(({ item }) => item === name)
    if (one !== undefined) return [one]
    const near = nearest(name, [...this.#policies.keys()])
    throw new RangeError(
      `There is no rate-limit policy "${name}". ${
        near === null ? `Known: ${[...this.#policies.keys()].join(', ')}.` : `Did you mean "${near}"?`
      }`,
    )
  }

  /** Limits by phase, because only the limits of one phase are decided in one step; `cost` replaces the limits' own. */
  plansOf (limits: readonly ResolvedLimit[], cost?: number): readonly PhasePlan[] {
    return PHASES.map((phase) => {
      const plan = planPhase(phase, limits.filter((limit) => limit.phase === phase), this.keyOf)
      if (cost === undefined) return plan
      const quotas = plan.quotas.map(({ algorithm, limit, windowMs, shadow, burst, penalty }) =>
        createQuota(algorithm, limit, windowMs, shadow, { burst, cost, penalty })
      )
      return Object.freeze({ ...plan, quotas: Object.freeze(quotas) })
    }).filter((plan) => plan.limits.length > 0)
  }

  /** Marks policies that routes and scopes stand on: their callers and phases stay as they are. */
  use (names: readonly string[]): void {
    for (const name of names) this.#used.add(name)
  }

  onReplace (rebuild: Rebuild): void {
    this.#rebuilds.push(rebuild)
  }

  /**
   * Puts other policies in force, all at once.
   * @throws BulwarkConfigError, and changes nothing, when a policy in use would lose a limit or count other callers.
   */
  replace (policies: Policies, path: string): void {
    const problems = this.#problemsWith(policies, path)
    if (problems.length > 0) throw new BulwarkConfigError(problems)
    this.#keys = this.#compile(policies)
    this.#policies = policies
    for (const swap of this.#rebuilds.map((rebuild) => rebuild())) swap()
  }

  #compile (policies: Policies): ReadonlyMap<ResolvedLimit, RequestKey> {
    return new Map(
      [...policies.values()].flatMap((limits) => [...compileKeys(this.#secret, limits, this.#apiKeyHeader)]),
    )
  }

  #problemsWith (policies: Policies, path: string): Problem[] {
    const fix =
      'Only numbers, windows, algorithms, modes, penalties and skip may change while the server runs; restart it for more.'
    return [...this.#used].flatMap((name) => {
      const now = this.#policies.get(name) ?? []
      const then = policies.get(name)
      if (then === undefined)
        {return [{ path: `${path}.${name}`, message: 'Routes use this policy, and it is gone.', fix }]}
      return shapeOf(now) === shapeOf(then)
        ? []
        : [{
          path: `${path}.${name}`,
          message:
            'Routes use this policy, and it would have other limits, count other callers or count at another time.',
          fix,
        }]
    })
  }
}

/** What the steps and the checks of a route were compiled from. */
function shapeOf (limits: readonly ResolvedLimit[]): string {
  return JSON.stringify(limits.map(({ parts, failuresOnly }) => [parts, failuresOnly]))
}
