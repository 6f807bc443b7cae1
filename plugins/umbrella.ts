/**
 * The umbrella: an ordered table of the suite's plugins. It checks every plugin's options before it loads the first, so
 * that one error lists everything wrong; registered again in a child scope it overrides that scope's policies.
 */
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { SecurityDefinition } from '../definition.js'
import { assertNoProblems, type Problem } from '../lib/response/errors.js'
import { checkOptions, isPlainObject } from '../lib/options/check-options.js'
import { isOrigin } from '../lib/net/origin.js'
import { claimRegistration, overrideScope, securityOf, setBase, turnOff } from '../lib/policy/install.js'
import { checkKeys } from '../lib/policy/compile.js'
import { findScope } from '../lib/policy/scope.js'
import type { RouteSecurityOptions } from '../lib/policy/types.js'
import { auth, checkAuth, PublicRoute } from './auth.js'
import { cors, resolveCorsPolicy } from './cors.js'
import { checkCsrf, csrf } from './csrf.js'
import { env, readEnv } from './env.js'
import { checkErrors, errors } from './errors.js'
import { checkEvents, events } from './events.js'
import { headers, resolveHeadersPolicy } from './headers.js'
import { posture } from './posture.js'
import { checkRateLimit, rateLimit } from './rate-limit.js'
import { resolveTransportOptions, transport } from './transport.js'
import { checkValidation, validation } from './validation.js'

/** What is known once the environment was read. */
export interface Boot {
  readonly production: boolean
  readonly config: Readonly<Record<string, unknown>>
}

interface Entry {
  /** The plugin's key in the definition and in a route's `security`. */
  readonly key: string
  /** The plugin's options out of the definition; `false` when it is turned off. */
  readonly options: (definition: SecurityDefinition) => object | false
  readonly check: (options: object, boot: Boot, problems: Problem[]) => void
  readonly load: (app: FastifyInstance, options: object) => PromiseLike<unknown>
  /** True for what cannot be turned off: `false` is then an option of the wrong type. */
  readonly mandatory?: true
}

/** Every plugin checks its options itself when it is loaded, so the table need not know their types. */
function loads (plugin: unknown): Entry['load'] {
  return (app, own) => app.register(plugin as FastifyPluginAsync<object>, own)
}

/**
 * In this order they are loaded; the order in which they act on a request is the pipeline's (lib/policy/section.ts).
 */
const TABLE: readonly Entry[] = [
  {
    key: 'errors',
    options: ({ errors: own = {} }) => own,
    check: (own, _boot, problems) => {
      checkErrors(own, problems)
    },
    load: loads(errors),
  },
  {
    key: 'events',
    options: ({ events: own = {} }) => own,
    check: (own, _boot, problems) => {
      checkEvents(own, problems)
    },
    load: loads(events),
  },
  {
    key: 'transport',
    options: ({ transport: own = {} }) => own,
    check: (own, boot, problems) => {
      resolveTransportOptions(own, boot.production, problems)
    },
    load: loads(transport),
    mandatory: true,
  },
  {
    key: 'headers',
    options: headersOptions,
    check: (own, _boot, problems) => {
      resolveHeadersPolicy(null, own, 'headers', problems)
    },
    load: loads(headers),
  },
  {
    key: 'cors',
    options: ({ cors: own = {} }) => own,
    check: (own, _boot, problems) => {
      resolveCorsPolicy(own, 'cors', problems)
    },
    load: loads(cors),
  },
  {
    key: 'csrf',
    options: csrfOptions,
    check: (own, _boot, problems) => {
      checkCsrf(own, problems)
    },
    load: loads(csrf),
  },
  {
    key: 'rateLimit',
    options: ({ rateLimit: own = {} }) => own as object | false,
    check: checkRateLimit,
    load: loads(rateLimit),
  },
  {
    key: 'validation',
    options: ({ validation: own = {} }) => own,
    check: (own, _boot, problems) => {
      checkValidation(own, problems)
    },
    load: loads(validation),
  },
  { key: 'auth', options: ({ auth: own = false }) => own as object | false, check: checkAuth, load: loads(auth) },
]

