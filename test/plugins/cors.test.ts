import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { cors, type CorsOptions } from '../../plugins/cors.js'
import { securityOf } from '../../lib/policy/install.js'
import { assertHeaders } from '../helpers/headers.js'

const APP = 'https://app.example.com'
const EVIL = 'https://evil.example'

async function build (t: Test, options: CorsOptions = { origin: [APP], credentials: true }): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cors, options)
  return app
}

const NO_CORS = {
  'access-control-allow-origin': null, 'access-control-allow-credentials': null, 'access-control-expose-headers': null,
  'access-control-allow-methods': null, 'access-control-allow-headers': null, 'access-control-max-age': null,
}

function preflight (
  url: string,
  method: string,
  origin = APP,
  headers: Record<string, string> = {},
): { method: 'OPTIONS', url: string, headers: Record<string, string> } {
  return { method: 'OPTIONS', url, headers: { origin, 'access-control-request-method': method, ...headers } }
}

test('a listed origin gets its grant, any other nothing at all; both vary by origin', async (t) => {
  const app = await build(t)
  app.get('/', async () => 1)
  assertHeaders(t, (await app.inject({ url: '/', headers: { origin: APP } })).headers, {
    'access-control-allow-origin': APP,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': 'Retry-After, RateLimit, RateLimit-Policy, X-Request-Id',
    vary: 'Origin',
  })
  for (
    const origin of [EVIL, 'null', `${APP}.evil.example`, `${APP}:444`, 'http://app.example.com', APP.toUpperCase(), '']
  ) {
    assertHeaders(t, (await app.inject({ url: '/', headers: { origin } })).headers, { ...NO_CORS, vary: 'Origin' })
  }
  assertHeaders(t, (await app.inject('/')).headers, { ...NO_CORS, vary: 'Origin' })
})

test('without an origin listed nothing is sent and no preflight is granted', async (t) => {
  const app = await build(t, {})
  app.get('/', async () => 1)
  assertHeaders(t, (await app.inject({ url: '/', headers: { origin: APP } })).headers, { ...NO_CORS, vary: null })
  t.equal((await app.inject(preflight('/', 'GET'))).statusCode, 403)
})

test('a wildcard grants every origin without credentials and without varying', async (t) => {
  const app = await build(t, { origin: '*' })
  app.get('/', async () => 1)
  assertHeaders(t, (await app.inject({ url: '/', headers: { origin: EVIL } })).headers, {
    'access-control-allow-origin': '*',
    'access-control-allow-credentials': null,
    vary: null,
  })
  t.equal((await app.inject(preflight('/', 'GET', EVIL))).statusCode, 204)
})

test("the handler's own Vary is kept beside ours", async (t) => {
  const app = await build(t)
  app.get('/', async (_request, reply) => reply.header('vary', 'Accept-Encoding').send('x'))
  app.get('/both', async (_request, reply) => reply.header('vary', 'accept, origin').send('x'))
  assertHeaders(t, (await app.inject('/')).headers, { vary: 'Accept-Encoding, Origin' })
  assertHeaders(t, (await app.inject('/both')).headers, { vary: 'accept, origin' })
})

test('a preflight is granted for the method that the path has, and says only that method', async (t) => {
  const app = await build(t)
  app.patch('/items/:id', async () => 1)
  const res = await app.inject(
    preflight('/items/7?x=1', 'PATCH', APP, { 'access-control-request-headers': 'content-type, X-Request-ID' }),
  )
  t.equal(res.statusCode, 204)
  t.equal(res.body, '')
  assertHeaders(t, res.headers, {
    'access-control-allow-origin': APP,
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': 'PATCH',
    'access-control-allow-headers': 'Content-Type, Authorization, X-Request-Id',
    'access-control-max-age': '600',
    vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
  })
})

test('a preflight is refused for unknown paths, other methods, other origins and other headers', async (t) => {
  const app = await build(t)
  app.get('/items', async () => 1)
  app.post('/items', async () => 1)
  const table: [string, ReturnType<typeof preflight>, number][] = [
    ['unknown path', preflight('/nope', 'GET'), 404],
    ['method that the path lacks', preflight('/items', 'DELETE'), 405],
    ['nonsense method', preflight('/items', 'X'), 405],
    ['lower-case method', preflight('/items', 'get'), 405],
    ['other origin', preflight('/items', 'POST', EVIL), 403],
    ['null origin', preflight('/items', 'POST', 'null'), 403],
    [
      'header outside the list',
      preflight('/items', 'POST', APP, { 'access-control-request-headers': 'content-type,x-evil' }),
      403,
    ],
    [
      'empty header name',
      preflight('/items', 'POST', APP, { 'access-control-request-headers': 'content-type,,' }),
      403,
    ],
    ['bad url', preflight('/%zz', 'GET'), 400],
  ]
  for (const [name, request, status] of table) {
    const res = await app.inject(request)
    t.equal(res.statusCode, status, name)
    assertHeaders(t, res.headers, NO_CORS)
  }
  assertHeaders(t, (await app.inject(preflight('/items', 'DELETE'))).headers, { allow: 'GET, HEAD, POST' })
})

