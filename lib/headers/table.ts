import { Type, type Static, type TOptional, type TSchema } from '@sinclair/typebox'
import { crossOriginEmbedderPolicy, crossOriginOpenerPolicy, crossOriginResourcePolicy, originAgentCluster,
  referrerPolicy, strictTransportSecurity, xContentTypeOptions, xDnsPrefetchControl, xFrameOptions,
  xPermittedCrossDomainPolicies, xXssProtection } from 'helmet'
import { oneOf } from '../options/option-schema.js'
import { replaceLeaves } from '../policy/merge.js'
import type { Problem } from '../response/errors.js'
import { checkFeatures, DENIED_FEATURES, renderFeatures } from './features.js'
import { headersOf, type HeaderBlock } from './helmet.js'

/** `api`: JSON only, nothing may be loaded or framed. `document`: HTML pages under a strict CSP with nonces. */
export type Profile = 'api' | 'document'

/** The whole life of one header's option. Shapes are helmet's. */
interface HeaderEntry<Schema extends TSchema, Value> {
  /** What may be written under the key; `false` drops the header. */
  readonly schema: Schema
  /** The value when nothing is written; null for a header that is opt-in. */
  readonly defaults: (profile: Profile) => Value | null
  /** Absent: what is written replaces the inherited value as a whole. */
  readonly merge?: (base: Value | null, written: Exclude<Static<Schema>, false>) => Value
  /** Adds a problem for a value that the schema and helmet take, but browsers do not. */
  readonly check?: (value: Value, where: string, problems: Problem[]) => void
  /** @throws Error when the header cannot carry the value */
  readonly render: (value: Value) => HeaderBlock
  readonly httpsOnly?: true
}

/** Infers the types of one entry. */
function header<Schema extends TSchema, Value> (entry: HeaderEntry<Schema, Value>): HeaderEntry<Schema, Value> {
  return entry
}

export const Off = Type.Literal(false)

const policyOf = <T extends TSchema>(policy: T) =>
  Type.Union([Off, Type.Object({ policy }, { additionalProperties: false })], {
    description: 'Write { policy } or false.',
  })

/** A header with one value, which can only be dropped. */
const fixed = (render: () => HeaderBlock) =>
  header({
    schema: Type.Literal(false, { description: 'Write false to drop the header.' }),
    defaults: () => true,
    render,
  })

/** Two years, as hstspreload.org asks; `preload` is a decision for the whole domain, so it is opt-in. */
const HSTS: Readonly<{ maxAge: number, includeSubDomains: boolean, preload: boolean }> = Object.freeze({
  maxAge: 63_072_000,
  includeSubDomains: true,
  preload: false,
})

/** hstspreload.org takes a domain only with a year or more and all its subdomains. */
const PRELOAD_MINIMUM_SECONDS = 31_536_000

