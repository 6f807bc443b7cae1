import helmet from 'helmet'
import { createServer, request as send, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { headers, type HeadersOptions } from '../../plugins/headers.js'
import { BASE, compared, grid, instance, official, OVER_HTTPS, overBase, single,
  type Wish } from '../helpers/differential.js'

const fastifyHelmet = official('@fastify/helmet')

type Answer = Readonly<Record<string, unknown>>

/** The option that a wish is written under: in both vocabularies the same key holds the options of a route. */
interface Asked { readonly app: HeadersOptions, readonly route?: HeadersOptions | false }

/** What our plugin answers on one route, and the nonce that it made. */
async function ask (
  t: Test,
  { app: options, route }: Asked,
  nonce: boolean,
): Promise<{ headers: Answer, nonce: string }> {
  const app = instance(t)
  await app.register(headers, options)
  app.get(
    '/',
    route === undefined ? {} : { security: { headers: route } },
    async (_request, reply) => reply.send(nonce ? reply.cspNonce : ''),
  )
  const { headers: sent, body } = await app.inject({ url: '/', headers: OVER_HTTPS })
  return { headers: compared(sent), nonce: body }
}

/** What @fastify/helmet answers; its CSP gets the nonce from a request header. */
async function askHelmet (t: Test, options: object, route: object | false | undefined, nonce: string): Promise<Answer> {
  const app = instance(t)
  await app.register(fastifyHelmet, options)
  app.route({
    method: 'GET',
    url: '/',
    handler: async (_request, reply) => reply.send(''),
    ...(route !== undefined && { helmet: route }),
  })
  return compared((await app.inject({ url: '/', headers: { ...OVER_HTTPS, 'x-nonce': nonce } })).headers)
}

/** helmet itself, as middleware on a socket. */
async function middleware (
  t: Test,
  wishes: readonly Wish[],
): Promise<(at: number, nonce: string) => Promise<IncomingHttpHeaders>> {
  const middlewares = wishes.map(({ theirs }) => helmet(theirs))
  const server: Server = createServer((request, response) => {
    middlewares[Number(request.headers['x-case'])]?.(request, response, (error?: unknown) => {
      response.statusCode = error === undefined ? 200 : 500
      response.end()
    })
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const { port } = server.address() as AddressInfo
  return (at, own) => new Promise((resolve, reject) => {
    send({ port, host: '127.0.0.1', headers: { 'x-case': String(at), 'x-nonce': own } }, (response) => {
      response.resume()
      if (response.statusCode === 200) resolve(response.headers)
      else reject(new Error(`the reference failed on case ${at}`))
    }).on('error', reject).end()
  })
}

test('over a grid of route options the compiled headers are those that helmet and @fastify/helmet send', async (t) => {
  const wishes = grid()
  t.ok(wishes.length >= 200, `${wishes.length} combinations`)
  t.ok(new Set(wishes.map(({ ours }) => JSON.stringify(ours))).size > 300, 'most of them distinct')
  const [ours, theirs] = [instance(t), instance(t)]
  await ours.register(headers)
  await theirs.register(fastifyHelmet)
  for (const [at, wish] of wishes.entries()) {
    ours.get(
      `/${at}`,
      { security: { headers: wish.ours } },
      async (_request, reply) => reply.send(wish.nonce === true ? reply.cspNonce : ''),
    )
    theirs.route({ method: 'GET', url: `/${at}`, handler: async () => '', ...{ helmet: wish.theirs } })
  }
  const fromHelmet = await middleware(t, wishes)
  for (const [at, wish] of wishes.entries()) {
    const { headers: sent, body } = await ours.inject({ url: `/${at}`, headers: OVER_HTTPS })
    const plugin = await theirs.inject({ url: `/${at}`, headers: { ...OVER_HTTPS, 'x-nonce': body } })
    t.strictSame(compared(sent), compared(await fromHelmet(at, body)), `helmet: ${JSON.stringify(wish.ours)}`)
    t.strictSame(compared(sent), compared(plugin.headers), `@fastify/helmet: ${JSON.stringify(wish.ours)}`)
  }
})

test('the same grid, written where the plugin is registered, gives the same headers', async (t) => {
  for (const wish of grid().filter((_wish, at) => at % 3 === 0)) {
    const ours = await ask(t, { app: wish.ours }, wish.nonce === true)
    t.strictSame(ours.headers, await askHelmet(t, wish.theirs, undefined, ours.nonce), JSON.stringify(wish.ours))
  }
})

test('a route changes one header of its app and keeps the others, as there', async (t) => {
  const apps = single().filter(({ nonce }) => nonce !== true).filter((_wish, at) => at % 3 === 0)
  // A CSP is merged by directive here and replaced there, HSTS by leaf: a whole one says the same in both.
  const routes = single().filter(({ ours: { contentSecurityPolicy, profile, strictTransportSecurity: hsts } }) =>
    (contentSecurityPolicy === undefined || contentSecurityPolicy === false) && profile === undefined &&
    (hsts === undefined || hsts === false)
  )
  let pairs = 0
  for (const [at, app] of apps.entries()) {
    const [ours, theirs] = [instance(t), instance(t)]
    await ours.register(headers, app.ours)
    await theirs.register(fastifyHelmet, overBase(app.theirs))
    const own = routes.filter((_route, other) => (other + at) % 3 === 0)
    for (const [index, route] of own.entries()) {
      // What our route leaves out is the app's; what theirs names anyway is the default of the suite.
      const written = Object.fromEntries(Object.entries(route.theirs).filter(([name]) => name in route.ours))
      ours.get(`/${index}`, { security: { headers: route.ours } }, async () => '')
      theirs.route({ method: 'GET', url: `/${index}`, handler: async () => '', ...{ helmet: written } })
    }
    for (const [index, route] of own.entries()) {
      const request = { url: `/${index}`, headers: OVER_HTTPS }
      t.strictSame(
        compared((await ours.inject(request)).headers),
        compared((await theirs.inject(request)).headers),
        JSON.stringify([app.ours, route.ours]),
      )
      pairs++
    }
  }
  t.ok(pairs > 100, `${pairs} pairs`)
})

test('a route that turns the headers off sends none of them, as there', async (t) => {
  const ours = await ask(t, { app: {}, route: false }, false)
  t.strictSame(ours.headers, {})
  t.strictSame(ours.headers, await askHelmet(t, BASE, false, ''))
})

test('the policy that only reports is the one that helmet sends with reportOnly', async (t) => {
  const table: Record<string, string[]>[] = [
    { 'default-src': ["'self'"] },
    { 'script-src': ["'self'", 'https://cdn.example.com'], 'object-src': ["'none'"] },
    { 'img-src': ['data:', '*.example.com'], 'report-uri': ['/reports'] },
    { 'require-trusted-types-for': ["'script'"] },
  ]
  for (const directives of table) {
    const { headers: sent } = await ask(t, { app: { contentSecurityPolicy: { reportOnly: { directives } } } }, false)
    const enforced = {
      'default-src': ["'none'"],
      'base-uri': ["'none'"],
      'form-action': ["'none'"],
      'frame-ancestors': ["'none'"],
    }
    const theirs = await askHelmet(
      t,
      {
        ...BASE,
        contentSecurityPolicy: { useDefaults: false, reportOnly: true, directives: { ...enforced, ...directives } },
      },
      undefined,
      '',
    )
    t.equal(typeof theirs['content-security-policy-report-only'], 'string')
    t.equal(
      sent['content-security-policy-report-only'],
      theirs['content-security-policy-report-only'],
      JSON.stringify(directives),
    )
  }
})

test('whatever helmet refuses is refused here, and at boot', async (t) => {
  const csp = (directives: object): object => ({
    contentSecurityPolicy: { useDefaults: false, directives: { 'default-src': ["'none'"], ...directives } },
  })
  const ours = (directives: object): object => ({ contentSecurityPolicy: { directives } })
  const both = (options: object): [object, object] => [options, options]
  const table: [name: string, theirs: object, ours: object][] = [
    ['an unquoted keyword', csp({ 'script-src': ['self'] }), ours({ 'script-src': ['self'] })],
    [
      'a source that ends its directive',
      csp({ 'script-src': ["'self'; img-src *"] }),
      ours({ 'script-src': ["'self'; img-src *"] }),
    ],
    [
      'a source that ends its header',
      csp({ 'script-src': ["'self', img-src *"] }),
      ours({ 'script-src': ["'self', img-src *"] }),
    ],
    ['a directive that is no name', csp({ 'bad name': ["'self'"] }), ours({ 'bad name': ["'self'"] })],
    ['a directive without a name', csp({ '': ["'self'"] }), ours({ '': ["'self'"] })],
    [
      'no directive at all',
      { contentSecurityPolicy: { useDefaults: false, directives: {} } },
      ours({ 'default-src': false, 'base-uri': false, 'form-action': false, 'frame-ancestors': false }),
    ],
    ['a list that is none', csp({ 'script-src': 5 }), ours({ 'script-src': 5 })],
    [
      'a directive twice',
      csp({ 'img-src': ["'self'"], imgSrc: ["'self'"] }),
      ours({ 'img-src': ["'self'"], imgSrc: ["'self'"] }),
    ],
    ['a negative age', ...both({ strictTransportSecurity: { maxAge: -1 } })],
    ['an age that is no number', ...both({ strictTransportSecurity: { maxAge: '60' } })],
    ['an endless age', ...both({ strictTransportSecurity: { maxAge: Infinity } })],
    ['NaN', ...both({ strictTransportSecurity: { maxAge: NaN } })],
    ['a near miss of HSTS', ...both({ strictTransportSecurity: { maxage: 60 } })],
    ['another spelling of HSTS', ...both({ strictTransportSecurity: { maxAge: 60, includeSubdomains: true } })],
    ['a frame action that is gone', ...both({ xFrameOptions: { action: 'allow-from' } })],
    ['a frame action that is none', ...both({ xFrameOptions: { action: 5 } })],
    ['an unknown referrer policy', ...both({ referrerPolicy: { policy: 'no-such-policy' } })],
    ['one unknown in a list', ...both({ referrerPolicy: { policy: ['no-referrer', 'nonsense'] } })],
    ['a referrer policy twice', ...both({ referrerPolicy: { policy: ['no-referrer', 'no-referrer'] } })],
    ['no referrer policy', ...both({ referrerPolicy: { policy: [] } })],
    ['an unknown resource policy', ...both({ crossOriginResourcePolicy: { policy: 'same' } })],
    ['an unknown opener policy', ...both({ crossOriginOpenerPolicy: { policy: 'same-site' } })],
    ['an unknown embedder policy', ...both({ crossOriginEmbedderPolicy: { policy: 'require' } })],
  ]
  for (const [name, theirs, options] of table) {
    // It builds its middleware for each request, so it starts, and then answers nothing but 500.
    const app = instance(t)
    await app.register(fastifyHelmet, theirs)
    app.get('/', async () => 1)
    t.equal((await app.inject('/')).statusCode, 500, `@fastify/helmet: ${name}`)
    await t.rejects(
      async () => instance(t).register(headers, options as HeadersOptions),
      { code: 'BULWARK_CONFIG' },
      name,
    )
    const route = instance(t)
    await route.register(headers)
    route.get('/', { security: { headers: options } }, async () => 1)
    await t.rejects(async () => route.ready(), {
      code: 'BULWARK_CONFIG',
      problems: [{ path: /^GET \/ security\.headers\./ }],
    }, `on a route: ${name}`)
  }
})
