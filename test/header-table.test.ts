import type { FastifyInstance } from 'fastify'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { before, test } from 'tap'
import { createServer, defineSecurity, publicRoute, SecurityError, Type } from '../index.js'
import { API_HEADERS, assertHeaders } from './helpers/headers.js'
import { rawResponse } from './helpers/raw-http.js'

const APP = 'https://app.example.com'

const security = defineSecurity({
  env: {
    schema: Type.Object({
      JWT_ACCESS_SECRET: Type.String({ secret: true, generate: true }),
      JWT_REFRESH_SECRET: Type.String({ secret: true, generate: true }),
    }),
    source: {},
  },
  cors: { origin: [APP], credentials: true },
  transport: { hosts: ['127.0.0.1'] },
  rateLimit: { policies: { once: { limit: 1, window: '1h', by: 'ip' } } },
  auth: {
    roles: ['user', 'admin'],
    authenticate: async ({ email, password }) => password === 'right' ? { id: email, roles: ['user'] } : null,
    loadUser: async (id) => ({ id, roles: ['user'] }),
  },
})

let app: FastifyInstance
let port = 0
let cookie = ''

before(async () => {
  app = await createServer(security, { logger: false, bodyLimit: 1024 })
  const open = { security: { auth: publicRoute('a route of the test') } }
  app.get('/ok', open, async () => ({ ok: true }))
  app.post('/created', open, async (_request, reply) => reply.code(201).send({ ok: true }))
  app.get('/empty', open, async (_request, reply) => reply.code(204).send())
  app.get('/cached', open, async (_request, reply) => reply.code(304).send())
  app.post('/valid', { ...open, schema: { body: Type.Object({ name: Type.String() }) } }, async () => 1)
  app.get('/private', async () => 1)
  app.get('/admin', { security: { auth: { roles: ['admin'] } } }, async () => 1)
  app.get('/once', { security: { ...open.security, rateLimit: ['once'] } }, async () => 1)
  app.get('/fails', open, async () => { throw new Error('a secret cause') })
  app.get('/unavailable', open, async () => { throw new SecurityError('SERVICE_UNAVAILABLE') })
  app.get('/stream', open, async (_request, reply) => reply.type('text/plain').send(Readable.from(['one', 'two'])))
  app.get('/broken-stream', open, async (_request, reply) =>
    reply.type('text/plain').send(
      new Readable({
        read () {
          this.destroy(new Error('broken'))
        },
      }),
    ))
  await app.listen({ port: 0, host: '127.0.0.1' })
  port = (app.server.address() as AddressInfo).port
  const login = await app.inject({
    method: 'POST',
    url: '/auth/login',
    payload: { email: 'ada@example.com', password: 'right' },
    headers: { host: '127.0.0.1' },
  })
  cookie = login.cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
  await app.inject({ url: '/once', headers: { host: '127.0.0.1' } })
})

interface Case { readonly name: string, readonly status: number, readonly request: string, readonly code?: string }

function http (line: string, headers: Record<string, string> = {}, body = ''): string {
  const all = {
    Host: '127.0.0.1',
    Connection: 'close',
    ...(body !== '' && { 'Content-Length': String(Buffer.byteLength(body)) }),
    ...headers,
  }
  return `${line} HTTP/1.1\r\n${
    Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  }\r\n${body}`
}

const json = { 'Content-Type': 'application/json' }

