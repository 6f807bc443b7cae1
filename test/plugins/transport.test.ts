import Fastify, { type FastifyInstance } from 'fastify'
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { createServer, defineSecurity } from '../../index.js'
import { resolveTransport } from '../../lib/transport/resolve.js'
import { buildServerOptions } from '../../lib/transport/server-options.js'
import { errors } from '../../plugins/errors.js'
import { events } from '../../plugins/events.js'
import { headers } from '../../plugins/headers.js'
import { transport, type TransportOptions } from '../../plugins/transport.js'
import { assertHeaders } from '../helpers/headers.js'
import { setEnv } from '../helpers/env.js'
import { exchange, parseResponse, rawResponse } from '../helpers/raw-http.js'

async function build (t: Test, options: TransportOptions = {}): Promise<FastifyInstance> {
  const app = Fastify({
    ...buildServerOptions({ transport: resolveTransport(options, false, []), headers: null, typeBase: null }),
    logger: false,
  })
  t.teardown(() => app.close())
  await app.register(errors)
  await app.register(transport, options)
  app.get('/', async (request) => ({ ip: request.ip, id: request.id }))
  return app
}

const ID = /^[0-9a-f]{32}$/

test('every answer carries the request id, errors and 404s included', async (t) => {
  const app = await build(t)
  const seen = new Set<unknown>()
  for (const url of ['/', '/', '/nope']) {
    const res = await app.inject(url)
    assertHeaders(t, res.headers, { 'x-request-id': ID })
    seen.add(res.headers['x-request-id'])
    const body = res.json<{ id?: string, instance?: string }>()
    t.equal(body.id ?? body.instance, res.headers['x-request-id'])
  }
  t.equal(seen.size, 3)
})

test('a request id from outside is taken from a declared proxy only, and only in the strict pattern', async (t) => {
  const app = await build(t, { proxies: ['127.0.0.1'] })
  const idFor = async (id: string, remoteAddress: string): Promise<unknown> =>
    (await app.inject({ url: '/', remoteAddress, headers: { 'x-request-id': id } })).headers['x-request-id']
  t.equal(await idFor('abcdef-123', '127.0.0.1'), 'abcdef-123')
  t.equal(await idFor('abcdef-123', '::ffff:127.0.0.1'), 'abcdef-123')
  t.match(await idFor('abcdef-123', '127.0.0.2'), ID)
  for (
    const id of [
      'short',
      '',
      'a'.repeat(65),
      'white space id',
      'line\\nbreak',
      '<script>alert(1)</script>',
      '../../../../x',
      'ümlaut-12345',
    ]
  ) {
    t.match(await idFor(id, '127.0.0.1'), ID, id)
  }
  const undeclared = await build(t)
  t.match(
    (await undeclared.inject({ url: '/', headers: { 'x-request-id': 'abcdef-123' } })).headers['x-request-id'],
    ID,
  )
})

test('only declared proxies may say who the client is', async (t) => {
  const spoof = { 'x-forwarded-for': '203.0.113.9' }
  const ipFor = async (app: FastifyInstance, remoteAddress: string, forwarded = spoof): Promise<string> =>
    (await app.inject({ url: '/', remoteAddress, headers: forwarded })).json<{ ip: string }>().ip
  t.equal(await ipFor(await build(t), '127.0.0.1'), '127.0.0.1')
  t.equal(await ipFor(await build(t, { proxies: 'none' }), '127.0.0.1'), '127.0.0.1')
  const behind = await build(t, { proxies: ['127.0.0.1', '10.0.0.0/8'] })
  t.equal(await ipFor(behind, '127.0.0.1'), '203.0.113.9')
  t.equal(await ipFor(behind, '127.0.0.2'), '127.0.0.2')
  t.equal(await ipFor(behind, '127.0.0.1', { 'x-forwarded-for': '1.1.1.1, 203.0.113.9, 10.2.3.4' }), '203.0.113.9')
})

test('only listed hosts are served', async (t) => {
  const app = await build(t, { hosts: ['api.example.com', '127.0.0.1', '[::1]'] })
  app.get('/healthz', { security: { transport: { hosts: 'any' } } }, async () => 1)
  const status = async (host: string, url = '/'): Promise<number> =>
    (await app.inject({ url, headers: { host } })).statusCode
  for (const host of ['api.example.com', 'API.EXAMPLE.COM:8443', 'api.example.com.', '127.0.0.1:3000', '[::1]:3000']) {
    t.equal(await status(host), 200, host)
  }
  for (const host of ['evil.example', 'api.example.com.evil.example', 'xapi.example.com', '127.0.0.2', '[::2]']) {
    t.equal(await status(host), 421, host)
    t.equal(await status(host, '/nope'), 421, `${host} 404`)
  }
  t.equal(await status('10.1.2.3', '/healthz'), 200)
  t.match((await app.inject({ url: '/', headers: { host: 'evil.example' } })).json(), {
    code: 'HOST_NOT_ALLOWED',
    status: 421,
  })
})

