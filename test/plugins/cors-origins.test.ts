import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { createServer, defineSecurity } from '../../index.js'
import { cors, type CorsOptions } from '../../plugins/cors.js'
import { securityOf } from '../../lib/policy/install.js'
import { assertHeaders } from '../helpers/headers.js'
import { captureLogs, type LogLine } from '../helpers/logs.js'

const TENANTS = 'https://*.example.com'
const NOTHING = {
  'access-control-allow-origin': null,
  'access-control-allow-credentials': null,
  'access-control-expose-headers': null,
  vary: 'Origin',
}

async function build (
  t: Test,
  options: CorsOptions,
): Promise<{ readonly app: FastifyInstance, readonly lines: LogLine[] }> {
  const { logger, lines } = captureLogs()
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(cors, options)
  app.get('/', async () => 1)
  return { app, lines }
}

function preflight (
  origin: string,
  headers: Record<string, string> = {},
): { method: 'OPTIONS', url: string, headers: Record<string, string> } {
  return { method: 'OPTIONS', url: '/', headers: { origin, 'access-control-request-method': 'GET', ...headers } }
}

test('a wildcard grants its origins by name, beside exact ones, and varies', async (t) => {
  const { app } = await build(t, { origin: ['https://partner.example', TENANTS], credentials: true })
  for (
    const origin of [
      'https://a.example.com',
      'https://b.example.com',
      'https://partner.example',
      'https://a.example.com',
    ]
  ) {
    assertHeaders(t, (await app.inject({ url: '/', headers: { origin } })).headers, {
      'access-control-allow-origin': origin,
      'access-control-allow-credentials': 'true',
      vary: 'Origin',
    })
    const granted = await app.inject(preflight(origin))
    t.equal(granted.statusCode, 204)
    assertHeaders(t, granted.headers, { 'access-control-allow-origin': origin, vary: /^Origin, / })
  }
  for (
    const origin of [
      'https://a.example.com.evil.example',
      'https://evil.example',
      'null',
      'http://a.example.com',
      'https://a.example.com:444',
      'https://example.com',
      'https://a.b.example.com',
      'https://*.example.com',
      'https://a.example.com, https://evil.example',
      `https://${'a'.repeat(250)}.example.com`,
    ]
  ) {
    assertHeaders(t, (await app.inject({ url: '/', headers: { origin } })).headers, NOTHING)
    t.equal((await app.inject(preflight(origin))).statusCode, 403, origin)
  }
  assertHeaders(t, (await app.inject('/')).headers, NOTHING)
})

test('a thousand origins of one wildcard each get their own name, also when asked again', async (t) => {
  const { app } = await build(t, { origin: [TENANTS] })
  for (let round = 0; round < 2; round++) {
    for (let number = 0; number < 1000; number++) {
      const origin = `https://t${number}.example.com`
      const { headers } = await app.inject({ url: '/', headers: { origin } })
      if (headers['access-control-allow-origin'] !== origin) t.fail(origin)
    }
  }
  t.pass('each its own')
})

test('a function decides by origin and request, and is never asked for null or nonsense', async (t) => {
  const asked: string[] = []
  const { app } = await build(t, {
    origin: (origin, request) => {
      if (request !== null) asked.push(origin)
      return origin === 'https://a.example.com' && request?.headers['x-deny'] === undefined
    },
    credentials: true,
  })
  assertHeaders(t, (await app.inject({ url: '/', headers: { origin: 'https://a.example.com' } })).headers, {
    'access-control-allow-origin': 'https://a.example.com',
    'access-control-allow-credentials': 'true',
    vary: 'Origin',
  })
  assertHeaders(
    t,
    (await app.inject({ url: '/', headers: { origin: 'https://a.example.com', 'x-deny': '1' } })).headers,
    NOTHING,
  )
  t.equal((await app.inject(preflight('https://a.example.com'))).statusCode, 204)
  t.equal((await app.inject(preflight('https://b.example.com'))).statusCode, 403)
  t.same(asked, ['https://a.example.com', 'https://a.example.com', 'https://a.example.com', 'https://b.example.com'])
  asked.length = 0
  for (
    const origin of [
      'null',
      '',
      'x',
      'https://a.example.com/',
      'HTTPS://a.example.com',
      'file://',
      'https://a.example.com,https://a.example.com',
      `https://${'a'.repeat(250)}.example.com`,
    ]
  ) {
    assertHeaders(t, (await app.inject({ url: '/', headers: { origin } })).headers, NOTHING)
    t.equal((await app.inject(preflight(origin))).statusCode, 403, origin)
  }
  t.same(asked, [])
})

