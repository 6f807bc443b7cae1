/**
 * The service's configuration: environment variables, checked against a schema before anything else, frozen, typed,
 * and redacted wherever they are printed. All problems are listed at once; none of them ever shows a value.
 */
import type { Static, TObject } from '@sinclair/typebox'
import type {
  FastifyBaseLogger, FastifyPluginAsync, FastifyTypeProvider, FastifyTypeProviderDefault,
  RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerBase, RawServerDefault,
} from 'fastify'
import fp from 'fastify-plugin'
import { emptyConfig, generatedSecrets, isLoadedEnv, isProductionConfig, secretValuesOf, type kLoadedEnv,
  type LoadedEnv } from '../lib/env/config.js'
import { isSchemaInput, LoadEnvOptionsSchema, readConfig, sourceOf, type LoadEnvOptions } from '../lib/env/load.js'
import { LoadEnvAsyncOptionsSchema, readConfigAsync, type LoadEnvAsyncOptions } from '../lib/env/load-async.js'
import { isProduction } from '../lib/env/is-production.js'
import { logRefresh, stopRefresh } from '../lib/env/refresh.js'
import { assertNoProblems, type Problem } from '../lib/response/errors.js'
import { isPlainObject } from '../lib/options/check-options.js'
import { warnOfUnwatched, watchSecretValues } from '../lib/logging/secrets.js'
import { isRootInstance } from '../lib/policy/instance.js'
import { claimRegistration, securityOf } from '../lib/policy/install.js'
import type { LooseShape, ShapeOf } from '../lib/policy/types.js'

export { generatedSecrets, isProduction, LoadEnvAsyncOptionsSchema, LoadEnvOptionsSchema, stopRefresh }
export { secretValuesOf } from '../lib/env/config.js'
export { SecretSourceError } from '../lib/env/secret-source.js'
export { awsSecrets } from '../lib/env/sources/aws.js'
export { fileSecrets } from '../lib/env/sources/files.js'
export { vaultSecrets } from '../lib/env/sources/vault.js'
export type { LoadedEnv, LoadEnvAsyncOptions, LoadEnvOptions }
export type { LoadContext, SecretSource, SourceProblem } from '../lib/env/secret-source.js'
export type { AwsSecretsOptions } from '../lib/env/sources/aws.js'
export type { FileSecretsOptions } from '../lib/env/sources/files.js'
export type { VaultSecretsOptions } from '../lib/env/sources/vault.js'
export type { EnvSource } from '../lib/env/source.js'

/** A schema with where its variables come from. */
export interface EnvSetup<T extends TObject = TObject> extends LoadEnvOptions { readonly schema: T }

/** What the `env` key of a definition takes: a schema, a schema with options, or what `loadEnv` returned. */
export type EnvInput<T extends TObject = TObject> = T | EnvSetup<T> | LoadedEnv<T>

/** The type of `app.config` for what was written under `env`. */
export type EnvOf<E> = E extends { readonly [kLoadedEnv]: true } ? E
  : E extends TObject ? Readonly<Static<E>>
    : E extends { readonly schema: infer T extends TObject } ? Readonly<Static<T>>
      : LooseShape['env']

/** What the other plugins need to know before they are checked. */
export interface ResolvedEnv {
  /** Frozen and redacted; empty without a schema. */
  readonly config: LoadedEnv
  /** What NODE_ENV of the source says (`isProduction`). */
  readonly production: boolean
}

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
  }
}

/**
 * Reads the variables of `schema`, synchronously and before any server exists. The result is frozen; its secrets are
 * readable by name only and `[redacted]` when printed.
 * @throws BulwarkConfigError that lists every variable that is missing, malformed or too weak, never with a value.
 */
export function loadEnv<T extends TObject> (schema: T, options: LoadEnvOptions = {}): LoadedEnv<T> {
  const problems: Problem[] = []
  const config = readConfig(schema, options, problems)
  assertNoProblems(problems)
  return config as LoadedEnv<T>
}

