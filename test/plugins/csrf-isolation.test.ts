import Fastify, { type FastifyInstance } from 'fastify'
import { ServerResponse, type IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { test, type Test } from 'tap'
import { cors } from '../../plugins/cors.js'
import { csrf, type CsrfOptions } from '../../plugins/csrf.js'
import { securityOf } from '../../lib/policy/install.js'
import { rawResponse } from '../helpers/raw-http.js'

const OWN = 'https://api.example.com'
const TRUSTED = 'https://app.example.com'
const EVIL = 'https://evil.example'

async function build (
  t: Test,
  options: CsrfOptions = { publicOrigin: OWN, trustedOrigins: [TRUSTED] },
): Promise<{ readonly app: FastifyInstance, readonly reasons: string[] }> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(csrf, options)
  const reasons: string[] = []
  securityOf(app).root.emit = (event) => { if (event.name === 'malicious_csrf') reasons.push(event.reason) }
  return { app, reasons }
}

const ANONYMOUS_FETCH = {
  origin: EVIL,
  'sec-fetch-site': 'cross-site',
  'sec-fetch-mode': 'cors',
  'sec-fetch-dest': 'empty',
}
const FETCH = { cookie: 'a=b', ...ANONYMOUS_FETCH }
const IMAGE = { cookie: 'a=b', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }
const VISIT = {
  cookie: 'a=b',
  'sec-fetch-site': 'cross-site',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
  'sec-fetch-user': '?1',
}

test('with cookies another site may lead here, but neither embed nor fetch', async (t) => {
  const { app, reasons } = await build(t)
  const ran: string[] = []
  app.get('/x', async (request) => { ran.push(request.method); return 1 })
  const table: [string, 'GET' | 'HEAD', Record<string, string>, number][] = [
    ['a link', 'GET', VISIT, 200],
    ['a link by HEAD', 'HEAD', VISIT, 200],
    ['a frame', 'GET', { ...VISIT, 'sec-fetch-dest': 'iframe' }, 403],
    ['an image', 'GET', IMAGE, 403],
    ['an image by HEAD', 'HEAD', IMAGE, 403],
    ['a script', 'GET', { ...IMAGE, 'sec-fetch-dest': 'script' }, 403],
    ['a fetch', 'GET', FETCH, 403],
    ['a fetch of a trusted origin', 'GET', { ...FETCH, origin: TRUSTED }, 200],
    [
      'a fetch of a sibling',
      'GET',
      { ...FETCH, 'sec-fetch-site': 'same-site', origin: 'https://other.example.com' },
      200,
    ],
    ['our own page', 'GET', { ...FETCH, 'sec-fetch-site': 'same-origin', origin: OWN }, 200],
    ['an old browser', 'GET', { cookie: 'a=b', origin: EVIL }, 200],
    ['a program', 'GET', { cookie: 'a=b' }, 200],
    ['an image without cookies', 'GET', {
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'no-cors',
      'sec-fetch-dest': 'image',
    }, 200],
  ]
  for (const [name, method, headers, status] of table) {
    t.equal((await app.inject({ method, url: '/x', headers })).statusCode, status, name)
  }
  t.same(reasons, ['isolation', 'isolation', 'isolation', 'isolation', 'isolation'])
  t.equal(ran.length, table.filter(([,,, status]) => status === 200).length, 'no handler ran for what was refused')
  t.match((await app.inject({ url: '/x', headers: FETCH })).json(), { code: 'CSRF_REJECTED' })
})

test('unknown paths and preflights are left alone', async (t) => {
  const { app } = await build(t)
  app.options('/own', async () => 'own')
  await app.register(cors, { origin: [TRUSTED], credentials: true })
  app.get('/x', async () => 1)
  t.equal((await app.inject({ url: '/nope', headers: FETCH })).statusCode, 404)
  const preflight = {
    origin: TRUSTED,
    'access-control-request-method': 'GET',
    'sec-fetch-site': 'cross-site',
    'sec-fetch-mode': 'cors',
  }
  t.equal((await app.inject({ method: 'OPTIONS', url: '/x', headers: preflight })).statusCode, 204)
  t.equal(
    (await app.inject({ method: 'OPTIONS', url: '/own', headers: FETCH })).statusCode,
    403,
    'any other OPTIONS is a request like others',
  )
  const { app: alone } = await build(t)
  alone.options('/own', async () => 'own')
  t.equal(
    (await alone.inject({ method: 'OPTIONS', url: '/own', headers: { ...preflight, cookie: 'a=b' } })).statusCode,
    200,
  )
})

