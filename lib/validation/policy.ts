import { Type, type Static } from '@sinclair/typebox'
import type { Problem } from '../response/errors.js'
import { checkOptions, isPlainObject, readableOptions } from '../options/check-options.js'
import { oneOf } from '../options/option-schema.js'
import { replaceLeaves } from '../policy/merge.js'

export const UnknownSchema = oneOf(
  "What happens to keys that a schema does not name. Default: 'reject'.",
  'reject',
  'strip',
)

export const ValidationRouteOptionsSchema = Type.Object({
  unknown: Type.Optional(UnknownSchema),
  contentTypes: Type.Optional(
    Type.Array(Type.String(), {
      maxItems: 20,
      description:
        "Write the media types that this route takes, for example ['application/x-www-form-urlencoded'], without parameters.",
    }),
  ),
}, { additionalProperties: false })

/** A route's own rules, by leaf. */
export type ValidationRouteOptions = Static<typeof ValidationRouteOptionsSchema>

/** Complete and frozen. `contentTypes: null`: those of the schema, and JSON for a schema without any. */
export interface ResolvedValidationPolicy {
  readonly unknown: 'reject' | 'strip'
  readonly contentTypes: readonly string[] | null
}

/** A token of RFC 9110 without `*`, which would read as a wildcard and be none. */
const TOKEN = '[a-z0-9!#$%&\'+.^_`|~-]+'
/** As Fastify hands it out: lower case, without parameters. */
export const MEDIA_TYPE = new RegExp(`^${TOKEN}/${TOKEN}$`)

/** What a route that is validated by a compiler of its own says in vain. `own`: what the route itself wrote. */
export function compilerProblems (label: string, own: unknown): Problem[] {
  if (!isPlainObject(own) || own['unknown'] === undefined) return []
  return [{
    path: `${label} security.validation.unknown`,
    message: 'The route has a validatorCompiler of its own, which alone decides what happens to unknown keys.',
    fix: 'Remove `unknown`, or the compiler.',
  }]
}

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
