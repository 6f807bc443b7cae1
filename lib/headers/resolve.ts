import { checkOptions, readableOptions } from '../options/check-options.js'
import type { ResolveContext } from '../policy/plugin.js'
import type { Problem } from '../response/errors.js'
import { prepareHeaders, type PreparedHeaders } from '../response/headers.js'
import { defaultCsp, renderCsp, resolveCsp, type NonceTemplate, type ResolvedCsp } from './csp.js'
import { HeadersOptionsSchema, type HeadersOptions } from './options.js'
import { isPath, renderEndpoints, resolveReporting, type Reporting } from './reporting.js'
import { HEADER_ENTRIES, type HeaderName, type Profile } from './table.js'

/** The header blocks of all responses. */
export interface RenderedHeaders {
  /** For plain HTTP: without HSTS and without upgrades to HTTPS. */
  readonly plain: PreparedHeaders
  /** For HTTPS; the same object as `plain` when nothing differs. */
  readonly secure: PreparedHeaders
  /** The policies that have a nonce; empty when none has. */
  readonly plainNonces: readonly NonceTemplate[]
  readonly secureNonces: readonly NonceTemplate[]
}

/** Resolved header policy of a scope or a route: complete, checked, rendered, frozen. */
export interface ResolvedHeadersPolicy {
  readonly profile: Profile
  /** By the option's name; null for a header that is not sent. */
  readonly values: Readonly<Record<HeaderName, unknown>>
  readonly csp: ResolvedCsp | null
  readonly reporting: Reporting | null
  readonly rendered: RenderedHeaders
  /** `no-store` wherever a credential, a cookie or an error is involved; false leaves the app's value. */
  readonly cacheControl: 'no-store' | false
  /** The path that the plugin itself receives reports at. */
  readonly reportPath: string | null
}

/** Resolves the plugin's checked options. The profile is the definition's, unless the plugin has its own. */
export function resolveHeaders (
  options: HeadersOptions,
  { definition, inherited, where, problems }: ResolveContext,
): ResolvedHeadersPolicy {
  const { profile } = definition
  const base = inherited === undefined ? null : inherited as ResolvedHeadersPolicy | false
  const written: HeadersOptions = profile === 'api' || profile === 'document' ? { profile, ...options } : options
  return resolveAgainst(base, written, where, problems)
}

/** Resolves the untrusted options of a route or a scope against the inherited policy; `false` sends no headers. */
export function resolveHeadersPolicy (
  base: ResolvedHeadersPolicy | false,
  input: unknown,
  where: string,
  problems: Problem[],
): ResolvedHeadersPolicy | false {
  if (input === false) return false
  const options: HeadersOptions = checkOptions(HeadersOptionsSchema, input, where, problems) ??
    readableOptions(input, where, problems)
  return resolveAgainst(base, options, where, problems)
}

/**
 * Null stands for the plugin's first registration, which decides where reports are received. Another profile starts
 * from its own defaults. The merged result is rendered, so a value that a header cannot carry is a problem at boot and
 * never a 500 later.
 */
function resolveAgainst (
  base: ResolvedHeadersPolicy | false | null,
  options: HeadersOptions,
  where: string,
  problems: Problem[],
): ResolvedHeadersPolicy {
  const inherited = base === false ? null : base
  const profile = options.profile ?? inherited?.profile ?? 'api'
  const start = inherited?.profile === profile ? inherited : null

  const ownPath = base === null ? undefined : inherited?.reportPath ?? null
  const reporting = resolveReporting(inherited?.reporting ?? null, options.reporting, ownPath, where, problems)
  const at = `${where}.contentSecurityPolicy`
  const csp = resolveCsp(
    start === null ? defaultCsp(profile) : start.csp,
    options.contentSecurityPolicy,
    profile,
    at,
    problems,
  )
  const values = Object.freeze(resolveValues(start?.values ?? null, options, profile, where, problems))
  return Object.freeze({
    profile,
    values,
    csp,
    reporting,
    rendered: render(values, csp, reporting, where, problems),
    cacheControl: options.cacheControl ?? inherited?.cacheControl ?? 'no-store',
    reportPath: ownPath === undefined && reporting !== null && isPath(reporting.endpoint)
      ? reporting.endpoint
      : ownPath ?? null,
  })
}

function resolveValues (
  base: Readonly<Record<HeaderName, unknown>> | null,
  options: HeadersOptions,
  profile: Profile,
  where: string,
  problems: Problem[],
): Record<HeaderName, unknown> {
  const values: Partial<Record<HeaderName, unknown>> = {}
  for (const [name, { defaults, merge, check }] of HEADER_ENTRIES) {
    const inherited = base === null ? defaults(profile) : base[name]
    const written = options[name]
    if (written === undefined || written === false) {
      values[name] = written === false ? null : inherited
      continue
    }
    const value = values[name] = merge === undefined ? written : merge(inherited, written)
    check?.(value, `${where}.${name}`, problems)
  }
  return values as Record<HeaderName, unknown>
}

/** Renders each header by itself, so that a problem names its option and all of them are found. */
function render (
  values: Readonly<Record<HeaderName, unknown>>,
  csp: ResolvedCsp | null,
  reporting: Reporting | null,
  where: string,
  problems: Problem[],
): RenderedHeaders {
  const common: Record<string, string> = {}
  const httpsOnly: Record<string, string> = {}
  for (const [name, entry] of HEADER_ENTRIES) {
    const value = values[name]
    if (value === null) continue
    attempt(name, () => {
      const block = entry.render(value)
      prepareHeaders(block)
      Object.assign(entry.httpsOnly === true ? httpsOnly : common, block)
    })
  }
  const endpoints = reporting === null || csp === null ? {} : { 'reporting-endpoints': renderEndpoints(reporting) }
  let rendered = NOTHING
  attempt('contentSecurityPolicy', () => {
    const [http, https] = [renderCsp(csp, reporting, false), renderCsp(csp, reporting, true)]
    const plain = prepareHeaders({ ...endpoints, ...http.block, ...common })
    const secure = prepareHeaders({ ...endpoints, ...https.block, ...httpsOnly, ...common })
    const isSame = plain.flat.join() === secure.flat.join()
    rendered = Object.freeze({
      plain,
      secure: isSame ? plain : secure,
      plainNonces: http.nonces,
      secureNonces: https.nonces,
    })
  })
  return rendered

  function attempt (name: string, run: () => void): void {
    try {
      run()
    } catch (error) {
      problems.push({
        path: `${where}.${name}`,
        message: `${(error as Error).message.replace(/[.\s]*$/, '')}.`,
        fix: 'Write a value that the header can carry.',
      })
    }
  }
}

const NOTHING: RenderedHeaders = Object.freeze({
  plain: prepareHeaders({}),
  secure: prepareHeaders({}),
  plainNonces: [],
  secureNonces: [],
})
