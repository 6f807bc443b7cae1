import fastify, { type FastifyServerOptions } from 'fastify'
import type { SecurityDefinition } from './definition.js'
import { assertNoProblems, type Problem } from './lib/response/errors.js'
import { limitHandlers } from './lib/response/handler-timeouts.js'
import { loggerOptions } from './lib/logging/options.js'
import { markSilent } from './lib/logging/silent.js'
import type { SecureInstance, SecurityShape, SecurityTypeProvider } from './lib/policy/types.js'
import type { ResolvedTransport } from './lib/transport/resolve.js'
import { buildServerOptions, SERVER_DEFAULTS, type ServerSettings } from './lib/transport/server-options.js'
import { checkServerInput, TLS_DEFAULTS, type ServerInput, type ServerOutput } from './lib/transport/tls.js'
import { errors as errorsPlugin } from './plugins/errors.js'
import { events as eventsPlugin } from './plugins/events.js'
import { headers as headersPlugin } from './plugins/headers.js'
import { transport as transportPlugin } from './plugins/transport.js'
import { bulwark, noteBlueprint, policyIn, resolveDefinition } from './plugins/umbrella.js'

export type { ServerInput, ServerOutput } from './lib/transport/tls.js'

/** Constructor options that the suite must own to keep what it promises. */
const OWNED: Readonly<Record<string, string>> = {
  trustProxy:
    'Declare the proxies in transport.proxies: `true` and hop counts believe ' +
    'any text that a client writes into X-Forwarded-For.',
  genReqId: 'The suite makes request ids, and takes one from a declared proxy.',
  requestIdHeader: 'The suite takes X-Request-Id from a declared proxy only.',
  frameworkErrors: 'The suite answers bad URLs, so that they carry the security headers.',
  clientErrorHandler: 'The suite answers malformed HTTP, so that it carries the security headers.',
  serverFactory:
    "A server of your own would have none of the suite's limits: minimum TLS version, " +
    'timeouts, header size. Give its options under `http` or `https`.',
  return503OnClosing: 'The suite answers while closing, so that the answer carries the security headers.',
}

/**
 * Fastify constructor options for a definition: declared proxies, timeouts, limits, request ids, a logger that leaves
 * out queries and headers, and safe answers to what reaches no hook.
 *
 * @param definition what `defineSecurity` returned
 * @param options further Fastify options; those the suite owns are refused
 * @throws BulwarkConfigError listing everything wrong with the definition and the options
 */
export function serverOptions (definition: SecurityDefinition, options: ServerInput = {}): ServerOutput {
  const problems: Problem[] = []
  const blueprint = resolveDefinition(definition, problems)
  for (const [name, fix] of Object.entries(OWNED)) {
    if (options[name as keyof FastifyServerOptions] !== undefined) {
      problems.push({ path: `fastify.${name}`, message: 'Owned by the suite.', fix })
    }
  }
  checkServerInput(options, problems)
  assertNoProblems(problems)

  const headers = policyIn(blueprint, headersPlugin)
  const events = policyIn(blueprint, eventsPlugin)
  const errors = policyIn(blueprint, errorsPlugin)
  const settings: ServerSettings = {
    transport: policyIn(blueprint, transportPlugin) as ResolvedTransport,
    headers: headers === false ? null : headers.rendered,
    typeBase: errors === false ? null : errors.typeBase,
  }
  const accessLog = events !== false && events.accessLog !== null
  const { http, https, rewriteUrl, handlerTimeout = SERVER_DEFAULTS.handlerTimeout, ...rest } = options
  const built = buildServerOptions(settings, rewriteUrl)
  noteBlueprint(built, blueprint)
  limitHandlers(built, handlerTimeout)
  // A factory may give requests a logger where the server has none.
  if (options.logger === false && options.loggerInstance === undefined && options.childLoggerFactory === undefined) {
    markSilent(built)
  }
  return {
    ...built,
    ...withoutUndefined(rest),
    http: { ...built.http, ...http },
    // Node's TLS server parses HTTP too, and takes the same limits.
    ...(https !== undefined && https !== null &&
      { https: { ...built.http, ...TLS_DEFAULTS, ...withoutUndefined(https) } }),
    ...loggerOptions(options, accessLog),
  }
}

/** An explicit `undefined` never overrides a default. */
function withoutUndefined<T extends object> (options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}

/**
 * A ready server: Fastify with `serverOptions`, the suite registered, and the definition's names known to the compiler.
 * @throws BulwarkConfigError listing everything wrong with the definition and the options
 */
export async function createServer<S extends SecurityShape> (
  definition: SecurityDefinition<S>,
  options: ServerInput = {},
): Promise<SecureInstance<S>> {
  const app = fastify(serverOptions(definition, options))
  try {
    await app.register(bulwark, definition)
  } catch (error) {
    // A plugin that was loaded before may hold a connection, which would keep the process alive.
    await app.close().catch(() => {})
    throw error
  }
  return app.withTypeProvider<SecurityTypeProvider<S>>()
}
