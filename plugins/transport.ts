/**
 * Which hosts are served, over which scheme, and who may speak for a client: the host allow-list (421), HTTPS
 * enforcement and the request id on every answer. In production it refuses to start without declared proxies and on an
 * instance that was not built with `serverOptions()`, because bad URLs and malformed HTTP would then leave unprotected.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { assertNoProblems, refusal, SecurityError, type Problem } from '../lib/response/errors.js'
import { hostName } from '../lib/net/host.js'
import { rememberLast } from '../lib/common/recent.js'
import { checkOptions } from '../lib/options/check-options.js'
import { addSection, securityOf } from '../lib/policy/install.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import type { SecurityScope } from '../lib/policy/scope.js'
import { kCompiled } from '../lib/policy/pipeline.js'
import { routeTableOf } from '../lib/policy/route-table.js'
import { ANSWERED, defineSection, type PlacedStep, type Verdict } from '../lib/policy/section.js'
import type { SecurityShape } from '../lib/policy/types.js'
import { drainOnClose } from '../lib/transport/drain.js'
import { checkRouteMethods } from '../lib/transport/methods.js'
import { redirectLocation } from '../lib/transport/redirect.js'
import { createRequestIdGenerator } from '../lib/transport/request-id.js'
import { namesOneHost } from '../lib/transport/request-target.js'
import { resolveTransport, type ResolvedTransport, type ResolvedTransportPolicy } from '../lib/transport/resolve.js'
import { settingsOf } from '../lib/transport/server-options.js'
import { createProxyTripwire, type ProxyHeader } from '../lib/transport/tripwire.js'

export const TransportOptionsSchema = Type.Object({
  proxies: Type.Optional(
    Type.Union([Type.Literal('none'), Type.Array(Type.String(), { minItems: 1 })], {
      description:
        'Write the CIDR ranges of the proxies in front of this service, or ' +
        "'none'. `true` and hop counts would believe any client.",
    }),
  ),
  forwardedHost: Type.Optional(
    Type.Boolean({
      description:
        'Write true when every declared proxy sets X-Forwarded-Host itself; ' +
        "one that passes it on hands over the client's word. Default: false.",
    }),
  ),
  hosts: Type.Optional(
    Type.Array(Type.String(), { description: 'Write the host names that this service answers to.' }),
  ),
  https: Type.Optional(
    Type.Union([Type.Literal('require'), Type.Literal('redirect'), Type.Literal('off')], {
      description: "Write 'require' (default in production), 'redirect' or 'off'.",
    }),
  ),
  methods: Type.Optional(
    Type.Array(Type.String(), {
      description: 'Write the methods that are served, in upper case; any other is answered 405.',
    }),
  ),
  redirects: Type.Optional(
    Type.Array(Type.String(), {
      description: 'Write the origins that reply.safeRedirect may leave for: https://login.example.com.',
    }),
  ),
  publicOrigin: Type.Optional(
    Type.String({ description: 'Write the origin that browsers reach this service at: https://api.example.com.' }),
  ),
}, { additionalProperties: false })

/** Options of the transport plugin. */
export type TransportOptions = Static<typeof TransportOptionsSchema>

export const TransportRouteOptionsSchema = Type.Object({
  hosts: Type.Optional(
    Type.Literal('any', { description: "Write 'any' for a route that a load balancer probes by address." }),
  ),
  https: Type.Optional(
    Type.Union([Type.Literal('require'), Type.Literal('off')], { description: "Write 'require' or 'off'." }),
  ),
}, { additionalProperties: false })

export type TransportRouteOptions = Static<typeof TransportRouteOptionsSchema>

/** Statuses of a redirect; 303 turns any method into GET, 307 and 308 keep it. */
export type RedirectStatus = 301 | 302 | 303 | 307 | 308

declare module 'fastify' {
  interface FastifyReply {
    /**
     * Redirects to a target that a client may have chosen: a path of this origin, or a URL of `transport.publicOrigin`
     * or `transport.redirects`. Status 302 unless another is given.
     *
     * @throws SecurityError BAD_REQUEST for any other target
     */
    safeRedirect (target: string, status?: RedirectStatus): this
  }
}

declare module '../lib/policy/types.js' {
  interface RouteSecurityOptions<S extends SecurityShape> {
    /** What this route exempts itself from, for health probes: `{ hosts: 'any', https: 'off' }`. */
    transport?: TransportRouteOptions
  }
  interface ResolvedRouteSecurity { readonly transport?: ResolvedTransportPolicy }
}

