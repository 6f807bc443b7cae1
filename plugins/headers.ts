/**
 * Security headers on every response: 2xx to 5xx, 404s, streams, preflights and refusals. Each route's block is
 * rendered and frozen at boot; a value that its header cannot carry stops the boot.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { HelmetOptions } from 'helmet'
import { createRandomSource } from '../lib/common/random.js'
import { ENFORCED, NONCE_SOURCE, type NonceTemplate } from '../lib/headers/csp.js'
import { namesOf, renderWritten } from '../lib/headers/helmet.js'
import { HeadersOptionsSchema, type HeadersOptions } from '../lib/headers/options.js'
import { declareReportEndpoint } from '../lib/headers/report-endpoint.js'
import { resolveHeaders, resolveHeadersPolicy, type ResolvedHeadersPolicy } from '../lib/headers/resolve.js'
import { isLoopbackName } from '../lib/net/host.js'
import { isRootInstance } from '../lib/policy/instance.js'
import { addSection, securityOf } from '../lib/policy/install.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import type { SecurityScope } from '../lib/policy/scope.js'
import { defineSection, type PlacedFinalStep, type PlacedStep } from '../lib/policy/section.js'
import type { SecurityShape } from '../lib/policy/types.js'
import { assertNoProblems } from '../lib/response/errors.js'
import type { Head } from '../lib/response/finish.js'
import { setPreparedHeaders } from '../lib/response/response.js'

export { HeadersOptionsSchema, type HeadersOptions } from '../lib/headers/options.js'

declare module '../lib/policy/types.js' {
  interface RouteSecurityOptions<S extends SecurityShape> {
    /** What this route changes of its scope's headers; `false` sends none of the suite's headers. */
    headers?: HeadersOptions | false
  }
  interface ResolvedRouteSecurity { readonly headers?: ResolvedHeadersPolicy | false }
}

declare module 'fastify' {
  interface FastifyReply {
    /**
     * The nonce of this response (144 bits, base64), made when it is first read; from then on the CSP header carries
     * it.
     * Throws when the route's CSP has no `'nonce'` source, or after the headers were sent.
     */
    readonly cspNonce: string
    /**
     * Sets the headers that `options` name, over those of the route, as @fastify/helmet does; without options, or on a
     * route with `headers: false`, it also sets the scope's. HSTS is left out over plain HTTP.
     * Throws helmet's error when a value is not valid for its header.
     */
    helmet: (options?: HelmetOptions) => void
    [kNonce]: string | null
    /** The templates of the block that was set; null until then. */
    [kNonces]: readonly NonceTemplate[] | null
  }
}

const kNonce: unique symbol = Symbol('bulwark.nonce')
const kNonces: unique symbol = Symbol('bulwark.nonceTemplates')

async function installHeaders (app: FastifyInstance, base: ResolvedHeadersPolicy, scope: SecurityScope): Promise<void> {
  const reportPath = scope.sections.has('headers') ? null : base.reportPath
  if (reportPath !== null && !isRootInstance(app)) {
    assertNoProblems([{
      path: 'headers.reporting.endpoint',
      message: 'A path, and the plugin is not registered on the root instance.',
      fix: 'Register it on the instance that fastify() returned, or write an absolute https URL.',
    }])
  }
  if (!app.hasReplyDecorator(kNonce)) {
    app.decorateReply(kNonce, null)
    app.decorateReply(kNonces, null)
    app.decorateReply('cspNonce', { getter: readNonce })
    app.decorateReply('helmet', applyHelmet)
  }
  addSection(app, defineSection<HeadersOptions | false, ResolvedHeadersPolicy | false>({
    key: 'headers',
    resolve: resolveHeadersPolicy,
    compile: compileHeaders,
  }), base)
  if (reportPath !== null) await app.register(async (own) => { declareReportEndpoint(own, scope.root, reportPath) })
}

