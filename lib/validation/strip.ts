/**
 * Removes the keys that a schema does not name (`unknown: 'strip'`) from a value that fits the schema apart from these.
 * In a choice all branches that fit count: a key stays when one of them names it. The caller validates the result
 * again, closed, so that an ambiguous choice is refused and not guessed.
 */
import type { Ajv } from 'ajv'
import { atPointer, isSchema, type Schema } from './json-schema.js'

interface Node { readonly schema: Schema, readonly ref: string }

const ROOT = 'bulwark:root'

/** `ajv` knows the schemas that others refer to, open; it is used for this schema alone. */
export function createStripper (
  ajv: Ajv,
  schema: unknown,
  external: Readonly<Record<string, unknown>>,
): (value: unknown) => void {
  if (!isSchema(schema)) return () => {}
  const base = typeof schema['$id'] === 'string' ? schema['$id'].replace(/#$/, '') : ROOT
  ajv.addSchema(schema, base === ROOT ? ROOT : undefined)
  const documents = new Map<string, Node>()
  for (const [id, document] of Object.entries(external)) register(document, `${id.replace(/#$/, '')}#`)
  register(schema, `${base}#`)
  const fits = new Map<string, (value: unknown) => boolean>()
  // Boot compiles every branch, so that no request does.
  for (const ref of branchRefs(schema, `${base}#`)) matches(ref)
  return function strip (value) { stripValue(value, [{ schema, ref: `${base}#` }]) }

  function register (document: unknown, ref: string): void {
    if (!isSchema(document)) return
    documents.set(ref, { schema: document, ref })
    for (const { node } of inner(document, ref)) {
      const { $id } = node.schema
      if (typeof $id === 'string') documents.set(`${$id.replace(/#$/, '')}#`, node)
    }
  }

  function matches (ref: string): (value: unknown) => boolean {
    const known = fits.get(ref)
    if (known !== undefined) return known
    const compiled = ajv.compile({ $ref: ref })
    const check = (value: unknown): boolean => compiled(value)
    fits.set(ref, check)
    return check
  }

  function stripValue (value: unknown, nodes: readonly Node[]): void {
    if (typeof value !== 'object' || value === null) return
    const flat: Node[] = []
    for (const node of nodes) flatten(node, value, flat, new Set())
    if (Array.isArray(value)) {
      for (const [index, entry] of value.entries()) stripValue(entry, flat.flatMap((node) => entryNodes(node, index)))
      return
    }
    if (flat.every(namesNothing)) return
    const members = value as Record<string, unknown>
    for (const key of Object.keys(members)) {
      const found = flat.map((node) => memberNodes(node, key))
      const isOpen = found.includes('open')
      const known = found.flatMap((entry) => entry === 'open' ? [] : entry)
      if (known.length > 0) stripValue(members[key], known)
      else if (!isOpen) Reflect.deleteProperty(members, key)
    }
  }

  /** The schemas that describe this very value, with those that it is composed of. */
  function flatten (node: Node, value: unknown, into: Node[], seen: Set<string>): void {
    if (seen.has(node.ref)) return
    seen.add(node.ref)
    into.push(node)
    const { schema: at, ref } = node
    if (typeof at['$ref'] === 'string') {
      const target = resolve(at['$ref'], ref)
      if (target !== null) flatten(target, value, into, seen)
    }
    for (const part of listNodes(node, 'allOf')) flatten(part, value, into, seen)
    for (const key of ['anyOf', 'oneOf']) {
      for (const part of listNodes(node, key)) if (matches(part.ref)(value)) flatten(part, value, into, seen)
    }
    if (isSchema(at['if'])) {
      const condition = { schema: at['if'], ref: child(ref, 'if') }
      const holds = matches(condition.ref)(value)
      if (holds) flatten(condition, value, into, seen)
      const branch = holds ? 'then' : 'else'
      if (isSchema(at[branch])) flatten({ schema: at[branch], ref: child(ref, branch) }, value, into, seen)
    }
    for (const key of ['dependentSchemas', 'dependencies']) {
      for (const part of mapNodes(node, key)) {
        if (Object.hasOwn(value as object, part.name)) flatten(part.node, value, into, seen)
      }
    }
  }

  function resolve (target: string, from: string): Node | null {
    const [id = '', pointer = ''] = target.split('#', 2)
    const document = documents.get(id === '' ? `${from.split('#', 1)[0] ?? ''}#` : `${id}#`)
    if (document === undefined) return null
    const at = atPointer(document.schema, pointer)
    return isSchema(at) ? { schema: at, ref: `${document.ref}${pointer}` } : null
  }
}

function memberNodes ({ schema, ref }: Node, key: string): Node[] | 'open' {
  const { properties, patternProperties, additionalProperties, unevaluatedProperties } = schema
  const nodes: Node[] = []
  const found = { any: false }
  const add = (member: unknown, at: string): void => {
    found.any = true
    if (isSchema(member)) nodes.push({ schema: member, ref: at })
  }
  if (isSchema(properties) && Object.hasOwn(properties, key)) add(properties[key], child(ref, 'properties', key))
  if (isSchema(patternProperties)) {
    for (const [pattern, member] of Object.entries(patternProperties)) {
      if (new RegExp(pattern, 'u').test(key)) add(member, child(ref, 'patternProperties', pattern))
    }
  }
  if (found.any) return nodes.length > 0 ? nodes : 'open'
  for (
    const [name, rest] of [['additionalProperties', additionalProperties], [
      'unevaluatedProperties',
      unevaluatedProperties,
    ]] as const
  ) {
    if (rest === true) return 'open'
    if (isSchema(rest)) return [{ schema: rest, ref: child(ref, name) }]
  }
  return []
}

function entryNodes ({ schema, ref }: Node, index: number): Node[] {
  const { items, additionalItems } = schema
  if (isSchema(items)) return [{ schema: items, ref: child(ref, 'items') }]
  const entry: unknown = Array.isArray(items) ? items[index] : undefined
  if (isSchema(entry)) return [{ schema: entry, ref: child(ref, 'items', String(index)) }]
  return Array.isArray(items) && isSchema(additionalItems)
    ? [{ schema: additionalItems, ref: child(ref, 'additionalItems') }]
    : []
}

/** As `closedCopy` sees it: what names no key at all takes any. */
function namesNothing ({ schema }: Node): boolean {
  return ['properties', 'patternProperties', 'additionalProperties', 'unevaluatedProperties'].every((key) =>
    schema[key] === undefined
  )
}

function listNodes ({ schema, ref }: Node, key: string): Node[] {
  const list = schema[key]
  return Array.isArray(list)
    ? list.flatMap((part: unknown, index) =>
      isSchema(part) ? [{ schema: part, ref: child(ref, key, String(index)) }] : []
    )
    : []
}

function mapNodes ({ schema, ref }: Node, key: string): { name: string, node: Node }[] {
  const map = schema[key]
  return isSchema(map)
    ? Object.entries(map).flatMap(([name, member]) =>
      isSchema(member) ? [{ name, node: { schema: member, ref: child(ref, key, name) } }] : []
    )
    : []
}

function child (ref: string, ...steps: string[]): string {
  return steps.reduce(
    (at, step) => `${at}/${encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1'))}`,
    ref,
  )
}

/** Every schema below, under any keyword. */
function * inner (schema: Schema, ref: string): Generator<{ node: Node }> {
  for (const [key, value] of Object.entries(schema)) {
    if (['const', 'enum', 'default', 'examples'].includes(key) || typeof value !== 'object' || value === null) continue
    const node = { schema: value as Schema, ref: child(ref, key) }
    if (isSchema(value)) yield { node }
    yield * inner(node.schema, node.ref)
  }
}

function branchRefs (schema: Schema, ref: string): string[] {
  const nodes = [{ schema, ref }, ...[...inner(schema, ref)].map(({ node }) => node)]
  return nodes.flatMap((node) =>
    [...listNodes(node, 'anyOf'), ...listNodes(node, 'oneOf')].map((part) => part.ref).concat(
      isSchema(node.schema['if']) ? [child(node.ref, 'if')] : [],
    )
  )
}