function installTransport (app: FastifyInstance, resolved: ResolvedTransport, { root }: SecurityScope): void {
  const problems: Problem[] = []
  checkInstance(app, resolved, root.production, problems)
  assertNoProblems(problems)
  if (settingsOf(app) === null) app.setGenReqId(createRequestIdGenerator(resolved.proxies))

  // A registration in a child scope inherits it; the origins come from the policy of the request.
  if (!app.hasReplyDecorator('safeRedirect')) app.decorateReply('safeRedirect', safeRedirect)
  root.servedMethods = resolved.methods
  const facts: Facts = {
    methods: resolved.methods,
    allowedAt: (request) => routeTableOf(root).methods(request.raw).join(', '),
    trustsProxies: resolved.trustProxy !== false,
    isClosing: drainOnClose(app, settingsOf(app)?.drainMs),
    // Of this server, not of a route: a client must not fill the log by walking through the routes.
    noticeProxyHeader: createProxyTripwire(resolved.proxies),
    reportProxyHeader: (header, request) => { root.emit({ name: 'proxy_headers_untrusted', header }, request) },
  }
  addSection(app, defineSection<TransportRouteOptions, ResolvedTransportPolicy>({
    key: 'transport',
    resolve: resolveRoute,
    compile (policy, route, problems) {
      const methods = route === null ? null : route.method.split('|')
      if (methods !== null) checkRouteMethods(methods, resolved.methods, `${route?.label ?? ''} method`, problems)
      const checksMethod = methods === null || methods.some((method) => !resolved.methods.has(method))
      const steps = transportSteps(policy, facts, checksMethod)
      return methods === null ? [...steps, { hook: 'onRequest', phase: 'method', run: refuseMethod }] : steps
    },
  }), resolved.policy)

  app.addHook('onReady', async function buildRouteTable () { routeTableOf(root) })
  // RFC 9110, section 10.1.1, lets a server ignore an expectation it does not know. Node's own 417 would pass no hook.
  if (app.server.listenerCount('checkExpectation') === 0) {
    app.server.on('checkExpectation', function serveAnyway (request: IncomingMessage, response: ServerResponse) {
      app.server.emit('request', request, response)
    })
  }

  /**
   * RFC 9110, section 15.5.6: a known path without this method. Where the app answers unknown paths itself, its answer
   * stands.
   */
  function refuseMethod (request: FastifyRequest): Verdict {
    if (!request.is404 || request.server !== app || securityOf(app).sections.get('errors')?.base !== null) {
      return undefined
    }
    const allow = facts.allowedAt(request)
    return allow === '' ? undefined : refusal('METHOD_NOT_ALLOWED', { headers: { allow } })
  }
}

const NO_ORIGINS: ReadonlySet<string> = new Set()

function safeRedirect (this: FastifyReply, target: string, status: RedirectStatus = 302): FastifyReply {
  const origins = this.request[kCompiled]?.policy.transport?.redirects
  return this.redirect(redirectLocation(target, origins ?? NO_ORIGINS), status)
}

/** A proxy list that the instance does not trust would make every client look like the proxy. */
function checkInstance (
  app: FastifyInstance,
  resolved: ResolvedTransport,
  production: boolean,
  problems: Problem[],
): void {
  const settings = settingsOf(app)
  const fix = 'Build it with `Fastify(serverOptions(definition))`, or let `createServer(definition)` build it.'
  if (settings === null && resolved.trustProxy !== false) {
    problems.push({
      path: 'transport.proxies',
      message: 'The Fastify instance was built without them, so it would not believe the proxies.',
      fix,
    })
  } else if (settings === null && production) {
    problems.push({
      path: 'transport',
      message:
        'The Fastify instance was not built with serverOptions(): bad URLs and ' +
        'malformed HTTP would be answered without security headers.',
      fix,
    })
  } else if (settings === null) {
    app.log.warn(
      'this instance was not built with serverOptions(): bad URLs and malformed HTTP are ' +
      'answered without security headers; production refuses to start like this',
    )
  } else if (JSON.stringify(settings.transport.trustProxy) !== JSON.stringify(resolved.trustProxy)) {
    problems.push({
      path: 'transport.proxies',
      message: 'Differs from what serverOptions() was given.',
      fix: 'Give the same definition to serverOptions() and to register().',
    })
  } else if (settings.transport.policy.forwardedHost !== resolved.policy.forwardedHost) {
    problems.push({
      path: 'transport.forwardedHost',
      message: 'Differs from what serverOptions() was given.',
      fix: 'Give the same definition to serverOptions() and to register().',
    })
  }
}

