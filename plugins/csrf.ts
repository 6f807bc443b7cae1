/**
 * Cross-site request forgery: every unsafe request that carries a cookie, and every route marked `'always'`, must come
 * from this service's own pages or a trusted origin. Fails closed when a cookie comes without any evidence of origin.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { decideCrossOrigin } from '../lib/csrf/decision.js'
import { assertNoProblems, SecurityError, type Problem } from '../lib/errors.js'
import { checkOptions, readableOptions } from '../lib/options.js'
import { isOrigin } from '../lib/origin.js'
import { addSection, claimRegistration, securityOf } from '../lib/policy/install.js'
import { defineSection, type PlacedStep, type RouteInfo, type Verdict } from '../lib/policy/section.js'
import type { SecurityRoot } from '../lib/policy/scope.js'
import type { SecurityShape } from '../lib/policy/types.js'

export const CsrfOptionsSchema = Type.Object({
  publicOrigin: Type.Optional(Type.String({ description: 'Write the origin that browsers reach this service at: https://api.example.com. Default: the request\'s own scheme and host.' })),
  trustedOrigins: Type.Optional(Type.Array(Type.String(), { description: 'Write the exact other origins whose pages may send unsafe requests with cookies.' })),
}, { additionalProperties: false })

/** Options of the csrf plugin. */
export type CsrfOptions = Static<typeof CsrfOptionsSchema>

/** `'cookie'`: checked when a cookie comes along (default). `'always'`: checked for every unsafe request. */
export type CsrfMode = 'cookie' | 'always'

declare module '../lib/policy/types.js' {
  interface RouteSecurityOptions<S extends SecurityShape> {
    /** When this route's unsafe requests are checked; `false` never, for routes that ignore cookies. */
    csrf?: CsrfMode | false
  }
  interface ResolvedRouteSecurity { readonly csrf?: CsrfMode | false }
}

/** Reports what is wrong with the plugin's options. */
export function checkCsrf (input: unknown, problems: Problem[]): CsrfOptions {
  const options: CsrfOptions = checkOptions(CsrfOptionsSchema, input, 'csrf', problems) ?? readableOptions(input, 'csrf', problems)
  const mend = 'Write scheme, host and port as browsers send it: https://app.example.com, without a path or a trailing slash.'
  if (options.publicOrigin !== undefined && !isOrigin(options.publicOrigin)) problems.push({ path: 'csrf.publicOrigin', message: 'Not an exact origin.', mend })
  for (const [index, origin] of (options.trustedOrigins ?? []).entries()) {
    if (!isOrigin(origin)) problems.push({ path: `csrf.trustedOrigins[${index}]`, message: 'Not an exact origin.', mend })
  }
  return options
}

function resolveMode (base: CsrfMode | false, input: unknown, where: string, problems: Problem[]): CsrfMode | false {
  if (input === 'cookie' || input === 'always' || input === false) return input
  problems.push({ path: where, message: 'Not a mode.', mend: 'Write \'cookie\', \'always\' or false.' })
  return base
}

/** RFC 9110, section 9.2.1. */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

const csrfPlugin: FastifyPluginAsync<CsrfOptions> = async (app, options) => {
  claimRegistration(app, 'csrf')
  const problems: Problem[] = []
  const { publicOrigin, trustedOrigins } = checkCsrf(options, problems)
  assertNoProblems(problems)

  const { root } = securityOf(app)
  const trusted: ReadonlySet<string> = new Set(trustedOrigins)
  addSection(app, defineSection<CsrfMode | false, CsrfMode | false>({
    key: 'csrf',
    resolve: resolveMode,
    compile: (mode, route) => crossOriginSteps(mode, route, root, trusted, publicOrigin),
  }), 'cookie')
}

function crossOriginSteps (mode: CsrfMode | false, route: RouteInfo | null, root: SecurityRoot, trusted: ReadonlySet<string>, publicOrigin: string | undefined): readonly PlacedStep[] {
  if (mode === false || route?.method.split('|').every((method) => SAFE_METHODS.has(method)) === true) return []
  const rejectCrossSite = (request: FastifyRequest): Verdict => {
    // A 404 does nothing that could be forged. The scope's base policy also guards routes that the plugin never saw.
    if (SAFE_METHODS.has(request.raw.method ?? '') || request.is404) return undefined
    const { headers } = request.raw
    const carriesCookie = headers.cookie !== undefined
    if (mode === 'cookie' && !carriesCookie) return undefined
    const verdict = decideCrossOrigin({
      secFetchSite: singleValue(headers['sec-fetch-site']),
      origin: headers.origin,
      ownOrigin: publicOrigin ?? `${request.protocol}://${request.host}`,
      carriesCookie,
    }, trusted)
    if (verdict === 'allowed') return undefined
    root.emit({ name: 'malicious_csrf', reason: verdict }, request)
    return new SecurityError('CSRF_REJECTED')
  }
  return [{ hook: 'onRequest', phase: 'csrf', run: rejectCrossSite }]
}

/** Node joins repeated headers with a comma, so a doubled Sec-Fetch-Site is no known value and counts as cross-site. */
function singleValue (header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(', ') : header
}

export const csrf = fp(csrfPlugin, { name: 'bulwark-csrf', fastify: '5.x' })
export default csrf
