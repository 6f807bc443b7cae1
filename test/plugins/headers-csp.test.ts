import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { headers, type HeadersOptions } from '../../plugins/headers.js'

async function build (t: Test, options: HeadersOptions = {}): Promise<FastifyInstance> {
  const app = Fastify({ trustProxy: ['127.0.0.1'] })
  t.teardown(() => app.close())
  await app.register(headers, options)
  return app
}

const https = { 'x-forwarded-proto': 'https', host: 'www.example.com' }

interface Policies {
  readonly enforced: string | undefined
  readonly reportOnly: string | undefined
  readonly body: string
}

async function policies (
  app: FastifyInstance,
  url: string,
  requestHeaders: Record<string, string> = https,
): Promise<Policies> {
  const res = await app.inject({ url, headers: requestHeaders })
  return {
    enforced: res.headers['content-security-policy'],
    reportOnly: res.headers['content-security-policy-report-only'],
    body: res.body,
  }
}

test('no policy is sent to report only unless one is written', async (t) => {
  for (const reportOnly of [undefined, false] as const) {
    const app = await build(t, { contentSecurityPolicy: { reportOnly } } as HeadersOptions)
    app.get('/', async () => 1)
    t.equal((await policies(app, '/')).reportOnly, undefined)
  }
})

test('the policy that only reports starts from the enforced one, which stays as it is', async (t) => {
  const app = await build(t, {
    contentSecurityPolicy: {
      reportOnly: {
        directives: { 'base-uri': false, 'require-trusted-types-for': ["'script'"] },
        extend: { 'img-src': ["'self'"] },
      },
    },
  })
  app.get('/', async () => 1)
  const { enforced, reportOnly } = await policies(app, '/')
  t.equal(enforced, "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'")
  t.equal(
    reportOnly,
    "default-src 'none';form-action 'none';frame-ancestors 'none';require-trusted-types-for 'script';img-src 'self'",
  )
})

test('an empty second policy reports on the same rules', async (t) => {
  const app = await build(t, { contentSecurityPolicy: { reportOnly: {} } })
  app.get('/', async () => 1)
  const { enforced, reportOnly } = await policies(app, '/')
  t.equal(reportOnly, enforced)
})

test('both policies carry the one nonce of the response, and neither does unread', async (t) => {
  const app = await build(t, {
    profile: 'document',
    contentSecurityPolicy: { reportOnly: { directives: { 'style-src': ["'nonce'"] } } },
  })
  app.get('/', async (_request, reply) => reply.cspNonce + reply.cspNonce)
  app.get('/unread', async () => 1)
  const page = await policies(app, '/')
  const nonce = page.body.slice(0, page.body.length / 2)
  t.equal(page.body, nonce + nonce)
  t.ok(page.enforced?.includes(`script-src 'nonce-${nonce}' 'strict-dynamic';style-src 'self' 'nonce-${nonce}'`))
  t.ok(page.reportOnly?.includes(`script-src 'nonce-${nonce}' 'strict-dynamic';style-src 'nonce-${nonce}'`))
  const unread = await policies(app, '/unread')
  t.notMatch(`${unread.enforced ?? ''}${unread.reportOnly ?? ''}`, /nonce/)
  t.match(unread.reportOnly, /style-src 'none'/)
})

test('a nonce in one policy alone leaves the other as it is', async (t) => {
  const app = await build(t, { contentSecurityPolicy: { reportOnly: { extend: { 'script-src': ["'nonce'"] } } } })
  app.get('/', async (_request, reply) => reply.cspNonce)
  const { enforced, reportOnly, body } = await policies(app, '/')
  t.notMatch(enforced, /nonce/)
  t.ok(reportOnly?.includes(`'nonce-${body}'`))
})

test('a route inherits the second policy, replaces it, drops it, or drops both', async (t) => {
  const app = await build(t, { contentSecurityPolicy: { reportOnly: { extend: { 'img-src': ["'self'"] } } } })
  const route = (url: string, own: HeadersOptions): unknown =>
    app.get(url, { security: { headers: own } }, async () => 1)
  route('/inherits', { contentSecurityPolicy: { directives: { 'base-uri': ["'self'"] } } })
  route('/replaces', { contentSecurityPolicy: { reportOnly: { extend: { 'font-src': ["'self'"] } } } })
  route('/drops', { contentSecurityPolicy: { reportOnly: false } })
  route('/drops-both', { contentSecurityPolicy: false })
  t.equal(
    (await policies(app, '/inherits')).reportOnly,
    "default-src 'none';base-uri 'self';form-action 'none';frame-ancestors 'none';img-src 'self'",
  )
  t.equal(
    (await policies(app, '/replaces')).reportOnly,
    "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none';font-src 'self'",
  )
  t.match(await policies(app, '/drops'), { enforced: String, reportOnly: undefined })
  t.match(await policies(app, '/drops-both'), { enforced: undefined, reportOnly: undefined })
})

test('a second policy that no header can carry stops the boot', async (t) => {
  const table: unknown[] = [
    { directives: { 'script-src': ['self'] } },
    { extend: { 'script-src': ["'self'; img-src *"] } },
    { directives: { 'bad name': ["'self'"] } },
    { directives: { 'default-src': false } },
    { directive: {} },
    { extend: { 'img-src': false } },
    true,
    'default-src *',
  ]
  for (const reportOnly of table) {
    const app = Fastify()
    const options = { contentSecurityPolicy: { reportOnly } } as HeadersOptions
    await t.rejects(async () => app.register(headers, options), {
      code: 'BULWARK_CONFIG',
      problems: [{ path: 'headers.contentSecurityPolicy' }],
    }, JSON.stringify(reportOnly))
  }
})

test('pages upgrade insecure requests over HTTPS only, never for a loopback name, and with the nonce too', async (t) => {
  const app = await build(t, { profile: 'document', contentSecurityPolicy: { reportOnly: {} } })
  app.get('/', async () => 1)
  app.get('/nonce', async (_request, reply) => reply.cspNonce)
  const upgrade = /upgrade-insecure-requests/
  for (const url of ['/', '/nonce']) {
    const secure = await policies(app, url)
    t.match(secure.enforced, upgrade, url)
    t.notMatch(secure.reportOnly, upgrade, 'browsers ignore it where nothing is enforced')
    for (
      const [host, proto] of [
        ['www.example.com', 'http'],
        ['localhost:3000', 'https'],
        ['app.localhost', 'https'],
        ['127.0.0.1', 'https'],
        ['[::1]', 'https'],
        ['localhost', 'http'],
      ] as const
    ) {
      const { enforced } = await policies(app, url, { host, 'x-forwarded-proto': proto })
      t.match(enforced, /default-src 'none'/)
      t.notMatch(enforced, upgrade, `${proto}://${host}${url}`)
    }
  }
})

test('the upgrade stands apart from HSTS, and may be dropped or added', async (t) => {
  const app = await build(t, { strictTransportSecurity: false })
  const route = (url: string, own: HeadersOptions): unknown =>
    app.get(url, { security: { headers: own } }, async () => 1)
  route('/page', { profile: 'document' })
  route('/dropped', {
    profile: 'document',
    contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': false } },
  })
  route('/added', { contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': [] } } })
  t.match((await policies(app, '/page')).enforced, /;upgrade-insecure-requests/)
  t.notMatch((await policies(app, '/dropped')).enforced, /upgrade/)
  t.match((await policies(app, '/added')).enforced, /;upgrade-insecure-requests/)
  t.notMatch((await policies(app, '/added', { host: 'www.example.com' })).enforced, /upgrade/)
})
