import type { Problem } from '../response/errors.js'
import { mergeDirectives, replaceLeaves } from '../policy/merge.js'
import { prepareHeaders } from '../response/headers.js'
import { CONTENT_SECURITY_POLICY, DENIED_FEATURES, HSTS_MAX_AGE_SECONDS, type Profile } from './defaults.js'
import { checkDirectives, checkFeatures } from './grammar.js'
import { renderHeaders, type HeaderValues, type RenderedHeaders, type ReportOnlyChanges } from './render.js'
import { isPath, resolveReporting, type ReportingInput } from './reporting.js'

/** The shape that `HeadersOptions` (plugins/headers.ts) has after its schema check. */
export interface HeadersInput {
  readonly profile?: Profile
  readonly contentSecurityPolicy?: false
    | (Partial<ReportOnlyChanges> & { readonly reportOnly?: false | Partial<ReportOnlyChanges> })
  readonly reporting?: false | ReportingInput
  readonly strictTransportSecurity?: false | {
    readonly maxAge?: number
    readonly includeSubDomains?: boolean
    readonly preload?: boolean
  }
  readonly xFrameOptions?: false | { readonly action: 'deny' | 'sameorigin' }
  readonly referrerPolicy?: false | { readonly policy: string | readonly string[] }
  readonly crossOriginResourcePolicy?: false | { readonly policy: string }
  readonly crossOriginOpenerPolicy?: false | { readonly policy: string }
  readonly crossOriginEmbedderPolicy?: false | { readonly policy: string }
  readonly xContentTypeOptions?: false
  readonly originAgentCluster?: false
  readonly xDnsPrefetchControl?: false
  readonly xPermittedCrossDomainPolicies?: false
  readonly xXssProtection?: false
  readonly permissionsPolicy?: false | Readonly<Record<string, readonly string[]>>
  readonly cacheControl?: 'no-store' | false
}

/** Resolved header policy of a scope or a route: complete, checked, rendered, frozen. */
export interface ResolvedHeadersPolicy {
  readonly profile: Profile
  readonly values: HeaderValues
  readonly rendered: RenderedHeaders
  /** `no-store` wherever a credential, a cookie or an error is involved; false leaves the app's value. */
  readonly cacheControl: 'no-store' | false
  /** The path that the plugin itself receives reports at. */
  readonly reportPath: string | null
}

/** The defaults of a profile, before anything is written. */
export function defaultHeaderValues (profile: Profile): HeaderValues {
  return Object.freeze({
    contentSecurityPolicy: CONTENT_SECURITY_POLICY[profile],
    reportOnly: null,
    reporting: null,
    strictTransportSecurity: { maxAge: HSTS_MAX_AGE_SECONDS, includeSubDomains: true, preload: false },
    xFrameOptions: { action: 'deny' as const },
    referrerPolicy: { policy: profile === 'api' ? 'no-referrer' : 'strict-origin-when-cross-origin' },
    crossOriginResourcePolicy: { policy: 'same-origin' },
    crossOriginOpenerPolicy: { policy: 'same-origin' },
    crossOriginEmbedderPolicy: null,
    xContentTypeOptions: true,
    originAgentCluster: true,
    xDnsPrefetchControl: true,
    xPermittedCrossDomainPolicies: true,
    xXssProtection: true,
    permissionsPolicy: Object.fromEntries(DENIED_FEATURES.map((feature) => [feature, []])),
  })
}

/**
 * Resolves written header options against a base. A different profile starts from that profile's defaults. The merged
 * result is rendered, so a value that a header cannot carry is a problem at boot and never a 500 later.
 *
 * @param isRoot whether this is the plugin's own registration, which decides where reports are received
 */
export function resolveHeaders (
  base: ResolvedHeadersPolicy | null,
  isRoot: boolean,
  input: HeadersInput,
  where: string,
  problems: Problem[],
): ResolvedHeadersPolicy {
  checkGrammar(input, where, problems)
  const profile = input.profile ?? base?.profile ?? 'api'
  const start = base !== null && profile === base.profile ? base.values : defaultHeaderValues(profile)
  const reporting = resolveReporting(
    base?.values.reporting ?? null,
    input.reporting,
    isRoot ? undefined : base?.reportPath ?? null,
    where,
    problems,
  )
  const values: HeaderValues = Object.freeze({
    contentSecurityPolicy: resolveCsp(start.contentSecurityPolicy, input.contentSecurityPolicy, profile),
    reportOnly: resolveReportOnly(start.reportOnly, input.contentSecurityPolicy),
    reporting,
    strictTransportSecurity: resolveHsts(start.strictTransportSecurity, input.strictTransportSecurity, where, problems),
    xFrameOptions: pick(start.xFrameOptions, input.xFrameOptions),
    referrerPolicy: pick(start.referrerPolicy, input.referrerPolicy),
    crossOriginResourcePolicy: pick(start.crossOriginResourcePolicy, input.crossOriginResourcePolicy),
    crossOriginOpenerPolicy: pick(start.crossOriginOpenerPolicy, input.crossOriginOpenerPolicy),
    crossOriginEmbedderPolicy: pick(start.crossOriginEmbedderPolicy, input.crossOriginEmbedderPolicy),
    xContentTypeOptions: input.xContentTypeOptions ?? start.xContentTypeOptions,
    originAgentCluster: input.originAgentCluster ?? start.originAgentCluster,
    xDnsPrefetchControl: input.xDnsPrefetchControl ?? start.xDnsPrefetchControl,
    xPermittedCrossDomainPolicies: input.xPermittedCrossDomainPolicies ?? start.xPermittedCrossDomainPolicies,
    xXssProtection: input.xXssProtection ?? start.xXssProtection,
    permissionsPolicy: input.permissionsPolicy === undefined ? start.permissionsPolicy
      : input.permissionsPolicy === false ? null
        : replaceLeaves(start.permissionsPolicy ?? {}, input.permissionsPolicy),
  })
  return Object.freeze({
    profile,
    values,
    rendered: render(values, where, problems),
    cacheControl: input.cacheControl ?? base?.cacheControl ?? 'no-store',
    reportPath: isRoot
      ? reporting !== null && isPath(reporting.endpoint) ? reporting.endpoint : null
      : base?.reportPath ?? null,
  })
}

