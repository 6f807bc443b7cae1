import { randomBytes } from 'node:crypto'
import { Type, type Static, type TObject } from '@sinclair/typebox'
import ajvFormats from 'ajv-formats'
import { envSchema } from 'env-schema'
import type { Problem } from '../errors.js'
import { checkOptions } from '../options.js'
import { SECRET_MEND, secretProblems } from '../secrets.js'
import { createConfig, type LoadedEnv } from './config.js'
import { isProduction } from './mode.js'
import { isEnvSchema, readEnvSchema, type EnvVariable } from './schema.js'
import { readDotenv, readText, type EnvSource } from './source.js'

export const LoadEnvOptionsSchema = Type.Object({
  source: Type.Optional(Type.Unsafe<EnvSource>(Type.Unknown({ description: 'Where the variables come from instead of process.env; then no .env is read unless `dotenv` asks for it.' }))),
  dotenv: Type.Optional(Type.Union([Type.Boolean(), Type.String({ minLength: 1 })], { description: 'Outside production: true or a path reads that .env file and misses it aloud, false reads none. Default: ./.env when it exists.' })),
}, { additionalProperties: false })

/** Options of `loadEnv`. */
export type LoadEnvOptions = Static<typeof LoadEnvOptionsSchema>

/** Reads and checks the variables of a schema; null when something was wrong, with a problem for each finding. */
export function readConfig (schema: unknown, options: unknown, problems: Problem[]): LoadedEnv | null {
  const before = problems.length
  const variables = readEnvSchema(schema, problems)
  const { source, dotenv } = checkOptions(LoadEnvOptionsSchema, options, 'env', problems) ?? {}
  const origin = sourceOf(source, problems)
  // Values cannot be judged by a schema that is wrong itself.
  if (problems.length > before || origin === null) return null
  const production = isProduction(origin)
  const layers = [origin, source !== undefined && dotenv === undefined ? {} : readDotenv(dotenv, origin, problems)]
  const { data, generated } = collect(variables, layers, production, problems)
  const values = validate(schema, variables, data, problems)
  checkSecrets(variables, data, problems)
  if (problems.length > before) return null
  return createConfig(values, {
    production,
    secrets: Object.freeze(variables.filter(({ secret }) => secret).map(({ name }) => name)),
    generated: Object.freeze(generated),
  })
}

/** The environment that a `source` option stands for; null when it is none. */
export function sourceOf (source: unknown, problems: Problem[]): EnvSource | null {
  if (source === undefined) return process.env
  if (typeof source === 'object' && source !== null && !Array.isArray(source)) return source as EnvSource
  problems.push({ path: 'env.source', message: 'Not an object of variables.', mend: 'Write { NAME: \'value\' }, or leave it out for process.env.' })
  return null
}

interface Collected {
  readonly data: Record<string, string | string[]>
  readonly generated: string[]
}

function collect (variables: readonly EnvVariable[], layers: readonly EnvSource[], production: boolean, problems: Problem[]): Collected {
  const names = new Set(variables.map(({ name }) => name))
  const data: Record<string, string | string[]> = {}
  const generated: string[] = []
  for (const variable of variables) {
    const { name, separator } = variable
    const before = problems.length
    const text = readText({ name, isList: separator !== null, mayBeFile: !names.has(`${name}_FILE`) }, layers, problems)
    if (text !== undefined) {
      data[name] = separator === null ? text : text.split(separator).map((item) => item.trim()).filter((item) => item !== '')
    } else if (variable.generate && !production) {
      data[name] = randomBytes(32).toString('base64url')
      generated.push(name)
    } else if (problems.length === before && !variable.hasDefault && (variable.required || (variable.requiredInProduction && production))) {
      const how = `Set ${name}, or ${name}_FILE to the path of a file that holds it.`
      problems.push({ path: `env.${name}`, message: 'Missing.', mend: [variable.description, how, variable.secret ? SECRET_MEND : null].filter((part) => part !== null).join(' ') })
    }
  }
  return { data, generated }
}

interface AjvFinding { readonly keyword: string, readonly instancePath: string, readonly message?: string }