test('a preflight is answered for the route that the asked method reaches, not for the URL alone', async (t) => {
  const app = await build(t)
  app.get('/users/:id', async () => 1)
  app.post('/users/search', { security: { cors: false } }, async () => 1)
  app.delete('/users/:id', { security: { cors: { origin: [EVIL] } } }, async () => 1)
  t.equal((await app.inject(preflight('/users/search', 'GET'))).statusCode, 204)
  t.equal((await app.inject(preflight('/users/search', 'POST'))).statusCode, 403)
  t.equal((await app.inject(preflight('/users/1', 'DELETE'))).statusCode, 403)
  t.equal((await app.inject(preflight('/users/1', 'DELETE', EVIL))).statusCode, 204)
})

test('a preflight respects prefixes, trailing slashes, wildcards and host constraints', async (t) => {
  const app = await build(t)
  await app.register(async (scope) => {
    scope.get('/', async () => 1)
    scope.get('/files/*', async () => 1)
  }, { prefix: '/api' })
  app.get('/tenant', { constraints: { host: 'a.example' } }, async () => 1)
  t.equal((await app.inject(preflight('/api', 'GET'))).statusCode, 204)
  t.equal((await app.inject(preflight('/api/', 'GET'))).statusCode, 204)
  t.equal((await app.inject(preflight('/api//', 'GET'))).statusCode, 404)
  t.equal((await app.inject(preflight('/api/files/a/b', 'GET'))).statusCode, 204)
  t.equal((await app.inject(preflight('/tenant', 'GET', APP, { host: 'a.example' }))).statusCode, 204)
  t.equal((await app.inject(preflight('/tenant', 'GET', APP, { host: 'b.example' }))).statusCode, 404)
})

test("an app's own OPTIONS route answers everything but preflights", async (t) => {
  const app = await build(t)
  app.options('/mine', async () => 'mine')
  app.get('/mine', async () => 1)
  t.equal((await app.inject({ method: 'OPTIONS', url: '/mine' })).body, 'mine')
  t.equal((await app.inject({ method: 'OPTIONS', url: '/mine', headers: { origin: APP } })).body, 'mine')
  t.equal((await app.inject(preflight('/mine', 'GET'))).statusCode, 204)
  t.equal((await app.inject({ method: 'OPTIONS', url: '/nope' })).statusCode, 404)
})

test('a child scope replaces the policy as a whole, in prefixed and unprefixed scopes', async (t) => {
  const app = await build(t)
  await app.register(async (scope) => {
    await scope.register(cors, { origin: '*' })
    scope.get('/open', async () => 1)
  })
  await app.register(async (scope) => {
    await scope.register(cors, { origin: [EVIL] })
    scope.get('/x', async () => 1)
  }, { prefix: '/partner' })
  app.get('/own', async () => 1)
  assertHeaders(t, (await app.inject({ url: '/open', headers: { origin: EVIL } })).headers, {
    'access-control-allow-origin': '*',
    'access-control-allow-credentials': null,
  })
  assertHeaders(t, (await app.inject({ url: '/partner/x', headers: { origin: EVIL } })).headers, {
    'access-control-allow-origin': EVIL,
    'access-control-allow-credentials': null,
  })
  assertHeaders(t, (await app.inject({ url: '/partner/x', headers: { origin: APP } })).headers, NO_CORS)
  assertHeaders(t, (await app.inject({ url: '/own', headers: { origin: APP } })).headers, {
    'access-control-allow-origin': APP,
  })
  t.equal((await app.inject(preflight('/open', 'GET', EVIL))).statusCode, 204)
  t.equal((await app.inject(preflight('/partner/x', 'GET', EVIL))).statusCode, 204)
  t.equal((await app.inject(preflight('/own', 'GET', EVIL))).statusCode, 403)
})

test('a route declared before the plugin gets the base policy, by request and by preflight', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const { headers } = await import('../../plugins/headers.js')
  await app.register(headers)
  app.get('/early', async () => 1)
  await app.register(cors, { origin: [APP] })
  assertHeaders(t, (await app.inject({ url: '/early', headers: { origin: APP } })).headers, {
    'access-control-allow-origin': APP,
  })
  t.equal((await app.inject(preflight('/early', 'GET'))).statusCode, 204)
})

