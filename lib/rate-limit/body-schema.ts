import { isPlainObject } from '../options/check-options.js'

/**
 * Whether a body that fits this JSON schema may carry the field as text. False only when the schema surely says
 * otherwise: behind a reference or in an open object it may.
 */
export function mayCarryText (schema: unknown, field: string): boolean {
  if (!isPlainObject(schema)) return true
  if ('$ref' in schema) return true
  const branches = ['allOf', 'anyOf', 'oneOf'].flatMap((word) =>
    Array.isArray(schema[word]) ? schema[word] as unknown[] : []
  )
  if (isPlainObject(schema['content'])) {
    // Fastify's form for several content types: { content: { 'application/json': { schema } } }.
    branches.push(...Object.values(schema['content']).map((entry) => isPlainObject(entry) ? entry['schema'] : entry))
  }
  if (branches.some((branch) => mayCarryText(branch, field))) return true
  const { properties } = schema
  if (!isPlainObject(properties)) {
    return branches.length === 0 && allows(schema, 'object') && schema['additionalProperties'] !== false
  }
  return Object.hasOwn(properties, field) && allows(properties[field], 'string')
}

function allows (schema: unknown, type: string): boolean {
  if (!isPlainObject(schema) || schema['type'] === undefined) return true
  const types: unknown = schema['type']
  return Array.isArray(types) ? types.includes(type) : types === type
}
