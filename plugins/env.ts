/**
 * The service's configuration: environment variables, checked against a schema before anything else, frozen, typed,
 * and redacted wherever they are printed. All problems are listed at once; none of them ever shows a value.
 */
import type {
  ContextConfigDefault, FastifyBaseLogger, FastifyInstance, FastifySchema, FastifyTypeProvider,
  FastifyTypeProviderDefault, RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerBase, RawServerDefault,
  RouteGenericInterface,
} from 'fastify'
import { followerOf, generatedSecrets, secretValuesOf, watchedValuesOf, type LoadedEnv } from '../lib/env/config.js'
import { EnvInputSchema, type EnvInput } from '../lib/env/options.js'
import { readEnv, type ResolvedEnvPolicy } from '../lib/env/resolve.js'
import { warnOfUnwatched, watchSecretValues } from '../lib/logging/secrets.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import type { SecurityScope } from '../lib/policy/scope.js'
import type { ShapeOf } from '../lib/policy/types.js'
import { assertNoProblems } from '../lib/response/errors.js'

export { generatedSecrets, secretValuesOf }
export { isProduction } from '../lib/env/is-production.js'
export { LoadEnvOptionsSchema } from '../lib/env/options.js'
export { loadEnv, readEnv } from '../lib/env/resolve.js'
export type { EnvInput, EnvOf, EnvSetup, EnvSource, LoadEnvOptions } from '../lib/env/options.js'
export type { LoadedEnv, ResolvedEnvPolicy }

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

function installEnv (app: FastifyInstance, { config, production }: ResolvedEnvPolicy, { root }: SecurityScope): void {
  assertNoProblems([
    [app.hasDecorator('config'), 'app.config'] as const,
    [app.hasDecorator('getEnvs'), 'app.getEnvs'] as const,
    [app.hasRequestDecorator('getEnvs'), 'request.getEnvs'] as const,
  ].flatMap(([owned, name]) =>
    owned
      ? [{
        path: 'env',
        message: `Another plugin has ${name} already.`,
        fix: 'Remove that plugin; @fastify/env is one, and this plugin does its work.',
      }]
      : []
  ))
  app.decorate('config', config)
  const getEnvs = (): LoadedEnv => config
  app.decorate('getEnvs', getEnvs)
  app.decorateRequest('getEnvs', getEnvs)
  root.config = config
  root.production = production
  const unwatch = watchSecretValues(() => watchedValuesOf(config))
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
      'these secrets are not set, so random ones were generated: they last until the ' +
      'process ends; set them to keep sessions over a restart',
    )
  }
}

export const env = defineSecurityPlugin<typeof EnvInputSchema, ResolvedEnvPolicy, EnvInput>({
  key: 'env',
  options: EnvInputSchema,
  rootOnly: true,
  resolve: (input, { problems }) => readEnv(input, problems),
  install: installEnv,
})
export default env
