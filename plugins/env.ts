/**
 * The service's configuration: environment variables, checked against a schema before anything else, frozen, typed,
 * and redacted wherever they are printed. All problems are listed at once; none of them ever shows a value.
 */
import type {
  ContextConfigDefault, FastifyBaseLogger, FastifyPluginAsync, FastifySchema, FastifyTypeProvider,
  FastifyTypeProviderDefault, RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerBase, RawServerDefault,
  RouteGenericInterface,
} from 'fastify'
import fp from 'fastify-plugin'
import { followerOf, generatedSecrets, secretValuesOf } from '../lib/env/config.js'
import type { EnvInput } from '../lib/env/options.js'
import { readEnv } from '../lib/env/resolve.js'
import { assertNoProblems, type Problem } from '../lib/response/errors.js'
import { warnOfUnwatched, watchSecretValues } from '../lib/logging/secrets.js'
import { isRootInstance } from '../lib/policy/instance.js'
import { claimRegistration, securityOf } from '../lib/policy/install.js'
import type { ShapeOf } from '../lib/policy/types.js'

export { generatedSecrets, secretValuesOf }
export { isProduction } from '../lib/env/is-production.js'
export { LoadEnvOptionsSchema } from '../lib/env/options.js'
export { loadEnv, readEnv } from '../lib/env/resolve.js'
export type { LoadedEnv } from '../lib/env/config.js'
export type { EnvInput, EnvOf, EnvSetup, EnvSource, LoadEnvOptions } from '../lib/env/options.js'
export type { ResolvedEnvPolicy } from '../lib/env/resolve.js'

declare module 'fastify' {
  interface FastifyInstance<
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
    Logger extends FastifyBaseLogger = FastifyBaseLogger,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  > {
    /** The checked environment: frozen, and secrets are `[redacted]` when printed. */
    config: ShapeOf<TypeProvider>['env']
    /** The same as `config`, as @fastify/env gives it. */
    getEnvs (): ShapeOf<TypeProvider>['env']
  }
  interface FastifyRequest<
    RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    SchemaCompiler extends FastifySchema = FastifySchema,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
    ContextConfig = ContextConfigDefault,
  > {
    /** The same as `app.config`, as @fastify/env gives it. */
    getEnvs (): ShapeOf<TypeProvider>['env']
  }
}

const envPlugin: FastifyPluginAsync<EnvInput> = async (app, options) => {
  claimRegistration(app, 'env')
  const problems: Problem[] = []
  if (!isRootInstance(app)) {
    problems.push({
      path: 'env',
      message: 'Registered in a child scope.',
      fix: 'Register it on the instance that fastify() returned: a service has one configuration.',
    })
  }
  for (const [owned, name] of [
    [app.hasDecorator('config'), 'app.config'],
    [app.hasDecorator('getEnvs'), 'app.getEnvs'],
    [app.hasRequestDecorator('getEnvs'), 'request.getEnvs'],
  ] as const) {
    if (owned) {
      problems.push({
        path: 'env',
        message: `Another plugin has ${name} already.`,
        fix: 'Remove that plugin; @fastify/env is one, and this plugin does its work.',
      })
    }
  }
  const { config, production } = readEnv(options, problems)
  assertNoProblems(problems)

  app.decorate('config', config)
  const getEnvs = (): typeof config => config
  app.decorate('getEnvs', getEnvs)
  app.decorateRequest('getEnvs', getEnvs)
  const { root } = securityOf(app)
  root.config = config
  root.production = production
  const unwatch = watchSecretValues(() => secretValuesOf(config))
  // The events plugin, which may be off, asks too, for values that others watch.
  app.addHook('onReady', function warnOfUnwatchedSecrets (done) {
    warnOfUnwatched(root, app.log)
    done()
  })
  // A configuration whose secrets are refreshed follows the server: its log, and its end.
  const follower = followerOf(config)
  follower?.attach(app.log)
  app.addHook('onClose', async function forgetSecrets () {
    unwatch()
    follower?.stop()
  })
  const generated = generatedSecrets(config)
  if (generated.length > 0) {
    app.log.warn(
      { variables: generated },
      'these secrets are not set, so random ones were generated: they last until the process ends; set them to keep sessions over a restart',
    )
  }
}

export const env = fp(envPlugin, { name: 'bulwark-env', fastify: '5.x' })
export default env
