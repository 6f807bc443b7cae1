import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import type { HelmetOptions } from 'helmet'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import type { Test } from 'tap'
import type { HeadersOptions } from '../../plugins/headers.js'

/**
 * An official plugin, to be compared with. Not imported: its types declare members on Fastify's interfaces that every
 * other file of this program would then have to live with (`reply.cspNonce` as an object).
 */
export function official (name: '@fastify/helmet' | '@fastify/cors' | '@fastify/env'): FastifyPluginAsync<object> {
  return createRequire(import.meta.url)(name) as FastifyPluginAsync<object>
}

/** An instance that closes with the test; requests come from a declared proxy, so that a header tells the scheme. */
export function instance (t: Test): FastifyInstance {
  const app = Fastify({ trustProxy: ['127.0.0.1'] })
  t.teardown(() => app.close())
  return app
}

/** A request that came over HTTPS to a name that is no loopback name. */
export const OVER_HTTPS = Object.freeze({ host: 'www.example.com', 'x-forwarded-proto': 'https' })

type Headers = IncomingHttpHeaders | Readonly<Record<string, unknown>>

/** What only the transport decides, and what only one of the two knows. */
const NOT_COMPARED: ReadonlySet<string> = new Set([
  'permissions-policy',
  'content-type',
  'content-length',
  'connection',
  'date',
  'keep-alive',
  'transfer-encoding',
])

export function compared (sent: Headers): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(sent).filter(([name]) => !NOT_COMPARED.has(name)).sort(([a], [b]) => a < b ? -1 : 1),
  )
}

/** The same wish in both vocabularies. */
export interface Wish { readonly ours: HeadersOptions, readonly theirs: HelmetOptions, readonly nonce?: true }

type DirectiveValue = (string | ((request: IncomingMessage) => string))[]

const policy = (directives: Record<string, DirectiveValue>): HelmetOptions => ({
  contentSecurityPolicy: { useDefaults: false, directives: directives },
})

/** The reference is told the nonce that our response had. */
const nonce = (request: IncomingMessage): string => `'nonce-${String(request.headers['x-nonce'])}'`

const API = {
  'default-src': ["'none'"],
  'base-uri': ["'none'"],
  'form-action': ["'none'"],
  'frame-ancestors': ["'none'"],
}
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
const HASH = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"