const ProfileSchema = Type.Union([Type.Literal('api'), Type.Literal('document')], {
  description: "Write 'api' or 'document'.",
})

const DefinitionKeys = Type.Object({
  profile: Type.Optional(ProfileSchema),
  defaults: Type.Optional(Type.Object({}, { description: 'Write an object with the keys of a route\'s `security`.' })),
  env: Type.Optional(Type.Unknown()),
  ...Object.fromEntries(TABLE.map(({ key }) => [key, Type.Optional(Type.Unknown())])),
}, { additionalProperties: false })

/** Finds everything wrong with a definition without starting anything. */
export function checkDefinition (definition: SecurityDefinition, problems: Problem[]): Boot {
  checkOptions(DefinitionKeys, definition, '', problems)
  const boot = readEnv(definition.env, problems)
  for (const { options, check, mandatory } of TABLE) {
    const own = options(definition)
    if (own !== false || mandatory === true) check(own as object, boot, problems)
  }
  if (boot.production && definition.auth === undefined) {
    problems.push({
      path: 'auth',
      message: 'Not decided.',
      fix: 'Write the auth options, or false when this service does not need to know its callers.',
    })
  }
  return boot
}

const umbrella: FastifyPluginAsync<SecurityDefinition | RouteSecurityOptions> = async (app, definition) => {
  const inherited = findScope(app)?.root.strict === true
  claimRegistration(app, 'bulwark')
  if (inherited) {
    overrideScope(app, definition, `bulwark in ${app.prefix === '' ? 'a child scope' : app.prefix}`)
    return
  }
  await loadAll(app, definition as SecurityDefinition)
}

async function loadAll (app: FastifyInstance, definition: SecurityDefinition): Promise<void> {
  const problems: Problem[] = []
  const boot = checkDefinition(definition, problems)
  assertNoProblems(problems)

  const scope = securityOf(app)
  const { root } = scope
  Object.assign(root, { strict: true, production: boot.production, config: boot.config })
  // What was read already: reading again would generate missing secrets a second time.
  if (definition.env !== undefined) await loads(env)(app, boot.config)
  const defaults = (definition.defaults ?? {}) as Readonly<Record<string, unknown>>
  const off: string[] = []
  for (const { key, options, load } of TABLE) {
    const own = options(definition)
    if (own === false) {
      turnOff(app, key, (input) => PublicRoute.is(input))
      off.push(key)
    } else {
      await load(app, own)
    }
    if (defaults[key] !== undefined) setBase(app, key, defaults[key], `defaults.${key}`)
  }
  checkKeys(scope.sections, defaults, 'defaults', root.problems)
  await app.register(posture, { off })
}

/** The profile is a header decision that other plugins look up in the headers policy. */
export function headersOptions ({ profile, headers: own = {} }: SecurityDefinition): object | false {
  // What is no object goes on as it is, to be refused by the plugin's own check.
  if (!isPlainObject(own)) return own
  return { ...((profile === 'api' || profile === 'document') && { profile }), ...own }
}

/** The public origin is the transport's, unless the plugin is given its own. */
function csrfOptions ({ csrf: own = {}, transport: transportOptions }: SecurityDefinition): object | false {
  if (!isPlainObject(own)) return own
  const publicOrigin = isPlainObject(transportOptions) ? transportOptions['publicOrigin'] : undefined
  // A wrong one is the transport's to report, once.
  return own.publicOrigin === undefined && typeof publicOrigin === 'string' && isOrigin(publicOrigin)
    ? { ...own, publicOrigin }
    : own
}

export const bulwark = fp(umbrella, { name: 'bulwark', fastify: '5.x' })
export default bulwark
