import Fastify, { type FastifyInstance } from 'fastify'
import helmet, { type HelmetOptions } from 'helmet'
import { createServer, request as send, type IncomingHttpHeaders, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { headers, type HeadersOptions } from '../../plugins/headers.js'

/** The same wish in both vocabularies; the reference is helmet itself as middleware, run for each request. */
interface Wish { readonly ours: HeadersOptions, readonly theirs: HelmetOptions, readonly nonce?: true }

type DirectiveValue = (string | ((request: IncomingMessage) => string))[]

const policy = (directives: Record<string, DirectiveValue>): HelmetOptions => ({ contentSecurityPolicy: { useDefaults: false, directives: directives } })

/** The reference is told the nonce that our response had. */
const nonce = (request: IncomingMessage): string => `'nonce-${String(request.headers['x-nonce'])}'`

const API = { 'default-src': ["'none'"], 'base-uri': ["'none'"], 'form-action': ["'none'"], 'frame-ancestors': ["'none'"] }
const DOCUMENT: Record<string, DirectiveValue> = {
  'default-src': ["'none'"],
  'script-src': [nonce, "'strict-dynamic'"],
  'style-src': ["'self'", nonce],
  'img-src': ["'self'", 'data:'],
  'font-src': ["'self'"],
  'connect-src': ["'self'"],
  'manifest-src': ["'self'"],
  'object-src': ["'none'"],
  'base-uri': ["'none'"],
  'form-action': ["'self'"],
  'frame-ancestors': ["'none'"],
  'upgrade-insecure-requests': [],
}

const CSP: readonly Wish[] = [
  { ours: {}, theirs: policy(API) },
  { ours: { contentSecurityPolicy: false }, theirs: { contentSecurityPolicy: false } },
  { ours: { contentSecurityPolicy: { directives: { 'default-src': ["'self'", 'https://cdn.example.com'] } } }, theirs: policy({ ...API, 'default-src': ["'self'", 'https://cdn.example.com'] }) },
  { ours: { contentSecurityPolicy: { extend: { 'img-src': ["'self'", 'data:', '*.example.com'] } } }, theirs: policy({ ...API, 'img-src': ["'self'", 'data:', '*.example.com'] }) },
  { ours: { contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': [], sandbox: ['allow-scripts'] } } }, theirs: policy({ ...API, 'upgrade-insecure-requests': [], sandbox: ['allow-scripts'] }) },
  { ours: { contentSecurityPolicy: { extend: { 'form-action': ["'self'"] } } }, theirs: policy({ ...API, 'form-action': ["'self'"] }) },
  { ours: { contentSecurityPolicy: { extend: { 'script-src': ["'nonce'", "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"] } } }, theirs: policy({ ...API, 'script-src': [nonce, "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"] }), nonce: true },
  { ours: { profile: 'document' }, theirs: { ...policy(DOCUMENT) }, nonce: true },
]

const HSTS: readonly Wish[] = [
  { ours: {}, theirs: { strictTransportSecurity: { maxAge: 63_072_000, includeSubDomains: true } } },
  { ours: { strictTransportSecurity: false }, theirs: { strictTransportSecurity: false } },
  { ours: { strictTransportSecurity: { maxAge: 0 } }, theirs: { strictTransportSecurity: { maxAge: 0 } } },
  { ours: { strictTransportSecurity: { maxAge: 60, includeSubDomains: false } }, theirs: { strictTransportSecurity: { maxAge: 60, includeSubDomains: false } } },
  { ours: { strictTransportSecurity: { maxAge: 31_536_000, preload: true } }, theirs: { strictTransportSecurity: { maxAge: 31_536_000, preload: true } } },
]

const FRAMES: readonly Wish[] = [
  { ours: {}, theirs: { xFrameOptions: { action: 'deny' } } },
  { ours: { xFrameOptions: false }, theirs: { xFrameOptions: false } },
  { ours: { xFrameOptions: { action: 'sameorigin' } }, theirs: { xFrameOptions: { action: 'sameorigin' } } },
]

/** The next three take turns over the full product of those above. */
const REFERRERS: readonly Wish[] = [
  { ours: { referrerPolicy: { policy: 'no-referrer' } }, theirs: { referrerPolicy: { policy: 'no-referrer' } } },
  { ours: { referrerPolicy: false }, theirs: { referrerPolicy: false } },
  { ours: { referrerPolicy: { policy: 'same-origin' } }, theirs: { referrerPolicy: { policy: 'same-origin' } } },
  { ours: { referrerPolicy: { policy: ['no-referrer', 'strict-origin'] } }, theirs: { referrerPolicy: { policy: ['no-referrer', 'strict-origin'] } } },
  { ours: { referrerPolicy: { policy: 'unsafe-url' } }, theirs: { referrerPolicy: { policy: 'unsafe-url' } } },
]

const CROSS_ORIGIN: readonly Wish[] = [
  { ours: {}, theirs: { crossOriginResourcePolicy: { policy: 'same-origin' }, crossOriginOpenerPolicy: { policy: 'same-origin' }, crossOriginEmbedderPolicy: false } },
  ...(['same-origin', 'same-site', 'cross-origin'] as const).flatMap((resource) => (['same-origin', 'same-origin-allow-popups', 'unsafe-none'] as const).flatMap((opener) =>
    (['require-corp', 'credentialless', 'unsafe-none'] as const).map((embedder) => {
      const both = { crossOriginResourcePolicy: { policy: resource }, crossOriginOpenerPolicy: { policy: opener }, crossOriginEmbedderPolicy: { policy: embedder } }
      return { ours: both, theirs: both }
    }))),
  ...(['crossOriginResourcePolicy', 'crossOriginOpenerPolicy', 'crossOriginEmbedderPolicy'] as const).map((name) => {
    const others = { crossOriginResourcePolicy: { policy: 'same-site' as const }, crossOriginOpenerPolicy: { policy: 'unsafe-none' as const }, crossOriginEmbedderPolicy: { policy: 'credentialless' as const } }
    return { ours: { ...others, [name]: false }, theirs: { ...others, [name]: false } }
  }),
]

const SWITCHES: readonly Wish[] = [
  { ours: {}, theirs: {} },
  { ours: { xContentTypeOptions: false }, theirs: { xContentTypeOptions: false } },
  { ours: { originAgentCluster: false }, theirs: { originAgentCluster: false } },
  { ours: { originAgentCluster: false, xContentTypeOptions: false }, theirs: { originAgentCluster: false, xContentTypeOptions: false } },
]

/** What the suite leaves out on purpose: a header for Internet Explorer, and one that only removes another. */
const LEFT_OUT = { xDownloadOptions: false, xPoweredBy: false } as const

function grid (): Wish[] {
  const wishes: Wish[] = []
  for (const csp of CSP) {
    for (const hsts of HSTS) {
      for (const frame of FRAMES) {
        for (let turn = 0; turn < 3; turn++) {
          const at = wishes.length
          const parts = [csp, hsts, frame, cycle(REFERRERS, at), cycle(CROSS_ORIGIN, at), cycle(SWITCHES, at)]
          wishes.push({
            ours: Object.assign({}, ...parts.map(({ ours }) => ours)) as HeadersOptions,
            theirs: Object.assign({}, LEFT_OUT, ...parts.map(({ theirs }) => theirs)) as HelmetOptions,
            ...(csp.nonce === true && { nonce: true }),
          })
        }
      }
    }
  }
  return wishes
}

function cycle (list: readonly Wish[], at: number): Wish {
  return list[at % list.length] as Wish
}

const NOT_COMPARED = new Set(['permissions-policy', 'content-type', 'content-length', 'connection', 'date', 'keep-alive', 'transfer-encoding'])

function compared (sent: IncomingHttpHeaders | Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(sent).filter(([name]) => !NOT_COMPARED.has(name)).sort(([a], [b]) => a < b ? -1 : 1))
}

async function reference (t: Test, wishes: readonly Wish[]): Promise<(at: number, nonce: string) => Promise<IncomingHttpHeaders>> {
  const middlewares = wishes.map(({ theirs }) => helmet(theirs))
  const server: Server = createServer((request, response) => {
    middlewares[Number(request.headers['x-case'])]?.(request, response, (error?: unknown) => { response.statusCode = error === undefined ? 200 : 500; response.end() })
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const { port } = server.address() as AddressInfo
  return (at, own) => new Promise((resolve, reject) => {
    send({ port, host: '127.0.0.1', headers: { 'x-case': String(at), 'x-nonce': own } }, (response) => {
      response.resume()
      if (response.statusCode === 200) resolve(response.headers)
      else reject(new Error(`the reference failed on case ${at}`))
    }).on('error', reject).end()
  })
}

async function suite (t: Test, wishes: readonly Wish[]): Promise<FastifyInstance> {
  const app = Fastify({ trustProxy: ['127.0.0.1'] })
  t.teardown(() => app.close())
  await app.register(headers)
  for (const [at, { ours, nonce }] of wishes.entries()) {
    app.get(`/${at}`, { security: { headers: ours } }, async (_request, reply) => reply.send(nonce === true ? reply.cspNonce : ''))
  }
  return app
}

test('over a grid of options the compiled headers are those that helmet sends', async (t) => {
  const wishes = grid()
  t.ok(wishes.length >= 200, `${wishes.length} combinations`)
  t.ok(new Set(wishes.map(({ ours }) => JSON.stringify(ours))).size > 300, 'most of them distinct')
  const app = await suite(t, wishes)
  const fromHelmet = await reference(t, wishes)
  for (const [at, { ours }] of wishes.entries()) {
    const res = await app.inject({ url: `/${at}`, headers: { host: 'www.example.com', 'x-forwarded-proto': 'https' } })
    t.strictSame(compared(res.headers), compared(await fromHelmet(at, res.body)), JSON.stringify(ours))
  }
})
