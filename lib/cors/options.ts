import { Type, type Static } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'

/**
 * Decides for one origin, synchronously. It is asked for well-formed origins only, never for `null`, and once at boot,
 * without a request, for an origin that cannot exist.
 */
export type OriginFunction = (origin: string, request: FastifyRequest | null) => boolean

/** What `origin` may hold; `'*'` is any origin. */
export type CorsOrigin = false | string | readonly string[] | OriginFunction

export const ORIGIN_FIX =
  'Write an exact origin, a list of exact origins and wildcards (https://*.example.com), a synchronous function ' +
  "(origin, request) => boolean, or '*' for open data without credentials. Default: no origin."

/** RFC 9110, section 5.1: a field name is a token. */
const FieldNames = (description: string): ReturnType<typeof Type.Unsafe<readonly string[]>> =>
  Type.Unsafe<readonly string[]>(
    Type.Array(Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" }), { description, fix: description }),
  )

export const CorsOptionsSchema = Type.Object({
  origin: Type.Optional(Type.Unsafe<CorsOrigin>(Type.Unknown({ description: ORIGIN_FIX }))),
  methods: Type.Optional(
    Type.Unsafe<readonly string[]>(
      Type.Array(Type.String({ pattern: '^[A-Z][A-Z-]*$' }), {
        description:
          'Write a list of the methods in upper case that a preflight may ask for: ' +
          "['GET', 'POST']. Default: those of the routes.",
      }),
    ),
  ),
  allowedHeaders: Type.Optional(FieldNames('Write a list of the request header names that a preflight may ask for.')),
  exposedHeaders: Type.Optional(FieldNames('Write a list of the response header names that scripts may read.')),
  credentials: Type.Optional(
    Type.Boolean({ description: 'Write true when the listed origins may send cookies. Default: false.' }),
  ),
  maxAge: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 86400,
      description: 'Write how many seconds browsers may cache a preflight, 0 to 86400. Default: 600.',
    }),
  ),
  privateNetwork: Type.Optional(
    Type.Boolean({
      description:
        'Write true when pages on the public internet may reach this service inside a private network. Default: false.',
    }),
  ),
}, {
  additionalProperties: false,
  renamed: { origins: 'origin', maxAgeSeconds: 'maxAge' },
  removed: {
    preflight: 'Remove it: preflights are always answered. Write `cors: false` on a route to refuse its preflights.',
    strictPreflight: 'Remove it: only OPTIONS requests with Origin and Access-Control-Request-Method are preflights.',
    preflightContinue: 'Remove it: an OPTIONS route of your own gets every OPTIONS request that is no preflight.',
    optionsSuccessStatus: 'Remove it: a granted preflight is answered with 204.',
    hideOptionsRoute: 'Remove it: no OPTIONS route is declared.',
    logLevel: 'Remove it: no OPTIONS route is declared.',
    hook: 'Remove it: CORS is decided in onRequest, before authentication.',
    cacheControl: 'Write `maxAge`: browsers cache a preflight by it, and shared caches do not store OPTIONS.',
    delegator: 'Write `security: { cors }` on the routes or scopes that differ, or a function in `origin`.',
  },
})

/** Options of the cors plugin; in a scope or on a route they replace the inherited ones as a whole. */
export type CorsOptions = Static<typeof CorsOptionsSchema>
