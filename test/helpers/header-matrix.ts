import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import { Readable } from 'node:stream'
import type { Test } from 'tap'
import { bulwark, defineSecurity, publicRoute, SecurityError, serverOptions, Type,
  type RouteSecurityOptions } from '../../index.js'

/** Written from docs and DEFAULTS.md, not from the code: every header of the suite that a cell may carry. */
export type Block = Readonly<Record<string, string>>
export type Profile = 'api' | 'document'

const COMMON: Block = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'origin-agent-cluster': '?1',
  'x-dns-prefetch-control': 'off',
  'x-permitted-cross-domain-policies': 'none',
  'x-xss-protection': '0',
  'permissions-policy':
    'accelerometer autoplay camera clipboard-read clipboard-write cross-origin-isolated display-capture encrypted-media fullscreen gamepad geolocation gyroscope hid idle-detection keyboard-map magnetometer microphone midi payment picture-in-picture publickey-credentials-get screen-wake-lock serial sync-xhr usb window-management xr-spatial-tracking',
}

export const PROFILES: Readonly<Record<Profile, Block>> = {
  api: {
    ...COMMON,
    'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'referrer-policy': 'no-referrer',
  },
  document: {
    ...COMMON,
    'content-security-policy':
      "default-src 'none'; script-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    'referrer-policy': 'strict-origin-when-cross-origin',
  },
}

const HSTS = 'max-age=63072000; includeSubDomains'

const NAMES: ReadonlySet<string> = new Set([
  ...Object.keys(PROFILES.api),
  'strict-transport-security',
  'cross-origin-embedder-policy',
  'content-security-policy-report-only',
  'reporting-endpoints',
])

export type Headers = Readonly<Record<string, string | number | string[] | undefined>>

/** The suite's headers of an answer, in the table's spelling. */
export function blockOf (sent: Headers): Block {
  const block: Record<string, string> = {}
  for (const [name, value] of Object.entries(sent)) {
    if (!NAMES.has(name)) continue
    const text = String(value)
    block[name] = name === 'content-security-policy' ?
      text.split(';').join('; ')
      : name === 'permissions-policy' ?
      text.split(', ').map((feature) => feature.replace(/=\(\)$/, '')).sort().join(' ')
      : text
  }
  return block
}

export const sorted = (block: Block): Block =>
  Object.fromEntries(Object.entries(block).sort(([a], [b]) => a < b ? -1 : 1))

export const APP = 'https://app.example.com'
const HOST = 'www.example.com'
export const SAME = { host: HOST, 'sec-fetch-site': 'same-origin' }

/**
 * Whose block an answer carries: the route's, its scope's (answered before the route's policy was looked up) or the
 * root's (no route).
 */
export type Whose = 'route' | 'scope' | 'root'

export interface Kind {
  readonly name: string
  readonly status: number
  readonly request: InjectOptions & { readonly url: string }
  readonly whose?: Whose
  readonly signedIn?: true
}

const json = { 'content-type': 'application/json' }
const preflight = (method: string, origin = APP): Kind['request'] => ({
  method: 'OPTIONS',
  url: '/json',
  headers: { origin, 'access-control-request-method': method },
})

