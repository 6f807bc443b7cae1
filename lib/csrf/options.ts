import { Type, type Static } from '@sinclair/typebox'

export const CsrfOptionsSchema = Type.Object({
  publicOrigin: Type.Optional(
    Type.String({
      description:
        'Write the origin that browsers reach this service at: ' +
        "https://api.example.com. Default: the request's own scheme and host.",
    }),
  ),
  trustedOrigins: Type.Optional(
    Type.Unsafe<readonly string[]>(
      Type.Array(Type.Unknown(), {
        description:
          'Write a list of the other exact origins and wildcards (https://*.example.com) whose pages may send requests ' +
          "with cookies. Those that a route's CORS policy grants with credentials need not be listed.",
      }),
    ),
  ),
  isolation: Type.Optional(
    Type.Boolean({
      description: "Write false to let other sites embed and fetch with the visitor's cookies. Default: true.",
    }),
  ),
}, { additionalProperties: false })

/** Options of the csrf plugin. */
export type CsrfOptions = Static<typeof CsrfOptionsSchema>

/** `'cookie'`: checked when a cookie comes along (default). `'always'`: checked for every unsafe request. */
export type CsrfMode = 'cookie' | 'always'

export const MODE_FIX = 'Write \'cookie\', \'always\' or false.'

export const CsrfRouteOptionsSchema = Type.Object({
  mode: Type.Optional(
    Type.Unsafe<CsrfMode | false>(
      Type.Union([Type.Literal('cookie'), Type.Literal('always'), Type.Literal(false)], { description: MODE_FIX }),
    ),
  ),
  isolation: Type.Optional(
    Type.Boolean({
      description:
        "Write false when other sites may embed or read this route with the visitor's cookies. Default: the plugin's.",
    }),
  ),
}, { additionalProperties: false })

/** A route's own rules, by leaf; a mode alone is short for `{ mode }`, `false` turns both checks off. */
export type CsrfRouteOptions = Static<typeof CsrfRouteOptionsSchema>
