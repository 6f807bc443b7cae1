import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Problem } from '../response/errors.js'
import type { FinalStep } from '../response/finish.js'
import type { OptionalHook, Phase, StepHook } from './pipeline.js'

/** A step returns this after it has sent the answer itself: no later step and no handler runs. */
export const ANSWERED: unique symbol = Symbol('bulwark.answered')

/** Nothing = go on; an error = refuse with it; `ANSWERED` = the answer is sent. */
export type Verdict = undefined | Error | typeof ANSWERED

/**
 * Decides synchronously wherever it can; a promise only where it must wait for a store. It may also throw to refuse.
 */
export type Step = (request: FastifyRequest, reply: FastifyReply) => Verdict | Promise<Verdict>

/** A step with its place. Only `onRequest` and `preValidation` may refuse; the verdict of `onSend` is ignored. */
export type PlacedStep = {
  [H in StepHook]: { readonly hook: H, readonly phase: Phase<H>, readonly run: Step }
}[StepHook]

/** A final step with its place. */
export interface PlacedFinalStep {
  readonly hook: 'writeHead'
  readonly phase: Phase<'writeHead'>
  readonly run: FinalStep
}

/** What a section knows of a route when it compiles; `null` stands for the scope's 404. */
export interface RouteInfo {
  readonly method: string
  readonly url: string
  /** `GET /users/:id`: how problems name the route. */
  readonly label: string
  readonly schema: Readonly<Record<string, unknown>>
}

/**
 * One plugin's part of the route policy. `resolve` is the only place where untrusted options become a trusted policy:
 * it merges, checks the merged result, and adds a problem instead of guessing. `compile` turns a resolved policy into
 * ready steps; nothing in a step decides what boot could have decided.
 */
export interface PolicySection {
  /** The key of `RouteSecurityOptions` it owns. */
  readonly key: string
  /**
   * The optional hooks that its steps may run in; each costs every request, so none runs unasked.
   */
  readonly hooks?: readonly OptionalHook[]
  /** True for the stand-in of a plugin that was turned off. */
  readonly off?: true
  /** Resolves a route's or a scope's input against the base policy of the scope. */
  resolve (base: unknown, input: unknown, where: string, problems: Problem[]): unknown
  compile (policy: unknown, route: RouteInfo | null, problems: Problem[]): readonly (PlacedStep | PlacedFinalStep)[]
}

/**
 * The typed form that plugins write; `Input` is what users may write under the key, `Policy` is resolved and frozen.
 */
export interface SectionDefinition<Input, Policy> {
  readonly key: string
  readonly hooks?: readonly OptionalHook[]
  resolve (base: Policy, input: Input, where: string, problems: Problem[]): Policy
  compile (policy: Policy, route: RouteInfo | null, problems: Problem[]): readonly (PlacedStep | PlacedFinalStep)[]
}

/** Erases the types of a section so that a scope can hold sections of all plugins side by side. */
export function defineSection<Input, Policy> (definition: SectionDefinition<Input, Policy>): PolicySection {
  return {
    key: definition.key,
    hooks: definition.hooks ?? [],
    resolve: (base, input, where, problems) => definition.resolve(base as Policy, input as Input, where, problems),
    compile: (policy, route, problems) => definition.compile(policy as Policy, route, problems),
  }
}
