import type { Problem } from '../response/errors.js'
import { nearest, isPlainObject } from '../options/check-options.js'
import { PIPELINE, type HookName, type PlacedStep, type PolicySection, type RouteInfo, type Step } from './section.js'
import type { ResolvedRouteSecurity } from './types.js'

/** The ready form of a policy: for each hook, the steps to run, in the pipeline's order. */
export type CompiledPolicy = { readonly [H in HookName]: readonly Step[] } & {
  readonly policy: ResolvedRouteSecurity
  /** The `onSend` steps that set headers: what a hijacked reply gets of them, since Fastify runs no hook for it. */
  readonly onHijack: readonly Step[]
}

/** A section with the base policy that a scope gives it. */
export interface BoundSection { readonly section: PolicySection, readonly base: unknown }

/** Resolves each section's policy for a scope's input (or its base, with no input) and freezes the result. */
export function resolvePolicy (
  sections: ReadonlyMap<string, BoundSection>,
  input: unknown,
  where: string,
  problems: Problem[],
): ResolvedRouteSecurity {
  const policy: ResolvedRouteSecurity = {}
  resolveInto(policy, sections, input, where, problems)
  return policy
}

/** The same into an object that exists already; it is frozen afterwards. */
export function resolveInto (
  policy: ResolvedRouteSecurity,
  sections: ReadonlyMap<string, BoundSection>,
  input: unknown,
  where: string,
  problems: Problem[],
): void {
  const written = readInput(input, where, problems)
  for (const key of sections.keys()) {
    const value = resolveKey(sections, key, written, where, problems)
    Object.defineProperty(policy, key, { value, enumerable: true })
  }
  Object.freeze(policy)
}

/** One key of a policy; undefined when no section owns it. */
export function resolveKey (
  sections: ReadonlyMap<string, BoundSection>,
  key: string,
  input: unknown,
  where: string,
  problems: Problem[],
): unknown {
  const bound = sections.get(key)
  const value = isPlainObject(input) ? input[key] : undefined
  if (bound === undefined || value === undefined) return bound?.base
  return bound.section.resolve(bound.base, value, `${where}.${key}`, problems)
}

/** Compiles a resolved policy into steps sorted by the pipeline's order. */
export function compilePolicy (
  sections: ReadonlyMap<string, BoundSection>,
  policy: ResolvedRouteSecurity,
  route: RouteInfo | null,
  problems: Problem[],
): CompiledPolicy {
  const placed: PlacedStep[] = []
  for (const [key, { section }] of sections) {
    const steps = section.compile((policy as Record<string, unknown>)[key], route, problems)
    const lost = steps.find(({ hook }) =>
      hook !== 'onRequest' && hook !== 'onSend' && section.hooks?.includes(hook) !== true
    )
    if (lost !== undefined) {
      throw new Error(
        `The section "${key}" has a step in ${lost.hook}, which is not among its hooks: it would never run.`,
      )
    }
    placed.push(...steps)
  }
  const stepsOf = (hook: HookName, without?: string): readonly Step[] => {
    const order: readonly string[] = PIPELINE[hook]
    return placed
      .filter((step) => step.hook === hook && step.phase !== without)
      .sort((a, b) => order.indexOf(a.phase) - order.indexOf(b.phase))
      .map((step) => step.run)
  }
  return Object.freeze({
    policy,
    onRequest: stepsOf('onRequest'),
    preValidation: stepsOf('preValidation'),
    onSend: stepsOf('onSend'),
    // Settling is left to the end of the response: at the hijack nobody knows yet how the request ends.
    onHijack: stepsOf('onSend', 'limit-settle'),
  })
}

/** Adds a problem for each key that no loaded plugin owns. */
export function checkKeys (
  sections: ReadonlyMap<string, BoundSection>,
  input: unknown,
  where: string,
  problems: Problem[],
): void {
  if (!isPlainObject(input)) return
  const known = [...sections.keys()]
  for (const key of Object.keys(input)) {
    if (input[key] === undefined || sections.has(key)) continue
    const near = nearest(key, known)
    problems.push({
      path: `${where}.${key}`,
      message: 'No plugin loaded in this scope owns this key.',
      fix: near === null ? `Known here: ${known.join(', ') || 'none'}.` : `Did you mean "${near}"?`,
    })
  }
}

function readInput (input: unknown, where: string, problems: Problem[]): Record<string, unknown> {
  if (input === undefined) return {}
  if (isPlainObject(input)) return input
  problems.push({
    path: where,
    message: 'Not an object.',
    fix: "Write an object with one key a plugin, for example { rateLimit: ['search'] }.",
  })
  return {}
}
