import type { TObject } from '@sinclair/typebox'
import type { Problem } from '../response/errors.js'
import { isPlainObject } from '../options/check-options.js'
import { nearest } from '../options/nearest.js'

/** One environment variable of the schema, checked. */
export interface EnvVariable {
  readonly name: string
  readonly required: boolean
  readonly requiredInProduction: boolean
  readonly hasDefault: boolean
  /** Redacted when printed and checked for strength. */
  readonly secret: boolean
  /** Redacted when printed: every `secret`, and what is marked `redact`. */
  readonly hidden: boolean
  /** A missing value is generated outside production. */
  readonly generate: boolean
  /** Between the items of a list; null for a single value. */
  readonly separator: string | null
  readonly description: string | null
  /** Replaces the validator's words about a value that does not fit. */
  readonly message: string | null
  /** A copy of the property's schema without the keywords of this suite. */
  readonly schema: Readonly<Record<string, unknown>>
}

const OWN_KEYWORDS = ['secret', 'redact', 'generate', 'requiredIn', 'separator', 'message'] as const

const VALUE_KEYWORDS: readonly string[] = [
  'type', 'title', 'description', 'examples', 'default', 'enum', 'const', 'anyOf',
  'minLength', 'maxLength', 'pattern', 'format',
  'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf',
  'items', 'minItems', 'maxItems', 'uniqueItems',
]

const OBJECT_KEYWORDS: readonly string[] = [
  '$id', 'type', 'title', 'description', 'properties', 'required', 'additionalProperties',
]

const SCALARS: ReadonlySet<unknown> = new Set(['string', 'number', 'integer', 'boolean'])

/** True for a TypeBox (or JSON Schema) object, the form in which the variables are declared. */
export function isEnvSchema (value: unknown): value is TObject {
  return isPlainObject(value) && value['type'] === 'object' && isPlainObject(value['properties'])
}

/**
 * Reads the variables out of a schema and adds a problem for each keyword that is unknown, contradicts another or has
 * no meaning for the text of an environment variable. Never changes the schema.
 */
export function readEnvSchema (schema: unknown, problems: Problem[]): readonly EnvVariable[] {
  if (!isEnvSchema(schema)) {
    problems.push({
      path: 'env',
      message: 'Not a schema of environment variables.',
      fix: 'Write Type.Object({ PORT: Type.Integer({ default: 3000 }) }).',
    })
    return []
  }
  checkKeywords(schema, OBJECT_KEYWORDS, 'env', problems)
  const required: unknown = schema['required'] ?? []
  return Object.entries(schema.properties).map(([name, property]) =>
    readVariable(name, property, Array.isArray(required) && required.includes(name), problems)
  )
}

function readVariable (name: string, property: unknown, required: boolean, problems: Problem[]): EnvVariable {
  const path = `env.${name}`
  const written: Readonly<Record<string, unknown>> = isPlainObject(property) ? property : {}
  const { secret, redact, generate, requiredIn, separator, message, ...rest } = written
  // Ajv would take what every object inherits for a value that is there.
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || name in Object.prototype) {
    problems.push({
      path,
      message: 'Not a name for an environment variable.',
      fix: 'Use letters, digits and underscores, and no name that every object inherits.',
    })
  }
  if (!isPlainObject(property)) {
    problems.push({ path, message: 'Not a schema.', fix: 'Write a TypeBox schema, for example Type.String().' })
  }
  checkKeywords(written, [...OWN_KEYWORDS, ...VALUE_KEYWORDS], path, problems)
  checkForm(rest, path, problems)
  checkOwnKeywords(written, required, path, problems)
  return Object.freeze({
    name,
    required,
    requiredInProduction: requiredIn === 'production',
    hasDefault: rest['default'] !== undefined,
    secret: secret === true,
    hidden: secret === true || redact === true,
    generate: generate === true,
    separator: typeof separator === 'string' ? separator : null,
    description: typeof rest['description'] === 'string' ? rest['description'] : null,
    message: typeof message === 'string' ? message : null,
    schema: rest,
  })
}

function checkKeywords (
  schema: Readonly<Record<string, unknown>>,
  known: readonly string[],
  path: string,
  problems: Problem[],
): void {
  for (const keyword of Object.keys(schema)) {
    if (known.includes(keyword) || schema[keyword] === undefined) continue
    const near = nearest(keyword, known)
    problems.push({
      path: `${path}.${keyword}`,
      message: 'Unknown keyword for an environment variable.',
      fix: near === null ? `Known here: ${known.join(', ')}.` : `Did you mean "${near}"?`,
    })
  }
}

