import type { FastifyInstance } from 'fastify'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect, createServer as createTcpServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { before, t as root, test, type Test } from 'tap'
import { createServer, defineSecurity } from '../../index.js'
import { assertHeaders } from '../helpers/headers.js'
import { makeCertificate, type Certificate } from '../helpers/certificates.js'

const NAME = 'www.example.com'
const OUTSIDE = '127.0.0.2'
const START_MS = 5_000

const nginx = ['nginx', '/usr/sbin/nginx'].find((command) =>
  spawnSync(command, ['-v'], { stdio: 'ignore' }).status === 0
)
// Nothing may be skipped in CI: there the first test fails and says what is missing.
const skip = nginx === undefined && process.env['CI'] === undefined
  ? 'needs nginx (Debian: apt-get install nginx-light; macOS: brew install nginx)'
  : false

const folder = mkdtempSync(join(tmpdir(), 'bulwark-nginx-'))
let certificate: Certificate
let app: FastifyInstance
/** Without a public origin: the CSRF check takes the request's own scheme and host for the service's origin. */
let nameless: FastifyInstance
let proxy: ChildProcess | null = null
let ports = { app: 0, plain: 0, secure: 0 }

async function freePorts (count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, async () => {
    const server = createTcpServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return server
  }))
  return servers.map((server) => {
    const { port } = server.address() as AddressInfo
    server.close()
    return port
  })
}

/**
 * As a service would write it: TLS ends here. X-Forwarded-Host is not named, so nginx passes on what the client wrote.
 */
function configuration (plain: number, secure: number, upstream: number, namelessUpstream: number): string {
  const locations = [['/', upstream], ['/nameless', namelessUpstream]].map(([path, port]) => `
    location ${path} {
      proxy_pass http://127.0.0.1:${port};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Request-Id $request_id;
    }`).join('')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) =>
    `${name}_temp_path ${join(folder, name)};`
  ).join(' ')
  return `
daemon off;
worker_processes 1;
pid ${join(folder, 'nginx.pid')};
error_log ${join(folder, 'error.log')};
events { worker_connections 64; }
http {
  access_log off;
  server_tokens off;
  ${temporary}
  server { listen 127.0.0.1:${plain}; ${locations} }
  server {
    listen 127.0.0.1:${secure} ssl;
    ssl_certificate ${certificate.certFile};
    ssl_certificate_key ${certificate.keyFile};
    ssl_protocols TLSv1.2 TLSv1.3;
    ${locations}
  }
}`
}

async function accepts (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return new Promise((resolve) => {
    socket.once('connect', () => { socket.destroy(); resolve(true) }).once('error', () => { resolve(false) })
  })
}

async function startProxy (command: string): Promise<void> {
  const file = join(folder, 'nginx.conf')
  writeFileSync(
    file,
    configuration(ports.plain, ports.secure, ports.app, (nameless.server.address() as AddressInfo).port),
  )
  proxy = spawn(command, ['-p', folder, '-e', join(folder, 'error.log'), '-c', file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const until = Date.now() + START_MS
  while (!await accepts(ports.secure)) {
    if (Date.now() > until || proxy.exitCode !== null) throw new Error('nginx did not start')
    await sleep(25)
  }
}

before(async () => {
  if (nginx === undefined) return
  certificate = makeCertificate(folder, NAME)
  const security = defineSecurity({
    profile: 'document',
    transport: { proxies: ['127.0.0.1'], hosts: [NAME], https: 'redirect', publicOrigin: `https://${NAME}` },
    auth: false,
  })
  app = await createServer(security, { logger: false })
  app.get(
    '/',
    async ({ ip, protocol, id, host, headers }) => ({
      ip,
      protocol,
      id,
      host,
      forwardedHost: headers['x-forwarded-host'] ?? null,
    }),
  )
  app.post('/', async () => 1)
  app.get('/api', { security: { headers: { profile: 'api' } } }, async () => 1)
  nameless = await createServer(defineSecurity({ transport: { proxies: ['127.0.0.1'] } }), { logger: false })
  nameless.post('/nameless', async () => 1)
  await nameless.listen({ port: 0, host: '127.0.0.1' })
  // On every loopback address, so that 127.0.0.2 can reach it past the proxy.
  await app.listen({ port: 0, host: '0.0.0.0' })
  const [plain = 0, secure = 0] = await freePorts(2)
  ports = { app: (app.server.address() as AddressInfo).port, plain, secure }
  await startProxy(nginx)
})

root.teardown(async () => {
  if (proxy !== null && proxy.exitCode === null) {
    proxy.kill('SIGQUIT')
    await once(proxy, 'exit')
  }
  if (nginx !== undefined) await Promise.all([app.close(), nameless.close()])
  rmSync(folder, { recursive: true, force: true })
})

interface Answer { readonly status: number, readonly headers: IncomingHttpHeaders, readonly body: string }

interface Call {
  readonly path?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly from?: string
}

/** `through` names the port: the proxy's plain or TLS one, or the app's own. */
async function call (
  through: 'plain' | 'secure' | 'app',
  { path = '/', method = 'GET', headers = {}, from = OUTSIDE }: Call = {},
): Promise<Answer> {
  const options = {
    host: '127.0.0.1',
    port: ports[through],
    path,
    method,
    localAddress: from,
    agent: false,
    headers: { host: NAME, ...headers },
  }
  const request = through === 'secure'
    ? httpsRequest({ ...options, servername: NAME, ca: certificate.cert })
    : httpRequest(options)
  return new Promise((resolve, reject) => {
    request.once('error', reject).once('response', (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk) => { body += String(chunk) }).once('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body })
      })
    })
    request.end()
  })
}