test('open data is reached without cookies, so isolation never meets it', async (t) => {
  const { app } = await build(t)
  await app.register(cors, {})
  app.get('/open', { security: { cors: { origin: '*' } } }, async () => 1)
  const res = await app.inject({ url: '/open', headers: ANONYMOUS_FETCH })
  t.equal(res.statusCode, 200)
  t.equal(res.headers['access-control-allow-origin'], '*')
})

test('the route key replaces leaf by leaf, a mode alone keeps the isolation, false ends both', async (t) => {
  const routes: [string, Parameters<typeof inputOf>[0], { image: number, post: number, anonymousPost: number }][] = [
    ['/absent', undefined, { image: 403, post: 403, anonymousPost: 200 }],
    ['/cookie', 'cookie', { image: 403, post: 403, anonymousPost: 200 }],
    ['/always', 'always', { image: 403, post: 403, anonymousPost: 403 }],
    ['/false', false, { image: 200, post: 200, anonymousPost: 200 }],
    ['/empty', {}, { image: 403, post: 403, anonymousPost: 200 }],
    ['/embeddable', { isolation: false }, { image: 200, post: 403, anonymousPost: 200 }],
    ['/embeddable-login', { mode: 'always', isolation: false }, { image: 200, post: 403, anonymousPost: 403 }],
    ['/isolated-only', { mode: false }, { image: 403, post: 403, anonymousPost: 200 }],
    ['/neither', { mode: false, isolation: false }, { image: 200, post: 200, anonymousPost: 200 }],
  ]
  const { app } = await build(t)
  for (const [url, input] of routes) {
    app.route({
      method: ['GET', 'POST'],
      url,
      security: inputOf(input),
      handler: async () => 1,
    })
  }
  for (const [url, , expected] of routes) {
    t.same({
      image: (await app.inject({ url, headers: IMAGE })).statusCode,
      post: (await app.inject({ method: 'POST', url, headers: FETCH })).statusCode,
      anonymousPost: (await app.inject({ method: 'POST', url, headers: ANONYMOUS_FETCH })).statusCode,
    }, expected, url)
  }
  t.equal(
    (await app.inject({ method: 'POST', url: '/isolated-only', headers: { cookie: 'a=b', origin: EVIL } })).statusCode,
    200,
    'without Fetch Metadata isolation says nothing',
  )
})

function inputOf (
  csrfInput: 'cookie' | 'always' | false | { mode?: 'cookie' | 'always' | false, isolation?: boolean } | undefined,
): { csrf?: NonNullable<typeof csrfInput> } {
  return csrfInput === undefined ? {} : { csrf: csrfInput }
}

test('the plugin option turns isolation off everywhere, and a route turns it on again', async (t) => {
  const { app } = await build(t, { publicOrigin: OWN, isolation: false })
  app.get('/x', async () => 1)
  app.get('/isolated', { security: { csrf: { isolation: true } } }, async () => 1)
  t.equal((await app.inject({ url: '/x', headers: IMAGE })).statusCode, 200)
  t.equal((await app.inject({ url: '/isolated', headers: IMAGE })).statusCode, 403)
})