test('dangerous and misspelt options stop the boot and name the option', async (t) => {
  const table: [unknown, string][] = [
    [{ origin: '*', credentials: true }, 'cors.credentials'],
    [{ origin: ['null'] }, 'cors.origin[0]'],
    [{ origin: [APP, `${APP}/`] }, 'cors.origin[1]'],
    [{ origin: ['https://*.com'] }, 'cors.origin[0]'],
    [{ origin: 'https://*.com' }, 'cors.origin'],
    [{ origin: `${APP}/` }, 'cors.origin'],
    [{ origin: 'null' }, 'cors.origin'],
    [{ origin: '' }, 'cors.origin'],
    [{ origin: [/^https:\/\/app\.example\.com$/] }, 'cors.origin[0]'],
    [{ origin: ['app.example.com'] }, 'cors.origin[0]'],
    [{ origin: ['*'] }, 'cors.origin[0]'],
    [{ origin: ['https://APP.example.com'] }, 'cors.origin[0]'],
    [{ origin: ['https://app.example.com:443'] }, 'cors.origin[0]'],
    [{ origin: ['file:///x'] }, 'cors.origin[0]'],
    [{ origin: true }, 'cors.origin'],
    [{ origin: [APP, 5] }, 'cors.origin[1]'],
    [{ origin: null }, 'cors.origin'],
    [{ origin: 5 }, 'cors.origin'],
    [{ origin: {} }, 'cors.origin'],
    [{ origin: /^https:\/\/app\.example\.com$/ }, 'cors.origin'],
    [{ origins: [APP] }, 'cors.origins'],
    [{ origin: [APP], privateNetwork: 'yes' }, 'cors.privateNetwork'],
    [{ origin: [APP], privateNetworks: true }, 'cors.privateNetworks'],
    [{ origin: [APP], maxAge: -1 }, 'cors.maxAge'],
    [{ origin: [APP], maxAge: 86401 }, 'cors.maxAge'],
    [{ origin: [APP], maxAge: '600' }, 'cors.maxAge'],
    [{ origin: [APP], allowedHeaders: ['bad name'] }, 'cors.allowedHeaders[0]'],
    [{ origin: [APP], exposedHeaders: 'X-A' }, 'cors.exposedHeaders'],
    [{ origin: [APP], allowedHeaders: [''] }, 'cors.allowedHeaders[0]'],
    [{ origin: [APP], allowedHeaders: null }, 'cors.allowedHeaders'],
    [{ origin: [APP], exposedHeaders: ['X-A', 'X:B'] }, 'cors.exposedHeaders[1]'],
    [{ origin: [APP], maxAge: 1.5 }, 'cors.maxAge'],
    [{ origin: [APP], maxAge: null }, 'cors.maxAge'],
    [{ origin: [APP], credentials: 'yes' }, 'cors.credentials'],
    [{ origin: [APP], credentials: 1 }, 'cors.credentials'],
    [{ origin: [APP], privateNetwork: null }, 'cors.privateNetwork'],
    [{ origin: [APP], credential: true }, 'cors.credential'],
    [{ origin: [APP], allowedHeader: [] }, 'cors.allowedHeader'],
    [{ origin: [APP], exposeHeaders: [] }, 'cors.exposeHeaders'],
    [{ origin: [APP], maxAgeSeconds: 600 }, 'cors.maxAgeSeconds'],
    [{ origin: [APP], methods: ['get'] }, 'cors.methods[0]'],
    [{ origin: [APP], methods: 'GET,POST' }, 'cors.methods'],
    [{ origin: [APP], methods: [''] }, 'cors.methods[0]'],
  ]
  for (const [options, path] of table) {
    await t.rejects(async () => Fastify().register(cors, options as CorsOptions), {
      code: 'BULWARK_CONFIG',
      problems: [{ path }],
    }, JSON.stringify(options))
  }
})

test('options of @fastify/cors that do not exist here are refused, with what to write instead', async (t) => {
  const table: [Record<string, unknown>, RegExp][] = [
    [{ origins: [APP] }, /`origin`/],
    [{ maxAgeSeconds: 600 }, /`maxAge`/],
    [{ preflight: false }, /`cors: false` on a route/],
    [{ strictPreflight: true }, /Remove it/],
    [{ preflightContinue: true }, /OPTIONS route of your own/],
    [{ optionsSuccessStatus: 200 }, /Remove it/],
    [{ hideOptionsRoute: true }, /Remove it/],
    [{ logLevel: 'silent' }, /Remove it/],
    [{ hook: 'preHandler' }, /Remove it/],
    [{ cacheControl: 600 }, /`maxAge`/],
    [{ delegator: () => ({}) }, /a function in `origin`/],
    [{ origin: /^https:\/\/app\.example\.com$/ }, /https:\/\/\*\.example\.com as text.*a function/],
    [{ origin: true }, /a list of exact origins/],
  ]
  for (const [options, fix] of table) {
    await t.rejects(async () => Fastify().register(cors, options as CorsOptions), {
      code: 'BULWARK_CONFIG',
      problems: [{ path: `cors.${Object.keys(options)[0] ?? ''}`, fix }],
    }, JSON.stringify(options))
  }
})