function promise (name: string, run: (t: Test) => Promise<void>): void {
  void test(name, { skip }, async (t) => {
    if (nginx === undefined) t.fail('nginx is not installed: CI must install it (Debian: apt-get install nginx-light)')
    else await run(t)
  })
}

promise('through the proxy a request is https, and its address is the client\'s', async (t) => {
  const answer = await call('secure')
  t.equal(answer.status, 200)
  const seen = JSON.parse(answer.body) as Record<string, unknown>
  t.match(seen, { ip: OUTSIDE, protocol: 'https' })
  t.match(seen['id'], /^[0-9a-f]{32}$/)
  assertHeaders(t, answer.headers, {
    'strict-transport-security': 'max-age=63072000; includeSubDomains',
    'x-request-id': String(seen['id']),
    'x-powered-by': null,
  })
  t.equal(
    (JSON.parse((await call('secure', { from: '127.0.0.3' })).body) as Record<string, unknown>)['ip'],
    '127.0.0.3',
  )
})

promise('what a client says of itself through the proxy is not believed', async (t) => {
  const lies = {
    'x-forwarded-for': '203.0.113.9',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'evil.example',
    forwarded: 'for=203.0.113.9;proto=https',
    'x-request-id': 'chosen-by-client',
  }
  const secure = await call('secure', { headers: lies })
  t.match(JSON.parse(secure.body), { ip: OUTSIDE, protocol: 'https' })
  t.not(secure.headers['x-request-id'], 'chosen-by-client')
  t.equal((await call('plain', { headers: lies })).status, 308)
  t.equal(
    (await call('secure', { headers: { ...lies, 'x-forwarded-for': '127.0.0.1, 127.0.0.1' } })).body.includes(
      `"ip":"${OUTSIDE}"`,
    ),
    true,
  )
})

promise(
  'an X-Forwarded-Host that nginx passes on is not believed, by the host list, the app or the CSRF check',
  async (t) => {
    for (const lie of ['evil.example', `evil.example, ${NAME}`, `${NAME}, evil.example`, '']) {
      const answer = await call('secure', { headers: { 'x-forwarded-host': lie } })
      t.equal(answer.status, 200, lie)
      t.match(JSON.parse(answer.body), { host: NAME, forwardedHost: null })
    }
    t.equal(
      (await call('secure', { headers: { host: 'evil.example', 'x-forwarded-host': NAME } })).status,
      421,
      'nor does it get a foreign host served',
    )
    const post = async (origin: string): Promise<number> =>
      (await call('secure', {
        path: '/nameless',
        method: 'POST',
        headers: { cookie: 'a=b', origin, 'x-forwarded-host': 'evil.example' },
      })).status
    t.equal(await post('https://evil.example'), 403)
    t.equal(await post(`https://${NAME}`), 200)
  },
)

promise('plain HTTP through the proxy is sent to the public origin, for documents and safe methods only', async (t) => {
  const page = await call('plain', { path: '/page?a=b' })
  t.equal(page.status, 308)
  assertHeaders(t, page.headers, { location: `https://${NAME}/page?a=b`, 'strict-transport-security': null })
  const head = await call('plain', { method: 'HEAD' })
  t.equal(head.status, 308)
  for (const refused of [await call('plain', { method: 'POST' }), await call('plain', { path: '/api' })]) {
    t.equal(refused.status, 403)
    assertHeaders(t, refused.headers, { location: null })
    t.match(JSON.parse(refused.body), { code: 'HTTPS_REQUIRED' })
  }
})

promise('a host that is not listed is refused through the proxy too', async (t) => {
  for (const through of ['plain', 'secure'] as const) {
    t.equal((await call(through, { headers: { host: 'evil.example' } })).status, 421, through)
  }
})

promise('a client that reaches the app past the proxy cannot say who it is, and is noticed', async (t) => {
  const noticed: unknown[] = []
  app.security.events.on('proxy_headers_untrusted', (event) => { noticed.push(event) })
  const lies = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https', 'x-request-id': 'chosen-by-client' }
  const direct = await call('app', { headers: lies })
  t.equal(direct.status, 308, 'its https is not believed')
  assertHeaders(t, direct.headers, { 'strict-transport-security': null, location: `https://${NAME}/` })
  t.not(direct.headers['x-request-id'], 'chosen-by-client')
  for (let round = 0; round < 3; round++) await call('app', { headers: lies })
  t.match(noticed, [{ name: 'proxy_headers_untrusted', header: 'x-forwarded-for', ip: OUTSIDE }])
  t.equal(noticed.length, 1)
})
