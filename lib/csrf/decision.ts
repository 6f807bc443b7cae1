/** What a request says of where it comes from. */
export interface CrossOriginEvidence {
  /** `Sec-Fetch-Site` (Fetch Metadata); browsers set it on trustworthy URLs and scripts cannot forge it. */
  readonly secFetchSite: string | undefined
  readonly origin: string | undefined
  /** The origin that this service is reached at. */
  readonly ownOrigin: string
  /** True when the browser sent cookies along: the authority that CSRF would abuse. */
  readonly carriesCookie: boolean
}

/** Origins that are trusted beside the service's own. */
export interface TrustedOrigins { has (origin: string): boolean }

export type CrossOriginVerdict = 'allowed' | 'cross-site' | 'origin-mismatch' | 'no-evidence'

/**
 * The algorithm of Go's `http.CrossOriginProtection` for an unsafe method, with one stricter rule: a request that
 * carries cookies but says nothing of its origin is refused, where Go takes it for a client that is not a browser.
 *
 * Sec-Fetch-Site is asked first, because `Referrer-Policy: no-referrer` makes a same-origin form post say `Origin:
 * null`.
 */
export function decideCrossOrigin (evidence: CrossOriginEvidence, trustedOrigins: TrustedOrigins): CrossOriginVerdict {
  const { secFetchSite, origin, ownOrigin, carriesCookie } = evidence
  if (secFetchSite === 'same-origin' || secFetchSite === 'none') return 'allowed'
  if (origin !== undefined && trustedOrigins.has(origin)) return 'allowed'
  if (secFetchSite !== undefined) return 'cross-site'
  if (origin !== undefined) return origin === ownOrigin ? 'allowed' : 'origin-mismatch'
  // Fail-open branch: without cookies and without any browser header there is no ambient authority to abuse, and
  // refusing here would refuse every curl and every server-side client.
  return carriesCookie ? 'no-evidence' : 'allowed'
}

/** What the resource isolation policy looks at; the caller has seen that the request carries cookies. */
export interface IsolationEvidence {
  readonly method: string
  readonly secFetchSite: string | undefined
  readonly secFetchMode: string | undefined
  readonly secFetchDest: string | undefined
  readonly origin: string | undefined
}

/**
 * A resource isolation policy (web.dev, "Protect your resources with Fetch Metadata"): another site may lead a visitor
 * here, but may not embed, script or fetch with the visitor's cookies unless its origin is trusted.
 */
export function decideIsolation (evidence: IsolationEvidence, trustedOrigins: TrustedOrigins): 'allowed' | 'isolation' {
  const { method, secFetchSite, secFetchMode, secFetchDest, origin } = evidence
  // Fail-open branch: browsers from before Fetch Metadata and programs say nothing here. Refusing them would lock out
  // every client that is no browser; what could be forged (unsafe methods, WebSockets) is also judged by Origin, which
  // they do send.
  if (secFetchSite === undefined) return 'allowed'
  // A sibling sub-domain may read safe resources only as CORS lets it; any value that is not known counts as
  // cross-site.
  if (secFetchSite === 'same-origin' || secFetchSite === 'same-site' || secFetchSite === 'none') return 'allowed'
  // Frames and objects navigate too, with another destination: they are embedding, not visiting.
  if (secFetchMode === 'navigate' && secFetchDest === 'document' && (method === 'GET' || method === 'HEAD'))
    {return 'allowed'}
  return origin !== undefined && trustedOrigins.has(origin) ? 'allowed' : 'isolation'
}