test('a function that throws or answers no boolean has refused, which the log says', async (t) => {
  const table: [string, () => unknown, RegExp][] = [
    ['throws', () => { throw new Error('no tenants') }, /threw/],
    ['string', () => 'yes', /did not return/],
    ['undefined', () => undefined, /did not return/],
    ['promise', async () => true, /did not return/],
    ['rejected promise', async () => { throw new Error('late') }, /did not return/],
  ]
  for (const [name, answer, message] of table) {
    const { app, lines } = await build(t, {
      origin: ((_origin: string, request: unknown) => request === null ? false : answer()) as unknown as () => boolean,
      credentials: true,
    })
    const res = await app.inject({ url: '/', headers: { origin: 'https://a.example.com' } })
    t.equal(res.statusCode, 200, name)
    assertHeaders(t, res.headers, NOTHING)
    t.ok(lines.some(({ level, msg }) => level === 50 && message.test(msg ?? '')), name)
  }
})

test('a function that allows everybody stops the boot with credentials, and works without', async (t) => {
  await t.rejects(async () => Fastify().register(cors, { origin: () => true, credentials: true }), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'cors.credentials' }],
  })
  const { app } = await build(t, { origin: () => true })
  assertHeaders(t, (await app.inject({ url: '/', headers: { origin: 'https://any.example' } })).headers, {
    'access-control-allow-origin': 'https://any.example',
    'access-control-allow-credentials': null,
    vary: 'Origin',
  })
  for (
    const [name, origins] of [['async', async () => false], ['rejecting', async () => {
      throw new Error('x')
    }], ['throwing', () => {
      throw new Error('x')
    }], ['silent', () => {}]] as const
  ) {
    await t.rejects(async () => Fastify().register(cors, { origin: origins as unknown as () => boolean }), {
      code: 'BULWARK_CONFIG',
      problems: [{ path: 'cors.origin' }],
    }, name)
  }
})

test('a regular expression stops the boot wherever it is written', async (t) => {
  const fix = /https:\/\/\*\.example\.com as text/
  await t.rejects(
    async () => Fastify().register(cors, { origin: ['https://a.example.com', /example\.com/ as never] }),
    {
      code: 'BULWARK_CONFIG',
      problems: [{ path: 'cors.origin[1]', fix }],
    },
  )
  const { app } = await build(t, {})
  app.get('/x', { security: { cors: { origin: [/^https:\/\/.*$/ as never] } } }, async () => 1)
  app.get('/y', { security: { cors: { origin: () => true, credentials: true } } }, async () => 1)
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'GET /x security.cors.origin[0]', fix }, { path: 'GET /y security.cors.credentials' }],
  })
})

test('a function is asked once at boot, however many routes and scopes share it', async (t) => {
  let asked = 0
  const origin = (_origin: string, request: unknown): boolean => {
    if (request === null) asked++
    return false
  }
  const app = await createServer(defineSecurity({ cors: { origin } }), { logger: false })
  t.teardown(() => app.close())
  app.get('/', async () => 1)
  app.get('/own', { security: { cors: { origin } } }, async () => 1)
  await app.ready()
  t.equal(asked, 1)
})

test('a preflight from the public internet into a private network needs a yes of its own', async (t) => {
  const asks = { 'access-control-request-private-network': 'true' }
  const allowed = 'access-control-allow-private-network'
  const table: [string, CorsOptions, number, string | undefined][] = [
    ['absent', { origin: [TENANTS] }, 403, undefined],
    ['undefined', { origin: [TENANTS], privateNetwork: undefined } as unknown as CorsOptions, 403, undefined],
    ['false', { origin: [TENANTS], privateNetwork: false }, 403, undefined],
    ['true', { origin: [TENANTS], privateNetwork: true }, 204, 'true'],
    ['true, other origin', { origin: ['https://other.example'], privateNetwork: true }, 403, undefined],
  ]
  for (const [name, options, status, header] of table) {
    const { app } = await build(t, options)
    const reasons: string[] = []
    securityOf(app).root.emit = (event) => { if (event.name === 'malicious_cors') reasons.push(event.reason) }
    const res = await app.inject(preflight('https://a.example.com', asks))
    t.equal(res.statusCode, status, name)
    t.equal(res.headers[allowed], header, name)
    if (status === 403) t.same(reasons, [name.includes('other') ? 'origin' : 'private-network'], name)
    else assertHeaders(t, res.headers, { vary: /(^|, )Access-Control-Request-Private-Network(,|$)/ })
  }
  const { app } = await build(t, { origin: [TENANTS], privateNetwork: true })
  t.equal((await app.inject(preflight('https://a.example.com'))).headers[allowed], undefined, 'not asked, not said')
  const { app: closed } = await build(t, { origin: [TENANTS] })
  t.equal(
    (await closed.inject(preflight('https://a.example.com', { 'access-control-request-private-network': '1' })))
      .statusCode,
    403,
    'whatever the value',
  )
})
