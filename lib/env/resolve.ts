import { randomBytes } from 'node:crypto'
import type { TObject } from '@sinclair/typebox'
import { isPlainObject } from '../options/check-options.js'
import { SECRET_FIX } from '../options/secret-strength.js'
import { assertNoProblems, type Problem } from '../response/errors.js'
import { createConfig, isLoadedEnv, isProductionConfig, type LoadedEnv } from './config.js'
import { isProduction } from './is-production.js'
import { checkLoadEnvOptions, type EnvSource, type LoadEnvOptions } from './options.js'
import { readDotenv, readText } from './read.js'
import { isEnvSchema, readEnvSchema, type EnvVariable } from './schema.js'
import { checkSecrets, coerce, type Texts } from './validate.js'

/** What the other plugins need to know before they are resolved. */
export interface ResolvedEnvPolicy {
  /** Frozen and redacted; empty without a schema. */
  readonly config: LoadedEnv
  /** What NODE_ENV of the source says (`isProduction`). */
  readonly production: boolean
}

/**
 * Reads what is written under `env` (also nothing), once, and reports problems instead of throwing. Hand its `config`
 * on to the plugin: a second reading would generate missing secrets again.
 */
export function readEnv (input: unknown, problems: Problem[]): ResolvedEnvPolicy {
  if (isLoadedEnv(input)) return { config: input, production: isProductionConfig(input) }
  const setup = isEnvSchema(input) ? { schema: input } : input
  if (isPlainObject(setup) && setup['schema'] !== undefined) {
    const { schema, ...options } = setup
    const config = readConfig(schema, options, problems)
    // The problem of a wrong source was reported; production is the stricter answer.
    const source = sourceOf(options['source'])
    const production = source === null || isProduction(source)
    return { config: config ?? emptyConfig(production), production }
  }
  if (input !== undefined && input !== false) {
    problems.push({
      path: 'env',
      message: 'Neither a schema nor a configuration that loadEnv made.',
      fix: 'Write Type.Object({ ... }), { schema, source, dotenv }, or loadEnv(schema).',
    })
  }
  return { config: emptyConfig(isProduction()), production: isProduction() }
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

/** Null when something was wrong, with a problem for each finding. */
function readConfig (schema: unknown, options: unknown, problems: Problem[]): LoadedEnv | null {
  const own: Problem[] = []
  const reading = readVariables(schema, checkLoadEnvOptions(options, own), own)
  const config = reading === null ? null : finishReading(reading, '', own).config
  problems.push(...own)
  return config
}

/** The variables of a checked schema, and what the environment says of them. */
export interface Reading {
  readonly variables: readonly EnvVariable[]
  readonly production: boolean
  readonly texts: ReadonlyMap<string, string>
  /** Names with a problem already, so that they are not called missing, too. */
  readonly reported: ReadonlySet<string>
}

/** @param problems of this reading alone; null when the schema or the options are wrong: nothing can be judged then */
export function readVariables (
  schema: unknown,
  { source, dotenv }: LoadEnvOptions,
  problems: Problem[],
): Reading | null {
  const variables = readEnvSchema(schema, problems)
  const origin = sourceOf(source)
  if (origin === null) {
    problems.push({
      path: 'env.source',
      message: 'Not an object of variables.',
      fix: "Write { NAME: 'value' }, or leave it out for process.env.",
    })
  }
  if (origin === null || problems.length > 0) return null
  const layers = [origin, source !== undefined && dotenv === undefined ? {} : readDotenv(dotenv, origin, problems)]
  const names = new Set(variables.map(({ name }) => name))
  const texts = new Map<string, string>()
  const reported = new Set<string>()
  for (const { name, separator } of variables) {
    const before = problems.length
    const text = readText({ name, isList: separator !== null, mayBeFile: !names.has(`${name}_FILE`) }, layers, problems)
    if (text !== undefined) texts.set(name, text)
    if (problems.length > before) reported.add(name)
  }
  return { variables, production: isProduction(origin), texts, reported }
}

/**
 * Generates what may be generated, reports what is missing, and judges everything that was read. No `config` when there
 * is any problem.
 * @param elsewhere a further way to give a secret, as the end of a sentence
 * @param problems of this reading alone
 */
export function finishReading (
  { variables, production, texts, reported }: Reading,
  elsewhere: string,
  problems: Problem[],
): { readonly config: LoadedEnv | null, readonly data: Texts } {
  const data: Record<string, string | readonly string[]> = {}
  const generated: string[] = []
  for (const variable of variables) {
    const { name, hidden, secret, description } = variable
    const text = texts.get(name)
    if (text !== undefined) {
      data[name] = itemsOf(variable, text)
    } else if (reported.has(name)) {
      continue
    } else if (variable.generate && !production) {
      data[name] = randomBytes(32).toString('base64url')
      generated.push(name)
    } else if (!variable.hasDefault && (variable.required || (variable.requiredInProduction && production))) {
      const how = `Set ${name}, or ${name}_FILE to the path of a file that holds it${hidden ? elsewhere : ''}.`
      problems.push({
        path: `env.${name}`,
        message: 'Missing.',
        fix: [description, how, secret ? SECRET_FIX : null].filter((part) => part !== null).join(' '),
      })
    }
  }
  const values = coerce(variables, data, problems)
  checkSecrets(variables, data, problems)
  if (problems.length > 0) return { config: null, data }
  const hidden = Object.freeze(variables.filter((variable) => variable.hidden).map(({ name }) => name))
  return { config: createConfig(values, { production, hidden, generated: Object.freeze(generated) }), data }
}

/** The items of a list, trimmed and without empty ones; anything else as it is. */
export function itemsOf ({ separator }: EnvVariable, text: string): string | readonly string[] {
  return separator === null ? text : text.split(separator).map((item) => item.trim()).filter((item) => item !== '')
}

/** The environment that a `source` option stands for; null when it is none. */
function sourceOf (source: unknown): EnvSource | null {
  if (source === undefined) return process.env
  return typeof source === 'object' && source !== null && !Array.isArray(source) ? source as EnvSource : null
}

function emptyConfig (production: boolean): LoadedEnv {
  return createConfig({}, { production, hidden: [], generated: [] })
}