test('required HTTPS refuses plain requests, and believes a proxy only when it is declared', async (t) => {
  const app = await build(t, { https: 'require', proxies: ['127.0.0.1'] })
  app.get('/healthz', { security: { transport: { https: 'off' } } }, async () => 1)
  const status = async (headers: Record<string, string>, remoteAddress = '127.0.0.1', url = '/'): Promise<number> =>
    (await app.inject({ url, headers, remoteAddress })).statusCode
  t.equal(await status({}), 403)
  t.equal(await status({ 'x-forwarded-proto': 'https' }), 200)
  t.equal(await status({ 'x-forwarded-proto': 'https' }, '127.0.0.2'), 403)
  t.equal(await status({}, '127.0.0.1', '/healthz'), 200)
  t.match((await app.inject('/')).json(), { code: 'HTTPS_REQUIRED' })
})

test('a redirect goes to the configured origin, for safe requests of documents only', async (t) => {
  const app = await build(t, { https: 'redirect', publicOrigin: 'https://www.example.com' })
  await app.register(headers, { profile: 'document' })
  app.get('/page', async () => 1)
  app.post('/page', async () => 1)
  app.get('/api', { security: { headers: { profile: 'api' } } }, async () => 1)
  const page = await app.inject({ url: '/page?a=b', headers: { host: 'evil.example' } })
  t.equal(page.statusCode, 308)
  assertHeaders(t, page.headers, { location: 'https://www.example.com/page?a=b' })
  assertHeaders(t, (await app.inject({ url: '//evil.example/x', headers: {} })).headers, {
    location: 'https://www.example.com//evil.example/x',
  })
  t.equal((await app.inject({ method: 'POST', url: '/page' })).statusCode, 403)
  t.equal((await app.inject('/api')).statusCode, 403)
})

test('while closing, a request on an open connection is refused in the usual form', async (t) => {
  const app = await build(t)
  const entered = new Promise<() => void>((resolveEntered) => {
    app.get('/slow', async () => { await new Promise<void>((release) => { resolveEntered(release) }); return 'done' })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => { text += String(chunk) })
  socket.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
  const release = await entered
  const closing = app.close()
  await new Promise(setImmediate)
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await sleep(50)
  release()
  await once(socket, 'close')
  await closing
  const [first = '', second = ''] = text.split(/(?=HTTP\/1\.1 503)/)
  t.match(first, /^HTTP\/1\.1 200 [^]*done$/)
  const refused = parseResponse(second)
  t.equal(refused.status, 503)
  assertHeaders(t, refused.headers, {
    'x-request-id': ID,
    'retry-after': '1',
    connection: 'close',
    'content-type': 'application/problem+json; charset=utf-8',
  })
  t.match(JSON.parse(refused.body), { code: 'SERVICE_UNAVAILABLE' })
})

test('closing does not wait for a keep-alive connection whose request is answered', async (t) => {
  const app = await build(t)
  const entered = new Promise<() => void>((resolveEntered) => {
    app.get('/slow', async () => { await new Promise<void>((release) => { resolveEntered(release) }); return 'done' })
  })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => { agent.destroy() })
  const answered = new Promise<string>((resolve, reject) => {
    get(`${address}/slow`, { agent }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk) => { text += String(chunk) }).on('end', () => { resolve(text) })
    }).on('error', reject)
  })
  const release = await entered
  const closing = app.close()
  // Answered only after the server looked for idle connections itself, when this one was busy.
  while (app.server.listening) await sleep(5)
  await sleep(20)
  release()
  t.equal(await answered, 'done')
  const outcome = await Promise.race([closing.then(() => 'closed'), sleep(5000, 'still open', { ref: false })])
  t.equal(outcome, 'closed')
})

test('a request without a host is refused in HTTP/1.1', async (t) => {
  const app = await build(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const refused = await rawResponse(port, 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n')
  t.equal(refused.status, 400)
  assertHeaders(t, refused.headers, { 'x-request-id': ID })
})

test('an instance that was not built for the options is refused', async (t) => {
  await t.rejects(async () => Fastify().register(transport, { proxies: ['10.0.0.0/8'] }), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'transport.proxies', fix: /serverOptions/ }],
  })
  const other = Fastify(
    buildServerOptions({
      transport: resolveTransport({ proxies: ['10.0.0.0/8'] }, false, []),
      headers: null,
      typeBase: null,
    }),
  )
  await t.rejects(async () => other.register(transport, { proxies: ['10.0.0.0/16'] }), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'transport.proxies', message: /Differs/ }],
  })
})

