import { checkOptions, isPlainObject, readableOptions } from '../options/check-options.js'
import { replaceLeaves } from '../policy/merge.js'
import type { Problem } from '../response/errors.js'
import { ValidationRouteOptionsSchema, type ResolvedValidationOptions, type ResolvedValidationPolicy,
  type ValidationOptions, type ValidationRouteOptions } from './options.js'

export function resolveValidationOptions (options: ValidationOptions): ResolvedValidationOptions {
  return Object.freeze({ maxErrors: 20, allErrorsUpTo: 16_384, unknown: 'reject', ...options })
}

/** A token of RFC 9110 without `*`, which a reader would take for a wildcard. */
const TOKEN = '[a-z0-9!#$%&\'+.^_`|~-]+'
/** A media type as Fastify passes it on: lower case, without parameters. */
export const MEDIA_TYPE = new RegExp(`^${TOKEN}/${TOKEN}$`)

/** What has no effect on a route with a compiler of its own. `own`: what the route itself wrote. */
export function compilerProblems (label: string, own: unknown): Problem[] {
  if (!isPlainObject(own) || own['unknown'] === undefined) return []
  return [{
    path: `${label} security.validation.unknown`,
    message: 'The route has a validatorCompiler of its own, which alone decides what happens to unknown keys.',
    fix: 'Remove `unknown`, or the compiler.',
  }]
}

/** Resolves what a route or a scope writes under `security.validation`. */
export function resolveValidationPolicy (
  base: ResolvedValidationPolicy,
  input: unknown,
  where: string,
  problems: Problem[],
): ResolvedValidationPolicy {
  if (input === false) {
    problems.push({
      path: where,
      message: 'A route cannot go without validation.',
      fix: 'Open a schema instead: { additionalProperties: true }, or give the route a validatorCompiler of its own.',
    })
    return base
  }
  const written: ValidationRouteOptions = checkOptions(ValidationRouteOptionsSchema, input, where, problems) ??
    readableOptions(input, where, problems)
  const types: unknown[] = Array.isArray(written.contentTypes) ? written.contentTypes : []
  for (const [index, type] of types.entries()) {
    if (typeof type !== 'string' || MEDIA_TYPE.test(type)) continue
    problems.push({
      path: `${where}.contentTypes[${index}]`,
      message: 'Not a media type.',
      fix: 'Write type and subtype in lower case, without parameters: application/json.',
    })
  }
  return Object.freeze(replaceLeaves<ResolvedValidationPolicy>(base, written))
}
