import type { FastifyInstance } from 'fastify'
import { constants } from 'node:crypto'
import { once } from 'node:events'
import type { ServerOptions } from 'node:https'
import { connect as connectPlainly, type AddressInfo } from 'node:net'
import { connect, createSecureContext, type SecureVersion } from 'node:tls'
import { before, t as root, test } from 'tap'
import { createServer, defineSecurity, publicRoute, serverOptions, Type } from '../index.js'
import { API_HEADERS, assertHeaders } from './helpers/headers.js'
import { parseResponse, rawResponse, type RawResponse } from './helpers/raw-http.js'
import { makeCertificate, type Certificate } from './helpers/certificates.js'

const NAME = 'www.example.com'

const security = defineSecurity({
  env: {
    schema: Type.Object({
      JWT_ACCESS_SECRET: Type.String({ secret: true, generate: true }),
      JWT_REFRESH_SECRET: Type.String({ secret: true, generate: true }),
    }),
    source: {},
  },
  transport: { https: 'require', publicOrigin: `https://${NAME}` },
  auth: {
    roles: ['user'],
    authenticate: async ({ email, password }) => password === 'right' ? { id: email, roles: ['user'] } : null,
    loadUser: async (id) => ({ id, roles: ['user'] }),
  },
})

let certificate: Certificate
let app: FastifyInstance
let port = 0

before(async () => {
  certificate = makeCertificate(root.testdir(), NAME)
  app = await createServer(security, { logger: false, https: { key: certificate.key, cert: certificate.cert } })
  app.get(
    '/',
    { security: { auth: publicRoute('a route of the test') } },
    async (request) => ({ protocol: request.protocol, ip: request.ip }),
  )
  await app.listen({ port: 0, host: '127.0.0.1' })
  port = (app.server.address() as AddressInfo).port
})

/** Bytes through a TLS socket that trusts the test's certificate and nothing else. */
async function secureExchange (request: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, servername: NAME, ca: certificate.cert })
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => { text += String(chunk) })
  await once(socket, 'secureConnect')
  socket.write(request)
  await once(socket, 'close')
  return text
}

async function secureResponse (request: string): Promise<RawResponse> {
  return parseResponse(await secureExchange(request))
}

const get = (path: string, host = NAME): string => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`

const HSTS = 'max-age=63072000; includeSubDomains'

test('served over TLS a request is https, and every answer carries HSTS', async (t) => {
  const ok = await secureResponse(get('/'))
  t.equal(ok.status, 200)
  t.same(JSON.parse(ok.body), { protocol: 'https', ip: '127.0.0.1' })
  const table: [string, number, string][] = [
    ['200', 200, get('/')],
    ['404', 404, get('/nope')],
    ['a bad URL', 400, get('/%zz')],
    ['malformed HTTP', 400, 'NONSENSE\r\n\r\n'],
    ['headers that overflow', 431, `GET / HTTP/1.1\r\nHost: ${NAME}\r\nX-Big: ${'a'.repeat(20_000)}\r\n\r\n`],
  ]
  for (const [name, status, request] of table) {
    const response = await secureResponse(request)
    t.equal(response.status, status, name)
    assertHeaders(t, response.headers, {
      ...API_HEADERS,
      'strict-transport-security': HSTS,
      'x-request-id': /^[0-9a-f]{32}$/,
    })
  }
})

test('no host name is refused over TLS too, in the usual form', async (t) => {
  const response = await secureResponse('GET / HTTP/1.1\r\nConnection: close\r\n\r\n')
  t.equal(response.status, 400)
  t.match(JSON.parse(response.body), { code: 'BAD_REQUEST' })
})

test('a login over TLS sets Secure cookies with their prefixes', async (t) => {
  const body = '{"email":"ada@example.com","password":"right"}'
  const text = await secureExchange(
    `POST /auth/login HTTP/1.1\r\nHost: ${NAME}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
  t.match(text, /^HTTP\/1\.1 20[04] /)
  const cookies = [...text.matchAll(/^set-cookie: (.*)\r$/gim)].map(([, cookie = '']) => cookie)
  t.match(cookies, [
    /^__Host-access=[^;]+; Max-Age=\d+; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    /^__Secure-refresh=[^;]+; Max-Age=\d+; Path=\/auth; HttpOnly; Secure; SameSite=Strict$/,
  ])
  t.equal(cookies.length, 2)
  const plain = await app.inject({
    method: 'POST',
    url: '/auth/login',
    headers: { host: NAME },
    payload: { email: 'ada@example.com', password: 'right' },
  })
  t.equal(plain.statusCode, 403, 'over plain HTTP there is no login')
  assertHeaders(t, plain.headers, { 'set-cookie': null })
})