export const KINDS: readonly Kind[] = [
  { name: '200 JSON', status: 200, request: { url: '/json' } },
  { name: '200 HTML', status: 200, request: { url: '/html' } },
  { name: '200 that drops disclosure', status: 200, request: { url: '/disclosing' } },
  { name: '201', status: 201, request: { method: 'POST', url: '/created', payload: {} } },
  { name: '204', status: 204, request: { url: '/empty' } },
  { name: '304', status: 304, request: { url: '/unchanged' } },
  { name: '302', status: 302, request: { url: '/redirect' } },
  { name: 'a stream', status: 200, request: { url: '/stream' } },
  { name: 'an async generator', status: 200, request: { url: '/generator' } },
  { name: 'a web stream', status: 200, request: { url: '/web-stream' } },
  { name: 'a Buffer', status: 200, request: { url: '/buffer' } },
  { name: 'the automatic HEAD', status: 200, request: { method: 'HEAD', url: '/json' } },
  { name: '400 of validation', status: 400, request: { method: 'POST', url: '/valid', payload: { name: 5 } } },
  {
    name: '400 of malformed JSON',
    status: 400,
    request: { method: 'POST', url: '/valid', payload: '{', headers: json },
  },
  { name: '401', status: 401, request: { url: '/private' } },
  { name: '403 of a role', status: 403, request: { url: '/admin' }, signedIn: true },
  {
    name: '403 of CSRF',
    status: 403,
    request: {
      method: 'POST',
      url: '/created',
      payload: {},
      headers: { cookie: 'a=b', 'sec-fetch-site': 'cross-site' },
    },
  },
  {
    name: '403 of an upgrade',
    status: 403,
    request: {
      url: '/json',
      headers: {
        cookie: 'a=b',
        origin: 'https://evil.example',
        upgrade: 'websocket',
        connection: 'upgrade',
        'sec-fetch-site': 'cross-site',
      },
    },
  },
  { name: '404 of an unknown path', status: 404, request: { url: '/nope' }, whose: 'root' },
  { name: '404 thrown', status: 404, request: { url: '/gone' } },
  { name: '404 by callNotFound', status: 404, request: { url: '/not-found' } },
  { name: '405', status: 405, request: { method: 'PROPFIND', url: '/json' }, whose: 'root' },
  { name: '413', status: 413, request: { method: 'POST', url: '/valid', payload: { name: 'a'.repeat(2000) } } },
  {
    name: '415',
    status: 415,
    request: { method: 'POST', url: '/valid', payload: '<x/>', headers: { 'content-type': 'text/xml' } },
  },
  { name: '421', status: 421, request: { url: '/json', headers: { host: 'evil.example' } } },
  { name: '429', status: 429, request: { url: '/once' } },
  { name: '500 thrown', status: 500, request: { url: '/fails' } },
  { name: '500 of the serializer', status: 500, request: { url: '/unserializable' } },
  { name: '503 of a slow handler', status: 503, request: { url: '/slow' } },
  { name: 'a granted preflight', status: 204, request: preflight('GET'), whose: 'root' },
  { name: 'a refused preflight', status: 403, request: preflight('GET', 'https://evil.example'), whose: 'root' },
  { name: 'a preflight of a method that is not there', status: 405, request: preflight('PATCH'), whose: 'root' },
  { name: 'a hijacked reply', status: 200, request: { url: '/hijacked' } },
  {
    name: "an answer of an app's hook before the suite",
    status: 503,
    request: { url: '/json', headers: { 'x-answer': 'before' } },
    whose: 'scope',
  },
  {
    name: "an answer of an app's hook after the suite",
    status: 503,
    request: { url: '/json', headers: { 'x-answer': 'after' } },
  },
  { name: 'an answer of a preHandler', status: 503, request: { url: '/json', headers: { 'x-answer': 'late' } } },
]

type Options = NonNullable<RouteSecurityOptions['headers']>

