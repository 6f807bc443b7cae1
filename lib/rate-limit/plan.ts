import type { Problem } from '../response/errors.js'
import { isPlainObject, nearest } from '../options/check-options.js'
import { mergeNames } from '../policy/merge.js'
import type { RouteInfo } from '../policy/section.js'
import { renderItemHead, renderPolicyField } from './answers.js'
import { mayCarryText } from './body-schema.js'
import type { LimitSet } from './engine.js'
import type { RequestKey } from './keys.js'
import type { LimitPhase, Policies, ResolvedLimit } from './limits.js'

/** The limits that are decided in one step, with all that boot can prepare for it. */
export interface PhasePlan extends LimitSet {
  readonly phase: LimitPhase
  readonly limits: readonly ResolvedLimit[]
  readonly keyOf: readonly RequestKey[]
  /** Which reservations end when the request succeeds. */
  readonly failuresOnly: readonly boolean[]
  readonly itemHeads: readonly (string | null)[]
}

/** The limits of one route, phase by phase. */
export interface RoutePlan {
  readonly phases: readonly PhasePlan[]
  /** The `RateLimit-Policy` field, or null when no limit may be shown. */
  readonly policyField: string | null
  readonly countsFailures: boolean
}

export type RouteInput = readonly string[] | { readonly only: readonly string[] } | false

/**
 * Resolves what a route or a scope wrote: names are added to the base's, `{ only }` replaces them, `false` empties
 * them.
 */
export function resolveNames (
  policies: Policies,
  base: readonly string[],
  input: unknown,
  where: string,
  problems: Problem[],
): readonly string[] {
  if (!isRouteInput(input)) {
    problems.push({
      path: where,
      message: 'Not a list of policies.',
      fix: "Write a list of names, { only: [names] } to drop the scope's, or false.",
    })
    return base
  }
  const names = mergeNames(base, input)
  const known = [...policies.keys()]
  for (const name of names) {
    if (policies.has(name)) continue
    const near = nearest(name, known)
    problems.push({
      path: where,
      message: `There is no rate-limit policy "${name}".`,
      fix: near === null ? `Known: ${known.join(', ')}.` : `Did you mean "${near}"?`,
    })
  }
  return Object.freeze(names.filter((name) => policies.has(name)))
}

function isRouteInput (input: unknown): input is RouteInput {
  if (input === false) return true
  if (Array.isArray(input)) return input.every((name) => typeof name === 'string')
  return isPlainObject(input) && Object.keys(input).length === 1 && Array.isArray(input['only']) &&
    input['only'].every((name) => typeof name === 'string')
}

export const PHASES: readonly LimitPhase[] = ['limit-address', 'limit-user', 'limit-body']

/**
 * Prepares the limits of a route; of a scope's 404 (`null`), which has no body to count by, those without a body part.
 */
export function planRoute (
  limits: readonly ResolvedLimit[],
  keyOf: (limit: ResolvedLimit) => RequestKey,
  route: RouteInfo | null,
  problems: Problem[],
): RoutePlan {
  if (route !== null) for (const limit of limits) checkBody(limit, route, problems)
  const used = route === null ? limits.filter(({ phase }) => phase !== 'limit-body') : limits
  const phases = PHASES
    .map((phase) => planPhase(phase, used.filter((limit) => limit.phase === phase), keyOf))
    .filter((plan) => plan.limits.length > 0)
  return Object.freeze({
    phases: Object.freeze(phases),
    policyField: renderPolicyField(phases.flatMap((plan) => plan.limits).filter(({ exposed }) => exposed)),
    countsFailures: used.some(({ failuresOnly }) => failuresOnly),
  })
}

/** Prepares limits that are decided in one step. */
export function planPhase (
  phase: LimitPhase,
  limits: readonly ResolvedLimit[],
  keyOf: (limit: ResolvedLimit) => RequestKey,
): PhasePlan {
  return Object.freeze({
    phase,
    limits: Object.freeze(limits),
    quotas: Object.freeze(limits.map(({ quota }) => quota)),
    onOutage: Object.freeze(limits.map(({ onOutage }) => onOutage)),
    keyOf: Object.freeze(limits.map(keyOf)),
    failuresOnly: Object.freeze(limits.map(({ failuresOnly }) => failuresOnly)),
    itemHeads: Object.freeze(limits.map((limit) => limit.exposed ? renderItemHead(limit) : null)),
  })
}

const BODYLESS_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'TRACE'])

/** A body key on a route that never has that field would put every caller into one bucket. */
function checkBody (limit: ResolvedLimit, route: RouteInfo, problems: Problem[]): void {
  for (const part of limit.parts) {
    if (typeof part === 'string' || !('body' in part)) continue
    const path = `${route.label} security.rateLimit`
    if (route.method.split('|').every((method) => BODYLESS_METHODS.has(method))) {
      problems.push({
        path,
        message: `The policy "${limit.policy}" counts by the body field "${part.body}", and this route has no body.`,
        fix: 'Name the policy on routes with a body only.',
      })
    } else if (!mayCarryText(route.schema['body'], part.body)) {
      problems.push({
        path,
        message:
          `The policy "${limit.policy}" counts by the body field "${part.body}", which the body schema of this route does not have as text.`,
        fix: 'Add the field to the schema as a string, or choose another policy.',
      })
    }
  }
}