test('an instance whose trust was widened behind the suite serves nothing', async (t) => {
  const options = buildServerOptions({ transport: resolveTransport({}, false, []), headers: null, typeBase: null })
  const app = Fastify({ ...options, trustProxy: true })
  t.teardown(() => app.close())
  await app.register(errors)
  await app.register(transport)
  app.get('/', async (request) => { t.fail('served'); return request.ip })
  t.equal((await app.inject({ url: '/', headers: { 'x-forwarded-for': '203.0.113.9' } })).statusCode, 500)
})

test('on a plain instance it works in development and is refused in production', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(transport)
  app.get('/', async () => 1)
  assertHeaders(t, (await app.inject('/')).headers, { 'x-request-id': ID })
  setEnv(t, { NODE_ENV: 'production' })
  await t.rejects(async () => Fastify().register(transport, { proxies: 'none' }), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'transport', fix: /serverOptions/ }],
  })
})

test('wrong options stop the boot and name the option', async (t) => {
  const table: [unknown, string][] = [
    [{ proxies: true }, 'transport.proxies'],
    [{ proxies: 1 }, 'transport.proxies'],
    [{ proxies: [] }, 'transport.proxies'],
    [{ proxies: ['0.0.0.0/0'] }, 'transport.proxies[0]'],
    [{ proxies: ['10.0.0.1', '::/0'] }, 'transport.proxies[1]'],
    [{ proxies: ['::ffff:0.0.0.0/96'] }, 'transport.proxies[0]'],
    [{ proxies: ['0:0:0:0:0:ffff:0:0/96'] }, 'transport.proxies[0]'],
    [{ proxies: ['::/3'] }, 'transport.proxies[0]'],
    [{ hosts: ['https://x'] }, 'transport.hosts[0]'],
    [{ https: 'on' }, 'transport.https'],
    [{ forwardedHost: 'yes', proxies: ['10.0.0.1'] }, 'transport.forwardedHost'],
    [{ forwardedHost: null }, 'transport.forwardedHost'],
    [{ forwardedHost: true }, 'transport.forwardedHost'],
    [{ forwardedHost: true, proxies: 'none' }, 'transport.forwardedHost'],
    [{ forwardedHosts: true }, 'transport.forwardedHosts'],
    [{ https: 'redirect' }, 'transport.publicOrigin'],
    [{ publicOrigin: 'x' }, 'transport.publicOrigin'],
    [{ trustProxy: true }, 'transport.trustProxy'],
    [{ methods: 'GET' }, 'transport.methods'],
    [{ methods: [] }, 'transport.methods'],
    [{ methods: ['GET', 'TRACE'] }, 'transport.methods[1]'],
    [{ method: ['GET'] }, 'transport.method'],
    [{ redirects: 'https://login.example.com' }, 'transport.redirects'],
    [{ redirects: [5] }, 'transport.redirects[0]'],
    [{ redirects: ['https://login.example.com/'] }, 'transport.redirects[0]'],
    [{ redirects: ['https://*.example.com'] }, 'transport.redirects[0]'],
    [{ redirects: ['null'] }, 'transport.redirects[0]'],
    [{ redirect: [] }, 'transport.redirect'],
  ]
  for (const [options, path] of table) {
    await t.rejects(async () => Fastify().register(transport, options as TransportOptions), {
      code: 'BULWARK_CONFIG',
      problems: [{ path }],
    }, JSON.stringify(options))
  }
  const app = await build(t)
  app.get('/x', { security: { transport: { hosts: ['a'] } as never } }, async () => 1)
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'GET /x security.transport.hosts' }],
  })
})

test('proxy headers from an undeclared address raise one event in a minute and change nothing', async (t) => {
  const lie = {
    'x-forwarded-for': '203.0.113.9',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'evil.example',
    forwarded: 'for=203.0.113.9',
  }
  for (const proxies of [undefined, 'none' as const, ['10.0.0.0/8']]) {
    const app = await build(t, { ...(proxies !== undefined && { proxies }), hosts: ['localhost'] })
    await app.register(events)
    const seen: unknown[] = []
    app.security.events.on('proxy_headers_untrusted', (event) => { seen.push(event) })
    t.equal((await app.inject('/')).statusCode, 200)
    t.same(seen, [], 'a request without them raises nothing')
    for (const url of ['/', '/nope', '/']) await app.inject({ url, headers: lie, remoteAddress: '192.0.2.1' })
    t.match(seen, [{ name: 'proxy_headers_untrusted', header: 'x-forwarded-for', ip: '192.0.2.1', route: '/' }])
    t.equal(seen.length, 1)
    t.equal(
      (await app.inject({ url: '/', headers: lie, remoteAddress: '192.0.2.1' })).json<{ ip: string }>().ip,
      '192.0.2.1',
    )
  }
})