function declare (app: FastifyInstance, prefix: string, own?: Options | false): void {
  const headers = own === undefined ? {} : { headers: own }
  const open = { security: { auth: publicRoute('a route of the test'), ...headers } }
  app.get(`${prefix}/json`, open, async () => ({ ok: true }))
  app.get(`${prefix}/html`, open, async (request, reply) => {
    const security = request.routeOptions.config.security?.headers
    return reply.type('text/html').send(
      security !== undefined && security !== false && security.profile === 'document'
        ? `<script nonce="${reply.cspNonce}">`
        : '<p>',
    )
  })
  app.get(
    `${prefix}/disclosing`,
    open,
    async (_request, reply) => reply.headers({ server: 'apache', 'x-powered-by': 'php' }).send('x'),
  )
  app.post(
    `${prefix}/created`,
    { ...open, schema: { body: Type.Object({}) } },
    async (_request, reply) => reply.code(201).send({}),
  )
  app.get(`${prefix}/empty`, open, async (_request, reply) => reply.code(204).send())
  app.get(`${prefix}/unchanged`, open, async (_request, reply) => reply.code(304).send())
  app.get(`${prefix}/redirect`, open, async (_request, reply) => reply.redirect('/elsewhere'))
  app.get(
    `${prefix}/stream`,
    open,
    async (_request, reply) => reply.type('text/plain').send(Readable.from(['one', 'two'])),
  )
  app.get(
    `${prefix}/generator`,
    open,
    async (_request, reply) =>
      reply.type('text/plain').send(Readable.from((async function* () {
        yield 'one'
      })())),
  )
  app.get(
    `${prefix}/web-stream`,
    open,
    async (_request, reply) => reply.type('text/plain').send(new Response('one').body),
  )
  app.get(`${prefix}/buffer`, open, async (_request, reply) => reply.send(Buffer.from('one')))
  app.post(`${prefix}/valid`, { ...open, schema: { body: Type.Object({ name: Type.String() }) } }, async () => 1)
  app.get(`${prefix}/private`, { security: headers }, async () => 1)
  app.get(`${prefix}/admin`, { security: { auth: { roles: ['admin'] }, ...headers } }, async () => 1)
  app.get(`${prefix}/gone`, open, async () => { throw new SecurityError('NOT_FOUND') })
  app.get(`${prefix}/not-found`, open, (_request, reply) => { reply.callNotFound() })
  app.get(`${prefix}/once`, { security: { ...open.security, rateLimit: ['once'] } }, async () => 1)
  app.get(`${prefix}/fails`, open, async () => {
    throw new Error('a secret cause')
  })
  app.get(
    `${prefix}/unserializable`,
    { ...open, schema: { response: { 200: Type.Object({ n: Type.Integer() }) } } },
    (_request, reply) => reply.send({}),
  )
  app.get(`${prefix}/slow`, { ...open, handlerTimeout: 20 }, () => new Promise(() => {}))
  app.get(`${prefix}/hijacked`, open, (_request, reply) => { reply.hijack().raw.end('x') })
}

export interface Place {
  readonly name: string
  readonly url: string
  /** The block of the scope, and of the route where that differs. */
  readonly scope: (root: Block) => Block
  readonly route?: (root: Block) => Block
}

const without = (block: Block, ...names: string[]): Block =>
  Object.fromEntries(Object.entries(block).filter(([name]) => !names.includes(name)))
const DROPPED = (root: Block): Block => without(root, 'x-frame-options', 'referrer-policy')
const TIGHT = {
  crossOriginEmbedderPolicy: { policy: 'require-corp' },
  referrerPolicy: { policy: 'no-referrer' },
  contentSecurityPolicy: { directives: { sandbox: [] } },
} satisfies Options
const tightened = (block: Block): Block => ({
  ...block,
  'cross-origin-embedder-policy': 'require-corp',
  'referrer-policy': 'no-referrer',
  'content-security-policy': `${block['content-security-policy'] ?? ''}; sandbox`,
})

export function places (profile: Profile): Place[] {
  const other = PROFILES[profile === 'api' ? 'document' : 'api']
  return [
    { name: 'root', url: '/early', scope: (root) => root },
    { name: 'a scope of the other profile', url: '/switched', scope: () => other },
    { name: 'a scope that drops headers', url: '/dropped', scope: DROPPED },
    {
      name: 'a scope inside it',
      url: '/dropped/deep',
      scope: (root) => ({ ...DROPPED(root), 'cross-origin-resource-policy': 'cross-origin' }),
    },
    { name: 'a scope that is tightened', url: '/tight', scope: tightened },
    { name: 'a scope without a prefix', url: '/bare', scope: (root) => ({ ...root, 'x-frame-options': 'SAMEORIGIN' }) },
    {
      name: 'routes that override',
      url: '/own',
      scope: (root) => root,
      route: (root) => ({
        ...without(root, 'origin-agent-cluster'),
        'cross-origin-opener-policy': 'same-origin-allow-popups',
      }),
    },
    { name: 'routes that turn it off', url: '/off', scope: (root) => root, route: () => ({}) },
    { name: 'root, declared after the scopes', url: '/late', scope: (root) => root },
  ]
}

