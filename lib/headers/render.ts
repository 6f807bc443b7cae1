import type { IncomingMessage, ServerResponse } from 'node:http'
import helmet, { type HelmetOptions } from 'helmet'
import { mergeDirectives, type Directives } from '../policy/merge.js'
import { prepareHeaders, type PreparedHeaders } from '../response/headers.js'
import { NONCE_SOURCE, UPGRADE_INSECURE_REQUESTS } from './defaults.js'
import { renderEndpoints, withReporting, type Reporting } from './reporting.js'

/** What the policy that only reports changes of the enforced one. */
export interface ReportOnlyChanges {
  readonly directives: Readonly<Record<string, readonly string[] | false>>
  readonly extend: Directives
}

/** What a response's headers are made of; `null` means the header is not sent. Shapes are helmet's. */
export interface HeaderValues {
  readonly contentSecurityPolicy: Directives | null
  readonly reportOnly: ReportOnlyChanges | null
  readonly reporting: Reporting | null
  readonly strictTransportSecurity: {
    readonly maxAge: number
    readonly includeSubDomains: boolean
    readonly preload: boolean
  } | null
  readonly xFrameOptions: { readonly action: 'deny' | 'sameorigin' } | null
  readonly referrerPolicy: { readonly policy: string | readonly string[] } | null
  readonly crossOriginResourcePolicy: { readonly policy: string } | null
  readonly crossOriginOpenerPolicy: { readonly policy: string } | null
  readonly crossOriginEmbedderPolicy: { readonly policy: string } | null
  readonly xContentTypeOptions: boolean
  readonly originAgentCluster: boolean
  readonly xDnsPrefetchControl: boolean
  readonly xPermittedCrossDomainPolicies: boolean
  readonly xXssProtection: boolean
  readonly permissionsPolicy: Readonly<Record<string, readonly string[]>> | null
}

type HeaderBlock = Readonly<Record<string, string>>

/** A policy around each place of the nonce. */
export interface NonceTemplate { readonly header: string, readonly parts: readonly string[] }

/** What differs between responses over plain HTTP and over HTTPS. */
interface RenderedScheme {
  readonly headers: PreparedHeaders
  /** The policies that have a nonce; empty when none has. */
  readonly nonces: readonly NonceTemplate[]
}

export interface RenderedHeaders {
  /**
   * For responses over plain HTTP: without HSTS, which RFC 6797, section 7.2 forbids there, and without upgrades to
   * HTTPS.
   */
  readonly plain: PreparedHeaders
  /** For responses over HTTPS. */
  readonly secure: PreparedHeaders
  readonly plainNonces: readonly NonceTemplate[]
  readonly secureNonces: readonly NonceTemplate[]
}

/** A marker that helmet accepts as a source; split out again after rendering. */
const MARKER = "'nonce-bulwark'"

const ENFORCED = 'content-security-policy'
const REPORT_ONLY = 'content-security-policy-report-only'

/** OWASP ASVS 5.0, V13.4.6: what runs here is of use to an attacker only, also when a proxied answer says it. */
export const DISCLOSURE: readonly string[] = Object.freeze(['server', 'x-powered-by'])

/**
 * CSP3, section 6.3.2 and the Upgrade Insecure Requests specification, section 3.1: browsers ignore both where nothing
 * is enforced.
 */
const NOT_IN_REPORT_ONLY: ReadonlySet<string> = new Set(['sandbox', UPGRADE_INSECURE_REQUESTS])

/**
 * Renders header values once, with helmet as the engine that validates and formats them.
 * @throws Error with helmet's message when a value is not valid for its header.
 */
export function renderHeaders (values: HeaderValues): RenderedHeaders {
  const common = helmetBlock(helmetOptions(values))
  if (values.permissionsPolicy !== null) common['permissions-policy'] = renderPermissions(values.permissionsPolicy)
  const plain = renderScheme(values, common, false)
  const secure = isSchemeBound(values) ? renderScheme(values, common, true) : plain
  return Object.freeze({
    plain: plain.headers,
    secure: secure.headers,
    plainNonces: plain.nonces,
    secureNonces: secure.nonces,
  })
}

function isSchemeBound ({ strictTransportSecurity, contentSecurityPolicy }: HeaderValues): boolean {
  return strictTransportSecurity !== null ||
    (contentSecurityPolicy !== null && UPGRADE_INSECURE_REQUESTS in contentSecurityPolicy)
}

function renderScheme (values: HeaderValues, common: HeaderBlock, isSecure: boolean): RenderedScheme {
  const block: Record<string, string> = values.reporting === null || values.contentSecurityPolicy === null
    ? {}
    : { 'reporting-endpoints': renderEndpoints(values.reporting) }
  const nonces: NonceTemplate[] = []
  for (const [header, csp] of policiesOf(values)) {
    const sent = isSecure ? csp : without(csp, (name) => name === UPGRADE_INSECURE_REQUESTS)
    block[header] = renderPolicy(sent, null)
    if (hasNonce(sent))
      {nonces.push(Object.freeze({ header, parts: Object.freeze(renderPolicy(sent, MARKER).split('bulwark')) }))}
  }
  if (isSecure && values.strictTransportSecurity !== null)
    {Object.assign(block, helmetBlock({ ...ALL_OFF, strictTransportSecurity: values.strictTransportSecurity }))}
  return Object.freeze({ headers: prepareHeaders({ ...block, ...common }), nonces: Object.freeze(nonces) })
}