function compileHeaders (policy: ResolvedHeadersPolicy | false): readonly (PlacedStep | PlacedFinalStep)[] {
  if (policy === false) return [{ hook: 'writeHead', phase: 'headers-final', run: removeDisclosure }]
  return [
    {
      hook: 'onRequest',
      phase: 'headers',
      run: function setHeaders (request, reply): undefined { applyBlock(policy, request, reply) },
    },
    {
      hook: 'writeHead',
      phase: 'headers-final',
      run: function finishHeaders (head, request) { finish(policy, head, request) },
    },
  ]
}

function finish ({ cacheControl }: ResolvedHeadersPolicy, head: Head, request: FastifyRequest): void {
  removeDisclosure(head)
  if (cacheControl !== false && isPersonal(head, request)) head.set('cache-control', cacheControl)
}

/** OWASP ASVS 5.0, V13.4.6: what runs here is of use to an attacker only, also when a proxied answer says it. */
const DISCLOSURE = ['server', 'x-powered-by'] as const

function removeDisclosure (head: Head): void {
  for (const name of DISCLOSURE) head.remove(name)
}

function applyBlock ({ rendered }: ResolvedHeadersPolicy, request: FastifyRequest, reply: FastifyReply): void {
  const { plain, secure } = rendered
  const isSecure = secure !== plain && isOverHttps(request)
  reply[kNonces] = isSecure ? rendered.secureNonces : rendered.plainNonces
  setPreparedHeaders(reply, isSecure ? secure : plain)
}

/** HTTPS rules for a loopback name would break every other service that a developer runs there (helmet #429). */
function isOverHttps (request: FastifyRequest): boolean {
  return request.protocol === 'https' && !isLoopbackName(request.hostname)
}

/** An answer that a shared cache must not keep: an error, or anything that a credential went into or came out of. */
function isPersonal (head: Head, request: FastifyRequest): boolean {
  const { headers } = request.raw
  return head.status >= 400 || headers.cookie !== undefined || headers.authorization !== undefined ||
    head.has('set-cookie')
}

/** CSP3, section 7.1 asks for 128 bits at least. */
const createNonce = createRandomSource('base64')

function readNonce (this: FastifyReply): string {
  const known = this[kNonce]
  if (known !== null) return known
  const templates = this[kNonces] ?? []
  if (templates.length === 0) {
    throw new Error(
      `reply.cspNonce: the CSP of this route has no ${NONCE_SOURCE} source. ` +
      `Use profile 'document', or extend script-src with "${NONCE_SOURCE}".`,
    )
  }
  if (this.raw.headersSent) {
    throw new Error('reply.cspNonce: the headers were sent already. Read it before the first byte of the body.')
  }
  const nonce = createNonce()
  this[kNonce] = nonce
  for (let index = 0; index < templates.length; index++) {
    const { header, parts } = templates[index] as NonceTemplate
    let policy = parts[0] as string
    for (let part = 1; part < parts.length; part++) policy += nonce + (parts[part] as string)
    this.header(header, policy)
  }
  return nonce
}

/** On a route with `headers: false` nothing was set yet: the scope's block is what the options lie over. */
function applyHelmet (this: FastifyReply, options: HelmetOptions = {}): void {
  const policy = baseOf(this.server)
  if (this[kNonces] === null && policy !== false) {
    applyBlock(policy, this.request, this)
    for (const name of namesOf(options)) {
      this.removeHeader(name)
      this.raw.removeHeader(name)
    }
  }
  const written = renderWritten(options)
  if (!isOverHttps(this.request)) delete written['strict-transport-security']
  // The app has its own policy from here on: `reply.cspNonce` must not put the route's in its place.
  if (ENFORCED in written) this[kNonces] = []
  this.headers(written)
}

function baseOf (app: FastifyInstance): ResolvedHeadersPolicy | false {
  return securityOf(app).sections.get('headers')?.base as ResolvedHeadersPolicy | false
}

export const headers = defineSecurityPlugin<typeof HeadersOptionsSchema, ResolvedHeadersPolicy>({
  key: 'headers',
  options: HeadersOptionsSchema,
  resolve: resolveHeaders,
  install: installHeaders,
})
export default headers