test('a declared proxy raises no event, also where the host is refused', async (t) => {
  const app = await build(t, { proxies: ['127.0.0.1'] })
  await app.register(events)
  app.security.events.on('*', ({ name }) => {
    t.fail(name)
  })
  t.equal(
    (await app.inject({ url: '/', headers: { 'x-forwarded-for': '203.0.113.9', forwarded: 'for=x' } })).statusCode,
    200,
  )
})

test('a method outside the list is refused before anything else, with Allow', async (t) => {
  const app = await build(t, { methods: ['GET', 'POST'], hosts: ['localhost'] })
  app.all('/all', async () => {
    t.equal(1, 1)
    return 'served'
  })
  const call = (
    method: string,
    url: string,
    host = 'localhost',
  ): Promise<
    { statusCode: number, headers: Record<string, string | number | string[] | undefined>, json: () => unknown }
  > => app.inject({ method: method as 'GET', url, headers: { host } })
  for (const method of ['TRACE', 'PUT', 'DELETE', 'PROPFIND', 'OPTIONS', 'QUERY']) {
    for (const url of ['/', '/all', '/nope']) {
      const res = await call(method, url, 'evil.example')
      t.equal(res.statusCode, 405, `${method} ${url}`)
      assertHeaders(t, res.headers, { allow: url === '/' ? 'GET' : 'GET, POST', 'x-request-id': ID })
      t.match(res.json(), { code: 'METHOD_NOT_ALLOWED' })
    }
  }
  t.equal((await call('HEAD', '/')).statusCode, 405)
  t.equal((await call('GET', '/all')).statusCode, 200)
  t.equal((await call('POST', '/all')).statusCode, 200)
  t.equal((await call('POST', '/')).statusCode, 405)
  t.equal((await call('POST', '/nope')).statusCode, 404)
})

test('a method that a known path lacks gets 405 with the methods it has, an unknown path 404', async (t) => {
  const app = await build(t, { methods: ['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS'] })
  app.get('/items/:id', async () => 1)
  app.route({ method: ['DELETE', 'PUT'], url: '/items/:id', handler: async () => 1 })
  app.post('/items/search', async () => { t.fail('served'); return 1 })
  app.get('/only', { exposeHeadRoute: false }, async () => 1)
  app.get('/tenant', { constraints: { host: 'a.example' } }, async () => 1)
  app.get('/versioned', { constraints: { version: '1.0.0' } }, async () => 1)
  await app.register(async (scope) => {
    scope.get('/', async () => 1)
    scope.setNotFoundHandler(async (_request, reply) => reply.code(200).send('its own'))
  }, { prefix: '/spa' })
  const table: [string, string, Record<string, string>, number, string | null][] = [
    ['POST', '/items/7', {}, 405, 'HEAD, GET, DELETE'],
    ['OPTIONS', '/items/7?a=b', {}, 405, 'HEAD, GET, DELETE'],
    ['PUT', '/items/7', {}, 405, 'HEAD, GET, DELETE'],
    ['GET', '/items/search', {}, 200, null],
    ['PATCH', '/items/search', {}, 405, 'HEAD, GET, DELETE, POST'],
    ['HEAD', '/only', {}, 405, 'GET'],
    ['POST', '/tenant', { host: 'a.example' }, 405, 'HEAD, GET'],
    ['POST', '/tenant', { host: 'b.example' }, 404, null],
    ['POST', '/versioned', { 'accept-version': '1.x' }, 405, 'HEAD, GET'],
    ['POST', '/versioned', {}, 404, null],
    ['GET', '/versioned', { 'accept-version': '2.x' }, 404, null],
    ['POST', '/nope', {}, 404, null],
    ['OPTIONS', '*', {}, 404, null],
    ['PATCH', '/nope', {}, 405, 'GET, HEAD, POST, DELETE, OPTIONS'],
    ['POST', '/spa', {}, 200, null],
    ['POST', '/items/%zz', {}, 400, null],
  ]
  for (const [method, url, headers, status, allow] of table) {
    const res = await app.inject({ method: method as 'GET', url, headers })
    t.equal(res.statusCode, status, `${method} ${url}`)
    t.same(
      new Set((res.headers['allow'] ?? '').split(', ')),
      new Set((allow ?? '').split(', ')),
      `${method} ${url} Allow`,
    )
    assertHeaders(t, res.headers, { 'x-request-id': url.includes('%') ? /./ : ID })
  }
})

