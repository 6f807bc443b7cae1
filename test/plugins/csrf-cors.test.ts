import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { createServer, defineSecurity } from '../../index.js'
import { cors, type CorsOptions } from '../../plugins/cors.js'
import { csrf } from '../../plugins/csrf.js'

const OWN = 'https://api.example.com'
const PARTNER = 'https://partner.example'
const OTHER = 'https://other.example'

const cookie = { cookie: 'a=b' }
const fetching = { ...cookie, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }
const GRANTED: CorsOptions = { origin: [PARTNER], credentials: true }

/** Statuses of the preflight of a POST, the POST of a browser with and without Fetch Metadata, and a GET. */
async function statuses (app: FastifyInstance, url: string, origin: string): Promise<number[]> {
  const requests = [
    { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST' } },
    { method: 'POST', headers: { ...fetching, origin } },
    { method: 'POST', headers: { ...cookie, origin } },
    { method: 'GET', headers: { ...fetching, origin } },
  ] as const
  const found: number[] = []
  for (const request of requests) found.push((await app.inject({ url, ...request })).statusCode)
  return found
}

function declare (app: FastifyInstance, url: string, policy?: CorsOptions | false): void {
  app.route({
    method: ['GET', 'POST'],
    url,
    ...(policy !== undefined && { security: { cors: policy } }),
    handler: async () => 1,
  })
}

const PASSES = [204, 200, 200, 200]
const REFUSED = [403, 403, 403, 403]

test('what a preflight grants with credentials, the CSRF check lets through; what it refuses, it does not', async (t) => {
  const app = await createServer(defineSecurity({ cors: GRANTED, csrf: { publicOrigin: OWN } }), { logger: false })
  t.teardown(() => app.close())
  declare(app, '/inherited')
  declare(app, '/off', false)
  declare(app, '/other', { origin: [OTHER], credentials: true })
  declare(app, '/uncredentialed', { origin: [PARTNER] })
  declare(app, '/open', { origin: '*' })
  declare(app, '/function', { origin: (origin) => origin === OTHER, credentials: true })
  declare(app, '/wildcard', { origin: ['https://*.other.example'], credentials: true })
  await app.secureScope({ prefix: '/scope', cors: { origin: [OTHER], credentials: true } }, async (scope) => {
    declare(scope, '/inherited')
    declare(scope, '/off', false)
  })
  const table: [string, string, number[]][] = [
    ['/inherited', PARTNER, PASSES],
    ['/inherited', OTHER, REFUSED],
    ['/inherited', 'null', REFUSED],
    ['/inherited', '', REFUSED],
    ['/off', PARTNER, REFUSED],
    ['/other', PARTNER, REFUSED], ['/other', OTHER, PASSES],
    ['/uncredentialed', PARTNER, [204, 403, 403, 403]],
    ['/open', PARTNER, [204, 403, 403, 403]],
    ['/open', 'null', [204, 403, 403, 403]],
    ['/function', OTHER, PASSES],
    ['/function', PARTNER, REFUSED],
    ['/wildcard', 'https://a.other.example', PASSES],
    ['/wildcard', 'https://a.other.example.evil.example', REFUSED],
    ['/wildcard', `https://a.other.example, ${PARTNER}`, REFUSED],
    ['/scope/inherited', OTHER, PASSES],
    ['/scope/inherited', PARTNER, REFUSED],
    ['/scope/off', OTHER, REFUSED],
  ]
  for (const [url, origin, expected] of table) t.same(await statuses(app, url, origin), expected, `${url} ${origin}`)
})

test('the order of registration does not matter, and a child scope has its own policy', async (t) => {
  for (const first of ['cors', 'csrf']) {
    const app = Fastify()
    t.teardown(() => app.close())
    if (first === 'cors') await app.register(cors, GRANTED)
    await app.register(csrf, { publicOrigin: OWN })
    if (first === 'csrf') await app.register(cors, GRANTED)
    await app.register(async (scope) => {
      await scope.register(cors, { origin: [OTHER], credentials: true })
      declare(scope, '/child')
    })
    declare(app, '/x')
    t.same(await statuses(app, '/x', PARTNER), PASSES)
    t.same(await statuses(app, '/x', OTHER), REFUSED)
    t.same(await statuses(app, '/child', OTHER), PASSES)
    t.same(await statuses(app, '/child', PARTNER), REFUSED)
  }
})

test('without the cors plugin nobody else is trusted', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(csrf, { publicOrigin: OWN })
  app.post('/x', async () => { t.fail('served'); return 1 })
  t.equal((await app.inject({ method: 'POST', url: '/x', headers: { ...fetching, origin: PARTNER } })).statusCode, 403)
})

