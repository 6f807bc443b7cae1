import type { Problem } from '../response/errors.js'
import { isPlainObject } from '../options/check-options.js'
import { nearest } from '../options/nearest.js'
import type { FinalStep } from '../response/finish.js'
import { PIPELINE, type HookName } from './pipeline.js'
import type { PlacedFinalStep, PlacedStep, PolicySection, RouteInfo, Step } from './section.js'
import type { ResolvedRouteSecurity } from './types.js'

/** The ready form of a policy: for each hook, the steps to run, in the pipeline's order. */
export interface CompiledPolicy {
  readonly policy: ResolvedRouteSecurity
  readonly onRequest: readonly Step[]
  readonly preValidation: readonly Step[]
  readonly onSend: readonly Step[]
  readonly writeHead: readonly FinalStep[]
  /** What sets the headers of an answer that was given before the suite's first hook. */
  readonly headers: readonly Step[]
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
  const final: PlacedFinalStep[] = []
  for (const [key, { section }] of sections) {
    const steps = section.compile((policy as Record<string, unknown>)[key], route, problems)
    const lost = steps.find(({ hook }) => hook === 'preValidation' && section.hooks?.includes(hook) !== true)
    if (lost !== undefined) {
      throw new Error(
        `The section "${key}" has a step in ${lost.hook}, which is not among its hooks: it would never run.`,
      )
    }
    for (const step of steps) {
      if (step.hook === 'writeHead') final.push(step)
      else placed.push(step)
    }
  }
  return Object.freeze({
    policy,
    onRequest: inOrder('onRequest', placed),
    preValidation: inOrder('preValidation', placed),
    onSend: inOrder('onSend', placed),
    writeHead: inOrder('writeHead', final),
    headers: placed.filter(({ phase }) => phase === 'headers').map(({ run }) => run),
  })
}

function inOrder<Run> (
  hook: HookName,
  placed: readonly { readonly hook: HookName, readonly phase: string, readonly run: Run }[],
): Run[] {
  const order: readonly string[] = PIPELINE[hook]
  return placed
    .filter((step) => step.hook === hook)
    .sort((a, b) => order.indexOf(a.phase) - order.indexOf(b.phase))
    .map(({ run }) => run)
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
