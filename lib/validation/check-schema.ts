/** What is wrong with a schema before any request: what a client could make slow, and rules without effect. */
import type { Problem } from '../response/errors.js'
import { childrenOf, isSchema, type Child, type Schema } from './json-schema.js'
import { growthOf } from './pattern.js'

/** How many steps of the engine a pattern may cost: a few milliseconds. */
const MAX_STEPS = 1_000_000

/** The types that each keyword applies to; it is ignored for a value of another type. */
const APPLIES_TO: readonly (readonly [types: readonly string[], keywords: readonly string[]])[] = [
  [['string'], ['minLength', 'maxLength', 'pattern', 'trimmed', 'safeText', 'characters']],
  [['number', 'integer'], ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf']],
  [['array'], ['items', 'additionalItems', 'minItems', 'maxItems', 'uniqueItems', 'contains']],
  [['object'], [
    'properties', 'patternProperties', 'additionalProperties', 'required', 'minProperties', 'maxProperties',
    'propertyNames',
  ]],
  [['string', 'array', 'object'], ['controls']],
]

type Report = (message: string, fix: string) => void

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
    const report: Report = (message, fix) => { problems.push({ path, message, fix }) }
    inspectPatterns(at, report)
    inspectTypes(at, report)
    inspectUniqueItems(at, report)
    const { format, $id, $ref } = at
    if (typeof format === 'string' && !Object.hasOwn(formats, format)) {
      report(
        `Unknown format "${format}".`,
        "Use one of docs/validation.md, or add it under ajv.customOptions.formats of the server's options.",
      )
    }
    if (typeof $id === 'string') ids.add($id.replace(/#$/, ''))
    if (typeof $ref === 'string') {
      const id = $ref.split('#', 1)[0] ?? ''
      // Ajv also resolves ids that are relative, or stand inside an added schema: then each of these may be meant.
      visit(
        external[id] ?? external[`${id}#`] ?? (ids.has(id) ? undefined : Object.values(external)),
        id === '' ? path : `${path} → ${id}`,
      )
    }
    for (const child of childrenOf(at)) visit(child.schema, `${path}${stepOf(child)}`)
  }
}

function stepOf ({ keyword, kind, name }: Child): string {
  if (keyword === 'properties') return `.${name ?? ''}`
  if (keyword === 'patternProperties') return `.{${name ?? ''}}`
  if (kind === 'target') return ` → ${name ?? ''}`
  if (kind === 'rest') return keyword.endsWith('tems') ? '[]' : '.*'
  return ''
}

function inspectPatterns (schema: Schema, report: Report): void {
  const { pattern, patternProperties, unsafePattern, maxLength } = schema
  if (unsafePattern !== undefined) {
    if (typeof unsafePattern !== 'string' || unsafePattern.trim() === '') {
      report('unsafePattern must be a non-empty reason.', 'Write why no text can make the pattern slow.')
    }
    if (pattern === undefined && patternProperties === undefined) {
      report(
        'unsafePattern stands beside no pattern.',
        'Move it to the schema that holds pattern or patternProperties.',
      )
    }
    return
  }
  if (typeof pattern === 'string') judgePattern(pattern, typeof maxLength === 'number' ? maxLength : Infinity, report)
  if (!isSchema(patternProperties)) return
  for (const source of Object.keys(patternProperties)) judgePattern(source, Infinity, report)
}

function judgePattern (source: string, maxLength: number, report: Report): void {
  const growth = growthOf(source)
  switch (growth.kind) {
    case 'invalid':
      report(
        `The pattern ${source} is no regular expression with the flag u.`,
        'Escape what the flag u requires, and nothing else.',
      )
      return
    case 'exponential':
      report(
        `The time of the pattern ${source} doubles with each character: it can match one text in many ways.`,
        'Leave one way to match each text, or say in unsafePattern why it is safe.',
      )
      return
    case 'not judged':
      report(
        `The pattern ${source} cannot be judged: it is too large, or has a back reference.`,
        'Write it without back references, or say in unsafePattern why it is safe.',
      )
      return
    case 'polynomial':
      if (growth.degree === 1 || maxLength ** growth.degree <= MAX_STEPS) return
      report(
        `The time of the pattern ${source} grows with the text's length to the power of ${growth.degree}.`,
        `Leave one way to match each text (and begin with ^), add maxLength of at most ${
          Math.floor(MAX_STEPS ** (1 / growth.degree) + 1e-6)
        }, or say in unsafePattern why it is safe.`,
      )
  }
}

/** A rule without effect, such as `minLength` of a number: the author believes that it holds. */
function inspectTypes (schema: Schema, report: Report): void {
  if (schema['type'] === undefined) return
  const types = [schema['type']].flat().map(String)
  for (const [applicable, keywords] of APPLIES_TO) {
    if (applicable.some((type) => types.includes(type))) continue
    const idle = keywords.filter((keyword) => schema[keyword] !== undefined)
    if (idle.length > 0) {
      report(
        `${idle.join(', ')} never takes effect on type ${types.join(', ')}.`,
        `Remove it, or write type: '${applicable[0] ?? ''}'.`,
      )
    }
  }
}

function inspectUniqueItems (schema: Schema, report: Report): void {
  const { uniqueItems, maxItems } = schema
  if (uniqueItems !== true || hasScalarItems(schema)) return
  if (typeof maxItems === 'number' && maxItems ** 2 <= MAX_STEPS) return
  report(
    'uniqueItems compares each entry with every other one, and the list is not bounded.',
    'Add maxItems of at most 1000, or give the items one scalar type.',
  )
}

function hasScalarItems ({ items }: Schema): boolean {
  return isSchema(items) && ['string', 'number', 'integer', 'boolean', 'null'].includes(String(items['type']))
}

/**
 * The same schema without comparisons of each entry with every other, for the pass that lists all findings: it goes on
 * after `maxItems` failed. When only these fail, the first pass has reported it.
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
