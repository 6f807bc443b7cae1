import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { errors } from '../../plugins/errors.js'
import { csrf, type CsrfOptions } from '../../plugins/csrf.js'

const OWN = 'https://api.example.com'
const EVIL = 'https://evil.example'

async function build (t: Test, options: CsrfOptions = { publicOrigin: OWN }): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(csrf, options)
  app.addContentTypeParser('*', (_request, payload, done) => { payload.resume().on('end', () => { done(null) }) })
  return app
}

test('an unsafe request with a cookie passes only from our own pages', async (t) => {
  const app = await build(t)
  const ran: string[] = []
  const methods = ['POST', 'PUT', 'PATCH', 'DELETE'] as const
  for (const method of methods) app.route({ method, url: '/x', handler: async () => { ran.push(method); return 1 } })
  for (const method of methods) {
    const send = async (headers: Record<string, string>): Promise<number> =>
      (await app.inject({ method, url: '/x', headers: { cookie: 'a=b', ...headers } })).statusCode
    t.equal(await send({ 'sec-fetch-site': 'same-origin' }), 200, method)
    t.equal(await send({ origin: OWN }), 200, method)
    t.equal(await send({ 'sec-fetch-site': 'cross-site', origin: EVIL }), 403, method)
    t.equal(await send({ origin: EVIL }), 403, method)
    t.equal(await send({}), 403, method)
  }
  t.equal(ran.length, 8)
})

test('the check covers every content type, the simple form types included', async (t) => {
  const app = await build(t)
  app.post('/x', async () => 1)
  for (
    const type of [
      'application/json',
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/json; charset=utf-7',
      '',
    ]
  ) {
    const res = await app.inject({
      method: 'POST',
      url: '/x',
      headers: { cookie: 'a=b', origin: EVIL, ...(type !== '' && { 'content-type': type }) },
      payload: '{}',
    })
    t.equal(res.statusCode, 403, type)
  }
})

test('without a cookie a request passes unless its route is always checked', async (t) => {
  const app = await build(t)
  app.post('/open', async () => 1)
  app.post('/login', { security: { csrf: 'always' } }, async () => 1)
  app.post('/ignored', { security: { csrf: false } }, async () => 1)
  const send = async (url: string, headers: Record<string, string>): Promise<number> =>
    (await app.inject({ method: 'POST', url, headers })).statusCode
  t.equal(await send('/open', { origin: EVIL, 'sec-fetch-site': 'cross-site' }), 200)
  t.equal(await send('/login', { origin: EVIL, 'sec-fetch-site': 'cross-site' }), 403)
  t.equal(await send('/login', { origin: EVIL }), 403)
  t.equal(await send('/login', {}), 200, 'a client that is no browser has no ambient authority')
  t.equal(await send('/ignored', { origin: EVIL, cookie: 'a=b' }), 200)
})

test('safe methods and unknown paths are not checked for forgery', async (t) => {
  const app = await build(t, { publicOrigin: OWN, isolation: false })
  app.get('/x', async () => 1)
  app.route({ method: ['GET', 'POST'], url: '/both', handler: async () => 1 })
  const headers = { cookie: 'a=b', origin: EVIL, 'sec-fetch-site': 'cross-site' }
  t.equal((await app.inject({ url: '/x', headers })).statusCode, 200)
  t.equal((await app.inject({ url: '/both', headers })).statusCode, 200)
  t.equal((await app.inject({ method: 'POST', url: '/both', headers })).statusCode, 403)
  t.equal((await app.inject({ method: 'POST', url: '/nope', headers })).statusCode, 404)
})

test('a route declared before the plugin is checked too, or stops the boot where its key was not read', async (t) => {
  const early = Fastify()
  t.teardown(() => early.close())
  early.post('/early', async () => 1)
  await early.register(csrf)
  await t.rejects(async () => early.ready(), { code: 'BULWARK_CONFIG', problems: [{ path: 'POST /early' }] })

  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(errors)
  app.post('/early', async () => { t.fail('served'); return 1 })
  await app.register(csrf)
  t.equal(
    (await app.inject({ method: 'POST', url: '/early', headers: { cookie: 'a=b', origin: EVIL } })).statusCode,
    403,
  )
})

