import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { test, type Test } from 'tap'
import { createServer, defineSecurity, publicRoute, Type } from '../index.js'
import { redisUrl, uniquePrefix } from './helpers/redis.js'

const APP = 'https://app.example.com'
const SECRETS = {
  JWT_ACCESS_SECRET: 'kT3vX9qLr2Wn8ZbY5mHs7JdF1gPc4QeA6uRx',
  JWT_REFRESH_SECRET: 'pD8yNc2VtB5wKz9hGj4RfM7sXq1LaE3uYbTo',
}

interface Options { readonly limit?: number, readonly redis?: { readonly prefix: string } }

async function build (t: Test, { limit = 3, redis }: Options = {}): Promise<FastifyInstance> {
  const security = defineSecurity({
    env: {
      schema: Type.Object({
        JWT_ACCESS_SECRET: Type.String({ secret: true }),
        JWT_REFRESH_SECRET: Type.String({ secret: true }),
      }),
      source: SECRETS,
    },
    cors: { origin: [APP], credentials: true },
    rateLimit: {
      policies: { global: { limit, window: '15m', by: 'ip' } },
      ...(redis !== undefined && { redis: redisUrl(), keyPrefix: `${redis.prefix}rl:` }),
    },
    auth: {
      roles: ['user', 'admin'],
      authenticate: async ({ email, password }) => password === 'right' ? { id: email, roles: ['user'] } : null,
      loadUser: async (id) => ({ id, roles: ['user'] }),
      ...(redis !== undefined && { redis: redisUrl(), keyPrefix: `${redis.prefix}auth:` }),
    },
  })
  const app = await createServer(security, { logger: false })
  t.teardown(() => app.close())
  app.get('/me', async (request) => request.user)
  app.get('/open', { security: { auth: publicRoute('a test') } }, async () => 1)
  app.post('/echo', {
    security: { auth: publicRoute('a test') },
    schema: { body: Type.Object({ name: Type.String() }) },
  }, async (request) => request.body)
  return app
}

test('the address limit comes before authentication, and counts every way to fail', async (t) => {
  const table: [string, InjectOptions, number][] = [
    ['bad tokens', { url: '/me', cookies: { access: 'a.b.c' }, headers: { host: 'localhost' } }, 401],
    ['missing tokens', { url: '/me' }, 401],
    ['unknown paths', { url: '/nope' }, 404],
    ['unknown paths with a body', { method: 'POST', url: '/nope', payload: { a: 1 } }, 404],
    ['malformed bodies', {
      method: 'POST',
      url: '/echo',
      payload: '{',
      headers: { 'content-type': 'application/json' },
    }, 400],
    ['invalid bodies', { method: 'POST', url: '/echo', payload: { name: 5 } }, 400],
    [
      'other content types',
      { method: 'POST', url: '/echo', payload: 'x', headers: { 'content-type': 'text/xml' } },
      415,
    ],
    ['granted preflights', {
      method: 'OPTIONS',
      url: '/me',
      headers: { origin: APP, 'access-control-request-method': 'GET' },
    }, 204],
    ['refused preflights', {
      method: 'OPTIONS',
      url: '/me',
      headers: { origin: 'https://evil.example', 'access-control-request-method': 'GET' },
    }, 403],
    ['HEAD', { method: 'HEAD', url: '/open' }, 200],
  ]
  for (const [name, request, status] of table) {
    const app = await build(t)
    const statuses: number[] = []
    for (let count = 0; count < 5; count++) statuses.push((await app.inject(request)).statusCode)
    t.same(statuses, [status, status, status, 429, 429], name)
    t.equal((await app.inject('/open')).statusCode, 429, `${name} share the bucket of GET`)
  }
})

test('a refused host and a forged origin are refused before the handler, whatever else the request has', async (t) => {
  const app = await build(t, { limit: 100 })
  const login = await app.inject({
    method: 'POST',
    url: '/auth/login',
    payload: { email: 'ada@example.com', password: 'right' },
  })
  const cookie = cookiesOf(login)
  const logout = async (headers: Record<string, string>): Promise<number> =>
    (await app.inject({ method: 'POST', url: '/auth/logout', headers: { cookie, ...headers } })).statusCode
  t.equal(await logout({ origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }), 403)
  t.equal(await logout({}), 403)
  t.equal((await app.inject({ url: '/me', headers: { cookie } })).statusCode, 200, 'the session is still there')
  t.equal(await logout({ origin: APP, 'sec-fetch-site': 'same-site' }), 204, 'a credentialed CORS origin is trusted')
  t.equal((await app.inject({ url: '/me', headers: { cookie } })).statusCode, 401)
})

test('two servers on one Redis share limits and sessions', async (t) => {
  const redis = { prefix: uniquePrefix() }
  const [first, second] = [await build(t, { limit: 100, redis }), await build(t, { limit: 100, redis })]
  const login = await first.inject({
    method: 'POST',
    url: '/auth/login',
    payload: { email: 'ada@example.com', password: 'right' },
  })
  t.equal(login.statusCode, 200)
  const cookie = cookiesOf(login)
  t.match((await second.inject({ url: '/me', headers: { cookie } })).json(), { id: 'ada@example.com', roles: ['user'] })

  const guess = async (app: FastifyInstance): Promise<number> =>
    (await app.inject({ method: 'POST', url: '/auth/login', payload: { email: 'eve@example.com', password: 'wrong' } }))
      .statusCode
  const statuses: number[] = []
  for (let count = 0; count < 6; count++) statuses.push(await guess(count % 2 === 0 ? first : second))
  t.same(statuses, [401, 401, 401, 401, 401, 429])

  const sameOrigin = { 'sec-fetch-site': 'same-origin' }
  t.equal(
    (await second.inject({ method: 'POST', url: '/auth/logout', headers: { cookie, ...sameOrigin } })).statusCode,
    204,
  )
  t.match((await first.inject({ url: '/me', headers: { cookie } })).json(), { code: 'SESSION_REVOKED' })
  t.equal(
    (await first.inject({ method: 'POST', url: '/auth/refresh', headers: { cookie, ...sameOrigin } })).statusCode,
    401,
  )
})

function cookiesOf (response: LightMyRequestResponse): string {
  return response.cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
}