/** A variable is text, so its schema is a scalar, a choice of scalars, or a list of those. */
function checkForm (schema: Readonly<Record<string, unknown>>, path: string, problems: Problem[]): void {
  const { type, anyOf, items } = schema
  if (type === 'array') {
    checkPart(items, `${path}.items`, "Write Type.Array(Type.String(), { separator: ',' }).", problems)
    return
  }
  if (type !== undefined && !SCALARS.has(type)) {
    problems.push({
      path,
      message: 'This type cannot be read from text.',
      fix: 'Use a string, number, integer, boolean, a union of literals, or an array with a separator.',
    })
  }
  const members = anyOf === undefined ? [] : Array.isArray(anyOf) ? anyOf as unknown[] : [anyOf]
  members.forEach((member, index) => {
    checkPart(member, `${path}.anyOf[${index}]`, 'Use literals, strings, numbers, integers or booleans.', problems)
  })
}

function checkPart (part: unknown, path: string, fix: string, problems: Problem[]): void {
  if (!isPlainObject(part) || part['type'] === 'array') {
    problems.push({ path, message: 'This type cannot be read from text.', fix })
    return
  }
  checkKeywords(part, VALUE_KEYWORDS, path, problems)
  checkForm(part, path, problems)
}

function checkOwnKeywords (
  schema: Readonly<Record<string, unknown>>,
  required: boolean,
  path: string,
  problems: Problem[],
): void {
  const { secret, redact, generate, requiredIn, separator, message, items, type } = schema
  const isList = type === 'array'
  const isText = (isList && isPlainObject(items) ? items['type'] : type) === 'string'
  const hasDefault = schema['default'] !== undefined
  const forProduction = requiredIn === 'production'
  const rules: readonly (readonly [broken: boolean, message: string, fix: string])[] = [
    ...Object.entries({ secret, redact, generate }).map(([keyword, value]) =>
      [
        value !== undefined && typeof value !== 'boolean',
        `\`${keyword}\` is not a boolean.`,
        `Write ${keyword}: true, or leave it out.`,
      ] as const
    ),
    [
      message !== undefined && (typeof message !== 'string' || message === ''),
      '`message` is not a text.',
      'Write one sentence that says what the value has to be, or leave it out.',
    ],
    [
      secret === true && redact === true,
      '`redact` beside `secret`, which redacts already.',
      'Remove `redact`; remove `secret` instead when the value is not a key.',
    ],
    // Redaction searches log lines for texts.
    [redact === true && !isText, 'Only a string can be redacted.', 'Declare it as Type.String({ redact: true }).'],
    [secret === true && !isText, 'Only a string can be a secret.', 'Declare it as Type.String({ secret: true }).'],
    [
      secret === true && hasDefault,
      'A secret with a default: the default stands in the code, so it is not secret.',
      'Remove `default`; `generate: true` makes one outside production.',
    ],
    [
      generate === true && secret !== true,
      '`generate` without `secret`.',
      'Write { secret: true, generate: true }, or a `default` for what is not secret.',
    ],
    [generate === true && isList, 'A list cannot be generated.', 'Remove `generate`.'],
    [
      requiredIn !== undefined && !forProduction,
      "`requiredIn` has one value: 'production'.",
      "Write requiredIn: 'production'.",
    ],
    [
      forProduction && hasDefault,
      '`requiredIn` with a default: it could never be missing.',
      'Remove one of the two.',
    ],
    // Otherwise the type would promise a value that is not there outside production.
    [
      forProduction && !hasDefault && required && generate !== true,
      '`requiredIn` on a variable that is required everywhere.',
      "Wrap it: Type.Optional(Type.String({ requiredIn: 'production' })).",
    ],
    [
      isList && (typeof separator !== 'string' || separator === ''),
      'A list without a `separator`.',
      "Write Type.Array(Type.String(), { separator: ',' }).",
    ],
    [
      !isList && separator !== undefined,
      '`separator` on a variable that is not a list.',
      "Declare it as Type.Array(Type.String(), { separator: ',' }).",
    ],
  ]
  for (const [broken, message, fix] of rules) if (broken) problems.push({ path, message, fix })
}
