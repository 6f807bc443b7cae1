import type { FastifyInstance, FastifyReply } from 'fastify'
import type { HelmetOptions } from 'helmet'
import { test, type Test } from 'tap'
import { createServer, defineSecurity } from '../../index.js'
import { headers } from '../../plugins/headers.js'
import { BASE, compared, instance, official, OVER_HTTPS } from '../helpers/differential.js'
import { assertHeaders } from '../helpers/headers.js'

const fastifyHelmet = official('@fastify/helmet')

interface Case { readonly ours: HelmetOptions | undefined, readonly theirs?: HelmetOptions }

/** The same options for both, but where helmet takes an option under one of its two names only. */
const CASES: readonly Case[] = [
  { ours: undefined },
  { ours: {} },
  { ours: { xFrameOptions: { action: 'sameorigin' } } },
  { ours: { frameguard: { action: 'sameorigin' } }, theirs: { xFrameOptions: { action: 'sameorigin' } } },
  { ours: { xFrameOptions: false } },
  { ours: { hsts: { maxAge: 60 } }, theirs: { strictTransportSecurity: { maxAge: 60 } } },
  { ours: { strictTransportSecurity: { maxAge: 60, includeSubDomains: false } } },
  { ours: { referrerPolicy: { policy: 'same-origin' } } },
  { ours: { referrerPolicy: true, crossOriginEmbedderPolicy: true } },
  { ours: { crossOriginResourcePolicy: { policy: 'cross-origin' }, crossOriginOpenerPolicy: false } },
  { ours: { ieNoOpen: true }, theirs: { xDownloadOptions: true } },
  { ours: { noSniff: false, xssFilter: true }, theirs: { xContentTypeOptions: false, xXssProtection: true } },
  { ours: { dnsPrefetchControl: { allow: true } }, theirs: { xDnsPrefetchControl: { allow: true } } },
  { ours: { contentSecurityPolicy: { directives: { 'img-src': ["'self'", 'data:'] } } } },
  { ours: { contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'self'"] } } } },
  { ours: { contentSecurityPolicy: { useDefaults: false, reportOnly: true, directives: { defaultSrc: ["'self'"] } } } },
  { ours: { contentSecurityPolicy: true } },
  { ours: { contentSecurityPolicy: false } },
]

async function answer (app: FastifyInstance, request: object = { url: '/', headers: OVER_HTTPS }): Promise<unknown> {
  const response = await app.inject(request)
  return { status: response.statusCode, headers: compared(response.headers) }
}

for (const isOff of [false, true]) {
  test(`sets what @fastify/helmet sets${isOff ? ', on a route without headers of its own' : ''}`, async (t) => {
    for (const { ours, theirs = ours } of CASES) {
      const [own, other] = [instance(t), instance(t)]
      await own.register(headers)
      own.get('/', isOff ? { security: { headers: false } } : {}, async (_request, reply) => {
        reply.helmet(ours)
        return reply.send('')
      })
      await other.register(fastifyHelmet, BASE)
      other.route({
        method: 'GET',
        url: '/',
        ...(isOff && { helmet: false }),
        handler: async (_request, reply) => {
          reply.helmet(theirs)
          return reply.send('')
        },
      })
      t.strictSame(await answer(own), await answer(other), JSON.stringify(ours))
    }
  })
}

async function serve (t: Test, handler: (reply: FastifyReply) => unknown): Promise<FastifyInstance> {
  const app = instance(t)
  await app.register(headers, { profile: 'document' })
  app.get('/', async (_request, reply) => reply.send(handler(reply)))
  return app
}

test('a value that its header cannot carry is an error of the handler, as there', async (t) => {
  const wrong = { xFrameOptions: { action: 'nonsense' } } as unknown as HelmetOptions
  const other = instance(t)
  await other.register(fastifyHelmet, BASE)
  other.get('/', async (_request, reply) => { reply.helmet(wrong); return '' })
  t.equal((await other.inject('/')).statusCode, 500)
  t.equal((await (await serve(t, (reply) => { reply.helmet(wrong) })).inject('/')).statusCode, 500)
})

test('over plain HTTP there is no Strict-Transport-Security', async (t) => {
  const app = await serve(t, (reply) => {
    reply.helmet({ hsts: { maxAge: 60 }, frameguard: { action: 'sameorigin' } })
  })
  assertHeaders(t, (await app.inject('/')).headers, {
    'strict-transport-security': null,
    'x-frame-options': 'SAMEORIGIN',
  })
})

test('a policy of its own is not replaced by the nonce of the route', async (t) => {
  const own = { contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'self'"] } } }
  const app = await serve(t, (reply) => {
    reply.helmet(own)
    t.throws(() => reply.cspNonce, /no 'nonce' source/)
    return ''
  })
  assertHeaders(t, (await app.inject('/')).headers, { 'content-security-policy': "default-src 'self'" })
  const other = await serve(t, (reply) => {
    const nonce = reply.cspNonce
    reply.helmet({ frameguard: { action: 'sameorigin' } })
    return nonce
  })
  const { headers: sent, body } = await other.inject('/')
  t.match(sent['content-security-policy'], `'nonce-${body}'`)
  assertHeaders(t, sent, { 'x-frame-options': 'SAMEORIGIN' })
})

test('works on a server of the suite, in every scope, and leaves the other requests alone', async (t) => {
  const app = await createServer(defineSecurity({}), { logger: false })
  t.teardown(() => app.close())
  app.get('/', async (request, reply) => {
    if (request.headers['x-own'] !== undefined) reply.helmet({ xFrameOptions: { action: 'sameorigin' } })
    return 'x'
  })
  await app.secureScope({ prefix: '/framed', headers: { xFrameOptions: { action: 'sameorigin' } } }, async (scope) => {
    scope.get('/off', { security: { headers: false } }, async (_request, reply) => { reply.helmet(); return 'x' })
  })
  const frames = async (url: string, own = {}): Promise<unknown> =>
    (await app.inject({ url, headers: own })).headers['x-frame-options']
  t.equal(await frames('/'), 'DENY')
  t.equal(await frames('/', { 'x-own': '1' }), 'SAMEORIGIN')
  t.equal(await frames('/'), 'DENY')
  t.equal(await frames('/framed/off'), 'SAMEORIGIN', 'the policy of the scope')
})
