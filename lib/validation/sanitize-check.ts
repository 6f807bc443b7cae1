import type { Problem } from '../response/errors.js'
import { isPlainObject } from '../options/check-options.js'
import { atPointer, childrenOf, isSchema, type Schema } from './json-schema.js'
import { loadClean } from './sanitize.js'
import { faultOf, faultOfName, type Fault } from './sanitize-rules.js'

/** A use of the keyword: where, and what is wrong with it. */
export interface SanitizeUse {
  readonly path: string
  readonly fault: Fault | null
}

const CONDITION: Fault = {
  message: '`sanitize` stands in a condition (not, if, contains, propertyNames), which changes nothing.',
  fix: 'Put it on the schema of the field, in properties, items or a branch of a union.',
}
const WHOLE_PART: Fault = {
  message: '`sanitize` stands on the whole part, which has no place to put the cleaned value.',
  fix: 'Put it on a field of an object.',
}
const HEADER: Fault = {
  message: 'Headers are not sanitized.',
  fix: 'Remove `sanitize`, and restrict the header by a pattern.',
}
const RESPONSE: Fault = {
  message: 'A response is not sanitized.',
  fix:
    "Remove `sanitize` from the answer's schema: what came in was cleaned, and what is shown is encoded by the page.",
}

const PARTS: readonly [key: string, name: string, fault: Fault | null][] = [
  ['body', 'body', null],
  ['querystring', 'query', null],
  ['query', 'query', null],
  ['params', 'params', null],
  ['headers', 'headers', HEADER],
  ['response', 'response', RESPONSE],
]

/**
 * Reports what is wrong with the keyword in the schemas of one route, and that sanitize-html is missing where it is
 * right.
 */
export function checkRoute (label: string, schemas: Schema, added: Schema, problems: Problem[]): void {
  const report = (path: string, { message, fix }: Fault): void => {
    problems.push({ path: `${label} ${path}`, message, fix })
  }
  for (const [key, name, fault] of PARTS) {
    for (const [place, schema] of placesOf(name, schemas[key])) {
      for (const use of usesOf(place, schema, added)) {
        const found = fault ?? use.fault
        if (found !== null) report(use.path, found)
        else if (typeof loadClean() === 'string') report(use.path, unavailable())
      }
    }
  }
}

function unavailable (): Fault {
  return {
    message: `\`sanitize\` needs the package sanitize-html, which is ${String(loadClean())}.`,
    fix: 'Run: npm install sanitize-html',
  }
}

/** A body or an answer can have a schema for each content type, an answer one for each status. */
function placesOf (name: string, schema: unknown): [place: string, schema: unknown][] {
  if (!isPlainObject(schema)) return []
  if (name === 'response') {
    return Object.entries(schema).flatMap(([status, answer]) => placesOf(`response.${status}`, answer))
  }
  const { content } = schema
  if ((name !== 'body' && !name.startsWith('response.')) || !isPlainObject(content)) return [[name, schema]]
  return Object.values(content).map((entry) => [name, isPlainObject(entry) ? entry['schema'] : undefined])
}

interface Place {
  readonly path: string
  readonly name: string | null
  readonly isCondition: boolean
  readonly root: unknown
}

/** Every use of the keyword that a value can meet, references followed, each with its first fault. */
export function usesOf (part: string, schema: unknown, added: Schema): SanitizeUse[] {
  const uses = new Map<string, SanitizeUse>()
  const followed = new Map<unknown, Set<string>>()
  const ids = new Map<string, unknown>()
  for (const [id, known] of [...Object.entries(added), ['', schema] as const]) {
    if (id !== '') ids.set(id, known)
    collectIds(known, ids)
  }
  visit(schema, { path: part, name: null, isCondition: false, root: schema })
  return [...uses.values()]

  function visit (node: unknown, at: Place): void {
    if (!isSchema(node)) return
    if (node['sanitize'] !== undefined) {
      const fault = faultOf(node) ?? (at.isCondition ? CONDITION : at.name === null ? WHOLE_PART : faultOfName(at.name))
      if (fault !== null || !uses.has(at.path)) uses.set(at.path, { path: at.path, fault })
    }
    const root = typeof node['$id'] === 'string' ? node : at.root
    for (const keyword of ['$ref', '$dynamicRef', '$recursiveRef']) {
      if (typeof node[keyword] === 'string') follow(node[keyword], { ...at, root })
    }
    for (const { schema: child, keyword, kind, name } of childrenOf(node)) {
      if (kind === 'target') continue
      const isCondition = at.isCondition || kind === 'condition'
      if (kind === 'member' || kind === 'rest') {
        const field = keyword === 'properties' ? name : '*'
        visit(child, { root, isCondition, name: field, path: `${at.path}.${field ?? ''}` })
      } else {
        visit(child, { ...at, root, isCondition })
      }
    }
  }

  function follow (ref: string, at: Place): void {
    const [target, root] = resolve(ref, at.root, ids)
    // A schema that refers to itself ends here; under another name it may be another fault.
    const known = followed.get(target) ?? new Set()
    const key = `${String(at.name)} ${String(at.isCondition)}`
    if (known.has(key)) return
    followed.set(target, known.add(key))
    visit(target, { ...at, root })
  }
}

/** `[schema, the schema that its own references start from]` */
function resolve (ref: string, root: unknown, ids: ReadonlyMap<string, unknown>): [unknown, unknown] {
  if (ids.has(ref)) return [ids.get(ref), ids.get(ref)]
  const hash = ref.indexOf('#')
  const base = hash === -1 ? ref : ref.slice(0, hash)
  const from = base === '' ? root : ids.get(base) ?? ids.get(`${base}#`)
  return [atPointer(from, hash === -1 ? '' : ref.slice(hash + 1)), from]
}

function collectIds (node: unknown, ids: Map<string, unknown>): void {
  if (Array.isArray(node)) for (const member of node) collectIds(member, ids)
  if (!isSchema(node)) return
  if (typeof node['$id'] === 'string') ids.set(node['$id'], node)
  if (typeof node['$anchor'] === 'string') ids.set(`#${node['$anchor']}`, node)
  for (const member of Object.values(node)) collectIds(member, ids)
}