test("trusted origins pass, and without a public origin the request's own host is it", async (t) => {
  const app = await build(t, { trustedOrigins: ['https://app.example.com'] })
  app.post('/x', async () => 1)
  const send = async (headers: Record<string, string>): Promise<number> =>
    (await app.inject({ method: 'POST', url: '/x', headers: { cookie: 'a=b', host: 'api.test:3000', ...headers } }))
      .statusCode
  t.equal(await send({ origin: 'https://app.example.com', 'sec-fetch-site': 'same-site' }), 200)
  t.equal(await send({ origin: 'http://api.test:3000' }), 200)
  t.equal(await send({ origin: 'https://api.test:3000' }), 403)
  t.equal(await send({ origin: 'http://api.test' }), 403)
})

test('trusted origins may be wildcards, which stand for one label', async (t) => {
  const app = await build(t, { publicOrigin: OWN, trustedOrigins: ['https://*.preview.example.com'] })
  app.post('/x', async () => 1)
  const send = async (origin: string): Promise<number> =>
    (await app.inject({
      method: 'POST',
      url: '/x',
      headers: { cookie: 'a=b', origin, 'sec-fetch-site': 'cross-site' },
    })).statusCode
  t.equal(await send('https://one.preview.example.com'), 200)
  for (
    const origin of [
      'https://preview.example.com',
      'https://one.preview.example.com.evil.example',
      'http://one.preview.example.com',
      'null',
      EVIL,
    ]
  ) t.equal(await send(origin), 403, origin)
})

test('wrong options and modes stop the boot and say where', async (t) => {
  const table: [unknown, string][] = [
    [{ publicOrigin: 'api.example.com' }, 'csrf.publicOrigin'],
    [{ publicOrigin: `${OWN}/` }, 'csrf.publicOrigin'],
    [{ publicOrigin: 'null' }, 'csrf.publicOrigin'],
    [{ publicOrigin: '' }, 'csrf.publicOrigin'],
    [{ publicOrigin: 5 }, 'csrf.publicOrigin'],
    [{ publicOrgin: OWN }, 'csrf.publicOrgin'],
    [{ trustedOrigins: ['null'] }, 'csrf.trustedOrigins[0]'],
    [{ trustedOrigins: [OWN, '*'] }, 'csrf.trustedOrigins[1]'],
    [{ trustedOrigins: [5] }, 'csrf.trustedOrigins[0]'],
    [{ trustedOrigins: [/^https:\/\/.*$/] }, 'csrf.trustedOrigins[0]'],
    [{ trustedOrigins: OWN }, 'csrf.trustedOrigins'],
    [{ trustedOrigins: () => true }, 'csrf.trustedOrigins'],
    [{ trustedOrigin: [] }, 'csrf.trustedOrigin'],
    [{ isolation: 'yes' }, 'csrf.isolation'],
    [{ isolation: null }, 'csrf.isolation'],
    [{ isolaton: true }, 'csrf.isolaton'],
  ]
  for (const [options, path] of table) {
    await t.rejects(async () => Fastify().register(csrf, options as CsrfOptions), {
      code: 'BULWARK_CONFIG',
      problems: [{ path }],
    }, path)
  }
  const routes: [unknown, string][] = [
    [true, ''],
    ['never', ''],
    [null, ''],
    [5, ''],
    [[], ''],
    [{ mode: 'never' }, '.mode'],
    [{ mode: true }, '.mode'],
    [{ isolation: 'no' }, '.isolation'],
    [{ isolated: false }, '.isolated'],
    [{ mod: 'always' }, '.mod'],
  ]
  for (const [input, where] of routes) {
    const app = await build(t)
    app.post('/x', { security: { csrf: input as 'always' } }, async () => 1)
    await t.rejects(async () => app.ready(), {
      code: 'BULWARK_CONFIG',
      problems: [{ path: `POST /x security.csrf${where}` }],
    }, JSON.stringify(input))
  }
})

test('undefined options count as absent', async (t) => {
  const app = await build(
    t,
    { publicOrigin: undefined, trustedOrigins: undefined, isolation: undefined } as unknown as CsrfOptions,
  )
  app.get('/x', { security: { csrf: { mode: undefined, isolation: undefined } as unknown as 'always' } }, async () => 1)
  t.equal((await app.inject({ url: '/x', headers: { cookie: 'a=b', 'sec-fetch-site': 'cross-site' } })).statusCode, 403)
})
