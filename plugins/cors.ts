/**
 * CORS by allow-list: an origin that is not listed gets no CORS header at all. A preflight is decided for the route and
 * method it asks for, after the address-keyed rate limits; unknown paths are 404. Wildcard with credentials stops the
 * boot.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { decidePreflight } from '../lib/cors/decision.js'
import { resolveCors, type CorsInput, type OriginFunction, type ResolvedCorsPolicy } from '../lib/cors/resolve.js'
import { refusal, type Problem } from '../lib/response/errors.js'
import { checkOptions, readableOptions } from '../lib/options/check-options.js'
import { addSection } from '../lib/policy/install.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import { kCompiled } from '../lib/policy/pipeline.js'
import { routeTableOf } from '../lib/policy/route-table.js'
import { ANSWERED, defineSection, type PlacedFinalStep, type PlacedStep, type RouteInfo, type Verdict } from '../lib/policy/section.js'
import type { SecurityRoot, SecurityScope } from '../lib/policy/scope.js'
import type { SecurityShape } from '../lib/policy/types.js'
import type { Head } from '../lib/response/finish.js'
import { setPreparedHeaders } from '../lib/response/response.js'

/** RFC 9110, section 5.1: a field name is a token. */
const FieldNames = (description: string): ReturnType<typeof Type.Array> =>
  Type.Array(Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" }), { description })

export const CorsOptionsSchema = Type.Object({
  origins: Type.Optional(
    Type.Unsafe<'*' | (string | RegExp)[] | OriginFunction>(
      Type.Union([Type.Literal('*'), Type.Array(Type.Unknown()), Type.Function([], Type.Boolean())], {
        description:
          "Write an array of exact origins and anchored patterns, a synchronous function (origin, request) => boolean, or '*' for open data without credentials. Default: none.",
      }),
    ),
  ),
  credentials: Type.Optional(
    Type.Boolean({ description: 'Write true when the listed origins may send cookies. Default: false.' }),
  ),
  allowedHeaders: Type.Optional(FieldNames('Write the request header names that a preflight may ask for.')),
  exposedHeaders: Type.Optional(FieldNames('Write the response header names that scripts may read.')),
  maxAgeSeconds: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 86400,
      description: 'Write how many seconds browsers may cache a preflight, 0 to 86400. Default: 600.',
    }),
  ),
  privateNetwork: Type.Optional(
    Type.Boolean({
      description:
        'Write true when pages on the public internet may reach this service inside a private network. Default: false.',
    }),
  ),
}, { additionalProperties: false })

/** Options of the cors plugin; in a scope or on a route they replace the inherited ones as a whole. */
export type CorsOptions = Omit<Static<typeof CorsOptionsSchema>, 'allowedHeaders' | 'exposedHeaders'> & {
  allowedHeaders?: string[]
  exposedHeaders?: string[]
}

declare module '../lib/policy/types.js' {
  interface RouteSecurityOptions<S extends SecurityShape> {
    /** This route's own CORS policy, replacing the scope's; `false` allows no origin and refuses its preflights. */
    cors?: CorsOptions | false
  }
  interface ResolvedRouteSecurity { readonly cors?: ResolvedCorsPolicy | false }
}

/** Resolves untrusted options into a checked policy with all its header blocks. */
export function resolveCorsPolicy (input: unknown, where: string, problems: Problem[]): ResolvedCorsPolicy | false {
  if (input === false) return false
  const checked = checkOptions(CorsOptionsSchema, input, where, problems)
  return resolveCors((checked ?? readableOptions(input, where, problems)) as CorsInput, where, problems)
}

function installCors (app: FastifyInstance, base: ResolvedCorsPolicy, { root }: SecurityScope): void {
  addSection(app, defineSection<CorsOptions | false, ResolvedCorsPolicy | false>({
    key: 'cors',
    resolve: (_base, input, where, found) => resolveCorsPolicy(input, where, found),
    compile: (policy, route) => [...actualSteps(policy), ...preflightSteps(route, root)],
  }), base)
  root.allowsCredentials = allowsCredentials
  // Built before the first request, so that a route which the table cannot hold stops the boot.
  app.addHook('onReady', async function buildRouteTable () { routeTableOf(root) })
}

/** Of the policy that the request runs under. A wildcard never comes with credentials, and `null` stands on no list. */
function allowsCredentials (request: FastifyRequest, origin: string): boolean {
  const policy = request[kCompiled]?.policy.cors
  return policy !== undefined && policy !== false && policy.credentials && policy.grants.find(origin, request) !== null
}

function actualSteps (policy: ResolvedCorsPolicy | false): readonly (PlacedStep | PlacedFinalStep)[] {
  if (policy === false || policy.grants.empty) return []
  const { grants } = policy
  const setCorsHeaders = (request: FastifyRequest, reply: FastifyReply): undefined => {
    // A wildcard is told without an Origin too: what a cache keeps from such a request answers those with one.
    const { origin = grants.varies ? undefined : '*' } = request.raw.headers
    if (origin === undefined || isPreflight(request)) return
    const grant = grants.find(origin, request)
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
    if (!isPreflight(request)) return undefined
    const { origin = '', 'access-control-request-method': method, 'access-control-request-headers': headers } =
      request.raw.headers
    const routes = routeTableOf(root)
    const target = routes.find(method ?? '', request.raw)
    if (target === null) {
      const allow = routes.methods(request.raw)
      return allow.length === 0
        ? refusal('NOT_FOUND')
        : refusal('METHOD_NOT_ALLOWED', { headers: { allow: allow.join(', ') } })
    }
    const decision = decidePreflight(root.compiled.get(target.policy)?.policy.cors ?? false, {
      origin,
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

/** Fetch, section 3.2.1: OPTIONS with both headers; any other OPTIONS belongs to the app. */
function isPreflight (request: FastifyRequest): boolean {
  const { method, headers } = request.raw
  return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined
}

/** Whatever its value: a preflight that names the header is not answered as if it did not. */
function asksForPrivateNetwork (request: FastifyRequest): boolean {
  return request.raw.headers['access-control-request-private-network'] !== undefined
}

export const cors = defineSecurityPlugin<typeof CorsOptionsSchema, ResolvedCorsPolicy, CorsOptions>({
  key: 'cors',
  options: CorsOptionsSchema,
  resolve: (options, { where, problems }) => resolveCors(options as CorsInput, where, problems),
  install: installCors,
})
export default cors
