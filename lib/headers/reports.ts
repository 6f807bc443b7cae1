import { isPlainObject } from '../options/check-options.js'

/**
 * What a report leaves behind: no URL, no sample and no text of the page, because all of these may hold personal data.
 */
export interface Violation {
  readonly directive: string
  /** An origin, a scheme or a keyword. */
  readonly blocked: string
  readonly disposition: 'enforce' | 'report' | 'unknown'
}

/** Of one request; what a browser sends beyond them is the same page breaking the same rule again. */
export const MAX_REPORTS = 20

/** The body of `application/csp-report` (CSP3, section 5.3): one report. Null when it is not one. */
export function readCspReport (body: unknown): readonly Violation[] | null {
  const report: unknown = isPlainObject(body) ? body['csp-report'] : undefined
  if (!isPlainObject(report)) return null
  const violation = readViolation(
    report['effective-directive'] ?? report['violated-directive'],
    report['blocked-uri'],
    report['disposition'],
  )
  return violation === null ? null : [violation]
}

/**
 * The body of `application/reports+json` (Reporting API, section 3.3): a list of reports of any type, of which only CSP
 * violations count. Null when one of those read is no report.
 */
export function readReports (body: unknown): readonly Violation[] | null {
  if (!Array.isArray(body)) return null
  const violations: Violation[] = []
  for (const report of body.slice(0, MAX_REPORTS) as unknown[]) {
    if (!isPlainObject(report) || typeof report['type'] !== 'string' || !isPlainObject(report['body'])) return null
    if (report['type'] !== 'csp-violation') continue
    const { effectiveDirective, blockedURL, disposition } = report['body']
    const violation = readViolation(effectiveDirective, blockedURL, disposition)
    if (violation === null) return null
    violations.push(violation)
  }
  return violations
}

/** The directive's name; browsers of CSP2 wrote its sources behind it. */
const DIRECTIVE = /^([a-z][a-z-]{0,63})(?: |$)/

const KEYWORD = /^[a-z][a-z-]{0,63}$/

function readViolation (directive: unknown, blocked: unknown, disposition: unknown): Violation | null {
  const name = typeof directive === 'string' ? DIRECTIVE.exec(directive)?.[1] : undefined
  // Absent where a directive blocks no resource, as older browsers report inline code.
  const at = blocked ?? ''
  if (name === undefined || typeof at !== 'string') return null
  return {
    directive: name,
    blocked: originOf(at),
    disposition: disposition === 'enforce' || disposition === 'report' ? disposition : 'unknown',
  }
}

const NETWORK_SCHEMES: ReadonlySet<string> = new Set(['https:', 'http:', 'wss:', 'ws:'])

/**
 * An origin for what was fetched, the scheme for `data:`, `blob:` and extensions, and CSP's own keywords as they are.
 */
function originOf (blocked: string): string {
  if (blocked === '') return 'none'
  if (KEYWORD.test(blocked)) return blocked
  if (!URL.canParse(blocked)) return 'other'
  const { protocol, origin } = new URL(blocked)
  if (NETWORK_SCHEMES.has(protocol)) return origin
  const scheme = protocol.slice(0, -1)
  return KEYWORD.test(scheme) ? scheme : 'other'
}
