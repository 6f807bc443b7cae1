/** Where JSON schemas stand inside a JSON schema. */
export type Schema = Readonly<Record<string, unknown>>

/**
 * `member`: of a named property. `rest`: of other properties, or of list entries. `part`: of the same value.
 * `condition`: of the same value, but it describes nothing. `target`: of what refers to it.
 */
export type Kind = 'member' | 'rest' | 'part' | 'condition' | 'target'

/** Each keyword that holds schemas: one, a list, or (in `MAPS`) an object of them. */
const KINDS: ReadonlyMap<string, Kind> = new Map([
  ['properties', 'member'],
  ['patternProperties', 'member'],
  ...['items', 'prefixItems', 'additionalItems', 'unevaluatedItems', 'additionalProperties', 'unevaluatedProperties']
    .map((keyword) => [keyword, 'rest'] as const),
  ...['allOf', 'anyOf', 'oneOf', 'then', 'else', 'dependentSchemas', 'dependencies']
    .map((keyword) => [keyword, 'part'] as const),
  ...['not', 'if', 'contains', 'propertyNames'].map((keyword) => [keyword, 'condition'] as const),
  ['definitions', 'target'],
  ['$defs', 'target'],
])
const MAPS: ReadonlySet<string> = new Set([
  'properties', 'patternProperties', 'dependentSchemas', 'dependencies', 'definitions', '$defs',
])

export interface Child {
  readonly schema: unknown
  readonly keyword: string
  readonly kind: Kind
  /** The key in a map, for example the property's name; else null. */
  readonly name: string | null
}

export function isSchema (value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The schemas that stand directly inside a schema. */
export function childrenOf (schema: Schema): Child[] {
  const children: Child[] = []
  mapSchema(schema, (child) => children.push(child))
  return children
}

/** A copy of a schema in which `change` replaced each schema that stands directly inside. */
export function mapSchema (schema: Schema, change: (child: Child) => unknown): Record<string, unknown> {
  const copy: Record<string, unknown> = { ...schema }
  for (const [keyword, kind] of KINDS) {
    const value = schema[keyword]
    if (value === undefined) continue
    const replace = (member: unknown, name: string | null = null): unknown =>
      change({ schema: member, keyword, kind, name })
    if (Array.isArray(value)) copy[keyword] = value.map((member) => replace(member))
    else if (!MAPS.has(keyword)) copy[keyword] = replace(value)
    // fromEntries defines its keys, so a property named __proto__ stays a property.
    else if (isSchema(value)) {
      copy[keyword] = Object.fromEntries(Object.entries(value).map(([name, member]) => [name, replace(member, name)]))
    }
  }
  return copy
}

/** What a JSON Pointer (RFC 6901, as the fragment of a `$ref`) leads to; undefined where nothing is. */
export function atPointer (document: unknown, pointer: string): unknown {
  let at = document
  for (const step of pointer.split('/').slice(1)) {
    const key = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
    at = typeof at === 'object' && at !== null && Object.hasOwn(at, key) ? (at as Schema)[key] : undefined
  }
  return at
}
