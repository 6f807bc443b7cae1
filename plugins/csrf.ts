/**
 * Cross-site request forgery: every unsafe request or WebSocket upgrade that carries a cookie, and every one on a route
 * marked `'always'`, must come from this service's own pages or a trusted origin. Fails closed when a cookie comes
 * without any evidence of origin. Resource isolation: with cookies, other sites may lead here but neither embed nor
 * fetch.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { decideCrossOrigin, decideIsolation, type TrustedOrigins } from '../lib/csrf/decision.js'
import { resolveCsrfPolicy, type CsrfMode, type CsrfRouteOptions, type ResolvedCsrfPolicy } from '../lib/csrf/policy.js'
import { refusal } from '../lib/response/errors.js'
import { isPlainObject } from '../lib/options/check-options.js'
import { isOrigin } from '../lib/net/origin.js'
import { checkOrigins, createOriginList } from '../lib/net/origin-pattern.js'
import { addSection } from '../lib/policy/install.js'
import { defineSecurityPlugin, type ResolveContext } from '../lib/policy/plugin.js'
import { defineSection, type PlacedStep, type Verdict } from '../lib/policy/section.js'
import type { SecurityRoot, SecurityScope } from '../lib/policy/scope.js'
import type { SecurityShape } from '../lib/policy/types.js'

export const CsrfOptionsSchema = Type.Object({
  publicOrigin: Type.Optional(
    Type.String({
      description:
        "Write the origin that browsers reach this service at: https://api.example.com. Default: the request's own scheme and host.",
    }),
  ),
  trustedOrigins: Type.Optional(
    Type.Unsafe<(string | RegExp)[]>(
      Type.Array(Type.Unknown(), {
        description:
          "Write the other origins, exact or as anchored patterns, whose pages may send requests with cookies. Those that a route's CORS policy grants with credentials need not be listed.",
      }),
    ),
  ),
  isolation: Type.Optional(
    Type.Boolean({
      description: "Write false to let other sites embed and fetch with the visitor's cookies. Default: true.",
    }),
  ),
}, { additionalProperties: false })

/** Options of the csrf plugin. */
export type CsrfOptions = Static<typeof CsrfOptionsSchema>

export type { CsrfMode, CsrfRouteOptions }

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

/** Complete and frozen. */
interface ResolvedCsrf {
  readonly publicOrigin: string | undefined
  readonly trusted: TrustedOrigins
  readonly base: Exclude<ResolvedCsrfPolicy, false>
}

/** The public origin is the transport's, unless the plugin is given its own. */
function resolveCsrf (options: CsrfOptions, { definition, problems }: ResolveContext): ResolvedCsrf {
  if (options.publicOrigin !== undefined && !isOrigin(options.publicOrigin)) {
    problems.push({
      path: 'csrf.publicOrigin',
      message: 'Not an exact origin.',
      fix:
        'Write scheme, host and port as browsers send it: https://app.example.com, without a path or a trailing slash.',
    })
  }
  checkOrigins(options.trustedOrigins ?? [], 'csrf.trustedOrigins', problems)
  const { transport } = definition
  const ofTransport = isPlainObject(transport) ? transport['publicOrigin'] : undefined
  return Object.freeze({
    // A wrong one is the transport's to report, once.
    publicOrigin: options.publicOrigin ??
      (typeof ofTransport === 'string' && isOrigin(ofTransport) ? ofTransport : undefined),
    trusted: createOriginList(options.trustedOrigins ?? []),
    base: Object.freeze({ mode: 'cookie', isolation: options.isolation ?? true } as const),
  })
}

/** RFC 9110, section 9.2.1. */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

function installCsrf (
  app: FastifyInstance,
  { publicOrigin, trusted, base }: ResolvedCsrf,
  { root }: SecurityScope,
): void {
  addSection(
    app,
    defineSection<CsrfMode | CsrfRouteOptions | false, ResolvedCsrfPolicy>({
      key: 'csrf',
      resolve: (inherited, input, where, found) => resolveCsrfPolicy(inherited, base, input, where, found),
      compile: (policy) => crossOriginSteps(policy, root, trusted, publicOrigin),
    }),
    base,
  )
}

function crossOriginSteps (
  policy: ResolvedCsrfPolicy,
  root: SecurityRoot,
  trusted: TrustedOrigins,
  publicOrigin: string | undefined,
): readonly PlacedStep[] {
  if (policy === false) return []
  const { mode, isolation } = policy
  if (mode === false && !isolation) return []

  const rejectCrossSite = (request: FastifyRequest): Verdict => {
    const { method = '', headers } = request.raw
    const carriesCookie = headers.cookie !== undefined
    if (!carriesCookie && mode !== 'always') return undefined
    const reason = mode !== false && isUnsafe(request) ? judgeUnsafe(request, carriesCookie)
      : isolation && carriesCookie && !isPreflight(method, request) ? judgeIsolation(method, request)
        : 'allowed'
    // A 404 does nothing that could be forged, and tells nothing. The scope's base policy also guards routes that the
    // plugin never saw.
    if (reason === 'allowed' || request.is404) return undefined
    // One policy seen everywhere: whom the route lets read credentialed answers, it lets send credentialed requests.
    if (headers.origin !== undefined && root.allowsCredentials?.(request, headers.origin) === true) return undefined
    root.emit({ name: 'malicious_csrf', reason }, request)
    return refusal('CSRF_REJECTED')
  }
  return [{ hook: 'onRequest', phase: 'csrf', run: rejectCrossSite }]

  function judgeUnsafe (request: FastifyRequest, carriesCookie: boolean): string {
    const { headers } = request.raw
    const ownOrigin = publicOrigin ?? `${request.protocol}://${request.host}`
    return decideCrossOrigin({
      secFetchSite: singleValue(headers['sec-fetch-site']),
      origin: headers.origin,
      ownOrigin,
      carriesCookie,
    }, trusted)
  }

  function judgeIsolation (method: string, request: FastifyRequest): string {
    const { headers } = request.raw
    return decideIsolation({
      method,
      secFetchSite: singleValue(headers['sec-fetch-site']),
      secFetchMode: singleValue(headers['sec-fetch-mode']),
      secFetchDest: singleValue(headers['sec-fetch-dest']),
      origin: headers.origin,
    }, trusted)
  }
}

/**
 * A WebSocket upgrade is a GET that CORS does not hold back, so another site could open one with the visitor's cookies
 * and read what it says. Browsers send `Origin` with each (RFC 6455, section 4.1).
 */
function isUnsafe (request: FastifyRequest): boolean {
  const { method = '', headers } = request.raw
  return !SAFE_METHODS.has(method) ||
    (headers.upgrade !== undefined && /(?:^|[\s,])websocket(?:$|[\s,/])/i.test(headers.upgrade))
}

/** A preflight carries no cookies and is answered by the CORS policy. */
function isPreflight (method: string, request: FastifyRequest): boolean {
  return method === 'OPTIONS' && request.raw.headers['access-control-request-method'] !== undefined
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
