import cookie from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyReply, type LightMyRequestResponse } from 'fastify'
import fp from 'fastify-plugin'
import { request as ask } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { test, type Test } from 'tap'
import { bulwark, defineSecurity, serverOptions } from '../../../index.js'
import { cors } from '../../../plugins/cors.js'
import { headers } from '../../../plugins/headers.js'
import { assertHeaders } from '../../helpers/headers.js'

const ORIGIN = 'https://app.example.com'

type Fields = Readonly<Record<string, string>>

/** What an app does as late as it can, and what the client must see all the same. */
interface Effect {
  readonly status?: number
  readonly fields: Fields
  readonly request?: Fields
  readonly expected: Readonly<Record<string, string | RegExp | null>>
}

const EFFECTS: Readonly<Record<string, Effect>> = {
  'a cookie': { fields: { 'Set-Cookie': 'a=b' }, expected: { 'set-cookie': /a=b/, 'cache-control': 'no-store' } },
  'an error status': { status: 503, fields: {}, expected: { 'cache-control': 'no-store' } },
  'a cacheable answer to a credential': {
    fields: { 'Cache-Control': 'public, max-age=60' },
    request: { authorization: 'Basic YTpi' },
    expected: { 'cache-control': 'no-store' },
  },
  'a Vary of its own': { fields: { Vary: 'Accept-Encoding' }, expected: { vary: 'Accept-Encoding, Origin' } },
  'what discloses the server': {
    fields: { Server: 'x/1', 'X-Powered-By': 'y' },
    expected: { server: null, 'x-powered-by': null },
  },
}

type Act = (reply: FastifyReply) => void

/** Where an app can act. Each gets the app with and without the suite, and answers on `/`. */
interface Place {
  readonly before?: (app: FastifyInstance, act: Act) => void
  readonly after?: (app: FastifyInstance, act: Act) => void | Promise<void>
  readonly url?: string
}

const onSendOf = (act: Act) => (_request: unknown, reply: FastifyReply, _payload: unknown, done: () => void): void => {
  act(reply)
  done()
}
const plainRoute = (app: FastifyInstance): void => { app.get('/', async () => 'x') }

const PLACES: Readonly<Record<string, Place>> = {
  'a hook from before the suite': {
    before: (app, act) => { app.addHook('onSend', onSendOf(act)) },
    after: plainRoute,
  },
  'a hook from after the suite': {
    after (app, act) { app.addHook('onSend', onSendOf(act)); plainRoute(app) },
  },
  'a hook of the route': {
    after (app, act) { app.get('/', { onSend: onSendOf(act) }, async () => 'x') },
  },
  'a hook of a child scope': {
    async after (app, act) {
      await app.register(async (scope) => { scope.addHook('onSend', onSendOf(act)); plainRoute(scope) })
    },
  },
  'a plugin registered after the routes': {
    async after (app, act) {
      plainRoute(app)
      await app.register(fp(async (own) => { own.addHook('onSend', onSendOf(act)) }))
    },
  },
  'a hook on an unknown path': {
    after (app, act) { app.addHook('onSend', onSendOf(act)) },
  },
  'a handler': {
    after (app, act) { app.get('/', async (_request, reply) => { act(reply); return 'x' }) },
  },
  'a handler that streams': {
    after (app, act) {
      app.get('/', async (_request, reply) => {
        act(reply)
        return reply.type('text/plain').send(Readable.from(['a', 'b']))
      })
    },
  },
  'a hook before a stream': {
    after (app, act) {
      app.addHook('onSend', onSendOf(act))
      app.get('/', async (_request, reply) => reply.type('text/plain').send(Readable.from(['a', 'b'])))
    },
  },
  'an error handler': {
    async after (app, act) {
      await app.register(async (scope) => {
        scope.setErrorHandler((_error, _request, reply) => { reply.code(200); act(reply); return reply.send('x') })
        scope.get('/', async () => { throw new Error('broken') })
      })
    },
  },
  'a hijacked reply': {
    after (app, act) {
      app.get('/', async (_request, reply) => { act(reply); reply.hijack().raw.end('x') })
    },
  },
  'a hook that answers before the suite': {
    before: (app, act) => {
      app.addHook('onRequest', (_request, reply, _done) => { act(reply); void reply.send('x') })
    },
    after: plainRoute,
  },
  'a hook that hijacks before the suite': {
    before: (app, act) => {
      app.addHook('onRequest', (_request, reply, _done) => { act(reply); reply.hijack().raw.end('x') })
    },
    after: plainRoute,
  },
}

/** Raw responses take headers in these ways; `writeHead` takes an object, a list or pairs. */
const RAW: Readonly<Record<string, (raw: FastifyReply['raw'], status: number, fields: Fields) => void>> = {
  'setHeader, then end' (raw, status, fields) {
    raw.statusCode = status
    for (const [name, value] of Object.entries(fields)) raw.setHeader(name, value)
    raw.end('x')
  },
  'setHeader, then writeHead' (raw, status, fields) {
    for (const [name, value] of Object.entries(fields)) raw.setHeader(name, value)
    raw.writeHead(status, { 'X-Own': '1' }).end('x')
  },
  'writeHead with an object' (raw, status, fields) { raw.writeHead(status, fields).end('x') },
  'writeHead with a reason' (raw, status, fields) { raw.writeHead(status, 'Fine', fields).end('x') },
  'writeHead with a list' (raw, status, fields) { raw.writeHead(status, Object.entries(fields).flat()).end('x') },
  'writeHead with pairs' (raw, status, fields) {
    raw.writeHead(status, Object.entries(fields) as unknown as string[]).end('x')
  },
}

