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

export type CrossOriginVerdict = 'allowed' | 'cross-site' | 'origin-mismatch' | 'no-evidence'

/**
 * The algorithm of Go's `http.CrossOriginProtection` for an unsafe method, with one stricter rule: a request that
 * carries cookies but says nothing of its origin is refused, where Go takes it for a client that is not a browser.
 *
 * Sec-Fetch-Site is asked first, because `Referrer-Policy: no-referrer` makes a same-origin form post say `Origin: null`.
 */
export function decideCrossOrigin (evidence: CrossOriginEvidence, trustedOrigins: ReadonlySet<string>): CrossOriginVerdict {
  const { secFetchSite, origin, ownOrigin, carriesCookie } = evidence
  if (secFetchSite === 'same-origin' || secFetchSite === 'none') return 'allowed'
  if (origin !== undefined && trustedOrigins.has(origin)) return 'allowed'
  if (secFetchSite !== undefined) return 'cross-site'
  if (origin !== undefined) return origin === ownOrigin ? 'allowed' : 'origin-mismatch'
  // Fail-open branch: without cookies and without any browser header there is no ambient authority to abuse, and
  // refusing here would refuse every curl and every server-side client.
  return carriesCookie ? 'no-evidence' : 'allowed'
}
