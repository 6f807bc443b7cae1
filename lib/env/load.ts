import { randomBytes } from 'node:crypto'
import { Type, type Static, type TObject } from '@sinclair/typebox'
import type { Problem } from '../response/errors.js'
import { checkOptions, isPlainObject } from '../options/check-options.js'
import { SECRET_FIX } from '../options/secret-strength.js'
import { createConfig, type LoadedEnv } from './config.js'
import { checkSecrets, validate } from './validate.js'
import { isProduction } from './is-production.js'
import { isEnvSchema, readEnvSchema, type EnvVariable } from './schema.js'
import { readDotenv, readText, type EnvSource } from './source.js'

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
        'Outside production: true or a path reads that .env file and misses it aloud, false reads none. Default: ./.env when it exists.',
    }),
  ),
}, { additionalProperties: false })

/** Options of `loadEnv`. */
export type LoadEnvOptions = Static<typeof LoadEnvOptionsSchema>

/** The variables of a checked schema, and where their texts come from. */
export interface Reading {
  readonly schema: unknown
  readonly variables: readonly EnvVariable[]
  readonly layers: readonly EnvSource[]
  readonly production: boolean
}

/** Reads and checks the variables of a schema; null when something was wrong, with a problem for each finding. */
export function readConfig (schema: unknown, options: unknown, problems: Problem[]): LoadedEnv | null {
  const before = problems.length
  if (isPlainObject(options) && options['sources'] !== undefined) {
    problems.push({
      path: 'env.sources',
      message: 'Secret sources are asked over a network, which has to be waited for.',
      fix: 'Write env: await loadEnvAsync(schema, { sources }).',
    })
    return null
  }
  const { source, dotenv } = checkOptions(LoadEnvOptionsSchema, options, 'env', problems) ?? {}
  const reading = prepare(schema, { source, dotenv }, before, problems)
  if (reading === null) return null
  const read = readTexts(reading, problems)
  return finish(reading, complete(reading, read, '', problems), before, problems)
}

/** Null when the schema or the options are wrong: no value can be judged by them. */
export function prepare (
  schema: unknown,
  { source, dotenv }: { readonly source: unknown, readonly dotenv: boolean | string | undefined },
  before: number,
  problems: Problem[],
): Reading | null {
  const variables = readEnvSchema(schema, problems)
  const origin = sourceOf(source, problems)
  if (problems.length > before || origin === null) return null
  const layers = [origin, source !== undefined && dotenv === undefined ? {} : readDotenv(dotenv, origin, problems)]
  return { schema, variables, layers, production: isProduction(origin) }
}

/** The environment that a `source` option stands for; null when it is none. */
export function sourceOf (source: unknown, problems: Problem[]): EnvSource | null {
  if (source === undefined) return process.env
  if (typeof source === 'object' && source !== null && !Array.isArray(source)) return source as EnvSource
  problems.push({
    path: 'env.source',
    message: 'Not an object of variables.',
    fix: "Write { NAME: 'value' }, or leave it out for process.env.",
  })
  return null
}

/** What the environment says: the texts, and the names that it says something wrong about. */
interface Read { readonly texts: ReadonlyMap<string, string>, readonly wrong: ReadonlySet<string> }

export function readTexts ({ variables, layers }: Reading, problems: Problem[]): Read {
  const names = new Set(variables.map(({ name }) => name))
  const texts = new Map<string, string>()
  const wrong = new Set<string>()
  for (const { name, separator } of variables) {
    const before = problems.length
    const text = readText({ name, isList: separator !== null, mayBeFile: !names.has(`${name}_FILE`) }, layers, problems)
    if (text !== undefined) texts.set(name, text)
    if (problems.length > before) wrong.add(name)
  }
  return { texts, wrong }
}

/** What is to be judged, with what was made up because it was missing. */
export interface Completed {
  readonly data: Readonly<Record<string, string | readonly string[]>>
  readonly generated: readonly string[]
}

/**
 * Makes what may be made up, and reports what is missing.
 * @param elsewhere a further way to give a secret, as the end of a sentence
 */
export function complete (
  { variables, production }: Reading,
  { texts, wrong }: Read,
  elsewhere: string,
  problems: Problem[],
): Completed {
  const data: Record<string, string | readonly string[]> = {}
  const generated: string[] = []
  for (const variable of variables) {
    const { name } = variable
    const text = texts.get(name)
    if (text !== undefined) {
      data[name] = itemsOf(variable, text)
    } else if (wrong.has(name)) {
      continue
    } else if (variable.generate && !production) {
      data[name] = randomBytes(32).toString('base64url')
      generated.push(name)
    } else if (!variable.hasDefault && (variable.required || (variable.requiredInProduction && production))) {
      const how = `Set ${name}, or ${name}_FILE to the path of a file that holds it${variable.hidden ? elsewhere : ''}.`
      problems.push({
        path: `env.${name}`,
        message: 'Missing.',
        fix: [variable.description, how, variable.secret ? SECRET_FIX : null].filter((part) => part !== null).join(' '),
      })
    }
  }
  return { data, generated }
}

/** The items of a list, trimmed and without empty ones; anything else as it is. */
export function itemsOf ({ separator }: EnvVariable, text: string): string | readonly string[] {
  return separator === null ? text : text.split(separator).map((item) => item.trim()).filter((item) => item !== '')
}

/** Judges everything that was read, also beside problems; null when there is any. */
export function finish (
  { schema, variables, production }: Reading,
  { data, generated }: Completed,
  before: number,
  problems: Problem[],
): LoadedEnv | null {
  const values = validate(schema, variables, data, problems)
  checkSecrets(variables, data, problems)
  if (problems.length > before) return null
  const hidden = Object.freeze(variables.filter((variable) => variable.hidden).map(({ name }) => name))
  return createConfig(values, { production, hidden, generated: Object.freeze(generated) })
}

/** The type guard under a name that says what callers ask. */
export function isSchemaInput (input: unknown): input is TObject {
  return isEnvSchema(input)
}