/** Coerces and checks by env-schema, on a copy of the caller's schema. Missing variables were reported before. */
function validate (schema: unknown, variables: readonly EnvVariable[], data: Readonly<Record<string, unknown>>, problems: Problem[]): Record<string, unknown> {
  const properties = Object.fromEntries(variables.map((variable) => [variable.name, structuredClone(withoutSymbols(variable.schema))]))
  try {
    return envSchema<Record<string, unknown>>({
      schema: { type: 'object', properties },
      data: { ...data },
      env: false,
      dotenv: false,
      ajv: {
        customOptions: (ajv) => {
          ajvFormats.default(ajv, { keywords: false })
          return ajv
        },
      },
    })
  } catch (error) {
    const findings: unknown = error instanceof Error && 'errors' in error ? error.errors : null
    if (Array.isArray(findings)) addFindings(findings as AjvFinding[], variables, problems)
    else problems.push({ path: 'env', message: `The schema does not compile: ${error instanceof Error ? error.message : 'unknown error'}.`, mend: 'Correct the schema.' })
    return {}
  }
}

function addFindings (findings: readonly AjvFinding[], variables: readonly EnvVariable[], problems: Problem[]): void {
  const seen = new Set<string>()
  for (const { name, description, schema } of variables) {
    const own = findings.filter(({ instancePath }) => instancePath.split('/')[1] === name)
    // A choice reports each of its members first; what counts is that none fits.
    const choice = own.find(({ keyword }) => keyword === 'anyOf' || keyword === 'enum')
    for (const { keyword, message } of choice === undefined ? own : [choice]) {
      const text = keyword === 'anyOf' || keyword === 'enum' ? 'Not one of the allowed values.' : `The value ${message ?? 'is not valid'}.`
      if (seen.has(`${name} ${text}`)) continue
      seen.add(`${name} ${text}`)
      problems.push({ path: `env.${name}`, message: text, mend: description ?? allowed(schema) ?? `Correct ${name} in the environment.` })
    }
  }
}

/** The values that a choice of literals allows; they stand in the schema, so they may be shown. */
function allowed (schema: Readonly<Record<string, unknown>>): string | null {
  const choices: unknown[] = Array.isArray(schema['enum']) ? schema['enum'] : Array.isArray(schema['anyOf']) ? schema['anyOf'].map((member: { const?: unknown }) => member.const) : []
  const names = choices.filter((choice) => typeof choice === 'string' || typeof choice === 'number' || typeof choice === 'boolean')
  return names.length === 0 || names.length < choices.length ? null : `Write one of: ${names.join(', ')}.`
}

/** Judges what was read and not what was validated, so that one malformed variable hides no other problem. */
function checkSecrets (variables: readonly EnvVariable[], data: Collected['data'], problems: Problem[]): void {
  const owners = new Map<string, string>()
  for (const { name, secret } of variables) {
    const read = secret ? data[name] ?? [] : []
    for (const text of typeof read === 'string' ? [read] : read) {
      const owner = owners.get(text)
      if (owner !== undefined) {
        problems.push({ path: `env.${name}`, message: owner === name ? 'The same secret twice.' : `The same secret as ${owner}.`, mend: 'Give each its own value: who learns one of them must not have the other.' })
      }
      owners.set(text, name)
      const reasons = isPrivateKey(text) ? [] : secretProblems(text)
      if (reasons.length > 0) problems.push({ path: `env.${name}`, message: `Too weak for a secret. ${reasons.join(' ')}`, mend: SECRET_MEND })
    }
  }
}

/**
 * Passes without an estimate: a private key has the strength of its algorithm, which is judged where it is used.
 * (The estimate refuses every PEM text, because as an HMAC secret it could be the public half.)
 */
function isPrivateKey (text: string): boolean {
  return /^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/.test(text)
}

function withoutSymbols (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSymbols)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withoutSymbols(member)]))
}

/** The type guard under a name that says what callers ask. */
export function isSchemaInput (input: unknown): input is TObject {
  return isEnvSchema(input)
}