/** The request names the effect that it wants. */
const effectOf = (reply: FastifyReply): Effect =>
  EFFECTS[String(reply.request.headers['x-effect'])] ?? { fields: {}, expected: {} }

const act: Act = (reply) => {
  const { status, fields } = effectOf(reply)
  if (status !== undefined) reply.code(status)
  reply.headers(fields)
}

type Build = (t: Test, before: (app: FastifyInstance) => void) => Promise<FastifyInstance>

const SERVERS: Readonly<Record<string, Build>> = {
  // What createServer does, with room for a hook before the suite.
  async 'the whole suite' (t, before) {
    const security = defineSecurity({ cors: { origin: [ORIGIN] } })
    const app = Fastify(serverOptions(security, { logger: false }))
    t.teardown(() => app.close())
    before(app)
    await app.register(bulwark, security)
    return app
  },
  async 'plain Fastify' (t, before) {
    const app = Fastify()
    t.teardown(() => app.close())
    before(app)
    await app.register(headers)
    await app.register(cors, { origin: [ORIGIN] })
    return app
  },
}

type Received = Readonly<Record<string, string | string[] | undefined>>

async function overSocket (app: FastifyInstance, sent: Fields): Promise<{ status: number, headers: Received }> {
  if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return new Promise((resolve, reject) => {
    const request = ask({ host: '127.0.0.1', port, path: '/', agent: false, headers: sent }, (response) => {
      response.resume().on('end', () => { resolve({ status: response.statusCode ?? 0, headers: response.headers }) })
    })
    request.on('error', reject).end()
  })
}

/** They belong to the connection or to this one answer. */
const OWN = new Set([
  'date',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
  'x-request-id',
  'ratelimit',
])

function comparable (received: Received): Fields {
  return Object.fromEntries(
    Object.entries(received).filter(([name]) => !OWN.has(name)).map(([name, value]) => [name, String(value)]),
  )
}

/** Socket and inject get the same headers, and those that are expected. */
async function check (t: Test, app: FastifyInstance, name: string, effect: Effect): Promise<void> {
  const sent = { origin: ORIGIN, 'x-effect': name, ...effect.request }
  const injected: LightMyRequestResponse = await app.inject({ url: '/', headers: sent })
  const { status, headers: received } = await overSocket(app, sent)
  if (effect.status !== undefined) t.equal(status, effect.status, `${name}: the status`)
  t.equal(injected.statusCode, status, `${name}: the same status`)
  assertHeaders(t, comparable(received), effect.expected)
  t.same(comparable(injected.headers as Received), comparable(received), `${name}: inject sees what a socket sees`)
}

for (const [server, build] of Object.entries(SERVERS)) {
  test(`${server}: no hook or handler has a later word than the final steps`, async (t) => {
    for (const [name, place] of Object.entries(PLACES)) {
      await t.test(name, async (st) => {
        const app = await build(st, (instance) => place.before?.(instance, act))
        await place.after?.(app, act)
        for (const [effectName, effect] of Object.entries(EFFECTS)) await check(st, app, effectName, effect)
      })
    }
  })

  test(`${server}: a raw response gets the final steps, in whatever form its head is written`, async (t) => {
    for (const [form, write] of Object.entries(RAW)) {
      await t.test(form, async (st) => {
        const app = await build(st, () => {})
        app.get('/', (_request, reply) => {
          const { status = 200, fields } = effectOf(reply)
          write(reply.hijack().raw, status, fields)
        })
        for (const [effectName, effect] of Object.entries(EFFECTS)) await check(st, app, effectName, effect)
      })
    }
  })

  test(`${server}: a cookie of @fastify/cookie, registered by the suite or after it, is never stored by a cache`, async (t) => {
    const app = await build(t, () => {})
    // The whole suite brings it; beside single plugins the app registers it, after them.
    if (!app.hasReplyDecorator('setCookie')) await app.register(cookie)
    app.get('/', async (_request, reply) => reply.setCookie('a', 'b').header('cache-control', 'public').send('x'))
    await check(t, app, 'setCookie', { fields: {}, expected: { 'set-cookie': /a=b/, 'cache-control': 'no-store' } })
  })

  test(`${server}: a route that may be cached keeps the answer's own Cache-Control`, async (t) => {
    const app = await build(t, () => {})
    app.get('/', { security: { headers: { cacheControl: false } } }, async (_request, reply) =>
      reply.header('cache-control', 'public, max-age=60').send('x'))
    await check(t, app, 'cacheable', {
      fields: {},
      request: { cookie: 'a=b' },
      expected: { 'cache-control': 'public, max-age=60' },
    })
  })

  test(`${server}: Vary keeps what it says, each name once`, async (t) => {
    const table: [string | string[], string][] = [
      ['origin', 'origin'],
      ['Accept-Encoding, Origin', 'Accept-Encoding, Origin'],
      ['*', '*'],
      [['Accept', 'Cookie'], 'Accept, Cookie, Origin'],
      ['X-Origin', 'X-Origin, Origin'],
    ]
    const app = await build(t, () => {})
    app.get('/', async (request, reply) => reply.header('vary', table[Number(request.headers['x-row'])]?.[0]).send('x'))
    for (const [row, [vary, expected]] of table.entries()) {
      await check(t, app, String(vary), { fields: {}, request: { 'x-row': String(row) }, expected: { vary: expected } })
    }
  })
}
