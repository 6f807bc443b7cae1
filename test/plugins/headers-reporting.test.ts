import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { createServer, defineSecurity, publicRoute, Type, type SecurityDefinition } from '../../index.js'
import type { SecurityEventRecord } from '../../lib/events/emitter.js'
import { overrideScope } from '../../lib/policy/install.js'
import { events } from '../../plugins/events.js'
import { headers, type HeadersOptions } from '../../plugins/headers.js'
import { API_HEADERS, assertHeaders } from '../helpers/headers.js'

const PATH = '/reports/csp'
const reporting = { endpoint: PATH }

async function build (
  t: Test,
  options: HeadersOptions = { reporting },
): Promise<{ app: FastifyInstance, seen: SecurityEventRecord[] }> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(events)
  await app.register(headers, options)
  return { app, seen: record(app) }
}

function record (app: FastifyInstance): SecurityEventRecord[] {
  const seen: SecurityEventRecord[] = []
  app.security.events.on('csp_violation', (event) => { seen.push(event) })
  return seen
}

const classic = (own: Record<string, unknown> = {}): string =>
  JSON.stringify({
    'csp-report': {
      'effective-directive': 'img-src',
      'blocked-uri': 'https://evil.example/a?secret',
      disposition: 'enforce',
      ...own,
    },
  })
const modern = (count: number): string =>
  JSON.stringify(
    Array<unknown>(count).fill({
      type: 'csp-violation',
      age: 0,
      url: 'https://x.example/',
      body: { effectiveDirective: 'script-src-elem', blockedURL: 'inline', disposition: 'report' },
    }),
  )
const CSP_REPORT = 'application/csp-report'
const REPORTS = 'application/reports+json'

async function report (
  app: FastifyInstance,
  payload: string,
  type = CSP_REPORT,
  own: Record<string, string> = {},
): Promise<{ statusCode: number, headers: Record<string, unknown> }> {
  return app.inject({ method: 'POST', url: PATH, payload, headers: { 'content-type': type, ...own } })
}

test('nothing is reported unless an endpoint is written', async (t) => {
  for (const options of [{}, { reporting: undefined }, { reporting: false }]) {
    const { app } = await build(t, options as HeadersOptions)
    app.get('/', async () => 1)
    const res = await app.inject('/')
    t.equal(res.headers['reporting-endpoints'], undefined)
    t.notMatch(res.headers['content-security-policy'], /report/)
    t.equal((await report(app, classic())).statusCode, 404)
  }
})

test('both policies name the endpoint in both ways', async (t) => {
  const table: [NonNullable<HeadersOptions['reporting']> & object, string, string][] = [
    [{ endpoint: PATH }, `csp="${PATH}"`, `;report-uri ${PATH};report-to csp`],
    [{ endpoint: '/r', group: 'default' }, 'default="/r"', ';report-uri /r;report-to default'],
    [
      { endpoint: 'https://reports.example.com/csp?site=1' },
      'csp="https://reports.example.com/csp?site=1"',
      ';report-uri https://reports.example.com/csp?site=1;report-to csp',
    ],
  ]
  for (const [own, endpoints, end] of table) {
    const { app } = await build(t, { profile: 'document', reporting: own, contentSecurityPolicy: { reportOnly: {} } })
    app.get('/', async (_request, reply) => reply.cspNonce)
    const res = await app.inject('/')
    t.equal(res.headers['reporting-endpoints'], endpoints)
    for (const name of ['content-security-policy', 'content-security-policy-report-only']) {
      t.ok(String(res.headers[name]).endsWith(end), name)
      t.ok(String(res.headers[name]).includes(`'nonce-${res.body}'`), name)
    }
  }
})

