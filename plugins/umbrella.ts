/**
 * The umbrella: an ordered list of the suite's plugins. It resolves every plugin's options before it loads the first,
 * so that one error lists everything wrong; registered again in a child scope it overrides that scope's policies.
 */
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { SecurityDefinition } from '../definition.js'
import { checkOptions } from '../lib/options/check-options.js'
import { ServerNotes } from '../lib/options/server-notes.js'
import { claimRegistration, overrideScope, securityOf, turnOff } from '../lib/policy/install.js'
import type { SecurityPlugin } from '../lib/policy/plugin.js'
import { PublicRoute } from '../lib/policy/public-route.js'
import { findScope } from '../lib/policy/scope.js'
import type { RouteSecurityOptions } from '../lib/policy/types.js'
import { assertNoProblems, type Problem } from '../lib/response/errors.js'
import { auth } from './auth.js'
import { cookies } from './cookies.js'
import { cors } from './cors.js'
import { csrf } from './csrf.js'
import { env, readEnv, type ResolvedEnvPolicy } from './env.js'
import { errors } from './errors.js'
import { events } from './events.js'
import { headers } from './headers.js'
import { posture } from './posture.js'
import { rateLimit } from './rate-limit.js'
import { transport } from './transport.js'
import { validation } from './validation.js'

/** In this order they are loaded; the order in which they act on a request is the pipeline's. */
const PLUGINS = [cookies, errors, events, transport, headers, cors, csrf, rateLimit, validation, auth] as unknown as
  readonly SecurityPlugin[]

const DefinitionSchema = Type.Object({
  profile: Type.Optional(
    Type.Union([Type.Literal('api'), Type.Literal('document')], { description: "Write 'api' or 'document'." }),
  ),
  defaults: Type.Optional(Type.Object({}, { description: "Write an object with the keys of a route's `security`." })),
  env: Type.Optional(Type.Unknown()),
  ...Object.fromEntries(PLUGINS.map(({ key }) => [key, Type.Optional(Type.Unknown())])),
}, { additionalProperties: false })

/** A definition with every option resolved, once for each boot. */
export interface Blueprint {
  readonly definition: SecurityDefinition
  readonly boot: ResolvedEnvPolicy
  /** The policy of each plugin by its key; false for one that is turned off. */
  readonly policies: ReadonlyMap<string, unknown>
}

/** What `serverOptions` resolved, for the `register` of the same boot. */
const BLUEPRINTS = new ServerNotes<Blueprint>()

/** Resolves a definition: reads the environment, checks every option, makes missing secrets. Starts nothing. */
export function resolveDefinition (definition: SecurityDefinition, problems: Problem[]): Blueprint {
  checkOptions(DefinitionSchema, definition, '', problems)
  const boot = readEnv(definition.env, problems)
  const written = definition as Readonly<Record<string, unknown>>
  const policies = new Map<string, unknown>()
  for (const { key, mandatory, resolve } of PLUGINS) {
    const input = written[key]
    // Without options there are no users to know: whether that is meant is asked below.
    const isOff = key === auth.key ? input === undefined || input === false : input === false
    policies.set(
      key,
      isOff && !mandatory ? false : resolve(input, { problems, boot, definition: written, inherited: undefined }),
    )
  }
  if (boot.production && definition.auth === undefined) {
    problems.push({
      path: 'auth',
      message: 'Not decided.',
      fix: 'Write the auth options, or false when this service does not need to know its callers.',
    })
  }
  return { definition, boot, policies }
}

/** The resolved policy of one plugin; false when it is turned off. */
export function policyIn<Policy> ({ policies }: Blueprint, plugin: SecurityPlugin<never, Policy>): Policy | false {
  return policies.get(plugin.key) as Policy | false
}

/** Keeps a blueprint for the server that is built with these options. */
export function noteBlueprint (options: object, blueprint: Blueprint): void {
  BLUEPRINTS.set(options, blueprint)
}

const umbrella: FastifyPluginAsync<SecurityDefinition | RouteSecurityOptions> = async (app, options) => {
  const isInherited = findScope(app)?.root.strict === true
  claimRegistration(app, 'bulwark')
  if (isInherited) overrideScope(app, options, `bulwark in ${app.prefix === '' ? 'a child scope' : app.prefix}`)
  else await loadAll(app, blueprintOf(app, options as SecurityDefinition))
}

function blueprintOf (app: FastifyInstance, definition: SecurityDefinition): Blueprint {
  const noted = BLUEPRINTS.get(app)
  if (noted?.definition === definition) return noted
  const problems: Problem[] = []
  const blueprint = resolveDefinition(definition, problems)
  assertNoProblems(problems)
  return blueprint
}

async function loadAll (app: FastifyInstance, { definition, boot, policies }: Blueprint): Promise<void> {
  const { root } = securityOf(app)
  Object.assign(root, { strict: true, production: boot.production, config: boot.config })
  // What was read already: reading again would generate missing secrets a second time.
  if (definition.env !== undefined) await app.register(env.withPolicy(boot))
  for (const plugin of PLUGINS) {
    const policy = policies.get(plugin.key)
    if (policy === false) turnOff(app, plugin.key, (input) => PublicRoute.is(input))
    else await app.register(plugin.withPolicy(policy))
  }
  if (definition.defaults !== undefined) overrideScope(app, definition.defaults, 'defaults')
  const off = PLUGINS.map(({ key }) => key).filter((key) => policies.get(key) === false)
  await app.register(posture.withPolicy({ off }))
}

export const bulwark = fp(umbrella, { name: 'bulwark', fastify: '5.x' })
export default bulwark