/** The policies by header; the one that only reports starts from the one that is enforced. */
function policiesOf (
  { contentSecurityPolicy: enforced, reportOnly, reporting }: HeaderValues,
): [header: string, policy: Directives][] {
  if (enforced === null) return []
  const policies: [string, Directives][] = [[ENFORCED, enforced]]
  if (reportOnly !== null)
    {policies.push([
      REPORT_ONLY,
      without(
        mergeDirectives(enforced, reportOnly.directives, reportOnly.extend),
        (name) => NOT_IN_REPORT_ONLY.has(name),
      ),
    ])}
  return reporting === null ? policies : policies.map(([header, policy]) => [header, withReporting(policy, reporting)])
}

function without (csp: Directives, isOut: (name: string) => boolean): Directives {
  return Object.fromEntries(Object.entries(csp).filter(([name]) => !isOut(name)))
}

function hasNonce (csp: Directives): boolean {
  return Object.values(csp).some((sources) => sources.includes(NONCE_SOURCE))
}

function renderPolicy (csp: Directives, nonce: string | null): string {
  return helmetBlock({
    ...ALL_OFF,
    contentSecurityPolicy: { useDefaults: false, directives: directivesFor(csp, nonce) },
  })[ENFORCED] ?? ''
}

/** Without a nonce the source is left out: the page then runs no script that needed it, which fails closed. */
function directivesFor (csp: Directives, nonce: string | null): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(csp).map(([name, sources]) => {
      if (!sources.includes(NONCE_SOURCE)) return [name, [...sources]]
      if (nonce !== null) return [name, sources.map((source) => source === NONCE_SOURCE ? nonce : source)]
      const others = sources.filter((source) => source !== NONCE_SOURCE)
      // Beside 'strict-dynamic' no other source counts, so without a nonce or a hash to begin from nothing is allowed
      // (CSP3, section 8.2).
      const nothing = others.length === 0 ||
        (others.includes("'strict-dynamic'") && !others.some((source) => source.startsWith("'sha")))
      return [name, nothing ? ["'none'"] : others]
    }),
  )
}

const ALL_OFF = Object.freeze({
  contentSecurityPolicy: false,
  crossOriginEmbedderPolicy: false,
  crossOriginOpenerPolicy: false,
  crossOriginResourcePolicy: false,
  originAgentCluster: false,
  referrerPolicy: false,
  strictTransportSecurity: false,
  xContentTypeOptions: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xFrameOptions: false,
  xPermittedCrossDomainPolicies: false,
  xPoweredBy: false,
  xXssProtection: false,
}) satisfies HelmetOptions

function helmetOptions (values: HeaderValues): HelmetOptions {
  return {
    ...ALL_OFF,
    xFrameOptions: values.xFrameOptions ?? false,
    referrerPolicy: (values.referrerPolicy ?? false) as Exclude<HelmetOptions['referrerPolicy'], undefined>,
    crossOriginResourcePolicy: (values.crossOriginResourcePolicy ?? false) as Exclude<
      HelmetOptions['crossOriginResourcePolicy'],
      undefined
    >,
    crossOriginOpenerPolicy: (values.crossOriginOpenerPolicy ?? false) as Exclude<
      HelmetOptions['crossOriginOpenerPolicy'],
      undefined
    >,
    crossOriginEmbedderPolicy: (values.crossOriginEmbedderPolicy ?? false) as Exclude<
      HelmetOptions['crossOriginEmbedderPolicy'],
      undefined
    >,
    xContentTypeOptions: values.xContentTypeOptions,
    originAgentCluster: values.originAgentCluster,
    xDnsPrefetchControl: values.xDnsPrefetchControl && { allow: false },
    xPermittedCrossDomainPolicies: values.xPermittedCrossDomainPolicies && { permittedPolicies: 'none' },
    xXssProtection: values.xXssProtection,
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
  helmet(options)({} as IncomingMessage, recorder as unknown as ServerResponse, (error?: unknown) => {
    failure = error
  })
  if (failure !== undefined) throw failure as Error
  return block
}

/** Permissions Policy, section 5: a dictionary of allow-lists; `self` is a token, origins are quoted strings. */
function renderPermissions (features: Readonly<Record<string, readonly string[]>>): string {
  return Object.entries(features)
    .map(([feature, allowed]) =>
      `${feature}=(${allowed.map((origin) => origin === 'self' || origin === '*' ? origin : `"${origin}"`).join(' ')})`
    )
    .join(', ')
}
