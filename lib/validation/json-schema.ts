/** Where JSON schemas stand inside a JSON schema, for what copies or inspects them. */
export type Schema = Readonly<Record<string, unknown>>

/** Each holds, under every key, the schema of a member. */
export const MAPS_OF_VALUES = ['properties', 'patternProperties'] as const
/** Each is the schema (or the list of schemas) of members. */
export const VALUES = [
  'items',
  'additionalItems',
  'additionalProperties',
  'unevaluatedItems',
  'unevaluatedProperties',
] as const
/** Each holds schemas that others refer to. */
export const MAPS_OF_TARGETS = ['definitions', '$defs'] as const
/** Each is a schema (or a list) of the same value. */
export const PARTS = ['allOf', 'anyOf', 'oneOf', 'then', 'else'] as const
/** Each holds schemas of the same value. */
export const MAPS_OF_PARTS = ['dependentSchemas', 'dependencies'] as const
/** Each is a condition: it describes nothing. */
export const CONDITIONS = ['not', 'if', 'contains', 'propertyNames'] as const

export function isSchema (value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function each (value: unknown, change: (member: unknown) => unknown): unknown {
  return Array.isArray(value) ? value.map(change) : change(value)
}

export function eachMember (map: unknown, change: (member: unknown) => unknown): unknown {
  if (!isSchema(map)) return map
  // fromEntries defines its keys, so a property named __proto__ stays a property.
  return Object.fromEntries(Object.entries(map).map(([key, member]) => [key, change(member)]))
}
