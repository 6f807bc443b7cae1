import { Type, type Static } from '@sinclair/typebox'
import { contentSecurityPolicy } from 'helmet'
import { nearest } from '../options/nearest.js'
import { mergeDirectives, type Directives } from '../policy/merge.js'
import type { Problem } from '../response/errors.js'
import { headersOf } from './helmet.js'
import { withReporting, type Reporting } from './reporting.js'
import { Off, type Profile } from './table.js'

/** Stands for the response's nonce in `script-src` and `style-src`. */
export const NONCE_SOURCE = "'nonce'"

/** Sent over HTTPS only: over plain HTTP it would break every subresource of a development server. */
const UPGRADE_INSECURE_REQUESTS = 'upgrade-insecure-requests'

/** OWASP ASVS 5.0 V3.4.3 and V3.4.6; `strict-dynamic` needs CSP3, older browsers then run no script at all. */
const DEFAULTS: Readonly<Record<Profile, Directives>> = Object.freeze({
  api: {
    'default-src': ["'none'"],
    'base-uri': ["'none'"],
    'form-action': ["'none'"],
    'frame-ancestors': ["'none'"],
  },
  document: {
    'default-src': ["'none'"],
    'script-src': [NONCE_SOURCE, "'strict-dynamic'"],
    'style-src': ["'self'", NONCE_SOURCE],
    'img-src': ["'self'", 'data:'],
    'font-src': ["'self'"],
    'connect-src': ["'self'"],
    'manifest-src': ["'self'"],
    'object-src': ["'none'"],
    'base-uri': ["'none'"],
    'form-action': ["'self'"],
    'frame-ancestors': ["'none'"],
    [UPGRADE_INSECURE_REQUESTS]: [],
  },
})

/** CSP Level 3, and the specifications that extend it. Browsers ignore any other name, and what it should forbid. */
const KNOWN_DIRECTIVES: readonly string[] = Object.freeze([
  'default-src', 'script-src', 'script-src-elem', 'script-src-attr', 'style-src', 'style-src-elem', 'style-src-attr',
  'img-src', 'font-src', 'connect-src', 'media-src', 'object-src', 'child-src', 'frame-src', 'worker-src',
  'manifest-src', 'fenced-frame-src', 'base-uri', 'form-action', 'frame-ancestors', 'sandbox', 'webrtc', 'report-uri',
  'report-to', 'require-trusted-types-for', 'trusted-types', UPGRADE_INSECURE_REQUESTS,
])

/** CSP3, section 6.3.2 and Upgrade Insecure Requests, section 3.1: ignored where nothing is enforced. */
const NOT_IN_REPORT_ONLY: readonly string[] = ['sandbox', UPGRADE_INSECURE_REQUESTS]

const changes = {
  directives: Type.Optional(Type.Record(Type.String(), Type.Union([Type.Array(Type.String()), Off]))),
  extend: Type.Optional(Type.Record(Type.String(), Type.Array(Type.String()))),
}
const ChangesSchema = Type.Object(changes, { additionalProperties: false })
type Changes = Static<typeof ChangesSchema>

export const CspSchema = Type.Union([
  Off,
  Type.Object({ ...changes, reportOnly: Type.Optional(Type.Union([Off, ChangesSchema])) }, {
    additionalProperties: false,
  }),
], {
  description:
    'Write { directives } to replace directives by name (false drops one), { extend } to add ' +
    'sources, { reportOnly: { directives, extend } } for a second policy that only reports, or false. ' +
    `${NONCE_SOURCE} stands for the response's nonce.`,
})
type CspInput = Static<typeof CspSchema> | undefined

/** The enforced policy, and what the policy that only reports changes of it. */
export interface ResolvedCsp {
  readonly enforced: Directives
  readonly reportOnly: Changes | null
}

/** The content security policy of a profile, before anything is written. */
export function defaultCsp (profile: Profile): ResolvedCsp {
  return Object.freeze({ enforced: DEFAULTS[profile], reportOnly: null })
}

/** Resolves what is written against the inherited policy; null for none. */
export function resolveCsp (
  base: ResolvedCsp | null,
  input: CspInput,
  profile: Profile,
  where: string,
  problems: Problem[],
): ResolvedCsp | null {
  if (input === undefined) return base
  if (input === false) return null
  const { directives = {}, extend = {}, reportOnly } = input
  checkChanges(input, where, problems)
  if (reportOnly !== undefined && reportOnly !== false) checkChanges(reportOnly, `${where}.reportOnly`, problems)
  const { enforced, reportOnly: inherited } = base ?? defaultCsp(profile)
  return Object.freeze({
    enforced: mergeDirectives(enforced, directives, extend),
    // What is written replaces the inherited changes as a whole.
    reportOnly: reportOnly === undefined ? inherited : reportOnly === false ? null : reportOnly,
  })
}