test('a scope or a route inherits the endpoint, takes another, or drops it; a directive of its own stands', async (t) => {
  const { app } = await build(t)
  const route = (url: string, own: HeadersOptions): unknown =>
    app.get(url, { security: { headers: own } }, async () => 1)
  route('/page', { profile: 'document' })
  route('/again', { reporting: { endpoint: PATH, group: 'again' } })
  route('/other', { reporting: { endpoint: 'https://reports.example.com/' } })
  route('/none', { reporting: false })
  route('/own', { contentSecurityPolicy: { directives: { 'report-to': ['mine'] } } })
  route('/no-csp', { contentSecurityPolicy: false })
  const at = async (url: string): Promise<string> => {
    const { headers } = await app.inject(url)
    return `${String(headers['reporting-endpoints'])} ${String(headers['content-security-policy'])}`
  }
  t.match(await at('/page'), /^csp="\/reports\/csp" .*script-src.*report-uri \/reports\/csp;report-to csp$/)
  t.match(await at('/again'), /^again=.*report-to again$/)
  t.match(await at('/other'), /^csp="https:\/\/reports\.example\.com\/" .*report-uri https:\/\/reports\.example\.com\//)
  t.notMatch(await at('/none'), /report|csp=/)
  t.match(await at('/own'), /report-to mine;report-uri \/reports\/csp$/)
  t.equal(await at('/no-csp'), 'undefined undefined')
})

test('an endpoint that could not work stops the boot', async (t) => {
  const table: [unknown, string][] = [
    [true, 'headers.reporting'],
    ['/reports', 'headers.reporting'],
    [{}, 'headers.reporting'],
    [{ endpoint: 5 }, 'headers.reporting'],
    [{ endpoint: '/r', grp: 'x' }, 'headers.reporting'],
    ...[
      '',
      '/',
      'reports',
      '//evil.example',
      '/a//b',
      '/a/',
      '/:id',
      '/*',
      '/a?b',
      '/a;b',
      '/a b',
      '/a"b',
      '/a/../b',
      'http://reports.example.com/',
      'ftp://x.example/',
      'https:/x.example',
      'https://u:p@x.example/',
      'https://x.example/a;b',
      'https://x.example/a,b',
      'https://x.example/"',
      'https://x.example/\r\nX: y',
    ]
      .map((endpoint): [unknown, string] => [{ endpoint }, 'headers.reporting.endpoint']),
    ...['', 'CSP', '1', 'a b', 'a"', 'x'.repeat(65)].map((
      group,
    ): [unknown, string] => [{ endpoint: '/r', group }, 'headers.reporting.group']),
  ]
  for (const [own, path] of table) {
    const app = Fastify()
    const options = { reporting: own } as HeadersOptions
    await t.rejects(
      async () => app.register(headers, options),
      { code: 'BULWARK_CONFIG', problems: [{ path }] },
      JSON.stringify(own),
    )
  }
})

test('a path that nothing receives reports at stops the boot', async (t) => {
  const refused = { code: 'BULWARK_CONFIG', problems: [{ path: /reporting\.endpoint$/ }] }
  const onRoute = Fastify()
  await onRoute.register(headers)
  onRoute.get('/', { security: { headers: { reporting } } }, async () => 1)
  await t.rejects(async () => onRoute.ready(), refused)

  const inScope = Fastify()
  await inScope.register(headers, { reporting: { endpoint: '/elsewhere' } })
  inScope.register(async (scope) => { await scope.register(headers, { reporting }) })
  await t.rejects(async () => inScope.ready(), refused)

  const child = Fastify()
  child.register(async (scope) => { await scope.register(headers, { reporting }) })
  await t.rejects(async () => child.ready(), refused)

  const belowOff = Fastify()
  await belowOff.register(headers)
  await belowOff.register(async (scope) => {
    overrideScope(scope, { headers: false }, 'a scope')
    scope.get('/', { security: { headers: { reporting } } }, async () => 1)
  })
  await t.rejects(async () => belowOff.ready(), refused)
})

test('reports of both formats become one event each, and are answered with 204', async (t) => {
  const { app, seen } = await build(t)
  const res = await report(app, classic())
  t.equal(res.statusCode, 204)
  assertHeaders(t, res.headers as Record<string, string>, { 'x-frame-options': 'DENY' })
  t.match(seen, [{
    name: 'csp_violation',
    directive: 'img-src',
    blocked: 'https://evil.example',
    disposition: 'enforce',
    route: PATH,
  }])
  t.notMatch(JSON.stringify(seen), /secret/)
  t.equal((await report(app, modern(3), `${REPORTS}; charset=utf-8`)).statusCode, 204)
  t.equal(seen.length, 4)
  t.equal((await report(app, modern(60), REPORTS)).statusCode, 204)
  t.equal(seen.length, 24, 'at most twenty of one request')
})

test('what is no report is refused without an event', async (t) => {
  const { app, seen } = await build(t)
  const table: [string, string, number][] = [
    ['{', CSP_REPORT, 400],
    ['', CSP_REPORT, 400],
    ['[]', CSP_REPORT, 400],
    [classic({ 'effective-directive': 5 }), CSP_REPORT, 400],
    [modern(1), CSP_REPORT, 400],
    [classic(), REPORTS, 400],
    ['[1]', REPORTS, 400],
    ['{"__proto__":{"x":1},"csp-report":{"effective-directive":"img-src"}}', CSP_REPORT, 400],
    [classic(), 'application/json', 415],
    [classic(), 'text/plain', 415],
    [classic({ 'script-sample': 'x'.repeat(16 * 1024) }), CSP_REPORT, 413],
  ]
  for (const [payload, type, status] of table) {
    const res = await report(app, payload, type)
    t.equal(res.statusCode, status, `${type} ${payload.slice(0, 60)}`)
    assertHeaders(t, res.headers as Record<string, string>, { 'x-frame-options': 'DENY' })
  }
  t.equal((await app.inject({ method: 'POST', url: PATH })).statusCode, 400)
  t.equal((await app.inject(PATH)).statusCode, 404)
  t.same(seen, [])
})

test('no other route starts to accept reports', async (t) => {
  const { app } = await build(t)
  app.post('/json', async (request) => request.body)
  t.equal(
    (await app.inject({ method: 'POST', url: '/json', payload: classic(), headers: { 'content-type': CSP_REPORT } }))
      .statusCode,
    415,
  )
  t.equal(
    (await app.inject({
      method: 'POST',
      url: '/json',
      payload: '{"a":1}',
      headers: { 'content-type': 'application/json' },
    })).statusCode,
    200,
  )
})

test('alone, without the events plugin, reports are taken and nothing breaks', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(headers, { reporting })
  t.equal((await report(app, classic())).statusCode, 204)
})

