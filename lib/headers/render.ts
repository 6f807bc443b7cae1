import type { IncomingMessage, ServerResponse } from 'node:http'
import helmet, { type HelmetOptions } from 'helmet'
import type { Directives } from '../policy/merge.js'
import { NONCE_SOURCE } from './defaults.js'

/** What a response's headers are made of; `null` means the header is not sent. Shapes are helmet's. */
export interface HeaderValues {
  readonly contentSecurityPolicy: Directives | null
  readonly strictTransportSecurity: { readonly maxAge: number, readonly includeSubDomains: boolean, readonly preload: boolean } | null
  readonly xFrameOptions: { readonly action: 'deny' | 'sameorigin' } | null
  readonly referrerPolicy: { readonly policy: string | readonly string[] } | null
  readonly crossOriginResourcePolicy: { readonly policy: string } | null
  readonly crossOriginOpenerPolicy: { readonly policy: string } | null
  readonly crossOriginEmbedderPolicy: { readonly policy: string } | null
  readonly xContentTypeOptions: boolean
  readonly originAgentCluster: boolean
  readonly permissionsPolicy: Readonly<Record<string, readonly string[]>> | null
}

/** Header names to values, frozen and ready for `reply.headers`. */
export type HeaderBlock = Readonly<Record<string, string>>

export interface RenderedHeaders {
  /** For responses over plain HTTP: RFC 6797, section 7.2 forbids HSTS there. */
  readonly plain: HeaderBlock
  /** For responses over HTTPS. */
  readonly secure: HeaderBlock
  /** The CSP around each place of the nonce, or null when the policy has none. */
  readonly nonceTemplate: readonly string[] | null
}

/** A marker that helmet accepts as a source; split out again after rendering. */
const MARKER = "'nonce-bulwark'"

/**
 * Renders header values once, with helmet as the engine that validates and formats them.
 * @throws Error with helmet's message when a value is not valid for its header.
 */
export function renderHeaders (values: HeaderValues): RenderedHeaders {
  const csp = values.contentSecurityPolicy
  const withNonce = csp !== null && Object.values(csp).some((sources) => sources.includes(NONCE_SOURCE))
  const block = helmetBlock({
    ...helmetOptions(values),
    contentSecurityPolicy: csp === null ? false : { useDefaults: false, directives: directivesFor(csp, null) },
  })
  if (values.permissionsPolicy !== null) block['permissions-policy'] = renderPermissions(values.permissionsPolicy)
  const { 'strict-transport-security': hsts, ...plain } = block
  return Object.freeze({
    plain: Object.freeze(plain),
    secure: Object.freeze(hsts === undefined ? plain : { ...plain, 'strict-transport-security': hsts }),
    nonceTemplate: withNonce ? renderNonceTemplate(csp) : null,
  })
}

function renderNonceTemplate (csp: Directives): readonly string[] {
  const block = helmetBlock({ ...ALL_OFF, contentSecurityPolicy: { useDefaults: false, directives: directivesFor(csp, MARKER) } })
  return Object.freeze((block['content-security-policy'] ?? '').split('bulwark'))
}

/** Without a nonce the source is left out: the page then runs no script that needed it, which fails closed. */
function directivesFor (csp: Directives, nonce: string | null): Record<string, string[]> {
  const directives: Record<string, string[]> = {}
  for (const [name, sources] of Object.entries(csp)) {
    directives[name] = sources.flatMap((source) => source !== NONCE_SOURCE ? [source] : nonce === null ? [] : [nonce])
    if (sources.length > 0 && directives[name].length === 0) directives[name] = ["'none'"]
  }
  return directives
}

const ALL_OFF = Object.freeze({
  contentSecurityPolicy: false, crossOriginEmbedderPolicy: false, crossOriginOpenerPolicy: false, crossOriginResourcePolicy: false,
  originAgentCluster: false, referrerPolicy: false, strictTransportSecurity: false, xContentTypeOptions: false, xDnsPrefetchControl: false,
  xDownloadOptions: false, xFrameOptions: false, xPermittedCrossDomainPolicies: false, xPoweredBy: false, xXssProtection: false,
}) satisfies HelmetOptions

function helmetOptions (values: HeaderValues): HelmetOptions {
  return {
    ...ALL_OFF,
    strictTransportSecurity: values.strictTransportSecurity ?? false,
    xFrameOptions: values.xFrameOptions ?? false,
    referrerPolicy: (values.referrerPolicy ?? false) as Exclude<HelmetOptions['referrerPolicy'], undefined>,
    crossOriginResourcePolicy: (values.crossOriginResourcePolicy ?? false) as Exclude<HelmetOptions['crossOriginResourcePolicy'], undefined>,
    crossOriginOpenerPolicy: (values.crossOriginOpenerPolicy ?? false) as Exclude<HelmetOptions['crossOriginOpenerPolicy'], undefined>,
    crossOriginEmbedderPolicy: (values.crossOriginEmbedderPolicy ?? false) as Exclude<HelmetOptions['crossOriginEmbedderPolicy'], undefined>,
    xContentTypeOptions: values.xContentTypeOptions,
    originAgentCluster: values.originAgentCluster,
    xDnsPrefetchControl: { allow: false },
    xPermittedCrossDomainPolicies: { permittedPolicies: 'none' },
    xXssProtection: true,
  }
}

/** Runs helmet's middleware once against a recorder. */
function helmetBlock (options: HelmetOptions): Record<string, string> {
  const block: Record<string, string> = {}
  const recorder = {
    setHeader (name: string, value: string): void { block[name.toLowerCase()] = value },
    removeHeader (): void {},
  }
  let failure: unknown
  helmet(options)({} as IncomingMessage, recorder as unknown as ServerResponse, (error?: unknown) => { failure = error })
  if (failure !== undefined) throw failure as Error
  return block
}

/** Permissions Policy, section 5: a dictionary of allow-lists; `self` is a token, origins are quoted strings. */
function renderPermissions (features: Readonly<Record<string, readonly string[]>>): string {
  return Object.entries(features)
    .map(([feature, allowed]) => `${feature}=(${allowed.map((origin) => origin === 'self' || origin === '*' ? origin : `"${origin}"`).join(' ')})`)
    .join(', ')
}
