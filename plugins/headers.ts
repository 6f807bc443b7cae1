/**
 * Security headers on every response: 2xx to 5xx, 404s, streams, preflights and refusals. Each route's block is
 * rendered and frozen at boot; a value that its header cannot carry stops the boot.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { assertNoProblems, type Problem } from '../lib/errors.js'
import { NONCE_SOURCE } from '../lib/headers/defaults.js'
import { resolveHeaders, type ResolvedHeadersPolicy } from '../lib/headers/resolve.js'
import { isLoopbackName } from '../lib/host.js'
import { checkOptions, readableOptions } from '../lib/options.js'
import { addSection, claimRegistration, securityOf } from '../lib/policy/install.js'
import { kCompiled } from '../lib/policy/pipeline.js'
import { defineSection, type PlacedStep } from '../lib/policy/section.js'
import type { SecurityShape } from '../lib/policy/types.js'
import { createRandomSource } from '../lib/random.js'

const OneOf = <const T extends readonly string[]>(...names: T): ReturnType<typeof Type.Unsafe<T[number]>> =>
  Type.Unsafe<T[number]>(Type.Union(names.map((name) => Type.Literal(name)), { mend: `Write one of: ${names.join(', ')}.` }))

const Off = Type.Literal(false)

export const HeadersOptionsSchema = Type.Object({
  profile: Type.Optional(OneOf('api', 'document')),
  contentSecurityPolicy: Type.Optional(Type.Union([Off, Type.Object({
    directives: Type.Optional(Type.Record(Type.String(), Type.Union([Type.Array(Type.String()), Off]))),
    extend: Type.Optional(Type.Record(Type.String(), Type.Array(Type.String()))),
  }, { additionalProperties: false })], { description: `Write { directives } to replace directives by name (false drops one), { extend } to add sources, or false. ${NONCE_SOURCE} stands for the response's nonce.` })),
  strictTransportSecurity: Type.Optional(Type.Union([Off, Type.Object({
    maxAge: Type.Optional(Type.Integer({ minimum: 0 })),
    includeSubDomains: Type.Optional(Type.Boolean()),
    preload: Type.Optional(Type.Boolean()),
  }, { additionalProperties: false })], { description: 'Write { maxAge (seconds), includeSubDomains, preload } or false. Sent over HTTPS only.' })),
  xFrameOptions: Type.Optional(Type.Union([Off, Type.Object({ action: OneOf('deny', 'sameorigin') }, { additionalProperties: false })], { description: 'Write { action: \'deny\' | \'sameorigin\' } or false.' })),
  referrerPolicy: Type.Optional(Type.Union([Off, Type.Object({ policy: Type.Union([Type.String(), Type.Array(Type.String())]) }, { additionalProperties: false })], { description: 'Write { policy } or false.' })),
  crossOriginResourcePolicy: Type.Optional(Type.Union([Off, Type.Object({ policy: OneOf('same-origin', 'same-site', 'cross-origin') }, { additionalProperties: false })], { description: 'Write { policy } or false.' })),
  crossOriginOpenerPolicy: Type.Optional(Type.Union([Off, Type.Object({ policy: OneOf('same-origin', 'same-origin-allow-popups', 'unsafe-none') }, { additionalProperties: false })], { description: 'Write { policy } or false.' })),
  crossOriginEmbedderPolicy: Type.Optional(Type.Union([Off, Type.Object({ policy: OneOf('require-corp', 'credentialless', 'unsafe-none') }, { additionalProperties: false })], { description: 'Write { policy } or false.' })),
  xContentTypeOptions: Type.Optional(Type.Literal(false, { description: 'Write false to drop the header.' })),
  originAgentCluster: Type.Optional(Type.Literal(false, { description: 'Write false to drop the header.' })),
  permissionsPolicy: Type.Optional(Type.Union([Off, Type.Record(Type.String({ pattern: '^[a-z][a-z-]*$' }), Type.Array(Type.String()), { additionalProperties: false })], { description: 'Write feature names with their allow-list (\'self\', \'*\' or origins; [] denies), or false.' })),
  cacheControl: Type.Optional(Type.Union([Type.Literal('no-store'), Off], { description: '\'no-store\' (default) marks answers with a credential, a cookie or an error as not storable; false leaves the app\'s own value.' })),
}, { additionalProperties: false })

/** Options of the headers plugin; the same keys override in a scope or on a route. */
export type HeadersOptions = Static<typeof HeadersOptionsSchema>

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
     * The nonce of this response (128 bits, base64), made when it is first read; from then on the CSP header carries it.
     * Throws when the route's CSP has no `'nonce'` source, or after the headers were sent.
     */
    readonly cspNonce: string
    [kNonce]: string | null
    [kHeadersSet]: boolean
  }
}