/** Adds a problem for each directive that browsers do not know and each empty source. */
function checkChanges ({ directives = {}, extend = {} }: Changes, where: string, problems: Problem[]): void {
  const written = [
    ...Object.entries(directives).map(([name, sources]) => [`${where}.directives.${name}`, name, sources] as const),
    ...Object.entries(extend).map(([name, sources]) => [`${where}.extend.${name}`, name, sources] as const),
  ]
  for (const [path, name, sources] of written) {
    if (!KNOWN_DIRECTIVES.includes(name)) {
      const near = nearest(name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`), KNOWN_DIRECTIVES)
      problems.push({
        path,
        message: 'No such directive, so browsers would ignore it.',
        fix: near === null
          ? "Write the name as the CSP standard has it, such as 'img-src'."
          : `Did you mean '${near}'?`,
      })
    } else if (sources !== false && sources.includes('')) {
      problems.push({
        path,
        message: 'An empty source.',
        fix: 'Remove it; an empty list stands for a directive without a value.',
      })
    }
  }
}

/** A policy around each place of the nonce. */
export interface NonceTemplate { readonly header: string, readonly parts: readonly string[] }

export interface RenderedCsp {
  readonly block: Readonly<Record<string, string>>
  /** The policies that have a nonce; empty when none has. */
  readonly nonces: readonly NonceTemplate[]
}

export const ENFORCED = 'content-security-policy'

/**
 * Renders both policies for responses over HTTPS or over plain HTTP.
 * @throws Error of helmet when a directive or a source is not valid
 */
export function renderCsp (csp: ResolvedCsp | null, reporting: Reporting | null, isSecure: boolean): RenderedCsp {
  const block: Record<string, string> = {}
  const nonces: NonceTemplate[] = []
  for (const [header, policy] of policiesOf(csp)) {
    const sent = isSecure ? policy : without(policy, [UPGRADE_INSECURE_REQUESTS])
    const directives = reporting === null ? sent : withReporting(sent, reporting)
    block[header] = render(withoutNonce(directives))
    if (hasNonce(directives)) nonces.push(Object.freeze({ header, parts: Object.freeze(splitAtNonce(directives)) }))
  }
  return { block, nonces: Object.freeze(nonces) }
}

/** The policies by header; the one that only reports starts from the one that is enforced. */
function policiesOf (csp: ResolvedCsp | null): [header: string, policy: Directives][] {
  if (csp === null) return []
  const { enforced, reportOnly } = csp
  if (reportOnly === null) return [[ENFORCED, enforced]]
  const reported = mergeDirectives(enforced, reportOnly.directives ?? {}, reportOnly.extend ?? {})
  return [[ENFORCED, enforced], [`${ENFORCED}-report-only`, without(reported, NOT_IN_REPORT_ONLY)]]
}

function without (policy: Directives, names: readonly string[]): Directives {
  return Object.fromEntries(Object.entries(policy).filter(([name]) => !names.includes(name)))
}

function hasNonce (policy: Directives): boolean {
  return Object.values(policy).some((sources) => sources.includes(NONCE_SOURCE))
}

/** Without a nonce the source is left out: the page then runs no script that needed it, which fails closed. */
function withoutNonce (policy: Directives): Directives {
  return Object.fromEntries(
    Object.entries(policy).map(([name, sources]) => {
      if (!sources.includes(NONCE_SOURCE)) return [name, sources]
      const others = sources.filter((source) => source !== NONCE_SOURCE)
      // Beside 'strict-dynamic' no other source counts, so without a nonce or a hash to begin from nothing is allowed
      // (CSP3, section 8.2).
      const isNothing = others.length === 0 ||
        (others.includes("'strict-dynamic'") && !others.some((source) => source.startsWith("'sha")))
      return [name, isNothing ? ["'none'"] : others]
    }),
  )
}

/** A value that helmet takes for a nonce; the rendered policy is cut at it. */
const MARKER = 'bulwark'

function splitAtNonce (policy: Directives): string[] {
  return render(Object.fromEntries(
    Object.entries(policy).map(([name, sources]) => [
      name,
      sources.map((source) => source === NONCE_SOURCE ? `'nonce-${MARKER}'` : source),
    ]),
  )).split(MARKER)
}

function render (policy: Directives): string {
  const directives = Object.fromEntries(Object.entries(policy).map(([name, sources]) => [name, [...sources]]))
  return headersOf(contentSecurityPolicy({ useDefaults: false, directives }))[ENFORCED] ?? ''
}
