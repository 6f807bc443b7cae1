import { Type, type Static, type TObject } from '@sinclair/typebox'
import { checkOptions, isPlainObject } from '../options/check-options.js'
import type { LooseShape } from '../policy/types.js'
import type { Problem } from '../response/errors.js'
import type { LoadedEnv } from './config.js'

/** Where variables come from: `process.env` or an object of the same shape. */
export type EnvSource = Readonly<Record<string, string | undefined>>

export const LoadEnvOptionsSchema = Type.Object({
  source: Type.Optional(
    Type.Unsafe<EnvSource>(
      Type.Unknown({
        description:
          'Where the variables come from instead of process.env; then no .env is read unless `dotenv` asks for it.',
      }),
    ),
  ),
  dotenv: Type.Optional(
    Type.Union([Type.Boolean(), Type.String({ minLength: 1 })], {
      description:
        'Outside production: true or a path reads that .env file, which must exist; ' +
        'false reads none. Default: ./.env when it exists.',
    }),
  ),
}, { additionalProperties: false })

/** Options of `loadEnv`. */
export type LoadEnvOptions = Static<typeof LoadEnvOptionsSchema>

/** A schema with where its variables come from. */
export interface EnvSetup<T extends TObject = TObject> extends LoadEnvOptions { readonly schema: T }

/** What the `env` key of a definition takes: a schema, a schema with options, or what `loadEnv` returned. */
export type EnvInput<T extends TObject = TObject> = T | EnvSetup<T> | LoadedEnv<T>

/** The type of `app.config` for what was written under `env`. */
export type EnvOf<E> = E extends LoadedEnv ? E
  : E extends TObject ? Readonly<Static<E>>
    : E extends { readonly schema: infer T extends TObject } ? Readonly<Static<T>>
      : LooseShape['env']

/** Any of the three; `readEnv` tells them apart, and says what is wrong in the words of the one that was meant. */
export const EnvInputSchema = Type.Unsafe<EnvInput>(
  Type.Unknown({ description: 'Write Type.Object({ ... }), { schema, source, dotenv }, or loadEnv(schema).' }),
)

const ASYNC_OPTIONS: readonly string[] = ['sources', 'timeout', 'refresh', 'onRotate']

/** Options of @fastify/env that have another name here, or none. */
const FASTIFY_ENV_OPTIONS: Readonly<Record<string, string>> = {
  data: "Write source: { NAME: 'value' }.",
  env: 'Remove it: process.env is read unless `source` is given.',
  confKey: 'Remove it: the configuration is app.config, and what app.getEnvs() returns.',
  expandEnv: 'Remove it: a variable is taken as it is written.',
  ajv: 'Remove it: the formats of ajv-formats are known, and `message` gives a variable words of its own.',
}

/** Checks the options of `loadEnv`; those that belong elsewhere are refused with the place or the name they have. */
export function checkLoadEnvOptions (options: unknown, problems: Problem[]): LoadEnvOptions {
  if (!isPlainObject(options)) return checkOptions(LoadEnvOptionsSchema, options, 'env', problems) ?? {}
  const known: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(options)) {
    const fix = Object.hasOwn(FASTIFY_ENV_OPTIONS, name) ? FASTIFY_ENV_OPTIONS[name] : undefined
    if (value === undefined) continue
    if (ASYNC_OPTIONS.includes(name)) {
      problems.push({
        path: `env.${name}`,
        message: 'Secret sources are asked over a network, which takes an asynchronous start.',
        fix: "Write env: await loadEnvAsync(schema, { sources }); it is in 'fastify-bulwark/secrets'.",
      })
    } else if (fix !== undefined) {
      problems.push({ path: `env.${name}`, message: 'An option of @fastify/env.', fix })
    } else if (name === 'dotenv' && isPlainObject(value)) {
      problems.push({
        path: 'env.dotenv',
        message: 'An option of @fastify/env.',
        fix: "Write the path: dotenv: './.env'.",
      })
    } else {
      known[name] = value
    }
  }
  return checkOptions(LoadEnvOptionsSchema, known, 'env', problems) ?? {}
}
