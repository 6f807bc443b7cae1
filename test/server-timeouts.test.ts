import type { FastifyInstance } from 'fastify'
import Fastify from 'fastify'
import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { test, type Test } from 'tap'
import { createServer, defineSecurity, publicRoute, serverOptions } from '../index.js'
import { resolveTransport } from '../lib/transport/resolve.js'
import { buildServerOptions, SERVER_DEFAULTS } from '../lib/transport/server-options.js'
import { DRAIN_MS } from '../lib/transport/drain.js'
import { transport } from '../plugins/transport.js'
import { API_HEADERS, assertHeaders } from './helpers/headers.js'
import { exchange, rawResponse } from './helpers/raw-http.js'

const open = { security: { auth: publicRoute('a route of the test') } }
const ID = /^[0-9a-f]{32}$/

/** Limits a hundred times shorter than the suite's own. */
async function listen (t: Test, routes: (app: FastifyInstance) => void, handlerTimeout = 100): Promise<number> {
  const app = await createServer(defineSecurity({}), {
    logger: false, handlerTimeout, requestTimeout: 300, http: { headersTimeout: 200, connectionsCheckingInterval: 40 },
  })
  t.teardown(() => app.close())
  routes(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

test('the limits are those of the documentation', async (t) => {
  t.same(SERVER_DEFAULTS, {
    bodyLimit: 102_400,
    requestTimeout: 30_000,
    handlerTimeout: 10_000,
    connectionTimeout: 60_000,
    headersTimeout: 20_000,
    connectionsCheckingInterval: 5_000,
  })
  t.equal(DRAIN_MS, 10_000)
  // Fastify's own handlerTimeout is off: the suite's takes its place.
  const limits = {
    bodyLimit: 102_400,
    requestTimeout: 30_000,
    handlerTimeout: 0,
    connectionTimeout: 60_000,
    http: { headersTimeout: 20_000, connectionsCheckingInterval: 5_000 },
  }
  for (const absent of [{}, { bodyLimit: undefined, handlerTimeout: undefined, http: undefined }, { http: null }]) {
    t.match(serverOptions(defineSecurity({}), absent as never), limits)
  }
  t.match(serverOptions(defineSecurity({}), { http: { headersTimeout: 5 } }), {
    ...limits,
    http: { headersTimeout: 5, connectionsCheckingInterval: 5_000, requireHostHeader: false },
  })
})

test('a request that arrives too slowly gets 408 with the headers', async (t) => {
  const port = await listen(t, (app) => { app.post('/', open, async () => { t.fail('handled') }) }, 2000)
  const table: [string, string][] = [
    ['headers that never end', 'POST / HTTP/1.1\r\nHost: x\r\nX-Slow: '],
    [
      'a body that never comes',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n',
    ],
    [
      'a body that stops',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a":',
    ],
    [
      'a chunk that stops',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a"',
    ],
  ]
  const responses = await Promise.all(table.map(async ([, request]) => rawResponse(port, request)))
  for (const [index, response] of responses.entries()) {
    const name = table[index]?.[0] ?? ''
    t.equal(response.status, 408, name)
    assertHeaders(t, response.headers, {
      ...API_HEADERS,
      'x-request-id': ID,
      connection: 'close',
      'cache-control': 'no-store',
      'content-type': 'application/problem+json; charset=utf-8',
    })
    t.match(JSON.parse(response.body), {
      code: 'REQUEST_TIMEOUT',
      status: 408,
      instance: response.headers['x-request-id'],
    }, name)
  }
})

test('a handler that hangs gets 503 with the headers', async (t) => {
  const port = await listen(t, (app) => { app.get('/', open, async () => { await new Promise(() => {}) }) })
  const response = await rawResponse(port, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  t.equal(response.status, 503)
  assertHeaders(t, response.headers, {
    ...API_HEADERS,
    'x-request-id': ID,
    'content-type': 'application/problem+json; charset=utf-8',
  })
  t.match(JSON.parse(response.body), { code: 'SERVICE_UNAVAILABLE', status: 503 })
})

test('an answer that has begun is cut off, never continued with another one', async (t) => {
  const port = await listen(t, (app) => {
    app.get('/', open, async (_request, reply) => {
      const body = new PassThrough()
      body.write('first')
      return reply.type('text/plain').send(body)
    })
  })
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    if (text === '') socket.write('NONSENSE\r\n\r\n')
    text += String(chunk)
  })
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(socket, 'close')
  t.match(text, /^HTTP\/1\.1 200 /)
  t.equal(text.split('HTTP/1.1 ').length, 2, 'one status line')
})

test('a request that was answered before its body came gets no second answer', async (t) => {
  const port = await listen(t, (app) => { app.post('/', open, async () => { t.fail('handled') }) })
  const slow = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{'
  const text = await exchange(port, slow)
  t.match(text, /^HTTP\/1\.1 503 /)
  t.equal(text.split('HTTP/1.1 ').length, 2, 'one status line')
  const second = await exchange(port, `GET /nope HTTP/1.1\r\nHost: x\r\n\r\n${slow.slice(0, 30)}`)
  t.match(second, /^HTTP\/1\.1 404 [^]*HTTP\/1\.1 408 /, 'a slow second request on the connection gets its own')
})

async function hang (t: Test, drainMs: number): Promise<{ app: FastifyInstance, socket: Socket }> {
  const app = Fastify({
    ...buildServerOptions({ transport: resolveTransport({}, false, []), headers: null, typeBase: null, drainMs }),
    logger: false,
  })
  await app.register(transport)
  const entered = new Promise<void>((resolve) => {
    app.get('/', async () => {
      resolve()
      await new Promise(() => {})
    })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {})
  t.teardown(() => { socket.destroy() })
  socket.resume().write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await entered
  return { app, socket }
}

test('closing ends a request that hangs when the drain is over, and not before', async (t) => {
  const { app, socket } = await hang(t, 150)
  const started = performance.now()
  const gone = once(socket, 'close')
  await app.close()
  const took = performance.now() - started
  t.ok(took >= 140, `not before: ${took} ms`)
  t.ok(took < 2000, `soon after: ${took} ms`)
  await gone
})