test('a function is asked once per request, with well-formed origins only, and fails closed for the check too', async (t) => {
  const asked: string[] = []
  let answer: () => unknown = () => true
  const ask = (origin: string, request: unknown): boolean => {
    if (request === null) return false
    asked.push(origin)
    return answer() as boolean
  }
  const app = await build(t, { origin: ask, credentials: true })
  const post = async (headers: Record<string, string>): Promise<number> =>
    (await app.inject({ method: 'POST', url: '/x', headers: { ...cookie, ...headers } })).statusCode
  t.equal(await post({ origin: OTHER, 'sec-fetch-site': 'cross-site' }), 200)
  t.same(asked.splice(0), [OTHER], 'the check goes by the decision for the headers of the answer')
  t.equal(await post({ origin: OWN, 'sec-fetch-site': 'same-origin' }), 200)
  t.same(asked.splice(0), [OWN])
  for (
    const origin of [
      'null',
      '',
      'https://other.example/',
      'https://*.example',
      `https://${'a'.repeat(250)}.example`,
      `${OTHER}, ${OTHER}`,
    ]
  ) t.equal(await post({ origin }), 403, origin)
  t.same(asked, [])
  for (const wrong of [() => { throw new Error('x') }, () => 'yes', async () => true, () => 1, () => undefined]) {
    answer = wrong
    t.equal(await post({ origin: OTHER }), 403)
  }
})

async function build (t: Test, options: CorsOptions): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cors, options)
  await app.register(csrf, { publicOrigin: OWN })
  app.post('/x', async () => 1)
  return app
}

test('login, which is always checked, and a WebSocket upgrade follow the same policy', async (t) => {
  const app = await build(t, GRANTED)
  app.post('/login', { security: { csrf: 'always' } }, async () => 1)
  app.get('/socket', async () => 1)
  const status = async (
    method: 'GET' | 'POST',
    url: string,
    origin: string,
    headers: Record<string, string> = {},
  ): Promise<number> => (await app.inject({ method, url, headers: { origin, ...headers } })).statusCode
  t.equal(await status('POST', '/login', PARTNER), 200)
  t.equal(await status('POST', '/login', OTHER), 403)
  const upgrade = { ...cookie, connection: 'Upgrade', upgrade: 'websocket' }
  t.equal(await status('GET', '/socket', PARTNER, upgrade), 200)
  t.equal(await status('GET', '/socket', OTHER, upgrade), 403)
})

test("an undefined public origin leaves the transport's in place", async (t) => {
  const app = await createServer(
    defineSecurity({ transport: { publicOrigin: OWN }, csrf: { publicOrigin: undefined } as never }),
    { logger: false },
  )
  t.teardown(() => app.close())
  app.post('/x', async () => 1)
  const post = async (origin: string): Promise<number> =>
    (await app.inject({ method: 'POST', url: '/x', headers: { ...cookie, origin, host: 'evil.example' } })).statusCode
  t.equal(await post(OWN), 200)
  t.equal(await post('http://evil.example'), 403)
  for (const wrong of ['api.example.com', `${OWN}/`, 5]) {
    const error: unknown = await createServer(defineSecurity({ transport: { publicOrigin: wrong } } as never), {
      logger: false,
    }).then(() => null, (reason: unknown) => reason)
    t.same((error as { problems?: { path: string }[] } | null)?.problems?.map(({ path }) => path), [
      'transport.publicOrigin',
    ], `${wrong}: told once`)
  }
  await t.rejects(
    createServer(defineSecurity({ transport: { publicOrigin: OWN }, csrf: { publicOrigin: null } as never }), {
      logger: false,
    }),
    { code: 'BULWARK_CONFIG', problems: [{ path: 'csrf.publicOrigin' }] },
  )
})
