import { Type, type Static } from '@sinclair/typebox'
import { oneOf } from '../options/option-schema.js'
import type { ValidationLimits } from './compiler.js'

const UnknownSchema = oneOf(
  "What happens to keys that a schema does not name. Default: 'reject'.",
  'reject',
  'strip',
)

export const ValidationOptionsSchema = Type.Object({
  maxErrors: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 100,
      description: 'How many findings a refusal lists, 1 to 100. Default: 20.',
    }),
  ),
  allErrorsUpTo: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 1_048_576,
      description: 'The bytes of JSON up to which a refusal lists all findings, 0 to 1048576; beyond them it lists ' +
        'only the first. Default: 16384.',
    }),
  ),
  unknown: Type.Optional(UnknownSchema),
}, { additionalProperties: false })

/** Options of the validation plugin. */
export type ValidationOptions = Static<typeof ValidationOptionsSchema>

/** Complete and frozen. */
export interface ResolvedValidationOptions extends ValidationLimits { readonly unknown: 'reject' | 'strip' }

export const ValidationRouteOptionsSchema = Type.Object({
  unknown: Type.Optional(UnknownSchema),
  contentTypes: Type.Optional(
    Type.Array(Type.String(), {
      maxItems: 20,
      description: 'Write the media types that this route takes, without parameters, for example ' +
        "['application/x-www-form-urlencoded'].",
    }),
  ),
}, { additionalProperties: false })

/** A route's own rules; each key replaces that of the scope. */
export type ValidationRouteOptions = Static<typeof ValidationRouteOptionsSchema>

/** Complete and frozen. `contentTypes: null`: those of the schema, and JSON for a schema without any. */
export interface ResolvedValidationPolicy {
  readonly unknown: 'reject' | 'strip'
  readonly contentTypes: readonly string[] | null
}