async function handshake (maxVersion: SecureVersion, at = port, ciphers = 'DEFAULT@SECLEVEL=0'): Promise<string> {
  const socket = connect({
    host: '127.0.0.1',
    port: at,
    servername: NAME,
    ca: certificate.cert,
    minVersion: 'TLSv1',
    maxVersion,
    ciphers,
  })
  return new Promise((resolve) => {
    socket.once('secureConnect', () => { resolve(socket.getProtocol() ?? ''); socket.destroy() })
    socket.once('error', (error: NodeJS.ErrnoException) => { resolve(error.code ?? '') })
  })
}

test('TLS 1.2 and 1.3 are spoken, older versions are not', async (t) => {
  t.equal(await handshake('TLSv1.3'), 'TLSv1.3')
  t.equal(await handshake('TLSv1.2'), 'TLSv1.2')
  t.match(await handshake('TLSv1.1'), /^ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION$/)
  t.match(await handshake('TLSv1'), /^ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION$/)
})

test('no other TLS option lets an older version or a cipher that encrypts nothing in', async (t) => {
  const { key, cert } = certificate
  const weak = 'ALL:COMPLEMENTOFALL'
  const old = { key, cert, minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' } as const
  const table: [string, ServerOptions][] = [
    ['ciphers', { key, cert, ciphers: weak }],
    ['ciphers at level 1', { key, cert, ciphers: `${weak}:@SECLEVEL=1` }],
    ['secureOptions', { key, cert, secureOptions: 0 }],
    ['SNICallback beside a certificate', {
      key,
      cert,
      SNICallback: (_name, done) => {
        done(null, createSecureContext(old))
      },
    }],
    ['SNICallback alone', {
      SNICallback: (_name, done) => {
        done(null, createSecureContext(old))
      },
    }],
    ['several certificates', { key: [key, key], cert: [cert, cert] }],
    ['ALPNProtocols', { key, cert, ALPNProtocols: ['http/1.1', 'h2'] }],
  ]
  for (const [name, https] of table) {
    const server = await createServer(defineSecurity({}), { logger: false, https })
    await server.listen({ port: 0, host: '127.0.0.1' })
    const { port: at } = server.server.address() as AddressInfo
    t.equal(await handshake('TLSv1.2', at), 'TLSv1.2', name)
    t.match(await handshake('TLSv1.1', at), /^ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION$/, name)
    for (const ciphers of ['NULL:@SECLEVEL=0', 'aNULL:@SECLEVEL=0']) {
      t.match(await handshake('TLSv1.2', at, ciphers), /ALERT_HANDSHAKE_FAILURE$/, `${name} ${ciphers}`)
    }
    await server.close()
  }
})

test('a handshake that never ends is cut off', async (t) => {
  const server = await createServer(defineSecurity({}), {
    logger: false,
    https: { key: certificate.key, cert: certificate.cert, handshakeTimeout: 50 },
  })
  t.teardown(() => server.close())
  await server.listen({ port: 0, host: '127.0.0.1' })
  const socket = connectPlainly((server.server.address() as AddressInfo).port, '127.0.0.1').resume().on(
    'error',
    () => {},
  )
  await once(socket, 'close')
  t.pass('closed')
})

test('plain HTTP on the TLS port gets nothing, and the server goes on', async (t) => {
  const response = await rawResponse(port, get('/'))
  t.not(response.status, 200)
  t.equal((await secureResponse(get('/'))).status, 200)
})

test('the limits of the HTTP server hold for the TLS server', async (t) => {
  const server = app.server as {
    readonly headersTimeout: number
    readonly requestTimeout: number
    readonly timeout: number
  }
  t.match(server, { headersTimeout: 20_000, requestTimeout: 30_000, timeout: 60_000 })
  const https = { key: certificate.key, cert: certificate.cert }
  t.match(serverOptions(defineSecurity({}), { https }), {
    https: {
      minVersion: 'TLSv1.2',
      handshakeTimeout: 20_000,
      headersTimeout: 20_000,
      requireHostHeader: false,
      ...https,
    },
  })
  t.match(serverOptions(defineSecurity({}), { https: { ...https, minVersion: 'TLSv1.3', headersTimeout: 5 } }), {
    https: { minVersion: 'TLSv1.3', headersTimeout: 5 },
  })
  t.match(serverOptions(defineSecurity({}), { https: { ...https, minVersion: undefined } }), {
    https: { minVersion: 'TLSv1.2' },
  })
  for (const absent of [{}, { https: null }, { https: undefined }]) {
    t.equal('https' in serverOptions(defineSecurity({}), absent as never), false)
  }
})

test('TLS options that let an old protocol in, and what is not supported, stop the boot', async (t) => {
  const https = { key: certificate.key, cert: certificate.cert }
  const table: [unknown, string][] = [
    [{ https: { ...https, minVersion: 'TLSv1' } }, 'fastify.https.minVersion'],
    [{ https: { ...https, minVersion: 'TLSv1.1' } }, 'fastify.https.minVersion'],
    [{ https: { ...https, maxVersion: 'TLSv1.1' } }, 'fastify.https.maxVersion'],
    [{ https: { ...https, minVersion: 'SSLv3' } }, 'fastify.https.minVersion'],
    [{ https: { ...https, minVersion: 'TLSv1.4' } }, 'fastify.https.minVersion'],
    [{ https: { ...https, minVersion: 1.2 } }, 'fastify.https.minVersion'],
    [{ https: { ...https, secureProtocol: 'TLSv1_method' } }, 'fastify.https.secureProtocol'],
    [{ https: { ...https, secureProtocol: 'TLS_method' } }, 'fastify.https.secureProtocol'],
    [{ https: { ...https, ciphers: 'ALL:eNULL:@SECLEVEL=0' } }, 'fastify.https.ciphers'],
    [{ https: { ...https, ciphers: '@SECLEVEL=0:DEFAULT' } }, 'fastify.https.ciphers'],
    [
      { https: { ...https, secureOptions: constants.SSL_OP_ALL | constants.SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION } },
      'fastify.https.secureOptions',
    ],
    [{ https: { ...https, ALPNProtocols: ['h2'] } }, 'fastify.https.ALPNProtocols'],
    [{ https: { ...https, ALPNProtocols: [] } }, 'fastify.https.ALPNProtocols'],
    [{ serverFactory: () => { throw new Error('asked for a server') } }, 'fastify.serverFactory'],
    [{ http2: true, serverFactory: () => { throw new Error('asked for a server') } }, 'fastify.serverFactory'],
    [{ https: { ...https, insecureHTTPParser: true } }, 'fastify.https.insecureHTTPParser'],
    [{ http: { insecureHTTPParser: true } }, 'fastify.http.insecureHTTPParser'],
    [{ https: {} }, 'fastify.https'],
    [{ https: { key: certificate.key } }, 'fastify.https'],
    [{ https: true }, 'fastify.https'],
    [{ https: 'on' }, 'fastify.https'],
    [{ http2: true }, 'fastify.http2'],
    [{ http2: 'yes' }, 'fastify.http2'],
    [{ http2: {} }, 'fastify.http2'],
    [{ http2: true, https }, 'fastify.http2'],
  ]
  for (const [options, path] of table) {
    await t.rejects(async () => createServer(defineSecurity({}), options as never), {
      code: 'BULWARK_CONFIG',
      problems: [{ path }],
    }, path)
  }
})

test('the server closes', async () => { await app.close() })