const secret = Type.Object({
  JWT_ACCESS_SECRET: Type.String({ secret: true, generate: true }),
  JWT_REFRESH_SECRET: Type.String({ secret: true, generate: true }),
})

async function suite (
  t: Test,
  definition: SecurityDefinition,
): Promise<{ app: FastifyInstance, seen: SecurityEventRecord[] }> {
  const app = await createServer(definition, { logger: false })
  t.teardown(() => app.close())
  return { app: app as unknown as FastifyInstance, seen: record(app) }
}

test('under the suite the endpoint is public, takes no cookie for a signature, and has a limit of its own', async (t) => {
  const { app, seen } = await suite(t, defineSecurity({
    env: { schema: secret, source: {} },
    headers: { reporting },
    rateLimit: { policies: { reports: { limit: 2, window: '1h', by: 'ip' } } },
    auth: { roles: ['user'], authenticate: async () => null, loadUser: async () => null },
    defaults: { auth: { roles: ['user'] }, csrf: 'always' },
  }))
  app.get('/private', async () => 1)
  t.equal(
    (await report(app, classic(), CSP_REPORT, { 'sec-fetch-site': 'cross-site', cookie: 'access=a.b.c' })).statusCode,
    204,
  )
  t.equal(seen.length, 1)
  t.equal((await app.inject('/private')).statusCode, 401, 'other routes stay closed')
  t.equal((await report(app, '{')).statusCode, 400)
  const limited = await report(app, classic())
  t.equal(limited.statusCode, 429)
  assertHeaders(t, limited.headers as Record<string, string>, { 'x-frame-options': 'DENY' })
  t.equal(seen.length, 1)
  const posture = app.security.posture().routes.find(({ url }) => url === PATH)
  t.match(posture?.security, {
    auth: { access: 'public', why: String, roles: [] },
    csrf: false,
    rateLimit: ['reports'],
  })
})

test('with the other plugins turned off, or roles required everywhere, the endpoint still works', async (t) => {
  const { app, seen } = await suite(
    t,
    defineSecurity({ headers: { reporting }, auth: false, csrf: false, rateLimit: false, cors: false }),
  )
  app.get('/', { security: { auth: publicRoute('a page') } }, async () => 1)
  t.equal((await report(app, classic())).statusCode, 204)
  t.equal(seen.length, 1)
  const res = await app.inject('/')
  t.equal(res.headers['reporting-endpoints'], `csp="${PATH}"`)
  assertHeaders(t, res.headers, { ...API_HEADERS, 'content-security-policy': /frame-ancestors 'none';report-uri/ })
})

test('an endpoint in the defaults is a path that nobody serves, so the boot stops', async (t) => {
  const definition = defineSecurity({ auth: false, defaults: { headers: { reporting } } })
  const app = await createServer(definition, { logger: false })
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'defaults.headers.reporting.endpoint' }],
  })
})
