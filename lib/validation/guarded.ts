/**
 * Copies of JSON schemas that look at every text, also where the author described nothing: control characters and
 * unpaired surrogates are refused in values and keys unless the schema says `controls: true`, and whole numbers beyond
 * 2^53 unless it states its own bounds. Nothing below `not`, `if` and `contains` is changed.
 */
import { PLAIN_FORMATS } from './formats.js'
import type { Described } from './keywords.js'
import { isSchema, mapSchema, type Schema } from './json-schema.js'

export interface Guarding {
  /** Whether keys and list entries that no schema describes are looked at too. */
  readonly rest: boolean
  /** Whether `PLAIN_FORMATS` are the suite's own, and not replaced by the server's `ajv` option. */
  readonly ownFormats: boolean
  /** Whether numbers come as text: Ajv makes `Infinity` of `1e400`, and then skips every rule for numbers. */
  readonly coerced: boolean
}

/** `part`: a schema beside others of the same value, which describe the rest of it. */
export function guardedCopy (schema: unknown, guarding: Guarding, place: 'whole' | 'part' = 'whole'): unknown {
  if (schema === true && place === 'whole' && guarding.rest) return guardedCopy({}, guarding, place)
  if (!isSchema(schema)) return schema
  const result = mapSchema(schema, ({ schema: child, kind, keyword }) => {
    // `true` says that more may come, which `bulwark:rest` looks at in one walk.
    if (kind === 'condition' || (kind === 'rest' && schema[keyword] === true)) return child
    return guardedCopy(child, guarding, kind === 'member' || kind === 'rest' ? 'whole' : 'part')
  })
  guardNumber(schema, result)
  if (guarding.coerced && (mayBe(schema, 'number') || mayBe(schema, 'integer')) && schema['type'] !== undefined) {
    result['bulwark:finite'] = true
  }
  guardText(schema, result, guarding, place)
  if (schema['controls'] !== true) guardContainer(schema, result, guarding, place)
  return result
}

function guardNumber (schema: Schema, result: Record<string, unknown>): void {
  const { type } = schema
  if (type !== 'integer' && !(Array.isArray(type) && type.includes('integer') && !type.includes('number'))) return
  if (schema['maximum'] === undefined && schema['exclusiveMaximum'] === undefined) {
    result['maximum'] = Number.MAX_SAFE_INTEGER
  }
  if (schema['minimum'] === undefined && schema['exclusiveMinimum'] === undefined) {
    result['minimum'] = Number.MIN_SAFE_INTEGER
  }
}

function guardText (
  schema: Schema,
  result: Record<string, unknown>,
  { rest, ownFormats }: Guarding,
  place: 'whole' | 'part',
): void {
  if (
    !mayBe(schema, 'string') || schema['const'] !== undefined || schema['enum'] !== undefined ||
    schema['safeText'] !== undefined
  ) return
  // Untyped, it is described by its parts, or by what it is a part of.
  if (schema['type'] === undefined && (place === 'part' || !rest || isComposed(schema))) return
  if (ownFormats && typeof schema['format'] === 'string' && PLAIN_FORMATS.has(schema['format'])) return
  result['bulwark:text'] = schema['controls'] === true ? 'any' : 'plain'
}

function guardContainer (
  schema: Schema,
  result: Record<string, unknown>,
  { rest }: Guarding,
  place: 'whole' | 'part',
): void {
  if (!rest || schema['const'] !== undefined || schema['enum'] !== undefined) return
  const { additionalProperties, unevaluatedProperties } = schema
  const patterns = Object.keys(isSchema(schema['patternProperties']) ? schema['patternProperties'] : {})
  if (
    mayBe(schema, 'object') &&
    (patterns.length > 0 || isSchema(additionalProperties) || isSchema(unevaluatedProperties))
  ) result['bulwark:keys'] = true
  const isOpenObject = mayBe(schema, 'object') && (additionalProperties === true || unevaluatedProperties === true ||
    (additionalProperties === undefined && unevaluatedProperties === undefined && place === 'whole' &&
      !isComposed(schema)))
  const { items, additionalItems } = schema
  const isOpenArray = mayBe(schema, 'array') && place === 'whole' && !isComposed(schema) &&
    (items === undefined || items === true ||
      (Array.isArray(items) && (additionalItems === undefined || additionalItems === true)))
  if (!isOpenObject && !isOpenArray) return
  const described: Described = {
    keys: Object.keys(isSchema(schema['properties']) ? schema['properties'] : {}),
    patterns,
    entries: Array.isArray(items) ? items.length : isOpenArray ? 0 : Number.MAX_SAFE_INTEGER,
  }
  result['bulwark:rest'] = described
}

function isComposed (schema: Schema): boolean {
  return ['allOf', 'anyOf', 'oneOf', '$ref', '$dynamicRef', '$recursiveRef'].some((key) => schema[key] !== undefined)
}

function mayBe (schema: Schema, name: string): boolean {
  const { type } = schema
  return type === undefined || type === name || (Array.isArray(type) && type.includes(name))
}