/** Of what was written here; the base was checked where it was written. */
function checkGrammar (
  { contentSecurityPolicy: csp, permissionsPolicy: features }: HeadersInput,
  where: string,
  problems: Problem[],
): void {
  if (features !== undefined && features !== false) checkFeatures(features, `${where}.permissionsPolicy`, problems)
  if (csp === undefined || csp === false) return
  const at = `${where}.contentSecurityPolicy`
  for (
    const [changes, path] of [[csp, at], [
      csp.reportOnly === false ? undefined : csp.reportOnly,
      `${at}.reportOnly`,
    ]] as const
  ) {
    checkDirectives(changes?.directives, `${path}.directives`, problems)
    checkDirectives(changes?.extend, `${path}.extend`, problems)
  }
}

function pick<T> (base: T | null, input: T | false | undefined): T | null {
  return input === undefined ? base : input === false ? null : input
}

function resolveCsp (
  base: HeaderValues['contentSecurityPolicy'],
  input: HeadersInput['contentSecurityPolicy'],
  profile: Profile,
): HeaderValues['contentSecurityPolicy'] {
  if (input === undefined) return base
  if (input === false) return null
  return Object.freeze(
    mergeDirectives(base ?? CONTENT_SECURITY_POLICY[profile], input.directives ?? {}, input.extend ?? {}),
  )
}

/**
 * It stands beside an enforced policy, so it goes when that goes; what is written replaces the inherited changes as a
 * whole.
 */
function resolveReportOnly (
  base: HeaderValues['reportOnly'],
  input: HeadersInput['contentSecurityPolicy'],
): HeaderValues['reportOnly'] {
  if (input === false) return null
  const written = input?.reportOnly
  if (written === undefined) return base
  return written === false
    ? null
    : Object.freeze({ directives: written.directives ?? {}, extend: written.extend ?? {} })
}

/** hstspreload.org takes a domain only with a year or more and all its subdomains. */
const PRELOAD_MINIMUM_SECONDS = 31_536_000

function resolveHsts (
  base: HeaderValues['strictTransportSecurity'],
  input: HeadersInput['strictTransportSecurity'],
  where: string,
  problems: Problem[],
): HeaderValues['strictTransportSecurity'] {
  if (input === undefined) return base
  if (input === false) return null
  const merged = replaceLeaves(base ?? { maxAge: HSTS_MAX_AGE_SECONDS, includeSubDomains: true, preload: false }, input)
  if (merged.preload && (merged.maxAge < PRELOAD_MINIMUM_SECONDS || !merged.includeSubDomains)) {
    problems.push({
      path: `${where}.strictTransportSecurity.preload`,
      message: 'The preload list does not take this policy.',
      fix: `Set maxAge to at least ${PRELOAD_MINIMUM_SECONDS} and includeSubDomains to true, or leave preload out.`,
    })
  }
  return Object.freeze(merged)
}

const NOTHING: HeaderValues = Object.freeze({
  contentSecurityPolicy: null,
  reportOnly: null,
  reporting: null,
  strictTransportSecurity: null,
  xFrameOptions: null,
  referrerPolicy: null,
  crossOriginResourcePolicy: null,
  crossOriginOpenerPolicy: null,
  crossOriginEmbedderPolicy: null,
  xContentTypeOptions: false,
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
  permissionsPolicy: null,
})

function render (values: HeaderValues, where: string, problems: Problem[]): RenderedHeaders {
  try {
    return renderHeaders(values)
  } catch {
    // Once more, header by header, to name the option and to find all that are wrong.
    for (const name of Object.keys(values) as (keyof HeaderValues)[]) {
      if (name === 'reportOnly' || name === 'reporting') continue
      try {
        renderHeaders({
          ...NOTHING,
          [name]: values[name],
          ...(name === 'contentSecurityPolicy' && { reportOnly: values.reportOnly, reporting: values.reporting }),
        })
      } catch (error) {
        problems.push({
          path: `${where}.${name}`,
          message: `${(error as Error).message.replace(/[.\s]*$/, '')}.`,
          fix: 'Write a value that the header can carry.',
        })
      }
    }
    return Object.freeze({ plain: prepareHeaders({}), secure: prepareHeaders({}), plainNonces: [], secureNonces: [] })
  }
}
