import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { test, type Test } from 'tap'
import { createServer, defineSecurity, serverOptions } from '../../index.js'
import { resolveTransport } from '../../lib/transport/resolve.js'
import { buildServerOptions } from '../../lib/transport/server-options.js'
import { csrf } from '../../plugins/csrf.js'
import { errors } from '../../plugins/errors.js'
import { transport, type TransportOptions } from '../../plugins/transport.js'
import { captureLogs } from '../helpers/logs.js'

const PROXY = '127.0.0.1'
const BEHIND: TransportOptions = { proxies: [PROXY] }

function instance (options: TransportOptions, further: FastifyServerOptions = {}): FastifyInstance {
  return Fastify({
    ...buildServerOptions({ transport: resolveTransport(options, false, []), headers: null, typeBase: null }),
    ...further,
  })
}

async function build (t: Test, options: TransportOptions = BEHIND): Promise<FastifyInstance> {
  const app = instance(options)
  t.teardown(() => app.close())
  await app.register(errors)
  await app.register(transport, options)
  app.get(
    '/',
    async ({ host, hostname, port, protocol, headers }) => ({
      host,
      hostname,
      port,
      protocol,
      header: headers['x-forwarded-host'] ?? null,
    }),
  )
  return app
}

test("a declared proxy's X-Forwarded-Host is not believed unless the option says so", async (t) => {
  const lie = { host: 'api.example.com', 'x-forwarded-host': 'evil.example:8443' }
  const real = { host: 'api.example.com', hostname: 'api.example.com', port: null, header: null }
  for (
    const options of [
      BEHIND,
      { ...BEHIND, forwardedHost: false },
      { ...BEHIND, forwardedHost: undefined } as unknown as TransportOptions,
    ]
  ) {
    const app = await build(t, options)
    t.match((await app.inject({ url: '/', headers: lie })).json(), real)
    t.match((await app.inject({ url: '/', remoteAddress: '::ffff:127.0.0.1', headers: lie })).json(), real)
  }
  const believing = await build(t, { ...BEHIND, forwardedHost: true })
  t.match((await believing.inject({ url: '/', headers: lie })).json(), {
    host: 'evil.example:8443',
    hostname: 'evil.example',
    port: 8443,
  })
  t.match(
    (await believing.inject({ url: '/', headers: { ...lie, 'x-forwarded-host': 'a.example, www.example.com' } }))
      .json(),
    { host: 'www.example.com' },
  )
  t.match((await believing.inject({ url: '/', headers: lie, remoteAddress: '127.0.0.2' })).json(), {
    host: 'api.example.com',
  }, 'from anybody else never')
})

test('the host list and the CSRF check see the real host, also in a 404', async (t) => {
  const app = await build(t, { ...BEHIND, hosts: ['api.example.com'] })
  await app.register(csrf)
  app.post('/', async () => 1)
  const status = async (headers: Record<string, string>, method: 'GET' | 'POST' = 'GET', url = '/'): Promise<number> =>
    (await app.inject({ method, url, headers })).statusCode
  t.equal(await status({ host: 'api.example.com', 'x-forwarded-host': 'evil.example' }), 200)
  t.equal(await status({ host: 'evil.example', 'x-forwarded-host': 'api.example.com' }), 421)
  t.equal(await status({ host: 'evil.example', 'x-forwarded-host': 'api.example.com' }, 'GET', '/nope'), 421)
  const forged = {
    host: 'api.example.com',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'https',
    cookie: 'a=b',
  }
  t.equal(await status({ ...forged, origin: 'https://evil.example' }, 'POST'), 403)
  t.equal(await status({ ...forged, origin: 'https://api.example.com' }, 'POST'), 200)
})

test('it holds before any hook: for hooks from before the suite, routes from before the plugin, other id generators, bad URLs and their log', async (t) => {
  const { logger, lines } = captureLogs()
  const app = instance(BEHIND, { logger })
  t.teardown(() => app.close())
  const hosts: string[] = []
  app.addHook('onRequest', async ({ host }) => { hosts.push(host) })
  await app.register(errors)
  app.get('/early', async ({ host }) => host)
  await app.register(transport, BEHIND)
  await app.register(async (scope) => {
    scope.setGenReqId(() => 'own')
    scope.get('/own-id', async ({ host }) => host)
  })
  for (const url of ['/early', '/own-id', '/nope', '/%zz']) {
    await app.inject({ url, headers: { host: 'api.example.com', 'x-forwarded-host': 'evil.example' } })
  }
  t.same([...new Set(hosts)], ['api.example.com'])
  t.equal(hosts.length, 3)
  t.notMatch(JSON.stringify(lines), 'evil.example')
})