/**
 * Like `loadEnv`, and asks `sources` for the secrets that the environment does not give. With `refresh` they are asked
 * again as long as the process runs; the plugin logs that and ends it with the server, else `stopRefresh(config)` does.
 * @throws BulwarkConfigError that lists every wrong variable and every source that failed, never with a value.
 */
export async function loadEnvAsync<T extends TObject> (
  schema: T,
  options: LoadEnvAsyncOptions = {},
): Promise<LoadedEnv<T>> {
  const problems: Problem[] = []
  const config = await readConfigAsync(schema, options, problems)
  assertNoProblems(problems)
  return config as LoadedEnv<T>
}

/**
 * Reads whatever stands under `env` (also nothing) and reports problems instead of throwing. Pass its `config` on to
 * the plugin: reading twice would generate missing secrets twice.
 */
export function readEnv (input: unknown, problems: Problem[]): ResolvedEnv {
  if (input === undefined || input === false) return { config: emptyConfig(isProduction()), production: isProduction() }
  if (isLoadedEnv(input)) return { config: input, production: isProductionConfig(input) }
  const { schema, ...options } = setupOf(input, problems)
  if (schema === undefined) return { config: emptyConfig(isProduction()), production: isProduction() }
  const config = readConfig(schema, options, problems)
  // The problem of a wrong source was reported; production is the stricter answer.
  const source = sourceOf(options['source'], [])
  const production = source === null || isProduction(source)
  return { config: config ?? emptyConfig(production), production }
}

/** Like `readEnv`, for one plugin alone. @throws BulwarkConfigError with all problems. */
export function resolveEnv (input: unknown): ResolvedEnv {
  const problems: Problem[] = []
  const resolved = readEnv(input, problems)
  assertNoProblems(problems)
  return resolved
}

/** Reports what is wrong with the `env` key and with the variables themselves. */
export function checkEnv (options: unknown, problems: Problem[]): void {
  readEnv(options, problems)
}

function setupOf (input: unknown, problems: Problem[]): Record<string, unknown> {
  if (isSchemaInput(input)) return { schema: input }
  if (isPlainObject(input) && input['schema'] !== undefined) return input
  problems.push({
    path: 'env',
    message: 'Neither a schema nor a configuration that loadEnv made.',
    fix: 'Write Type.Object({ ... }), { schema, source, dotenv }, or loadEnv(schema).',
  })
  return {}
}

const envPlugin: FastifyPluginAsync<EnvInput> = async (app, options) => {
  claimRegistration(app, 'env')
  const problems: Problem[] = []
  if (!isRootInstance(app))
    {problems.push({
      path: 'env',
      message: 'Registered in a child scope.',
      fix: 'Register it on the instance that fastify() returned: a service has one configuration.',
    })}
  if (app.hasDecorator('config'))
    {problems.push({
      path: 'env',
      message: 'Another plugin owns app.config already.',
      fix: 'Remove @fastify/env (or whatever decorates `config`).',
    })}
  const { config, production } = readEnv(options, problems)
  assertNoProblems(problems)

  app.decorate('config', config)
  const { root } = securityOf(app)
  root.config = config
  root.production = production
  const unwatch = watchSecretValues(() => secretValuesOf(config))
  // The events plugin, which may be off, asks too, for values that others watch.
  app.addHook('onReady', function warnOfUnwatchedSecrets (done) {
    warnOfUnwatched(root, app.log)
    done()
  })
  const refreshes = logRefresh(config, app.log)
  app.addHook('onClose', async function forgetSecrets () {
    unwatch()
    if (refreshes) stopRefresh(config)
  })
  const generated = generatedSecrets(config)
  if (generated.length > 0) {
    app.log.warn(
      { variables: generated },
      'these secrets are not set, so random ones were made: they last until the process ends; set them to keep sessions over a restart',
    )
  }
}

export const env = fp(envPlugin, { name: 'bulwark-env', fastify: '5.x' })
export default env
