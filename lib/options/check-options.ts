import type { Static, TSchema } from '@sinclair/typebox'
import { Errors, ValueErrorType, type ValueError } from '@sinclair/typebox/errors'
import { nearest } from './nearest.js'
import type { Problem } from '../response/errors.js'

/**
 * Checks untrusted options against their TypeBox schema and adds one problem per finding, with the option's path and
 * its fix (`fix` in the schema, else its `description`). A misspelt key gets the nearest known one as a suggestion; a
 * key of the object schema's annotation `renamed` (`{ oldName: 'newName' }`) gets the new name, one of `removed`
 * (`{ name: fix }`) its fix.
 * Explicitly `undefined` keys count as absent: they never override a default.
 *
 * Returns a copy without the undefined keys, or `null` when something was wrong. Never changes `input`.
 */
export function checkOptions<S extends TSchema> (
  schema: S,
  input: unknown,
  path: string,
  problems: Problem[],
): Static<S> | null {
  const value = withoutUndefined(input)
  const before = problems.length
  const seen = new Set<string>()
  for (const error of Errors(schema, value)) {
    const problem = problemOf(error, path)
    // TypeBox reports a wrong value several times (type, then each constraint): the first says it best.
    if (seen.has(problem.path)) continue
    seen.add(problem.path)
    problems.push(problem)
  }
  return problems.length === before ? value : null
}

/**
 * What can still be read of options that `checkOptions` refused: the keys without a problem. It lets a plugin go on and
 * report everything else that is wrong, so that one boot shows all of it; the result is never used to run anything.
 */
export function readableOptions (
  input: unknown,
  path: string,
  problems: readonly Problem[],
): Readonly<Record<string, unknown>> {
  if (!isPlainObject(input)) return {}
  const wrong = problems.map((problem) => problem.path)
  const isWrong = (key: string): boolean =>
    wrong.some((at) => at === `${path}.${key}` || at.startsWith(`${path}.${key}.`) || at.startsWith(`${path}.${key}[`))
  return Object.fromEntries(Object.entries(input).filter(([key, value]) => value !== undefined && !isWrong(key)))
}

function problemOf (error: ValueError, path: string): Problem {
  const where = joinPath(path, error.path)
  if (error.type === ValueErrorType.ObjectAdditionalProperties) {
    const name = error.path.slice(error.path.lastIndexOf('/') + 1)
    const newName = annotation(error.schema, 'renamed', name)
    if (newName !== null) {
      return { path: where, message: `Renamed to \`${newName}\`.`, fix: `Write \`${newName}\` in its place.` }
    }
    const removed = annotation(error.schema, 'removed', name)
    if (removed !== null) return { path: where, message: 'Not supported.', fix: removed }
    const known = knownKeys(error.schema)
    const near = nearest(name, known)
    return {
      path: where,
      message: 'Unknown option.',
      fix: near === null ? `Known here: ${known.join(', ') || 'none'}.` : `Did you mean "${near}"?`,
    }
  }
  if (error.type === ValueErrorType.ObjectRequiredProperty) {
    return { path: where, message: 'Missing.', fix: fixOf(error.schema) }
  }
  // TypeBox says "Expected union value", which tells a reader nothing.
  const message = error.type === ValueErrorType.Union
    ? 'Not an accepted value'
    : error.type === ValueErrorType.StringPattern
    ? 'Does not match the required pattern'
    : error.message
  return { path: where, message: `${message}.`, fix: fixOf(error.schema) }
}

function fixOf (schema: TSchema): string {
  const fix: unknown = schema['fix'] ?? schema.description
  return typeof fix === 'string' ? fix : 'See the option in the docs.'
}

function knownKeys (schema: TSchema): string[] {
  const properties: unknown = schema['properties']
  return typeof properties === 'object' && properties !== null ? Object.keys(properties) : []
}

function annotation (schema: TSchema, key: 'renamed' | 'removed', name: string): string | null {
  const texts: unknown = schema[key]
  const text: unknown = isPlainObject(texts) && Object.hasOwn(texts, name) ? texts[name] : null
  return typeof text === 'string' ? text : null
}

/** `('transport', '/proxies/0')` → `transport.proxies[0]` */
function joinPath (base: string, pointer: string): string {
  let path = base
  for (const part of pointer.split('/').slice(1)) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (/^\d+$/.test(name)) path += `[${name}]`
    else path += path === '' ? name : `.${name}`
  }
  return path === '' ? 'options' : path
}

/** Copies plain objects and arrays without undefined members; class instances and functions stay as they are. */
function withoutUndefined (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (!isPlainObject(value)) return value
  const copy: Record<string | symbol, unknown> = Object.create(Object.getPrototypeOf(value) as object | null) as Record<
    string | symbol,
    unknown
  >
  // Symbols too: a TypeBox schema inside the options keeps its kind in one.
  for (const key of Reflect.ownKeys(value)) {
    const member = (value as Record<string | symbol, unknown>)[key]
    // defineProperty, because assigning `__proto__` would set the prototype instead of reporting the key.
    if (member !== undefined) {
      Object.defineProperty(copy, key, {
        value: withoutUndefined(member),
        enumerable: true,
        writable: true,
        configurable: true,
      })
    }
  }
  return copy
}

export function isPlainObject (value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}