const kNonce: unique symbol = Symbol('bulwark.nonce')
const kHeadersSet: unique symbol = Symbol('bulwark.headersSet')

/** Resolves untrusted options; the result is complete and rendered. */
export function resolveHeadersPolicy (base: ResolvedHeadersPolicy | false | null, input: unknown, where: string, problems: Problem[]): ResolvedHeadersPolicy | false {
  if (input === false) return false
  const checked = checkOptions(HeadersOptionsSchema, input, where, problems)
  return resolveHeaders(base === false ? null : base, checked ?? readableOptions(input, where, problems), where, problems)
}

const headersPlugin: FastifyPluginAsync<HeadersOptions> = async (app, options) => {
  claimRegistration(app, 'headers')
  const problems: Problem[] = []
  const scope = securityOf(app)
  const inherited = scope.sections.get('headers')?.base as ResolvedHeadersPolicy | undefined
  const base = resolveHeadersPolicy(inherited ?? null, options, 'headers', problems)
  assertNoProblems(problems)

  if (!app.hasReplyDecorator(kNonce)) {
    app.decorateReply(kNonce, null)
    app.decorateReply(kHeadersSet, false)
    app.decorateReply('cspNonce', { getter: readNonce })
  }
  addSection(app, defineSection<HeadersOptions | false, ResolvedHeadersPolicy | false>({
    key: 'headers',
    resolve: resolveHeadersPolicy,
    compile: compileHeaders,
  }), base)
}

function compileHeaders (policy: ResolvedHeadersPolicy | false): readonly PlacedStep[] {
  if (policy === false) return []
  const { plain, secure } = policy.rendered
  const { cacheControl } = policy
  return [
    { hook: 'onRequest', phase: 'headers', run: function setHeaders (request, reply): undefined { applyBlock(request, reply) } },
    {
      hook: 'onSend',
      phase: 'headers-final',
      run: function finishHeaders (request, reply): undefined {
        if (!reply[kHeadersSet]) applyBlock(request, reply)
        if (cacheControl !== false && isPersonal(request, reply)) reply.header('cache-control', cacheControl)
      },
    },
  ]

  /** HSTS for a loopback name would break every other service that a developer runs there (helmet #429). */
  function applyBlock (request: FastifyRequest, reply: FastifyReply): void {
    reply[kHeadersSet] = true
    reply.headers(secure !== plain && request.protocol === 'https' && !isLoopbackName(request.hostname) ? secure : plain)
  }
}

/** An answer that a shared cache must not keep: an error, or anything that a credential went into or came out of. */
function isPersonal (request: FastifyRequest, reply: FastifyReply): boolean {
  const { headers } = request.raw
  return reply.statusCode >= 400 || headers.cookie !== undefined || headers.authorization !== undefined || reply.hasHeader('set-cookie')
}

/** 128 bits, as CSP3, section 7.1 asks at least. */
const createNonce = createRandomSource('base64')

function readNonce (this: FastifyReply): string {
  const known = this[kNonce]
  if (known !== null) return known
  const policy = this.request[kCompiled]?.policy.headers
  const template = policy === undefined || policy === false ? null : policy.rendered.nonceTemplate
  if (template === null) {
    throw new Error(`reply.cspNonce: the CSP of this route has no ${NONCE_SOURCE} source. Use profile 'document', or extend script-src with "${NONCE_SOURCE}".`)
  }
  if (this.raw.headersSent) throw new Error('reply.cspNonce: the headers were sent already. Read it before the first byte of the body.')
  const nonce = createNonce()
  this[kNonce] = nonce
  this.header('content-security-policy', template.join(nonce))
  return nonce
}

export const headers = fp(headersPlugin, { name: 'bulwark-headers', fastify: '5.x' })
export default headers