function cases (): Case[] {
  return [
    { name: '200', status: 200, request: http('GET /ok') },
    { name: '201', status: 201, request: http('POST /created') },
    { name: '204', status: 204, request: http('GET /empty') },
    { name: '304', status: 304, request: http('GET /cached') },
    { name: 'HEAD', status: 200, request: http('HEAD /ok') },
    { name: 'a stream', status: 200, request: http('GET /stream') },
    { name: 'a stream that breaks', status: 500, request: http('GET /broken-stream'), code: 'INTERNAL_ERROR' },
    {
      name: '400 of validation',
      status: 400,
      request: http('POST /valid', json, '{"name":5}'),
      code: 'VALIDATION_FAILED',
    },
    { name: '400 of malformed JSON', status: 400, request: http('POST /valid', json, '{'), code: 'BAD_REQUEST' },
    { name: '401 without a token', status: 401, request: http('GET /private'), code: 'TOKEN_MISSING' },
    {
      name: '401 with a bad token',
      status: 401,
      request: http('GET /private', { Cookie: 'access=a.b.c' }),
      code: 'TOKEN_INVALID',
    },
    {
      name: '401 of a login',
      status: 401,
      request: http('POST /auth/login', json, '{"email":"ada@example.com","password":"wrong"}'),
      code: 'CREDENTIALS_INVALID',
    },
    { name: '403 of a role', status: 403, request: http('GET /admin', { Cookie: cookie }), code: 'INSUFFICIENT_ROLE' },
    {
      name: '403 of CSRF',
      status: 403,
      request: http('POST /auth/logout', { Cookie: cookie, Origin: 'https://evil.example' }),
      code: 'CSRF_REJECTED',
    },
    { name: '404', status: 404, request: http('GET /nope'), code: 'NOT_FOUND' },
    { name: '404 of a POST', status: 404, request: http('POST /nope', json, '{}'), code: 'NOT_FOUND' },
    {
      name: '413',
      status: 413,
      request: http('POST /valid', json, `{"name":"${'a'.repeat(2000)}"}`),
      code: 'BODY_TOO_LARGE',
    },
    {
      name: '415',
      status: 415,
      request: http('POST /valid', { 'Content-Type': 'text/xml' }, '<x/>'),
      code: 'MEDIA_TYPE_NOT_SUPPORTED',
    },
    { name: '421', status: 421, request: http('GET /ok', { Host: 'evil.example' }), code: 'HOST_NOT_ALLOWED' },
    { name: '429', status: 429, request: http('GET /once'), code: 'RATE_LIMITED' },
    { name: '500', status: 500, request: http('GET /fails'), code: 'INTERNAL_ERROR' },
    { name: '503', status: 503, request: http('GET /unavailable'), code: 'SERVICE_UNAVAILABLE' },
    {
      name: 'a granted preflight',
      status: 204,
      request: http('OPTIONS /ok', { Origin: APP, 'Access-Control-Request-Method': 'GET' }),
    },
    {
      name: 'a refused preflight',
      status: 403,
      request: http('OPTIONS /ok', { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'GET' }),
      code: 'CORS_REJECTED',
    },
    { name: 'a bad URL', status: 400, request: http('GET /%zz'), code: 'BAD_REQUEST' },
    { name: 'a parameter that is too long', status: 404, request: http(`GET /${'a'.repeat(500)}`), code: 'NOT_FOUND' },
    { name: 'no Host', status: 400, request: 'GET /ok HTTP/1.1\r\nConnection: close\r\n\r\n', code: 'BAD_REQUEST' },
    { name: 'a malformed request line', status: 400, request: 'NONSENSE\r\n\r\n', code: 'BAD_REQUEST' },
    {
      name: 'a malformed header',
      status: 400,
      request: 'GET /ok HTTP/1.1\r\nHost: 127.0.0.1\r\nBad Header: x\r\n\r\n',
      code: 'BAD_REQUEST',
    },
    {
      name: 'headers that overflow',
      status: 431,
      request: http('GET /ok', { 'X-Big': 'a'.repeat(20_000) }),
      code: 'HEADERS_TOO_LARGE',
    },
    {
      name: 'two lengths',
      status: 400,
      request:
        'POST /created HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      code: 'BAD_REQUEST',
    },
    { name: 'an unknown method', status: 400, request: http('BREW /ok'), code: 'BAD_REQUEST' },
    { name: 'TRACE', status: 405, request: http('TRACE /ok'), code: 'METHOD_NOT_ALLOWED' },
  ]
}

test('no response leaves without its security headers and its request id, however early it fails', async (t) => {
  t.teardown(() => app.close())
  for (const { name, status, request, code } of cases()) {
    await t.test(name, async (t) => {
      const response = await rawResponse(port, request)
      t.equal(response.status, status)
      assertHeaders(t, response.headers, {
        ...API_HEADERS,
        'x-request-id': /^[0-9a-f]{32}$/,
        'strict-transport-security': null,
        server: null,
        'x-powered-by': null,
      })
      if (code === undefined) return
      assertHeaders(t, response.headers, {
        'content-type': 'application/problem+json; charset=utf-8',
        'cache-control': 'no-store',
      })
      const problem = JSON.parse(response.body) as Record<string, unknown>
      t.match(problem, {
        code,
        status,
        type: 'about:blank',
        title: String,
        detail: String,
        instance: response.headers['x-request-id'],
      })
      t.notMatch(response.body, /secret|stack|FST_|HPE_|Error:|127\.0\.0\.1/)
    })
  }
})