function resolveRoute (
  base: ResolvedTransportPolicy,
  input: unknown,
  where: string,
  problems: Problem[],
): ResolvedTransportPolicy {
  const checked = checkOptions(TransportRouteOptionsSchema, input, where, problems) ?? {}
  return Object.freeze({
    ...base,
    hosts: checked.hosts === 'any' ? null : base.hosts,
    https: checked.https ?? base.https,
  })
}

const HOST_MISMATCH =
  'the Fastify instance believes X-Forwarded-Host, which transport.forwardedHost does not allow: ' +
  'do not override rewriteUrl of serverOptions(), give it yours as an option'
const TRUST_MISMATCH =
  'the Fastify instance trusts other proxies than transport.proxies declares: ' +
  'do not override trustProxy of serverOptions()'

/** What the steps of all routes share. */
interface Facts {
  readonly methods: ReadonlySet<string>
  /** The served methods that the request's path answers, as `Allow` lists them; empty for an unknown path. */
  readonly allowedAt: (request: FastifyRequest) => string
  readonly trustsProxies: boolean
  readonly isClosing: () => boolean
  readonly noticeProxyHeader: (request: IncomingMessage) => ProxyHeader | null
  readonly reportProxyHeader: (header: ProxyHeader, request: FastifyRequest) => void
}

/** `checksMethod` is false for a route that only serves what is allowed: its own table of methods is check enough. */
function transportSteps (policy: ResolvedTransportPolicy, facts: Facts, checksMethod: boolean): readonly PlacedStep[] {
  const { hosts, https, publicOrigin, forwardedHost } = policy
  const { methods, allowedAt, trustsProxies, isClosing, noticeProxyHeader, reportProxyHeader } = facts
  const served = [...methods].join(', ')
  // Nearly all requests name the same host.
  const isServedHost = rememberLast((host) => hosts === null || hosts.has(hostName(host)))
  const checkTransport = (request: FastifyRequest, reply: FastifyReply): Verdict => {
    reply.header('x-request-id', request.id)
    if (checksMethod && !methods.has(request.method)) {
      return refusal('METHOD_NOT_ALLOWED', { headers: { allow: allowedAt(request) || served } })
    }
    const foreign = noticeProxyHeader(request.raw)
    if (foreign !== null) reportProxyHeader(foreign, request)
    // Fastify shows its trust only on requests: `ips` is there exactly when it believes some proxy.
    if ((request.ips !== undefined) !== trustsProxies) {
      return new SecurityError('INTERNAL_ERROR', { cause: new Error(TRUST_MISMATCH) })
    }
    if (isClosing()) return refusal('SERVICE_UNAVAILABLE', { headers: { connection: 'close', 'retry-after': '1' } })
    const { host } = request
    if (!forwardedHost && host !== (request.raw.headers.host ?? '')) {
      return new SecurityError('INTERNAL_ERROR', { cause: new Error(HOST_MISMATCH) })
    }
    // serverOptions() leaves it to us to refuse a request without Host.
    if (!namesOneHost(request.raw, host)) return refusal('BAD_REQUEST')
    if (!isServedHost(host)) return refusal('HOST_NOT_ALLOWED')
    if (https === 'off' || request.protocol === 'https') return undefined
    if (https === 'redirect' && publicOrigin !== null && mayRedirect(request)) {
      reply.redirect(publicOrigin + request.url, 308)
      return ANSWERED
    }
    return refusal('HTTPS_REQUIRED')
  }
  return [{ hook: 'onRequest', phase: 'transport', run: checkTransport }]
}

/** Only pages, and only to a path of ours: an absolute-form target glued to the origin would name another host. */
function mayRedirect (request: FastifyRequest): boolean {
  const headers = request[kCompiled]?.policy.headers
  const isDocument = headers !== undefined && headers !== false && headers.profile === 'document'
  return isDocument && (request.method === 'GET' || request.method === 'HEAD') && request.url.startsWith('/')
}

export const transport = defineSecurityPlugin<typeof TransportOptionsSchema, ResolvedTransport>({
  key: 'transport',
  options: TransportOptionsSchema,
  mandatory: true,
  resolve: (options, { boot, problems }) => resolveTransport(options, boot.production, problems),
  install: installTransport,
})
export default transport
