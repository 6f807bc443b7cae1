import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { cors, type CorsOptions } from '../../plugins/cors.js'
import { assertHeaders } from '../helpers/headers.js'

const APP = 'https://app.example.com'
const EVIL = 'https://evil.example'

async function build (t: Test, options: CorsOptions = { origins: [APP], credentials: true }): Promise<FastifyInstance> {
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
  const app = await build(t, { origins: '*' })
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
  app.delete('/users/:id', { security: { cors: { origins: [EVIL] } } }, async () => 1)
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
    await scope.register(cors, { origins: '*' })
    scope.get('/open', async () => 1)
  })
  await app.register(async (scope) => {
    await scope.register(cors, { origins: [EVIL] })
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
  await app.register(cors, { origins: [APP] })
  assertHeaders(t, (await app.inject({ url: '/early', headers: { origin: APP } })).headers, {
    'access-control-allow-origin': APP,
  })
  t.equal((await app.inject(preflight('/early', 'GET'))).statusCode, 204)
})

test('dangerous and misspelt options stop the boot and name the option', async (t) => {
  const table: [unknown, string][] = [
    [{ origins: '*', credentials: true }, 'cors.credentials'],
    [{ origins: ['null'] }, 'cors.origins[0]'],
    [{ origins: [APP, `${APP}/`] }, 'cors.origins[1]'],
    [{ origins: ['https://*.example.com'] }, 'cors.origins[0]'],
    [{ origins: ['app.example.com'] }, 'cors.origins[0]'],
    [{ origins: ['*'] }, 'cors.origins[0]'],
    [{ origins: ['https://APP.example.com'] }, 'cors.origins[0]'],
    [{ origins: ['https://app.example.com:443'] }, 'cors.origins[0]'],
    [{ origins: ['file:///x'] }, 'cors.origins[0]'],
    [{ origins: true }, 'cors.origins'],
    [{ origins: [APP, 5] }, 'cors.origins[1]'],
    [{ origins: null }, 'cors.origins'],
    [{ origins: 5 }, 'cors.origins'],
    [{ origins: {} }, 'cors.origins'],
    [{ origins: /^https:\/\/app\.example\.com$/ }, 'cors.origins'],
    [{ origin: [APP] }, 'cors.origin'],
    [{ origins: [APP], privateNetwork: 'yes' }, 'cors.privateNetwork'],
    [{ origins: [APP], privateNetworks: true }, 'cors.privateNetworks'],
    [{ origins: [APP], maxAgeSeconds: -1 }, 'cors.maxAgeSeconds'],
    [{ origins: [APP], maxAgeSeconds: 86401 }, 'cors.maxAgeSeconds'],
    [{ origins: [APP], maxAgeSeconds: '600' }, 'cors.maxAgeSeconds'],
    [{ origins: [APP], allowedHeaders: ['bad name'] }, 'cors.allowedHeaders[0]'],
    [{ origins: [APP], exposedHeaders: 'X-A' }, 'cors.exposedHeaders'],
    [{ origins: [APP], allowedHeaders: [''] }, 'cors.allowedHeaders[0]'],
    [{ origins: [APP], allowedHeaders: null }, 'cors.allowedHeaders'],
    [{ origins: [APP], exposedHeaders: ['X-A', 'X:B'] }, 'cors.exposedHeaders[1]'],
    [{ origins: [APP], maxAgeSeconds: 1.5 }, 'cors.maxAgeSeconds'],
    [{ origins: [APP], maxAgeSeconds: null }, 'cors.maxAgeSeconds'],
    [{ origins: [APP], credentials: 'yes' }, 'cors.credentials'],
    [{ origins: [APP], credentials: 1 }, 'cors.credentials'],
    [{ origins: [APP], privateNetwork: null }, 'cors.privateNetwork'],
    [{ origins: [APP], credential: true }, 'cors.credential'],
    [{ origins: [APP], allowedHeader: [] }, 'cors.allowedHeader'],
    [{ origins: [APP], exposeHeaders: [] }, 'cors.exposeHeaders'],
    [{ origins: [APP], maxAge: 600 }, 'cors.maxAge'],
  ]
  for (const [options, path] of table) {
    await t.rejects(async () => Fastify().register(cors, options as CorsOptions), {
      code: 'BULWARK_CONFIG',
      problems: [{ path }],
    }, JSON.stringify(options))
  }
})

test('a dangerous route policy stops the boot and names the route', async (t) => {
  const app = await build(t)
  app.get('/x', { security: { cors: { origins: '*', credentials: true } } }, async () => 1)
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'GET /x security.cors.credentials' }],
  })
})

test('every option set to undefined is as good as absent', async (t) => {
  const names = ['origins', 'credentials', 'allowedHeaders', 'exposedHeaders', 'maxAgeSeconds', 'privateNetwork']
  for (const name of names) {
    const given = { origins: [APP], [name]: undefined }
    const { origins, ...rest } = given
    const [absent, present] = [await build(t, name === 'origins' ? rest : { origins }), await build(t, given)]
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
  const app = await build(t, { origins: [APP], maxAgeSeconds: 86400 })
  app.get('/', async () => 1)
  assertHeaders(t, (await app.inject(preflight('/', 'GET'))).headers, { 'access-control-max-age': '86400' })
})

test('options at their bounds work, and undefined counts as absent', async (t) => {
  const app = await build(
    t,
    {
      origins: [APP],
      maxAgeSeconds: 0,
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
