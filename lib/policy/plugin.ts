import type { Static, TSchema } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { checkOptions, readableOptions } from '../options/check-options.js'
import { assertNoProblems, type Problem } from '../response/errors.js'
import { claimRegistration, securityOf } from './install.js'
import { isRootInstance } from './instance.js'
import type { SecurityScope } from './scope.js'

/** What is known once the environment was read. */
export interface Boot {
  readonly production: boolean
  /** The values of `app.config`; empty without the env plugin. */
  readonly config: Readonly<Record<string, unknown>>
}

/** What a plugin may look at when it resolves its options. */
export interface ResolveContext {
  /** The plugin's key: how the paths of its problems begin. */
  readonly where: string
  /** Everything wrong is added here; `resolve` never throws. */
  readonly problems: Problem[]
  readonly boot: Boot
  /** The definition that the plugin is part of; empty for a plugin that is registered alone. */
  readonly definition: Readonly<Record<string, unknown>>
  /** The policy that the enclosing scope gives this key; undefined where there is none. */
  readonly inherited: unknown
}

/** One plugin of the suite: what it takes, what that means, and what it puts on the server. */
export interface PluginDefinition<Schema extends TSchema, Policy, Input = Static<Schema>> {
  /** Its key in a definition and in a route's `security`; its Fastify name is `bulwark-` and the key. */
  readonly key: string
  /** Every option with a description, which is also its fix when a value is wrong. */
  readonly options: Schema
  /** True for a plugin that `false` cannot turn off. */
  readonly mandatory?: true
  /** True for a plugin whose effects belong to the whole server: it is refused in a child scope. */
  readonly rootOnly?: true
  /**
   * Turns options into a complete, checked, frozen policy. The only place where options are read, and where anything is
   * generated; it runs once for each boot. Of options that `options` refuses it gets those that are right.
   */
  resolve (input: Input, context: ResolveContext): Policy
  /** Decorates the app, adds its section and its hooks, opens its stores. */
  install (app: FastifyInstance, policy: Policy, scope: SecurityScope): void | PromiseLike<void>
}

/** A plugin to register alone; the umbrella uses its parts. */
export interface SecurityPlugin<Options extends object = object, Policy = unknown> extends FastifyPluginAsync<Options> {
  readonly key: string
  readonly mandatory: boolean
  readonly resolve: (input: unknown, context: Omit<ResolveContext, 'where'>) => Policy
  /** The plugin with a policy that is resolved already. */
  readonly withPolicy: (policy: Policy) => FastifyPluginAsync
}

/** Makes a plugin of the suite. All of them are made here, so that all check, resolve and refuse in one way. */
export function defineSecurityPlugin<Schema extends TSchema, Policy, Input extends object = Static<Schema> & object> (
  definition: PluginDefinition<Schema, Policy, Input>,
): SecurityPlugin<Input, Policy> {
  const { key, options: schema, mandatory = false, rootOnly = false } = definition
  const named = { name: `bulwark-${key}`, fastify: '5.x' }

  const resolve = (input: unknown, context: Omit<ResolveContext, 'where'>): Policy => {
    const { problems } = context
    const checked: unknown = checkOptions(schema, input === undefined ? {} : input, key, problems)
    const readable = checked ?? readableOptions(input, key, problems)
    return definition.resolve(readable as Input, { ...context, where: key })
  }
  const claim = (app: FastifyInstance, problems: Problem[]): SecurityScope => {
    claimRegistration(app, key)
    if (rootOnly && !isRootInstance(app)) {
      const fix = 'Register it on the instance that fastify() returned: all scopes share it.'
      problems.push({ path: key, message: 'Registered in a child scope.', fix })
    }
    return securityOf(app)
  }
  const registered: FastifyPluginAsync<Input> = async (app, input) => {
    const problems: Problem[] = []
    const scope = claim(app, problems)
    const inherited = scope.sections.get(key)?.base
    const policy = resolve(input, { problems, boot: scope.root, definition: {}, inherited })
    assertNoProblems(problems)
    await definition.install(app, policy, scope)
  }
  const withPolicy = (policy: Policy): FastifyPluginAsync =>
    fp(async (app: FastifyInstance) => {
      const problems: Problem[] = []
      const scope = claim(app, problems)
      assertNoProblems(problems)
      await definition.install(app, policy, scope)
    }, named)
  return Object.assign(fp(registered, named), { key, mandatory, resolve, withPolicy })
}
