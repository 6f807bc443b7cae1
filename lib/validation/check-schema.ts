/**
 * What is wrong with a schema before any request: patterns and checks that a client could make slow, formats nobody
 * knows.
 */
import type { Problem } from '../response/errors.js'
import { growthOf } from './pattern.js'
import { CONDITIONS, isSchema, MAPS_OF_PARTS, PARTS, VALUES, type Schema } from './json-schema.js'

/** About what a pattern may cost in steps of the engine, a few milliseconds. */
const MAX_STEPS = 1_000_000

/** What each keyword is about; of a value of another type it says nothing. */
const ABOUT: readonly (readonly [types: readonly string[], keywords: readonly string[]])[] = [
  [['string'], ['minLength', 'maxLength', 'pattern', 'trimmed', 'safeText', 'characters']],
  [['number', 'integer'], ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf']],
  [['array'], ['items', 'additionalItems', 'minItems', 'maxItems', 'uniqueItems', 'contains']],
  [['object'], [
    'properties',
    'patternProperties',
    'additionalProperties',
    'required',
    'minProperties',
    'maxProperties',
    'propertyNames',
  ]],
  [['string', 'array', 'object'], ['controls']],
]

/** Each finding once, with the route and the field: `POST /users body.email`. */
export function inspectSchema (
  schema: unknown,
  where: string,
  external: Readonly<Record<string, unknown>>,
  formats: Readonly<Record<string, unknown>>,
): Problem[] {
  const problems: Problem[] = []
  const followed = new Set<unknown>()
  const ids = new Set([''])
  visit(schema, where)
  return problems

  function visit (at: unknown, path: string): void {
    if (Array.isArray(at)) {
      for (const part of at) visit(part, path)
      return
    }
    if (!isSchema(at) || followed.has(at)) return
    followed.add(at)
    inspectPatterns(at, path, problems)
    inspectTypes(at, path, problems)
    const { format, $ref } = at
    if (typeof format === 'string' && !Object.hasOwn(formats, format)) {
      problems.push({
        path,
        message: `Nobody knows the format "${format}".`,
        fix: "Use one of docs/validation.md, or add it under ajv.customOptions.formats of the server's options.",
      })
    }
    if (
      at['uniqueItems'] === true && !hasScalarItems(at) &&
      !(typeof at['maxItems'] === 'number' && at['maxItems'] ** 2 <= MAX_STEPS)
    ) {
      problems.push({
        path,
        message: 'uniqueItems compares each entry with every other one, and the list is not bounded.',
        fix: 'Add maxItems of at most 1000, or give the items one scalar type.',
      })
    }
    if (typeof at['$id'] === 'string') ids.add(at['$id'].replace(/#$/, ''))
    if (typeof $ref === 'string') {
      const id = $ref.split('#', 1)[0] ?? ''
      // Ajv also resolves ids that are relative, or stand inside an added schema: then each of these may be meant.
      visit(
        external[id] ?? external[`${id}#`] ?? (ids.has(id) ? undefined : Object.values(external)),
        id === '' ? path : `${path} → ${id}`,
      )
    }
    members(at['properties'], (name) => `${path}.${name}`)
    members(at['patternProperties'], (name) => `${path}.{${name}}`)
    for (const key of VALUES) visit(at[key], `${path}${key.endsWith('tems') ? '[]' : '.*'}`)
    for (const key of [...PARTS, ...CONDITIONS]) visit(at[key], path)
    for (const key of MAPS_OF_PARTS) members(at[key], () => path)
    for (const key of ['definitions', '$defs']) members(at[key], (name) => `${path} → ${name}`)

    function members (map: unknown, pathOf: (name: string) => string): void {
      if (isSchema(map)) for (const [name, member] of Object.entries(map)) visit(member, pathOf(name))
    }
  }
}

function inspectPatterns (schema: Schema, path: string, problems: Problem[]): void {
  const { pattern, patternProperties, unsafePattern } = schema
  if (unsafePattern !== undefined) {
    if (typeof unsafePattern !== 'string' || unsafePattern.trim() === '')
      {problems.push({
        path,
        message: 'unsafePattern says no reason.',
        fix: 'Write why no text can make the pattern slow.',
      })}
    if (pattern === undefined && patternProperties === undefined)
      {problems.push({
        path,
        message: 'unsafePattern stands beside no pattern.',
        fix: 'Move it to the schema that holds pattern or patternProperties.',
      })}
    return
  }
  const maxLength = typeof schema['maxLength'] === 'number' ? schema['maxLength'] : Infinity
  const patterns = [
    ...typeof pattern === 'string' ? [{ source: pattern, maxLength }] : [],
    ...Object.keys(isSchema(patternProperties) ? patternProperties : {}).map((source) => ({
      source,
      maxLength: Infinity,
    })),
  ]
  for (const { source, maxLength: longest } of patterns) {
    const growth = growthOf(source)
    if (growth.kind === 'invalid') {
      problems.push({
        path,
        message: `The pattern ${source} is no regular expression with the flag u.`,
        fix: 'Escape what the flag asks for, and nothing else.',
      })
    } else if (growth.kind === 'exponential') {
      problems.push({
        path,
        message: `A short text can keep the pattern ${source} busy for years: it can read one text in many ways.`,
        fix: 'Leave one way to read each text, or say in unsafePattern why it is safe.',
      })
    } else if (growth.kind === 'not judged') {
      problems.push({
        path,
        message: `Whether the pattern ${source} can be made slow cannot be told: it is too large, or refers back.`,
        fix: 'Write it without back references, or say in unsafePattern why it is safe.',
      })
    } else if (growth.degree > 1 && longest ** growth.degree > MAX_STEPS) {
      const bound = Math.floor(MAX_STEPS ** (1 / growth.degree) + 1e-6)
      problems.push({
        path,
        message: `The time of the pattern ${source} grows with the text's length to the power of ${growth.degree}.`,
        fix:
          `Leave one way to read each text (and begin with ^), add maxLength of at most ${bound}, or say in unsafePattern why it is safe.`,
      })
    }
  }
}

/**
 * A rule that can never take effect is one that its author believes in: `minLength` of a number, `trimmed` of a list.
 */
function inspectTypes (schema: Schema, path: string, problems: Problem[]): void {
  if (schema['type'] === undefined) return
  const types = [schema['type']].flat().map(String)
  for (const [about, keywords] of ABOUT) {
    if (about.some((type) => types.includes(type))) continue
    const idle = keywords.filter((keyword) => schema[keyword] !== undefined)
    if (idle.length > 0)
      {problems.push({
        path,
        message: `${idle.join(', ')} never takes effect on type ${types.join(', ')}.`,
        fix: `Remove it, or write type: '${about[0] ?? ''}'.`,
      })}
  }
}

function hasScalarItems ({ items }: Schema): boolean {
  return isSchema(items) && ['string', 'number', 'integer', 'boolean', 'null'].includes(String(items['type']))
}

/**
 * For the pass that lists all findings, which goes on after `maxItems` failed: the same schema without comparisons of
 * each entry with every other. When only these fail, the first pass has said so.
 */
export function withoutQuadratic (schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutQuadratic)
  if (!isSchema(schema)) return schema
  const copy = Object.fromEntries(
    Object.entries(schema).map((
      [key, value],
    ) => [key, ['const', 'enum', 'default', 'examples'].includes(key) ? value : withoutQuadratic(value)]),
  )
  // A property of this name holds a schema, the keyword holds `true`.
  if (schema['uniqueItems'] === true && !hasScalarItems(schema)) Reflect.deleteProperty(copy, 'uniqueItems')
  return copy
}