export async function build (t: Test, profile: Profile): Promise<{ app: FastifyInstance, token: string }> {
  const definition = defineSecurity({
    profile,
    env: {
      schema: Type.Object({
        JWT_ACCESS_SECRET: Type.String({ secret: true, generate: true }),
        JWT_REFRESH_SECRET: Type.String({ secret: true, generate: true }),
      }),
      source: {},
    },
    transport: { hosts: [HOST], proxies: ['127.0.0.1'], https: 'off' },
    cors: { origin: [APP] },
    rateLimit: {
      policies: { once: { limit: 1, window: '1h', by: 'ip' }, global: { limit: 1_000_000, window: '1h', by: 'ip' } },
    },
    auth: {
      roles: ['user', 'admin'],
      authenticate: async ({ email }) => ({ id: email, roles: ['user'] }),
      loadUser: async (id) => ({ id, roles: ['user'] }),
    },
  })
  const app = Fastify({ ...serverOptions(definition, { logger: false, bodyLimit: 1024 }) })
  t.teardown(() => app.close())
  const answer =
    (when: string) =>
    async (
      request: { headers: Headers },
      reply: { code(status: number): { send(body: string): unknown } },
    ): Promise<unknown> => request.headers['x-answer'] === when ? reply.code(503).send('closed') : undefined
  app.addHook('onRequest', answer('before'))
  await app.register(bulwark, definition)
  app.addHook('onRequest', answer('after'))
  app.addHook('preHandler', answer('late'))
  declare(app, '/early')
  await app.secureScope({ prefix: '/switched', headers: { profile: profile === 'api' ? 'document' : 'api' } }, (scope) => { declare(scope, '') })
  await app.secureScope({ prefix: '/dropped', headers: { xFrameOptions: false, referrerPolicy: false } }, async (scope) => {
    declare(scope, '')
    await scope.secureScope({ prefix: '/deep', headers: { crossOriginResourcePolicy: { policy: 'cross-origin' } } }, (deep) => { declare(deep, '') })
  })
  await app.secureScope({ prefix: '/tight', headers: TIGHT }, (scope) => { declare(scope, '') })
  await app.secureScope({ headers: { xFrameOptions: { action: 'sameorigin' } } }, (scope) => { declare(scope, '/bare') })
  declare(app, '/own', { originAgentCluster: false, crossOriginOpenerPolicy: { policy: 'same-origin-allow-popups' } })
  declare(app, '/off', false)
  declare(app, '/late')
  const login = await app.inject({
    method: 'POST',
    url: '/auth/login',
    payload: { email: 'ada@example.com', password: 'right' },
    headers: SAME,
  })
  await app.inject({ url: '/early/once', headers: SAME })
  return { app, token: login.cookies.map(({ name, value }) => `${name}=${value}`).join('; ') }
}

/** A nonce of 144 bits, taken out of the policy so that the rest can be compared. */
export function takeNonce (block: Block, body: string): { block: Block, nonce: string | undefined } {
  const nonce = /<script nonce="([A-Za-z0-9+/]{24})">/.exec(body)?.[1]
  const csp = block['content-security-policy']
  if (nonce === undefined || csp === undefined) return { block, nonce }
  return {
    block: {
      ...block,
      'content-security-policy': csp.replace(`script-src 'nonce-${nonce}' 'strict-dynamic'`, "script-src 'none'")
        .replace(`style-src 'self' 'nonce-${nonce}'`, "style-src 'self'"),
    },
    nonce,
  }
}

/** In the document profile plain HTTP resources are upgraded, where the page itself is no plain HTTP. */
export function inScheme (block: Block, isSecure: boolean): Block {
  const csp = block['content-security-policy']
  if (!isSecure || csp === undefined) return block
  const upgraded = !csp.includes('script-src')
    ? csp
    : csp.endsWith('; sandbox')
    ? csp.replace(/; sandbox$/, '; upgrade-insecure-requests; sandbox')
    : `${csp}; upgrade-insecure-requests`
  return { ...block, 'strict-transport-security': HSTS, 'content-security-policy': upgraded }
}
