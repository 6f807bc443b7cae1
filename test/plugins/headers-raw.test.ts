import Fastify, { type FastifyInstance } from 'fastify'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { cors } from '../../plugins/cors.js'
import { headers, type HeadersOptions } from '../../plugins/headers.js'
import { API_HEADERS, assertHeaders } from '../helpers/headers.js'
import { rawResponse, type RawResponse } from '../helpers/raw-http.js'

async function build (t: Test, options: HeadersOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(headers, options)
  return app
}

/** Over a socket: what a hijacked response sends is decided by Node, not by inject. */
async function get (app: FastifyInstance, path: string, own = ''): Promise<RawResponse> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  return rawResponse(
    (app.server.address() as AddressInfo).port,
    `GET ${path} HTTP/1.1\r\nHost: x.example\r\nConnection: close\r\n${own}\r\n`,
  )
}

test('Server and X-Powered-By never leave, whoever sets them and whatever the policy', async (t) => {
  const app = await build(t)
  app.addHook('onRequest', async (_request, reply) => { reply.raw.setHeader('X-Powered-By', 'middleware') })
  const names = { Server: 'nginx/1.0', 'X-Powered-By': 'Express', 'X-Download-Options': 'noopen' }
  app.get('/', async (_request, reply) => reply.headers(names).send('x'))
  app.get('/raw', async (_request, reply) => { reply.raw.setHeader('server', 'node'); return 'x' })
  app.get('/off', { security: { headers: false } }, async (_request, reply) => reply.headers(names).send('x'))
  app.get('/fails', async (_request, reply) => { reply.headers(names); throw new Error('x') })
  for (const path of ['/', '/raw', '/off', '/fails', '/nope']) {
    assertHeaders(t, (await app.inject(path)).headers, { server: null, 'x-powered-by': null })
    assertHeaders(t, (await get(app, path)).headers, { server: null, 'x-powered-by': null })
  }
  t.equal((await app.inject('/')).headers['x-download-options'], 'noopen')
})

test('a hijacked response carries the block, and what it writes itself wins', async (t) => {
  const app = await build(t)
  app.get('/sse', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'x-frame-options': 'SAMEORIGIN' })
    reply.raw.end('data: 1\n\n')
  })
  app.get('/plain', (_request, reply) => {
    reply.hijack()
    reply.raw.end('x')
  })
  const plain = await get(app, '/plain')
  t.equal(plain.status, 200)
  assertHeaders(t, plain.headers, { ...API_HEADERS, 'cache-control': null })
  const sse = await get(app, '/sse')
  assertHeaders(t, sse.headers, {
    ...API_HEADERS,
    'x-frame-options': 'SAMEORIGIN',
    'content-type': 'text/event-stream',
  })
})

test('a hijacked response carries the nonce, CORS and cookies, is not stored, and has no length of a body that is gone', async (t) => {
  const app = await build(t, { profile: 'document' })
  await app.register(cors, { origin: ['https://app.example.com'], credentials: true })
  app.get('/', (_request, reply) => {
    const nonce = reply.cspNonce
    reply.header('set-cookie', 'a=b').header('content-length', '5').header('content-type', 'image/png').header(
      'server',
      'x',
    )
    reply.hijack()
    reply.raw.end(nonce)
  })
  const res = await get(app, '/', 'Origin: https://app.example.com\r\n')
  assertHeaders(t, res.headers, {
    'access-control-allow-origin': 'https://app.example.com',
    'set-cookie': 'a=b',
    'cache-control': 'no-store',
    'content-type': null,
    server: null,
  })
  t.match(res.headers['content-security-policy'], /'nonce-[A-Za-z0-9+/]{24}'/)
  t.notMatch(res.headers, { 'content-length': '5' })
})

test('hijacking stays what it was: Fastify sends nothing, in child scopes and on routes without the block too', async (t) => {
  const app = await build(t)
  await app.register(async (scope) => {
    await scope.register(headers, { xFrameOptions: false })
    scope.get('/deep', async (_request, reply) => {
      t.equal(reply.sent, false)
      t.equal(reply.hijack(), reply)
      t.equal(reply.sent, true)
      reply.raw.end('mine')
      return 'ignored'
    })
  })
  app.get('/off', { security: { headers: false } }, (_request, reply) => { reply.hijack().raw.end('x') })
  app.get('/late', (_request, reply) => {
    reply.raw.write('first')
    reply.hijack()
    reply.raw.end('last')
  })
  const deep = await get(app, '/deep')
  t.match(deep.body, /mine/)
  assertHeaders(t, deep.headers, { 'x-frame-options': null, 'x-content-type-options': 'nosniff' })
  assertHeaders(t, (await get(app, '/off')).headers, { 'x-content-type-options': null })
  t.match(
    (await get(app, '/late')).body,
    /first[^]*last/,
    'after the first byte nothing can be added, and nothing breaks',
  )
})
