import ajvFormats from 'ajv-formats'
import { envSchema } from 'env-schema'
import type { Problem } from '../response/errors.js'
import { SECRET_FIX, secretProblems } from '../options/secret-strength.js'
import type { EnvVariable } from './schema.js'

/** What was read for each variable, a list already in its items. */
export type Texts = Readonly<Record<string, string | readonly string[]>>

interface AjvFinding { readonly keyword: string, readonly instancePath: string, readonly message?: string }

/** Coerces and checks by env-schema, on copies of the schema and the data. Missing variables were reported before. */
export function coerce (variables: readonly EnvVariable[], data: Texts, problems: Problem[]): Record<string, unknown> {
  const properties = Object.fromEntries(variables.map(({ name, schema }) => [name, structuredClone(schema)]))
  try {
    return envSchema<Record<string, unknown>>({
      schema: { type: 'object', properties },
      // Its validator coerces the items of a list in place.
      data: structuredClone(data),
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
    if (Array.isArray(findings)) {
      addFindings(findings as AjvFinding[], variables, problems)
    } else {
      problems.push({
        path: 'env',
        message: `The schema does not compile: ${error instanceof Error ? error.message : 'unknown error'}.`,
        fix: 'Correct the schema.',
      })
    }
    return {}
  }
}

function addFindings (findings: readonly AjvFinding[], variables: readonly EnvVariable[], problems: Problem[]): void {
  for (const { name, description, message: declared, schema } of variables) {
    const own = findings.filter(({ instancePath }) => instancePath.split('/')[1] === name)
    // A choice reports each of its members first; what counts is that none fits.
    const choice = own.some(({ keyword }) => keyword === 'anyOf' || keyword === 'enum')
    const words = choice
      ? ['Not one of the allowed values.']
      : own.map(({ message }) => `The value ${message ?? 'is not valid'}.`)
    for (const text of new Set(words.map((word) => declared ?? word))) {
      problems.push({
        path: `env.${name}`,
        message: text,
        fix: description ?? allowed(schema) ?? `Correct ${name} in the environment.`,
      })
    }
  }
}

/** The values that a choice of literals allows; they stand in the schema, so they may be shown. */
function allowed (schema: Readonly<Record<string, unknown>>): string | null {
  const choices: unknown[] = Array.isArray(schema['enum'])
    ? schema['enum']
    : Array.isArray(schema['anyOf'])
    ? schema['anyOf'].map((member: { const?: unknown }) => member.const)
    : []
  const names = choices.filter((choice) => ['string', 'number', 'boolean'].includes(typeof choice))
  return names.length === 0 || names.length < choices.length ? null : `Write one of: ${names.join(', ')}.`
}

/** Judges what was read and not what was coerced, so that one malformed variable hides no other problem. */
export function checkSecrets (variables: readonly EnvVariable[], data: Texts, problems: Problem[]): void {
  const owners = new Map<string, string>()
  for (const { name, secret } of variables) {
    const read = secret ? data[name] ?? [] : []
    for (const text of typeof read === 'string' ? [read] : read) {
      const owner = owners.get(text)
      if (owner !== undefined) {
        problems.push({
          path: `env.${name}`,
          message: owner === name ? 'The same secret twice.' : `The same secret as ${owner}.`,
          fix: 'Give each its own value, so that a leak of one does not reveal the other.',
        })
      }
      owners.set(text, name)
      const reasons = isPrivateKey(text) ? [] : secretProblems(text)
      if (reasons.length > 0) {
        problems.push({ path: `env.${name}`, message: `Too weak for a secret. ${reasons.join(' ')}`, fix: SECRET_FIX })
      }
    }
  }
}

/**
 * A private key passes without an estimate: its strength is judged where it is used. (The estimate refuses every PEM
 * text, because as an HMAC secret it could be the public half.)
 */
function isPrivateKey (text: string): boolean {
  return /^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/.test(text)
}