test('a WebSocket upgrade with cookies is checked like an unsafe request', async (t) => {
  const { app, reasons } = await build(t)
  app.get('/socket', async () => 'opened')
  app.get('/anyone', { security: { csrf: false } }, async () => 'opened')
  app.get('/strict', { security: { csrf: 'always' } }, async () => 'opened')
  app.get('/embeddable', { security: { csrf: { isolation: false } } }, async () => 'opened')
  // As WebSocket plugins do: the upgrade becomes a request that passes the hooks before any handshake.
  app.server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
    const response = new ServerResponse(request)
    response.assignSocket(socket)
    response.on('finish', () => { socket.end() })
    app.routing(request, response)
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const open = async (headers: Record<string, string>, url = '/socket', upgrade = 'websocket'): Promise<number> => {
    const lines = Object.entries({
      host: 'api.example.com',
      connection: 'Upgrade',
      upgrade,
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      ...headers,
    })
    return (await rawResponse(
      port,
      `GET ${url} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
    )).status
  }
  const cookie = { cookie: 'a=b' }
  t.equal(await open({ ...cookie, origin: OWN }), 200)
  t.equal(await open({ ...cookie, origin: TRUSTED }), 200)
  t.equal(await open({ ...cookie, origin: OWN, 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'websocket' }), 200)
  t.equal(await open({ origin: EVIL }), 200, 'no cookie, no authority')
  t.equal(await open({ ...cookie, origin: EVIL }, '/anyone'), 200)
  t.same(reasons, [])
  t.equal(await open({ ...cookie, origin: EVIL }), 403)
  t.equal(await open({ ...cookie, origin: 'null' }), 403)
  t.equal(await open(cookie), 403)
  t.equal(await open({ ...cookie, origin: 'https://sibling.example.com', 'sec-fetch-site': 'same-site' }), 403)
  t.equal(
    await open({
      ...cookie,
      origin: EVIL,
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
    }),
    403,
  )
  t.equal(await open({ ...cookie, origin: EVIL }, '/socket', 'WebSocket'), 403)
  t.equal(await open({ ...cookie, origin: EVIL }, '/socket', 'h2c, websocket'), 403)
  t.equal(await open({ ...cookie, origin: EVIL }, '/embeddable'), 403)
  t.equal(await open({ origin: EVIL }, '/strict'), 403)
  t.same(reasons, [
    'origin-mismatch',
    'origin-mismatch',
    'no-evidence',
    'cross-site',
    'cross-site',
    'origin-mismatch',
    'origin-mismatch',
    'origin-mismatch',
    'origin-mismatch',
  ])
})

test('below a scope that turned the checks off, a route turns them on again with all their defaults', async (t) => {
  const { createServer, defineSecurity } = await import('../../index.js')
  const app = await createServer(defineSecurity({ csrf: { publicOrigin: OWN } }), { logger: false })
  t.teardown(() => app.close())
  await app.secureScope({ prefix: '/hooks', csrf: false }, async (scope) => {
    scope.get('/off', async () => 1)
    scope.get('/on', { security: { csrf: 'cookie' } }, async () => 1)
  })
  t.equal((await app.inject({ url: '/hooks/off', headers: IMAGE })).statusCode, 200)
  t.equal((await app.inject({ url: '/hooks/on', headers: IMAGE })).statusCode, 403)
})

test('whom the credentialed CORS of the definition grants is trusted, by list, pattern or function', async (t) => {
  const { createServer, defineSecurity } = await import('../../index.js')
  const send = async (definition: Parameters<typeof createServer>[0], origin: string): Promise<number> => {
    const app = await createServer(definition, { logger: false })
    t.teardown(() => app.close())
    app.get('/x', async () => 1)
    return (await app.inject({ url: '/x', headers: { ...FETCH, origin } })).statusCode
  }
  t.equal(
    await send(
      defineSecurity({ cors: { origin: ['https://*.example.com'], credentials: true } }),
      'https://a.example.com',
    ),
    200,
  )
  t.equal(
    await send(defineSecurity({ cors: { origin: (origin) => origin === TRUSTED, credentials: true } }), TRUSTED),
    200,
  )
  t.equal(
    await send(defineSecurity({ cors: { origin: (origin) => origin === TRUSTED, credentials: true } }), EVIL),
    403,
  )
  t.equal(
    await send(defineSecurity({ cors: { origin: (origin) => origin === TRUSTED } }), TRUSTED),
    403,
    'without credentials nobody is',
  )
  t.equal(await send(defineSecurity({ cors: false }), TRUSTED), 403)
  t.equal(
    await send(
      defineSecurity({ cors: { origin: [EVIL], credentials: true }, csrf: { trustedOrigins: [TRUSTED] } }),
      TRUSTED,
    ),
    200,
    'the list is added',
  )
})
