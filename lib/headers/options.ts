import { Type, type Static } from '@sinclair/typebox'
import { oneOf } from '../options/option-schema.js'
import { CspSchema } from './csp.js'
import { HEADER_SCHEMAS, Off } from './table.js'

export const HeadersOptionsSchema = Type.Object({
  profile: Type.Optional(
    oneOf("'api' for JSON, 'document' for HTML pages. Default: the definition's, else 'api'.", 'api', 'document'),
  ),
  contentSecurityPolicy: Type.Optional(CspSchema),
  reporting: Type.Optional(Type.Union([
    Off,
    Type.Object({
      endpoint: Type.String(),
      group: Type.Optional(Type.String()),
    }, { additionalProperties: false }),
  ], {
    description:
      'Write { endpoint: a path that this plugin then serves, or an absolute https URL; group } ' +
      'or false. Both content security policies name it.',
  })),
  ...HEADER_SCHEMAS,
  cacheControl: Type.Optional(
    Type.Union([Type.Literal('no-store'), Off], {
      description:
        "'no-store' (default) marks answers with a credential, a cookie or an " +
        "error as not storable; false leaves the app's own value.",
    }),
  ),
}, { additionalProperties: false })

/** Options of the headers plugin; the same keys override in a scope or on a route. */
export type HeadersOptions = Static<typeof HeadersOptionsSchema>
