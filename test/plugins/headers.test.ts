import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { headers, type HeadersOptions } from '../../plugins/headers.js'
import type { RouteSecurityOptions } from '../../lib/policy/types.js'
import { API_HEADERS, assertHeaders } from '../helpers/headers.js'

async function build (t: Test, options: HeadersOptions = {}, trustProxy = false): Promise<FastifyInstance> {
  const app = Fastify({ trustProxy: trustProxy ? ['127.0.0.1'] : false })
  t.teardown(() => app.close())
  await app.register(headers, options)
  return app
}

const secure = { 'x-forwarded-proto': 'https' }

test('the api profile sends its whole block on 200, 404, HEAD and 500', async (t) => {
  const app = await build(t)
  app.get('/', async () => ({ ok: true }))
  app.get('/fails', async () => {
    throw new Error('secret')
  })
  for (
    const [method, url, status] of [['GET', '/', 200], ['HEAD', '/', 200], ['GET', '/nope', 404], [
      'GET',
      '/fails',
      500,
    ]] as const
  ) {
    const res = await app.inject({ method, url })
    t.equal(res.statusCode, status)
    assertHeaders(t, res.headers, API_HEADERS)
  }
})

test('HSTS goes out over HTTPS only, and never for a loopback name', async (t) => {
  const app = await build(t, {}, true)
  app.get('/', async () => 1)
  const get = async (host: string, proto: string): Promise<string | undefined> =>
    (await app.inject({ url: '/', headers: { host, 'x-forwarded-proto': proto } })).headers['strict-transport-security']
  t.equal(await get('api.example.com', 'https'), 'max-age=63072000; includeSubDomains')
  t.equal(await get('api.example.com', 'http'), undefined)
  for (const host of ['localhost', 'localhost:3000', 'app.localhost', '127.0.0.1:3000', '[::1]:3000']) {
    t.equal(await get(host, 'https'), undefined, host)
  }
})

test('the document profile has a CSP whose nonce appears only once it was read', async (t) => {
  const app = await build(t, { profile: 'document' })
  app.get('/page', async (_request, reply) => reply.cspNonce)
  app.get('/data', async () => 1)
  const page = await app.inject('/page')
  const again = await app.inject('/page')
  t.match(page.body, /^[A-Za-z0-9+/]{24}$/)
  t.not(page.body, again.body)
  t.ok(
    page.headers['content-security-policy']?.toString().includes(
      `script-src 'nonce-${page.body}' 'strict-dynamic';style-src 'self' 'nonce-${page.body}'`,
    ),
  )
  assertHeaders(t, (await app.inject('/data')).headers, {
    'content-security-policy': /script-src 'none';style-src 'self';/,
  })
})

test('reading the nonce twice gives the same one', async (t) => {
  const app = await build(t, { profile: 'document' })
  app.get('/', async (_request, reply) => ({ same: reply.cspNonce === reply.cspNonce }))
  t.same((await app.inject('/')).json(), { same: true })
})

test('reading the nonce under a policy without one says how to get one', async (t) => {
  const app = await build(t)
  app.get('/', async (_request, reply) => {
    t.throws(() => reply.cspNonce, { message: /profile 'document'/ })
    return 1
  })
  await app.inject('/')
})

test('a route replaces, extends, loosens and drops single headers and keeps the others', async (t) => {
  const app = await build(t)
  const table: [string, RouteSecurityOptions['headers'] & object, Record<string, string | RegExp | null>][] = [
    ['/replace', { contentSecurityPolicy: { directives: { 'frame-ancestors': ["'self'"] } } }, {
      'content-security-policy': "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'self'",
    }],
    ['/extend', { contentSecurityPolicy: { extend: { 'img-src': ['https://cdn.example.com'] } } }, {
      'content-security-policy': /default-src 'none';.*img-src https:\/\/cdn\.example\.com/,
    }],
    ['/drop-directive', { contentSecurityPolicy: { directives: { 'form-action': false } } }, {
      'content-security-policy': "default-src 'none';base-uri 'none';frame-ancestors 'none'",
    }],
    ['/drop-csp', { contentSecurityPolicy: false }, { 'content-security-policy': null, 'x-frame-options': 'DENY' }],
    ['/frame', { xFrameOptions: { action: 'sameorigin' } }, {
      'x-frame-options': 'SAMEORIGIN',
      'referrer-policy': 'no-referrer',
    }],
    ['/no-frame', { xFrameOptions: false }, { 'x-frame-options': null }],
    ['/corp', { crossOriginResourcePolicy: { policy: 'cross-origin' } }, {
      'cross-origin-resource-policy': 'cross-origin',
    }],
    ['/coep', { crossOriginEmbedderPolicy: { policy: 'require-corp' } }, {
      'cross-origin-embedder-policy': 'require-corp',
    }],
    ['/referrer', { referrerPolicy: { policy: ['no-referrer', 'same-origin'] } }, {
      'referrer-policy': 'no-referrer,same-origin',
    }],
    ['/camera', { permissionsPolicy: { camera: ['self', 'https://a.example'] } }, {
      'permissions-policy': /camera=\(self "https:\/\/a\.example"\), cross/,
    }],
    ['/nosniff', { xContentTypeOptions: false }, { 'x-content-type-options': null }],
    ['/document', { profile: 'document' }, { 'referrer-policy': 'strict-origin-when-cross-origin' }],
  ]
  for (const [url, own] of table) app.get(url, { security: { headers: own } }, async () => 1)
  app.get('/off', { security: { headers: false } }, async () => 1)
  for (const [url, , expected] of table) assertHeaders(t, (await app.inject(url)).headers, expected)
  assertHeaders(t, (await app.inject('/off')).headers, { 'content-security-policy': null, 'x-frame-options': null })
})

