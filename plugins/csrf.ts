/**
 * Cross-site request forgery: every unsafe request or WebSocket upgrade that carries a cookie, and every one on a route
 * marked `'always'`, must come from this service's own pages or a trusted origin. Fails closed when a cookie comes
 * without any evidence of origin. Resource isolation: with cookies, other sites may lead here but neither embed nor
 * fetch.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { decideCsrf } from '../lib/csrf/decision.js'
import { CsrfOptionsSchema, type CsrfMode, type CsrfRouteOptions } from '../lib/csrf/options.js'
import { resolveCsrf, resolveCsrfPolicy, type ResolvedCsrf, type ResolvedCsrfPolicy } from '../lib/csrf/resolve.js'
import { isPreflight } from '../lib/net/preflight.js'
import { isWebSocketUpgrade } from '../lib/net/websocket.js'
import { addSection } from '../lib/policy/install.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import { defineSection, type PlacedStep, type Verdict } from '../lib/policy/section.js'
import type { SecurityRoot, SecurityScope } from '../lib/policy/scope.js'
import type { SecurityShape } from '../lib/policy/types.js'
import { refusal } from '../lib/response/errors.js'

export { CsrfOptionsSchema, type CsrfMode, type CsrfOptions, type CsrfRouteOptions } from '../lib/csrf/options.js'

declare module '../lib/policy/types.js' {
  interface RouteSecurityOptions<S extends SecurityShape> {
    /**
     * When this route's unsafe requests are checked, and whether it is isolated; `false` neither, for routes that
     * ignore cookies.
     */
    csrf?: CsrfMode | CsrfRouteOptions | false
  }
  interface ResolvedRouteSecurity { readonly csrf?: ResolvedCsrfPolicy }
}

function installCsrf (app: FastifyInstance, resolved: ResolvedCsrf, { root }: SecurityScope): void {
  addSection(app, defineSection<CsrfMode | CsrfRouteOptions | false, ResolvedCsrfPolicy>({
    key: 'csrf',
    resolve: (inherited, input, where, found) => resolveCsrfPolicy(inherited, resolved.checks, input, where, found),
    compile: (policy) => crossOriginSteps(policy, resolved, root),
  }), resolved.checks)
}

function crossOriginSteps (
  policy: ResolvedCsrfPolicy,
  { publicOrigin, trusted }: ResolvedCsrf,
  root: SecurityRoot,
): readonly PlacedStep[] {
  if (policy === false || (policy.mode === false && !policy.isolation)) return []
  const checks = policy

  function rejectCrossSite (request: FastifyRequest): Verdict {
    const { method = '', headers } = request.raw
    // Most requests: no browser, or a page that only reads. `decideCsrf` would say the same.
    if (headers.cookie === undefined && checks.mode !== 'always') return undefined
    const reason = decideCsrf(checks, {
      method,
      isPreflight: isPreflight(request.raw),
      isWebSocketUpgrade: isWebSocketUpgrade(request.raw),
      carriesCookie: headers.cookie !== undefined,
      secFetchSite: singleValue(headers['sec-fetch-site']),
      secFetchMode: singleValue(headers['sec-fetch-mode']),
      secFetchDest: singleValue(headers['sec-fetch-dest']),
      origin: headers.origin,
      ownOrigin: publicOrigin ?? `${request.protocol}://${request.host}`,
    }, trusted)
    // A 404 does nothing that could be forged, and tells nothing. The scope's base policy also guards routes that the
    // plugin never saw.
    if (reason === 'allowed' || request.is404) return undefined
    // One policy seen everywhere: an origin that may read this route's answers with credentials may also send requests.
    if (headers.origin !== undefined && root.allowsCredentials?.(request, headers.origin) === true) return undefined
    root.emit({ name: 'malicious_csrf', reason }, request)
    return refusal('CSRF_REJECTED')
  }
  return [{ hook: 'onRequest', phase: 'csrf', run: rejectCrossSite }]
}

/** Node joins repeated headers with a comma, so a doubled Sec-Fetch-Site is no known value and counts as cross-site. */
function singleValue (header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(', ') : header
}

export const csrf = defineSecurityPlugin<typeof CsrfOptionsSchema, ResolvedCsrf>({
  key: 'csrf',
  options: CsrfOptionsSchema,
  resolve: resolveCsrf,
  install: installCsrf,
})
export default csrf