const CSP: readonly Wish[] = [
  { ours: {}, theirs: policy(API) },
  { ours: { contentSecurityPolicy: false }, theirs: { contentSecurityPolicy: false } },
  {
    ours: { contentSecurityPolicy: { directives: { 'default-src': ["'self'", 'https://cdn.example.com'] } } },
    theirs: policy({ ...API, 'default-src': ["'self'", 'https://cdn.example.com'] }),
  },
  {
    ours: { contentSecurityPolicy: { extend: { 'img-src': ["'self'", 'data:', '*.example.com'] } } },
    theirs: policy({ ...API, 'img-src': ["'self'", 'data:', '*.example.com'] }),
  },
  {
    ours: { contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': [], sandbox: ['allow-scripts'] } } },
    theirs: policy({ ...API, 'upgrade-insecure-requests': [], sandbox: ['allow-scripts'] }),
  },
  {
    ours: { contentSecurityPolicy: { extend: { 'form-action': ["'self'"] } } },
    theirs: policy({ ...API, 'form-action': ["'self'"] }),
  },
  {
    ours: { contentSecurityPolicy: { extend: { 'script-src': ["'nonce'", HASH] } } },
    theirs: policy({ ...API, 'script-src': [nonce, HASH] }),
    nonce: true,
  },
  { ours: { profile: 'document' }, theirs: policy(DOCUMENT), nonce: true },
]

const HSTS: readonly Wish[] = [
  { ours: {}, theirs: { strictTransportSecurity: { maxAge: 63_072_000, includeSubDomains: true } } },
  { ours: { strictTransportSecurity: false }, theirs: { strictTransportSecurity: false } },
  { ours: { strictTransportSecurity: { maxAge: 0 } }, theirs: { strictTransportSecurity: { maxAge: 0 } } },
  {
    ours: { strictTransportSecurity: { maxAge: 60, includeSubDomains: false } },
    theirs: { strictTransportSecurity: { maxAge: 60, includeSubDomains: false } },
  },
  {
    ours: { strictTransportSecurity: { maxAge: 31_536_000, preload: true } },
    theirs: { strictTransportSecurity: { maxAge: 31_536_000, preload: true } },
  },
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
  {
    ours: { referrerPolicy: { policy: ['no-referrer', 'strict-origin'] } },
    theirs: { referrerPolicy: { policy: ['no-referrer', 'strict-origin'] } },
  },
  { ours: { referrerPolicy: { policy: 'unsafe-url' } }, theirs: { referrerPolicy: { policy: 'unsafe-url' } } },
]

const RESOURCE = ['same-origin', 'same-site', 'cross-origin'] as const
const OPENER = ['same-origin', 'same-origin-allow-popups', 'unsafe-none'] as const
const EMBEDDER = ['require-corp', 'credentialless', 'unsafe-none'] as const

const CROSS_ORIGIN: readonly Wish[] = [
  {
    ours: {},
    theirs: {
      crossOriginResourcePolicy: { policy: 'same-origin' },
      crossOriginOpenerPolicy: { policy: 'same-origin' },
      crossOriginEmbedderPolicy: false,
    },
  },
  ...RESOURCE.flatMap((resource) =>
    OPENER.flatMap((opener) =>
      EMBEDDER.map((embedder) => {
        const both = {
          crossOriginResourcePolicy: { policy: resource },
          crossOriginOpenerPolicy: { policy: opener },
          crossOriginEmbedderPolicy: { policy: embedder },
        }
        return { ours: both, theirs: both }
      })
    )
  ),
  ...(['crossOriginResourcePolicy', 'crossOriginOpenerPolicy', 'crossOriginEmbedderPolicy'] as const).map((name) => {
    const others = {
      crossOriginResourcePolicy: { policy: 'same-site' as const },
      crossOriginOpenerPolicy: { policy: 'unsafe-none' as const },
      crossOriginEmbedderPolicy: { policy: 'credentialless' as const },
    }
    return { ours: { ...others, [name]: false }, theirs: { ...others, [name]: false } }
  }),
]

const SWITCHES: readonly Wish[] = [
  { ours: {}, theirs: {} },
  { ours: { xContentTypeOptions: false }, theirs: { xContentTypeOptions: false } },
  { ours: { originAgentCluster: false }, theirs: { originAgentCluster: false } },
  {
    ours: { xDnsPrefetchControl: false, xPermittedCrossDomainPolicies: false, xXssProtection: false },
    theirs: { xDnsPrefetchControl: false, xPermittedCrossDomainPolicies: false, xXssProtection: false },
  },
  {
    ours: { originAgentCluster: false, xContentTypeOptions: false },
    theirs: { originAgentCluster: false, xContentTypeOptions: false },
  },
]

/** What the suite leaves out on purpose: a header for Internet Explorer, and one that only removes another. */
const LEFT_OUT = { xDownloadOptions: false, xPoweredBy: false } as const

/** The defaults of the suite, in helmet's words. */
export const BASE = Object.assign(
  {},
  LEFT_OUT,
  ...[CSP, HSTS, FRAMES, REFERRERS, CROSS_ORIGIN].map(([first]) => first?.theirs),
) as HelmetOptions

/** BASE, changed. As plain objects: helmet's type is a union of thousands, and of two of them takes half a minute. */
export function overBase (theirs: object): object {
  return { ...BASE as object, ...theirs }
}

/** 360 combinations of what both know. */
export function grid (): Wish[] {
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

/** One header changed at a time, over everything that the grid knows. */
export function single (): Wish[] {
  return [...CSP, ...HSTS, ...FRAMES, ...REFERRERS, ...CROSS_ORIGIN, ...SWITCHES]
}

function cycle (list: readonly Wish[], at: number): Wish {
  return list[at % list.length] as Wish
}