test('the 405 respects the router options, wherever they are written', async (t) => {
  for (
    const further of [{ caseSensitive: false, ignoreTrailingSlash: true }, {
      routerOptions: { caseSensitive: false, ignoreTrailingSlash: true },
    }]
  ) {
    const app = Fastify({
      ...buildServerOptions({ transport: resolveTransport({}, false, []), headers: null, typeBase: null }),
      ...further,
    })
    t.teardown(() => app.close())
    await app.register(errors)
    await app.register(transport)
    app.get('/items', async () => 1)
    t.equal((await app.inject('/ITEMS/')).statusCode, 200)
    t.equal((await app.inject({ method: 'POST', url: '/ITEMS/' })).statusCode, 405)
  }
})

test('an app that answers unknown paths itself keeps its answer', async (t) => {
  for (const withErrors of [true, false]) {
    const app = await createServer(defineSecurity({ errors: withErrors ? {} : false }), { logger: false })
    t.teardown(() => app.close())
    app.post('/login', async () => 1)
    if (!withErrors) app.setNotFoundHandler(async () => 'page')
    const res = await app.inject('/login')
    t.equal(res.statusCode, withErrors ? 405 : 200)
  }
})

test('a 405 of a known path counts against the limits of the address', async (t) => {
  const app = await createServer(
    defineSecurity({ rateLimit: { policies: { global: { limit: 2, window: '1m', by: 'ip' } } } }),
    { logger: false },
  )
  t.teardown(() => app.close())
  app.get('/x', async () => 1)
  const statuses: number[] = []
  for (let round = 0; round < 3; round++) statuses.push((await app.inject({ method: 'POST', url: '/x' })).statusCode)
  t.same(statuses, [405, 405, 429])
})

test('TRACE is refused by default, also on a route that takes all methods; CONNECT gets no tunnel', async (t) => {
  const app = await build(t)
  app.all('/all', async () => 'served')
  for (const url of ['/', '/all', '/nope']) {
    t.equal((await app.inject({ method: 'TRACE' as 'GET', url })).statusCode, 405, url)
  }
  t.equal((await app.inject({ method: 'PUT', url: '/all' })).statusCode, 200)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  t.equal(await exchange(port, 'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n'), '')
})

test('a route that could never be served stops the boot', async (t) => {
  const app = await build(t, { methods: ['GET'] })
  app.post('/x', async () => 1)
  app.route({ method: ['GET', 'PUT'], url: '/both', handler: async () => 1 })
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'POST /x method', fix: /transport\.methods/ }],
  })
  const tracing = await build(t)
  tracing.route({ method: 'TRACE', url: '/x', handler: async () => 1 })
  await t.rejects(async () => tracing.ready(), { code: 'BULWARK_CONFIG', problems: [{ path: 'TRACE /x method' }] })
})

test('safeRedirect goes to paths and listed origins and refuses the rest', async (t) => {
  const app = await build(t, { publicOrigin: 'https://www.example.com', redirects: ['https://login.example.com'] })
  app.get('/leave', async (request, reply) => reply.safeRedirect((request.query as { next: string }).next))
  app.post('/leave', async (_request, reply) => reply.safeRedirect('/done', 303))
  const leave = (next: string) => app.inject({ url: '/leave', query: { next } })
  for (const next of ['/x?y=z', 'https://www.example.com/x', 'https://login.example.com/']) {
    const res = await leave(next)
    t.equal(res.statusCode, 302, next)
    assertHeaders(t, res.headers, { location: next })
  }
  for (
    const next of [
      '//evil.example',
      '/\\evil.example',
      '/.//evil.example',
      'https://evil.example',
      'javascript:alert(1)',
      '/x\r\nset-cookie: a=b',
    ]
  ) {
    const res = await leave(next)
    t.equal(res.statusCode, 400, next)
    assertHeaders(t, res.headers, { location: null, 'x-request-id': ID })
    t.match(res.json(), { code: 'BAD_REQUEST' })
  }
  const posted = await app.inject({ method: 'POST', url: '/leave' })
  t.equal(posted.statusCode, 303)
  assertHeaders(t, posted.headers, { location: '/done' })
})