test('a single origin is a list of one, and false allows no origin', async (t) => {
  const app = await build(t, { origin: APP })
  app.get('/', async () => 1)
  app.get('/off', { security: { cors: { origin: false } } }, async () => 1)
  assertHeaders(t, (await app.inject({ url: '/', headers: { origin: APP } })).headers, {
    'access-control-allow-origin': APP,
    vary: 'Origin',
  })
  assertHeaders(t, (await app.inject({ url: '/', headers: { origin: EVIL } })).headers, { ...NO_CORS, vary: 'Origin' })
  assertHeaders(t, (await app.inject({ url: '/off', headers: { origin: APP } })).headers, { ...NO_CORS, vary: null })
})

test('a list of methods refuses the preflight of a method that it does not have', async (t) => {
  const app = await build(t, { origin: [APP], methods: ['GET', 'DELETE'] })
  app.route({ method: ['GET', 'POST', 'DELETE'], url: '/', handler: async () => 1 })
  app.post('/own', { security: { cors: { origin: [APP] } } }, async () => 1)
  const reasons: string[] = []
  securityOf(app).root.emit = (event) => { if (event.name === 'malicious_cors') reasons.push(event.reason) }
  const granted = await app.inject(preflight('/', 'DELETE'))
  t.equal(granted.statusCode, 204)
  assertHeaders(t, granted.headers, { 'access-control-allow-methods': 'DELETE' })
  const refused = await app.inject(preflight('/', 'POST'))
  t.equal(refused.statusCode, 403)
  assertHeaders(t, refused.headers, NO_CORS)
  t.same(reasons, ['method'])
  t.equal((await app.inject(preflight('/', 'PUT'))).statusCode, 405, 'the path has no such method')
  t.equal((await app.inject(preflight('/own', 'POST'))).statusCode, 204, 'a policy of its own has its own list')
})

test('a dangerous route policy stops the boot and names the route', async (t) => {
  const app = await build(t)
  app.get('/x', { security: { cors: { origin: '*', credentials: true } } }, async () => 1)
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'GET /x security.cors.credentials' }],
  })
})

test('every option set to undefined is as good as absent', async (t) => {
  const names = [
    'origin',
    'methods',
    'credentials',
    'allowedHeaders',
    'exposedHeaders',
    'maxAge',
    'privateNetwork',
  ]
  for (const name of names) {
    const given = { origin: [APP], [name]: undefined }
    const { origin, ...rest } = given
    const [absent, present] = [await build(t, name === 'origin' ? rest : { origin }), await build(t, given)]
    const answers: unknown[] = []
    for (const app of [absent, present]) {
      app.get('/', async () => 1)
      for (
        const request of [
          { url: '/', headers: { origin: APP } },
          preflight('/', 'GET'),
          preflight('/', 'GET', APP, { 'access-control-request-private-network': 'true' }),
        ]
      ) {
        const { statusCode, headers } = await app.inject(request)
        answers.push({ statusCode, headers: { ...headers, date: '' } })
      }
    }
    t.same(answers.slice(3), answers.slice(0, 3), name)
  }
})

test('the longest preflight cache is a day', async (t) => {
  const app = await build(t, { origin: [APP], maxAge: 86400 })
  app.get('/', async () => 1)
  assertHeaders(t, (await app.inject(preflight('/', 'GET'))).headers, { 'access-control-max-age': '86400' })
})

test('options at their bounds work, and undefined counts as absent', async (t) => {
  const app = await build(
    t,
    {
      origin: [APP],
      maxAge: 0,
      allowedHeaders: [],
      exposedHeaders: [],
      credentials: undefined,
    } as unknown as CorsOptions,
  )
  app.get('/', async () => 1)
  assertHeaders(t, (await app.inject(preflight('/', 'GET'))).headers, {
    'access-control-max-age': '0',
    'access-control-allow-headers': null,
    'access-control-allow-credentials': null,
  })
  assertHeaders(t, (await app.inject({ url: '/', headers: { origin: APP } })).headers, {
    'access-control-expose-headers': null,
  })
})
