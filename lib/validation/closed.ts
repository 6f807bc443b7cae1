/**
 * Closed copies of JSON schemas: what an object schema does not name is refused, as if its author had written
 * `additionalProperties: false` everywhere. An object that is composed (`allOf`, `$ref`, `if` …) is closed as a whole
 * by `unevaluatedProperties: false`, so that its parts do not refuse each other's keys. The author's own
 * `additionalProperties` or `unevaluatedProperties` is left as it is, and so is `{ type: 'object' }` that names no key.
 *
 * Nothing below `not`, `if` and `contains` is changed: to close a condition would turn it into another one.
 */

import { isSchema, mapSchema, type Schema } from './json-schema.js'

/** `closed`: the object at this place ends here. `open`: a part of a composed object, which is closed around it. */
type Place = 'closed' | 'open'

const COMPOSING = ['allOf', '$ref', '$dynamicRef', '$recursiveRef', 'if', 'dependentSchemas', 'dependencies']

/** A closed copy; the caller's schema is not touched. */
export function closedCopy (schema: unknown): unknown {
  return copy(schema, 'closed')
}

/**
 * A copy of a schema that others refer to: closed below, open at its own level, because each `$ref` is closed where it
 * stands and may be one part of a composed object.
 */
export function targetCopy (schema: unknown): unknown {
  if (!isSchema(schema)) return schema
  const target = copy(schema, 'open')
  // Free-form where it stands alone, so it must be free-form through a reference too.
  return isFreeForm(schema) ? { ...target, additionalProperties: true } : target
}

function copy (schema: Schema, place: Place): Schema
function copy (schema: unknown, place: Place): unknown
function copy (schema: unknown, place: Place): unknown {
  if (!isSchema(schema)) return schema
  const form = place === 'open' ? 'left' : formOf(schema)
  if (form !== 'left' && typeof schema['$id'] === 'string') {
    // Others may refer to it by its id, as a part of something larger: it stays open, and is closed around.
    return { allOf: [copy(schema, 'open')], unevaluatedProperties: false }
  }
  const result = mapSchema(schema, ({ schema: child, kind }) => {
    switch (kind) {
      case 'member': case 'rest': return copy(child, 'closed')
      case 'part': return copy(child, form === 'union' ? 'closed' : 'open')
      case 'target': return targetCopy(child)
      case 'condition': return child
    }
  })
  if (form === 'plain') result['additionalProperties'] = false
  if (form === 'composed') result['unevaluatedProperties'] = false
  return result
}

/** How the object at this place is to be closed. `union`: each branch by itself. `left`: not at all. */
function formOf (schema: Schema): 'plain' | 'union' | 'composed' | 'left' {
  if (schema['additionalProperties'] !== undefined || schema['unevaluatedProperties'] !== undefined) return 'left'
  if (!mayBeObject(schema)) return 'left'
  const isPlain = schema['properties'] !== undefined || schema['patternProperties'] !== undefined
  const unions = Number(schema['anyOf'] !== undefined) + Number(schema['oneOf'] !== undefined)
  if (COMPOSING.some((key) => schema[key] !== undefined) || unions === 2 || (unions === 1 && isPlain)) return 'composed'
  if (unions === 1) return 'union'
  return isPlain ? 'plain' : 'left'
}

function isFreeForm (schema: Schema): boolean {
  return mayBeObject(schema) && formOf(schema) === 'left' && schema['additionalProperties'] === undefined &&
    schema['unevaluatedProperties'] === undefined && schema['required'] === undefined &&
    schema['const'] === undefined && schema['enum'] === undefined
}

function mayBeObject (schema: Schema): boolean {
  const { type } = schema
  return type === undefined || type === 'object' || (Array.isArray(type) && type.includes('object'))
}