/** Every header but the content security policy, by its option. A new header is one entry more. */
export const HEADERS = Object.freeze({
  strictTransportSecurity: header({
    schema: Type.Union([
      Off,
      Type.Object({
        maxAge: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 })),
        includeSubDomains: Type.Optional(Type.Boolean()),
        preload: Type.Optional(Type.Boolean()),
      }, { additionalProperties: false }),
    ], { description: 'Write { maxAge (seconds), includeSubDomains, preload } or false. Sent over HTTPS only.' }),
    defaults: () => HSTS,
    merge: (base, written) => replaceLeaves(base ?? HSTS, written),
    check ({ maxAge, includeSubDomains, preload }, where, problems) {
      if (!preload || (maxAge >= PRELOAD_MINIMUM_SECONDS && includeSubDomains)) return
      problems.push({
        path: `${where}.preload`,
        message: 'The preload list does not take this policy.',
        fix: `Set maxAge to at least ${PRELOAD_MINIMUM_SECONDS} and includeSubDomains to true, or leave preload out.`,
      })
    },
    render: (value) => headersOf(strictTransportSecurity(value)),
    // RFC 6797, section 7.2.
    httpsOnly: true,
  }),
  xFrameOptions: header({
    schema: Type.Union([
      Off,
      Type.Object({ action: oneOf('Which pages may frame this one.', 'deny', 'sameorigin') }, {
        additionalProperties: false,
      }),
    ], { description: "Write { action: 'deny' | 'sameorigin' } or false." }),
    defaults: () => ({ action: 'deny' as 'deny' | 'sameorigin' }),
    render: (value) => headersOf(xFrameOptions(value)),
  }),
  referrerPolicy: header({
    schema: policyOf(Type.Union([Type.String(), Type.Array(Type.String())])),
    defaults: (profile) => ({
      policy: (profile === 'api' ? 'no-referrer' : 'strict-origin-when-cross-origin') as string | string[],
    }),
    // helmet knows the tokens and refuses any other.
    render: (value) => headersOf(referrerPolicy(value as Parameters<typeof referrerPolicy>[0])),
  }),
  crossOriginResourcePolicy: header({
    schema: policyOf(oneOf('Which sites may load this resource.', 'same-origin', 'same-site', 'cross-origin')),
    defaults: () => ({ policy: 'same-origin' as 'same-origin' | 'same-site' | 'cross-origin' }),
    render: (value) => headersOf(crossOriginResourcePolicy(value)),
  }),
  crossOriginOpenerPolicy: header({
    schema: policyOf(
      oneOf('Which pages share a browsing context.', 'same-origin', 'same-origin-allow-popups', 'unsafe-none'),
    ),
    defaults: () => ({ policy: 'same-origin' as 'same-origin' | 'same-origin-allow-popups' | 'unsafe-none' }),
    render: (value) => headersOf(crossOriginOpenerPolicy(value)),
  }),
  crossOriginEmbedderPolicy: header({
    schema: policyOf(oneOf('Which resources a page may load.', 'require-corp', 'credentialless', 'unsafe-none')),
    defaults: (): { policy: 'require-corp' | 'credentialless' | 'unsafe-none' } | null => null,
    render: (value) => headersOf(crossOriginEmbedderPolicy(value)),
  }),
  xContentTypeOptions: fixed(() => headersOf(xContentTypeOptions())),
  originAgentCluster: fixed(() => headersOf(originAgentCluster())),
  xDnsPrefetchControl: fixed(() => headersOf(xDnsPrefetchControl())),
  xPermittedCrossDomainPolicies: fixed(() => headersOf(xPermittedCrossDomainPolicies())),
  xXssProtection: fixed(() => headersOf(xXssProtection())),
  permissionsPolicy: header({
    schema: Type.Union([
      Off,
      Type.Record(Type.String({ pattern: '^[a-z][a-z-]*$' }), Type.Array(Type.String()), {
        additionalProperties: false,
      }),
    ], { description: 'Write feature names with their allow-list (self, * or origins; [] denies), or false.' }),
    defaults: (): Readonly<Record<string, readonly string[]>> =>
      Object.fromEntries(DENIED_FEATURES.map((feature) => [feature, []])),
    merge: (base, written) => replaceLeaves(base ?? {}, written),
    check: checkFeatures,
    render: (features) => ({ 'permissions-policy': renderFeatures(features) }),
  }),
})

export type HeaderName = keyof typeof HEADERS

/** The entries for code that treats all of them alike. */
export const HEADER_ENTRIES = Object.entries(HEADERS) as unknown as readonly (readonly [
  HeaderName,
  HeaderEntry<TSchema, unknown>,
])[]

type HeaderSchemas = { [Name in HeaderName]: TOptional<typeof HEADERS[Name]['schema']> }

/** The properties of the option schema. */
export const HEADER_SCHEMAS = Object.fromEntries(
  HEADER_ENTRIES.map(([name, { schema }]) => [name, Type.Optional(schema)]),
) as unknown as HeaderSchemas
