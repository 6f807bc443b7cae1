import type { CsrfChecks } from './resolve.js'

/** What a request says of where it comes from. */
export interface CsrfEvidence {
  readonly method: string
  /** True for a request that is a preflight or a WebSocket handshake. */
  readonly isPreflight: boolean
  readonly isWebSocketUpgrade: boolean
  /** True when the browser sent cookies along: the authority that CSRF would abuse. */
  readonly carriesCookie: boolean
  /** `Sec-Fetch-Site` (Fetch Metadata); browsers set it on trustworthy URLs and scripts cannot forge it. */
  readonly secFetchSite: string | undefined
  readonly secFetchMode: string | undefined
  readonly secFetchDest: string | undefined
  readonly origin: string | undefined
  /** The origin that this service is reached at. */
  readonly ownOrigin: string
}

/** Origins that are trusted beside the service's own. */
export interface TrustedOrigins { has (origin: string): boolean }

export type CsrfVerdict = 'allowed' | 'cross-site' | 'origin-mismatch' | 'no-evidence' | 'isolation'

/** RFC 9110, section 9.2.1. */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** Decides which of the two checks below judges the request. */
export function decideCsrf (
  { mode, isolation }: CsrfChecks,
  evidence: CsrfEvidence,
  trusted: TrustedOrigins,
): CsrfVerdict {
  // Fail-open branch: without cookies there is no authority to abuse, except where the request is what gives it: login.
  if (!evidence.carriesCookie && mode !== 'always') return 'allowed'
  // A handshake is a GET that CORS does not hold back: another site could open a WebSocket with the visitor's cookies
  // and read what it says. Browsers send `Origin` with each (RFC 6455, section 4.1).
  const isUnsafe = !SAFE_METHODS.has(evidence.method) || evidence.isWebSocketUpgrade
  if (isUnsafe && mode !== false) return decideCrossOrigin(evidence, trusted)
  // Fail-open branch: what no cookie went into is open data, and a preflight is answered by the CORS policy.
  if (!isolation || !evidence.carriesCookie || evidence.isPreflight) return 'allowed'
  return decideIsolation(evidence, trusted)
}

/**
 * The algorithm of Go's `http.CrossOriginProtection` for an unsafe method, with one stricter rule: a request that
 * carries cookies but says nothing of its origin is refused, where Go takes it for a client that is not a browser.
 */
export function decideCrossOrigin (
  { secFetchSite, origin, ownOrigin, carriesCookie }: Pick<
    CsrfEvidence,
    'secFetchSite' | 'origin' | 'ownOrigin' | 'carriesCookie'
  >,
  trusted: TrustedOrigins,
): CsrfVerdict {
  // Asked first, because `Referrer-Policy: no-referrer` makes a same-origin form post say `Origin: null`.
  if (secFetchSite === 'same-origin' || secFetchSite === 'none') return 'allowed'
  if (origin !== undefined && trusted.has(origin)) return 'allowed'
  // The browser says that another origin sent the request, and that origin is not trusted.
  if (secFetchSite !== undefined) return 'cross-site'
  // Browsers from before Fetch Metadata, and plain HTTP, say only `Origin`.
  if (origin !== undefined) return origin === ownOrigin ? 'allowed' : 'origin-mismatch'
  // Fail-open branch: without cookies and without any browser header there is no ambient authority to abuse, and
  // refusing here would refuse every curl and every server-side client.
  return carriesCookie ? 'no-evidence' : 'allowed'
}

/**
 * A resource isolation policy (web.dev, "Protect your resources with Fetch Metadata"): another site may lead a visitor
 * here, but may not embed, script or fetch with the visitor's cookies unless its origin is trusted.
 */
export function decideIsolation (
  { method, secFetchSite, secFetchMode, secFetchDest, origin }: Pick<
    CsrfEvidence,
    'method' | 'secFetchSite' | 'secFetchMode' | 'secFetchDest' | 'origin'
  >,
  trusted: TrustedOrigins,
): CsrfVerdict {
  // Fail-open branch: browsers from before Fetch Metadata and programs say nothing here. Refusing them would lock out
  // every client that is no browser. Unsafe methods and WebSockets are also judged by Origin, which they do send.
  if (secFetchSite === undefined) return 'allowed'
  // A sibling sub-domain may read safe resources only as CORS lets it; an unknown value counts as cross-site.
  if (secFetchSite === 'same-origin' || secFetchSite === 'same-site' || secFetchSite === 'none') return 'allowed'
  // A visit. Frames and objects navigate too, with another destination: they are embedding, not visiting.
  const isVisit = secFetchMode === 'navigate' && secFetchDest === 'document'
  if (isVisit && (method === 'GET' || method === 'HEAD')) return 'allowed'
  return origin !== undefined && trusted.has(origin) ? 'allowed' : 'isolation'
}
