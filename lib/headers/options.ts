import { Type, type Static } from '@sinclair/typebox'
import { NONCE_SOURCE } from './defaults.js'

const OneOf = <const T extends readonly string[]>(...names: T): ReturnType<typeof Type.Unsafe<T[number]>> =>
  Type.Unsafe<T[number]>(
    Type.Union(names.map((name) => Type.Literal(name)), { fix: `Write one of: ${names.join(', ')}.` }),
  )

const Off = Type.Literal(false)

const directiveChanges = {
  directives: Type.Optional(Type.Record(Type.String(), Type.Union([Type.Array(Type.String()), Off]))),
  extend: Type.Optional(Type.Record(Type.String(), Type.Array(Type.String()))),
}

export const HeadersOptionsSchema = Type.Object({
  profile: Type.Optional(OneOf('api', 'document')),
  contentSecurityPolicy: Type.Optional(Type.Union([
    Off,
    Type.Object({
      ...directiveChanges,
      reportOnly: Type.Optional(Type.Union([Off, Type.Object(directiveChanges, { additionalProperties: false })])),
    }, { additionalProperties: false }),
  ], {
    description:
      `Write { directives } to replace directives by name (false drops one), { extend } to add sources, { reportOnly: { directives, extend } } for a second policy that only reports, or false. ${NONCE_SOURCE} stands for the response's nonce.`,
  })),
  reporting: Type.Optional(Type.Union([
    Off,
    Type.Object({
      endpoint: Type.String(),
      group: Type.Optional(Type.String()),
    }, { additionalProperties: false }),
  ], {
    description:
      'Write { endpoint: a path that this plugin then serves, or an absolute https URL; group } or false. Both content security policies name it.',
  })),
  strictTransportSecurity: Type.Optional(Type.Union([
    Off,
    Type.Object({
      maxAge: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 })),
      includeSubDomains: Type.Optional(Type.Boolean()),
      preload: Type.Optional(Type.Boolean()),
    }, { additionalProperties: false }),
  ], { description: 'Write { maxAge (seconds), includeSubDomains, preload } or false. Sent over HTTPS only.' })),
  xFrameOptions: Type.Optional(
    Type.Union([Off, Type.Object({ action: OneOf('deny', 'sameorigin') }, { additionalProperties: false })], {
      description: "Write { action: 'deny' | 'sameorigin' } or false.",
    }),
  ),
  referrerPolicy: Type.Optional(
    Type.Union([
      Off,
      Type.Object({ policy: Type.Union([Type.String(), Type.Array(Type.String())]) }, { additionalProperties: false }),
    ], { description: 'Write { policy } or false.' }),
  ),
  crossOriginResourcePolicy: Type.Optional(
    Type.Union([
      Off,
      Type.Object({ policy: OneOf('same-origin', 'same-site', 'cross-origin') }, { additionalProperties: false }),
    ], { description: 'Write { policy } or false.' }),
  ),
  crossOriginOpenerPolicy: Type.Optional(
    Type.Union([
      Off,
      Type.Object({ policy: OneOf('same-origin', 'same-origin-allow-popups', 'unsafe-none') }, {
        additionalProperties: false,
      }),
    ], { description: 'Write { policy } or false.' }),
  ),
  crossOriginEmbedderPolicy: Type.Optional(
    Type.Union([
      Off,
      Type.Object({ policy: OneOf('require-corp', 'credentialless', 'unsafe-none') }, { additionalProperties: false }),
    ], { description: 'Write { policy } or false.' }),
  ),
  xContentTypeOptions: Type.Optional(Type.Literal(false, { description: 'Write false to drop the header.' })),
  originAgentCluster: Type.Optional(Type.Literal(false, { description: 'Write false to drop the header.' })),
  xDnsPrefetchControl: Type.Optional(Type.Literal(false, { description: 'Write false to drop the header.' })),
  xPermittedCrossDomainPolicies: Type.Optional(Type.Literal(false, { description: 'Write false to drop the header.' })),
  xXssProtection: Type.Optional(Type.Literal(false, { description: 'Write false to drop the header.' })),
  permissionsPolicy: Type.Optional(
    Type.Union([
      Off,
      Type.Record(Type.String({ pattern: '^[a-z][a-z-]*$' }), Type.Array(Type.String()), {
        additionalProperties: false,
      }),
    ], { description: 'Write feature names with their allow-list (self, * or origins; [] denies), or false.' }),
  ),
  cacheControl: Type.Optional(
    Type.Union([Type.Literal('no-store'), Off], {
      description:
        "'no-store' (default) marks answers with a credential, a cookie or an error as not storable; false leaves the app's own value.",
    }),
  ),
}, { additionalProperties: false })

/** Options of the headers plugin; the same keys override in a scope or on a route. */
export type HeadersOptions = Static<typeof HeadersOptionsSchema>