test('answers with a credential, a cookie or an error are not stored; the app decides on the rest', async (t) => {
  const app = await build(t)
  app.get('/', async (_request, reply) => reply.header('cache-control', 'public, max-age=60').send('x'))
  app.get(
    '/cookie',
    async (_request, reply) => reply.header('cache-control', 'public').header('set-cookie', 'a=b').send('x'),
  )
  app.get('/error', async (_request, reply) => reply.header('cache-control', 'public').code(403).send('x'))
  app.get(
    '/cacheable',
    { security: { headers: { cacheControl: false } } },
    async (_request, reply) => reply.header('cache-control', 'public').send('x'),
  )
  const cacheControl = async (url: string, request: Record<string, string> = {}): Promise<unknown> =>
    (await app.inject({ url, headers: request })).headers['cache-control']
  t.equal(await cacheControl('/'), 'public, max-age=60')
  t.equal(await cacheControl('/', { cookie: 'a=b' }), 'no-store')
  t.equal(await cacheControl('/', { authorization: 'Bearer x' }), 'no-store')
  t.equal(await cacheControl('/cookie'), 'no-store')
  t.equal(await cacheControl('/error'), 'no-store')
  t.equal(await cacheControl('/cacheable', { cookie: 'a=b' }), 'public')
})

test('an answer by a hook that ran before the plugin still carries the headers', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRequest', async (_request, reply) => reply.code(503).send('maintenance'))
  await app.register(headers)
  app.get('/', async () => 1)
  const res = await app.inject('/')
  t.equal(res.statusCode, 503)
  assertHeaders(t, res.headers, API_HEADERS)
})

test('a header that the handler sets wins over the block', async (t) => {
  const app = await build(t)
  app.get('/', async (_request, reply) => reply.header('x-frame-options', 'SAMEORIGIN').send('x'))
  assertHeaders(t, (await app.inject('/')).headers, { 'x-frame-options': 'SAMEORIGIN' })
})

test('registered again in a child scope it overrides that scope alone, down to its children', async (t) => {
  const app = await build(t, {}, true)
  await app.register(async (scope) => {
    await scope.register(headers, {
      xFrameOptions: { action: 'sameorigin' },
      strictTransportSecurity: { preload: true },
    })
    scope.get('/a', async () => 1)
    await scope.register(async (deep) => { deep.get('/b', async () => 1) }, { prefix: '/deep' })
  }, { prefix: '/child' })
  app.get('/sibling', async () => 1)
  const at = async (url: string): Promise<Record<string, unknown>> =>
    (await app.inject({ url, headers: { ...secure, host: 'x.example' } })).headers
  for (const url of ['/child/a', '/child/deep/b']) {
    t.match(await at(url), {
      'x-frame-options': 'SAMEORIGIN',
      'strict-transport-security': 'max-age=63072000; includeSubDomains; preload',
      'referrer-policy': 'no-referrer',
    }, url)
  }
  t.match(await at('/sibling'), {
    'x-frame-options': 'DENY',
    'strict-transport-security': 'max-age=63072000; includeSubDomains',
  })
})

test('a second registration in the same scope is refused', async (t) => {
  const app = await build(t)
  await t.rejects(async () => app.register(headers), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'headers', message: /twice/ }],
  })
})

test('options that no header can carry stop the boot and name the option', async (t) => {
  const table: [unknown, string][] = [
    [{ contentSecurityPolicy: { directives: { 'script-src': ['self'] } } }, 'headers.contentSecurityPolicy'],
    [
      { contentSecurityPolicy: { directives: { 'script-src': ["'self'; img-src *"] } } },
      'headers.contentSecurityPolicy',
    ],
    [{ contentSecurityPolicy: { directives: { 'bad name': ["'self'"] } } }, 'headers.contentSecurityPolicy'],
    [{ contentSecurityPolicy: true }, 'headers.contentSecurityPolicy'],
    [{ strictTransportSecurity: { maxAge: -1 } }, 'headers.strictTransportSecurity'],
    [{ strictTransportSecurity: { maxAge: 60, preload: true } }, 'headers.strictTransportSecurity.preload'],
    [
      { strictTransportSecurity: { includeSubDomains: false, preload: true } },
      'headers.strictTransportSecurity.preload',
    ],
    [{ xFrameOptions: { action: 'allow-from' } }, 'headers.xFrameOptions'],
    [{ referrerPolicy: { policy: 'no-such-policy' } }, 'headers.referrerPolicy'],
    [{ permissionsPolicy: { 'Camera!': [] } }, 'headers.permissionsPolicy'],
    [{ contentSecurityPolcy: {} }, 'headers.contentSecurityPolcy'],
    [{ profile: 'html' }, 'headers.profile'],
    [{ cacheControl: 'public' }, 'headers.cacheControl'],
  ]
  for (const [options, path] of table) {
    const app = Fastify()
    await t.rejects(async () => app.register(headers, options as HeadersOptions), {
      code: 'BULWARK_CONFIG',
      problems: [{ path }],
    }, JSON.stringify(options))
  }
})

test('an undefined option counts as absent', async (t) => {
  const app = await build(t, { xFrameOptions: undefined, profile: undefined } as unknown as HeadersOptions)
  app.get('/', async () => 1)
  assertHeaders(t, (await app.inject('/')).headers, API_HEADERS)
})
