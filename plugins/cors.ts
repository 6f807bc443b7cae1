/**
 * CORS by allow-list: an origin that is not listed gets no CORS header at all. A preflight is decided for the route and
 * method it asks for, after the address-keyed rate limits; unknown paths are 404. Wildcard with credentials stops the
 * boot.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { decidePreflight } from '../lib/cors/decision.js'
import type { CorsGrant } from '../lib/cors/grants.js'
import { CorsOptionsSchema, type CorsOptions } from '../lib/cors/options.js'
import { resolveCors, resolveCorsPolicy, type ResolvedCorsPolicy } from '../lib/cors/resolve.js'
import { isPreflight } from '../lib/net/preflight.js'
import { addSection } from '../lib/policy/install.js'
import { kCompiled } from '../lib/policy/pipeline.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import { routeTableOf } from '../lib/policy/route-table.js'
import { ANSWERED, defineSection, type PlacedFinalStep, type PlacedStep, type RouteInfo,
  type Verdict } from '../lib/policy/section.js'
import type { SecurityRoot, SecurityScope } from '../lib/policy/scope.js'
import type { SecurityShape } from '../lib/policy/types.js'
import { refusal } from '../lib/response/errors.js'
import type { Head } from '../lib/response/finish.js'
import { setPreparedHeaders } from '../lib/response/response.js'

export { CorsOptionsSchema, type CorsOptions, type CorsOrigin, type OriginFunction } from '../lib/cors/options.js'

declare module '../lib/policy/types.js' {
  interface RouteSecurityOptions<S extends SecurityShape> {
    /** This route's own CORS policy, replacing the scope's; `false` allows no origin and refuses its preflights. */
    cors?: CorsOptions | false
  }
  interface ResolvedRouteSecurity { readonly cors?: ResolvedCorsPolicy | false }
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What the request's origin was granted; the CSRF check goes by the same decision. */
    [kGrant]: CorsGrant | null
  }
}

const kGrant: unique symbol = Symbol('bulwark.corsGrant')

function installCors (app: FastifyInstance, base: ResolvedCorsPolicy, { root }: SecurityScope): void {
  addSection(app, defineSection<CorsOptions | false, ResolvedCorsPolicy | false>({
    key: 'cors',
    resolve: (_base, input, where, found) => resolveCorsPolicy(input, where, found),
    compile: (policy, route) => [...actualSteps(policy), ...preflightSteps(route, root)],
  }), base)
  root.allowsCredentials = allowsCredentials
  if (!app.hasRequestDecorator(kGrant)) app.decorateRequest(kGrant, null)
  // Built before the first request, so that a route which the table cannot hold stops the boot.
  app.addHook('onReady', async function buildRouteTable () { routeTableOf(root) })
}

/**
 * By the decision that this request's CORS step has come to. A wildcard never comes with credentials, and `null` stands
 * on no list.
 */
function allowsCredentials (request: FastifyRequest): boolean {
  const policy = request[kCompiled]?.policy.cors
  return request[kGrant] !== null && policy !== undefined && policy !== false && policy.credentials
}

function actualSteps (policy: ResolvedCorsPolicy | false): readonly (PlacedStep | PlacedFinalStep)[] {
  if (policy === false || policy.grants.isEmpty) return []
  const { grants } = policy
  const setCorsHeaders = (request: FastifyRequest, reply: FastifyReply): undefined => {
    // A wildcard is told without an Origin too: what a cache keeps from such a request answers those with one.
    const { origin = grants.varies ? undefined : '*' } = request.raw.headers
    if (origin === undefined || isPreflight(request.raw)) return
    const grant = request[kGrant] = grants.find(origin, request)
    if (grant !== null) setPreparedHeaders(reply, grant.actual)
  }
  const steps: (PlacedStep | PlacedFinalStep)[] = [{ hook: 'onRequest', phase: 'cors', run: setCorsHeaders }]
  // With a wildcard the answer is the same for every origin; with a list, also the answer without headers varies.
  if (grants.varies) steps.push({ hook: 'writeHead', phase: 'cors-vary', run: varyByOrigin })
  return steps
}

/**
 * A final step, so that a handler or hook which sets its own Vary does not drop ours: a cache would then serve one
 * origin's answer to another.
 */
function varyByOrigin (head: Head): void {
  const present = head.get('vary')
  if (present === undefined) head.set('vary', 'Origin')
  else if (!/(^|,)\s*(origin|\*)\s*(,|$)/i.test(present)) head.set('vary', `${present}, Origin`)
}

/** Only a 404 and a route declared for OPTIONS can be reached by a preflight. */
function preflightSteps (route: RouteInfo | null, root: SecurityRoot): readonly PlacedStep[] {
  if (route !== null && !route.method.split('|').includes('OPTIONS')) return []
  const answerPreflight = (request: FastifyRequest, reply: FastifyReply): Verdict => {
    if (!isPreflight(request.raw)) return undefined
    const { origin = '', 'access-control-request-method': method = '', 'access-control-request-headers': headers } =
      request.raw.headers
    const routes = routeTableOf(root)
    const target = routes.find(method, request.raw)
    if (target === null) {
      const allow = routes.methods(request.raw)
      return allow.length === 0
        ? refusal('NOT_FOUND')
        : refusal('METHOD_NOT_ALLOWED', { headers: { allow: allow.join(', ') } })
    }
    const decision = decidePreflight(root.compiled.get(target.policy)?.policy.cors ?? false, {
      origin,
      method,
      headers,
      privateNetwork: asksForPrivateNetwork(request),
    }, request)
    if (!decision.granted) {
      root.emit({ name: 'malicious_cors', reason: decision.reason }, request)
      return refusal('CORS_REJECTED')
    }
    setPreparedHeaders(reply, decision.headers)
    reply.code(204).header('access-control-allow-methods', method).send()
    return ANSWERED
  }
  return [{ hook: 'onRequest', phase: 'preflight', run: answerPreflight }]
}

/** The header's value does not matter: a preflight that names it is not answered as if it did not. */
function asksForPrivateNetwork (request: FastifyRequest): boolean {
  return request.raw.headers['access-control-request-private-network'] !== undefined
}

export const cors = defineSecurityPlugin<typeof CorsOptionsSchema, ResolvedCorsPolicy>({
  key: 'cors',
  options: CorsOptionsSchema,
  resolve: (options, { where, problems }) => resolveCors(options, where, problems),
  install: installCors,
})
export default cors