test("the scheme of a declared proxy is http or https, whatever the text; anything else is the connection's own", async (t) => {
  const app = await build(t)
  const schemeFor = async (header: string, remoteAddress = PROXY): Promise<unknown> =>
    (await app.inject({ url: '/', remoteAddress, headers: { 'x-forwarded-proto': header } })).json<
      { protocol: unknown }
    >().protocol
  const table: [string, string][] = [
    ['https', 'https'],
    ['http', 'http'],
    ['HTTPS', 'https'],
    ['wss', 'https'],
    ['ws', 'http'],
    ['http, https', 'https'],
    ['https,http', 'http'],
    ['https , wss', 'https'],
    ['https evil', 'http'],
    ['javascript', 'http'],
    ['https,', 'http'],
    ['https://evil.example/', 'http'],
    ['', 'http'],
    ['"https"', 'http'],
    ['https;x', 'http'],
  ]
  for (const [header, scheme] of table) t.equal(await schemeFor(header), scheme, JSON.stringify(header))
  t.equal(await schemeFor('HTTPS', '127.0.0.2'), 'http')
})

test('a port behind a forwarded address makes no client of its own', async (t) => {
  const app = await build(t, { proxies: [PROXY, '10.0.0.0/8'] })
  app.get('/ip', async ({ ip }) => ({ ip }))
  const ipFor = async (header: string, remoteAddress = PROXY): Promise<unknown> =>
    (await app.inject({ url: '/ip', remoteAddress, headers: { 'x-forwarded-for': header } })).json<{ ip: unknown }>().ip
  const table: [string, string][] = [
    ['203.0.113.9:5678', '203.0.113.9'],
    ['[2001:db8::1]:443', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['198.51.100.1, 203.0.113.9:5678', '203.0.113.9'],
    ['203.0.113.9:5678, 10.1.2.3:80', '203.0.113.9'],
    ['::ffff:203.0.113.9', '::ffff:203.0.113.9'],
    ['2001:db8::1', '2001:db8::1'],
    ['203.0.113.9:x', '203.0.113.9:x'],
    ['[evil]:1', '[evil]:1'],
    ['', PROXY],
    [',,', PROXY],
  ]
  for (const [header, ip] of table) t.equal(await ipFor(header), ip, header)
  t.equal(await ipFor('203.0.113.9:5678', '127.0.0.2'), '127.0.0.2')
})

test("the app's own rewriteUrl runs behind the filter, with and without proxies", async (t) => {
  for (const proxies of ['none' as const, [PROXY]]) {
    const seen: unknown[] = []
    const app = await createServer(defineSecurity({ transport: { proxies } }), {
      logger: false,
      rewriteUrl (request) {
        seen.push(request.headers['x-forwarded-host'])
        return request.url === '/old?a=b' ? '/new?a=b' : request.url ?? '/'
      },
    })
    t.teardown(() => app.close())
    app.get('/new', async ({ url, originalUrl }) => ({ url, originalUrl }))
    t.same((await app.inject({ url: '/old?a=b', headers: { 'x-forwarded-host': 'evil.example' } })).json(), {
      url: '/new?a=b',
      originalUrl: '/old?a=b',
    })
    t.same(seen, [proxies === 'none' ? 'evil.example' : undefined])
  }
})

test('an instance whose filter was taken away serves nothing that names a forwarded host', async (t) => {
  const app = instance(BEHIND, { rewriteUrl: ({ url }) => url ?? '/' })
  t.teardown(() => app.close())
  await app.register(errors)
  await app.register(transport, BEHIND)
  app.get('/', async () => 1)
  t.equal((await app.inject('/')).statusCode, 200)
  t.equal((await app.inject({ url: '/', headers: { 'x-forwarded-host': 'evil.example' } })).statusCode, 500)
})

test('serverOptions and register must agree, and the posture says what holds', async (t) => {
  const app = Fastify(serverOptions(defineSecurity({ transport: BEHIND })))
  await t.rejects(async () => app.register(transport, { ...BEHIND, forwardedHost: true }), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'transport.forwardedHost' }],
  })
  for (const forwardedHost of [true, false]) {
    const server = await createServer(defineSecurity({ transport: { ...BEHIND, forwardedHost } }), { logger: false })
    t.teardown(() => server.close())
    server.get('/', async () => 1)
    t.match(server.security.posture().routes, [{ security: { transport: { forwardedHost } } }])
  }
})
