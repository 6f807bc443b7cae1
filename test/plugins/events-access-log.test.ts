import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { problemsWith } from '../helpers/resolve.js'
import { events, type EventsOptions } from '../../plugins/events.js'
import { SafeLogController } from '../../lib/logging/options.js'
import { captureLogs, type LogLine } from '../helpers/logs.js'
import { rawResponse } from '../helpers/raw-http.js'
import { build, listen, open, SECRET } from './events-service.js'

test('each request leaves one line that names the route, never the URL', async (t) => {
  const { app, lines, requests } = await build(t)
  app.get('/users/:id', open, async () => ({ ok: true }))
  app.get('/throws', open, async () => {
    throw new Error('broken')
  })
  app.get('/stream', open, async (_request, reply) => {
    reply.raw.on('x', () => {})
    return reply.send((await import('node:stream')).Readable.from(['a']))
  })
  const headers = { 'user-agent': 'probe/1', cookie: `a=${SECRET}`, authorization: `Bearer ${SECRET}` }
  const { headers: sent } = await app.inject({ url: `/users/7?token=${SECRET}`, headers })
  await app.inject({ url: `/nowhere/${SECRET}?token=${SECRET}`, headers })
  await app.inject({ method: 'POST', url: '/users/7', headers })
  await app.inject({ url: '/throws', headers })
  await app.inject({ url: '/stream', headers })
  await app.inject({ method: 'HEAD', url: '/users/7' })
  t.match(requests(), [
    {
      level: 30,
      reqId: sent['x-request-id'],
      method: 'GET',
      route: '/users/:id',
      status: 200,
      ip: '127.0.0.1',
      bytes: 11,
      userAgent: 'probe/1',
    },
    { method: 'GET', route: null, status: 404 },
    { method: 'POST', route: null, status: 405 },
    { method: 'GET', route: '/throws', status: 500 },
    { method: 'GET', route: '/stream', status: 200 },
    { method: 'HEAD', route: '/users/:id', status: 200 },
  ])
  t.equal(requests().length, 6)
  for (const line of requests()) {
    t.ok(
      typeof line['ms'] === 'number' && line['ms'] >= 0 && line['ms'] < 60_000 &&
        /^\d+(?:\.\d)?$/.test(String(line['ms'])),
    )
  }
  t.notOk('bytes' in (requests()[4] ?? {}), 'a stream has no known length')
  t.notOk('userId' in (requests()[0] ?? {}))
  t.same(lines.filter(({ msg }) => /incoming|completed|not found/i.test(msg ?? '')), [], 'and none of Fastify\'s own')
  t.notMatch(JSON.stringify(lines), SECRET)
})

test('a request that its client left is told from one that was answered, once', async (t) => {
  const { app, requests } = await build(t)
  let arrived = (): void => {}
  const arrival = new Promise<void>((resolve) => { arrived = resolve })
  app.get('/slow/:id', open, async () => { arrived(); await sleep(60); return {} })
  const socket = connect(await listen(app), '127.0.0.1')
  socket.write('GET /slow/7 HTTP/1.1\r\nHost: x\r\n\r\n')
  await arrival
  socket.destroy()
  for (let tries = 0; tries < 50 && requests().length === 0; tries++) await sleep(20)
  // The handler answers nobody now.
  await sleep(100)
  t.match(requests(), [{ method: 'GET', route: '/slow/:id', status: null, ip: '127.0.0.1', aborted: true }])
  t.equal(requests().length, 1)
})

test('the line of a client that has gone names its address, also where nothing else asked for it', async (t) => {
  const { logger, lines } = captureLogs()
  const app = Fastify({ logger, logController: new SafeLogController(true) })
  t.teardown(() => app.close())
  await app.register(events)
  let arrived = (): void => {}
  const arrival = new Promise<void>((resolve) => { arrived = resolve })
  app.get('/', async () => { arrived(); await sleep(60); return {} })
  const socket = connect(await listen(app), '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await arrival
  socket.destroy()
  const aborted = (): LogLine[] => lines.filter((line) => line['aborted'] === true)
  for (let tries = 0; tries < 50 && aborted().length === 0; tries++) await sleep(20)
  t.match(aborted(), [{ ip: '127.0.0.1' }])
  t.equal(aborted().length, 1)
})

test('what never reached a hook leaves a line with its status and without a byte of it', async (t) => {
  const { app, lines } = await build(
    t,
    {},
    { requestTimeout: 300, http: { headersTimeout: 200, connectionsCheckingInterval: 40 } } as never,
  )
  const port = await listen(app)
  await rawResponse(port, `GET /%zz${SECRET}?token=${SECRET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
  await rawResponse(port, `${SECRET} / HTTP/1.1\r\n\r\n`)
  await rawResponse(port, `GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`)
  await rawResponse(port, 'GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ')
  t.match(lines.filter(({ msg }) => msg?.includes('refused')), [
    {
      msg: 'request refused by the router',
      method: 'GET',
      route: null,
      status: 400,
      ip: '127.0.0.1',
      code: 'FST_ERR_BAD_URL',
    },
    {
      msg: 'malformed request refused',
      reqId: /^[0-9a-f]{32}$/,
      method: null,
      route: null,
      status: 400,
      ip: '127.0.0.1',
    },
    { msg: 'malformed request refused', status: 431 },
    { msg: 'malformed request refused', status: 408 },
  ])
  t.notMatch(JSON.stringify(lines), SECRET)
})

test('a handler that hangs leaves a line with its 503', async (t) => {
  const { app, requests } = await build(t, {}, { handlerTimeout: 50 })
  app.get('/', open, async () => { await new Promise(() => {}) })
  await app.inject('/')
  t.match(requests(), [{ route: '/', status: 503 }])
})

test('a request that the app answers before the suite sees it has its line', async (t) => {
  const { logger, lines } = captureLogs()
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(events)
  app.addHook('onRequest', async (_request, reply) => reply.code(204).send())
  app.get('/', async () => ({}))
  await app.inject('/')
  t.match(lines.filter(({ msg }) => msg === 'request'), [{ route: '/', status: 204 }])
})

test('no client and no user forges a line or steers a terminal', async (t) => {
  let text = ''
  const app = Fastify({ logger: { stream: { write (line: string) { text += line } } } })
  t.teardown(() => app.close())
  await app.register(events)
  app.decorateRequest('auth')
  app.addHook('onRequest', async (request) => { (request as unknown as { auth: unknown }).auth = { userId: 'u\r\n{"level":60,"msg":"forged"}\u001b[2J\u202e ada.lovelace@example.com' } })
  app.get('/users/:id', async (request) => {
    app.security.events.emit('authz_admin', { userId: 'x\n{"msg":"forged"}', action: 'a\u2028b\u009b' }, request)
    return {}
  })
  await app.inject({ url: '/users/%0a%7B', headers: { 'user-agent': 'a\u009b31m\tb' + 'x'.repeat(5000) } })
  const written = text.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as LogLine)
  t.notOk(written.some(({ msg, level }) => msg === 'forged' || level === 60))
  t.notMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202e]/u)
  t.notMatch(
    written.map((line) => Object.values(line).join(' ')).join(' '),
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202e]|lovelace/u,
  )
  t.ok(text.length < 4000)
  t.match(
    written.find(({ msg }) => msg === 'request'),
    { userId: /^u\\u000d\\u000a.* a\*\*\*@example\.com$/ },
    'the user is named',
  )
})

test('a length counts as a number and as text, and what is none is left out', async (t) => {
  const { app, requests } = await build(t)
  for (const [path, length] of [['number', 1], ['text', '1'], ['none', ['1', '2']]] as const) {
    app.head(`/${path}`, open, async (_request, reply) =>
      reply.header('content-length', length).send())
  }
  for (const path of ['number', 'text', 'none']) await app.inject({ method: 'HEAD', url: `/${path}` })
  t.same(requests().map(({ ['bytes']: bytes }) => bytes), [1, 1, undefined])
})

test("Fastify's own lines: that of a stream's error stays beside the access log, that of a 404 comes back without its URL's query", async (t) => {
  const controller = (accessLog: boolean): LogLine[] => {
    const { logger, lines } = captureLogs()
    const app = Fastify({ logger, logController: new SafeLogController(accessLog) })
    t.teardown(() => app.close())
    const request = {
      log: app.log,
      url: `/nowhere?token=${SECRET}`,
      method: 'GET',
      host: 'x',
      ip: '192.0.2.1',
    } as unknown as FastifyRequest
    const reply = { log: app.log, request, elapsedTime: 1, statusCode: 200 } as unknown as FastifyReply
    const own = new SafeLogController(accessLog)
    own.requestCompleted(new Error('stream broke'), request, reply)
    own.requestCompleted(null, request, reply)
    own.routeNotFound(request)
    return lines
  }
  t.match(controller(true), [{ level: 50, err: { message: 'stream broke' } }])
  t.equal(controller(true).length, 1)
  t.match(controller(false), [{ err: { message: 'stream broke' } }, { msg: 'request completed' }, {
    msg: 'route not found',
    req: { path: '/nowhere' },
  }])
  t.notMatch(JSON.stringify(controller(false)), SECRET)
})

test('it can be turned off, and then Fastify\'s own lines are back, without queries', async (t) => {
  const { app, lines, requests } = await build(t, { events: { accessLog: false } })
  await app.inject(`/nowhere?token=${SECRET}`)
  t.same(requests(), [])
  t.match(lines.map(({ msg }) => msg), ['incoming request', 'request refused', 'request completed'])
  t.notMatch(JSON.stringify(lines), SECRET)
  const quiet = await build(t, { events: { accessLog: { userAgent: false } } })
  await quiet.app.inject({ url: '/', headers: { 'user-agent': 'probe/1' } })
  t.equal(quiet.requests().length, 1)
  t.notMatch(JSON.stringify(quiet.requests()), /probe/)
  const silent = await build(t, { events: { accessLog: {} } })
  await silent.app.inject({ url: '/', headers: { 'user-agent': 'probe/1' } })
  t.match(silent.requests(), [{ userAgent: 'probe/1' }], 'what is not said stays on')
})

test('every form of the option is checked', async (t) => {
  const table: [unknown, string[]][] = [
    [{}, []],
    [{ accessLog: undefined }, []],
    [{ accessLog: true }, []],
    [{ accessLog: false }, []],
    [{ accessLog: {} }, []],
    [{ accessLog: { userAgent: undefined } }, []],
    [{ accessLog: 'yes' }, ['events.accessLog']],
    [{ accessLog: { userAgents: true } }, ['events.accessLog']],
    [{ accesslog: true }, ['events.accesslog']],
    [{ callerLogLimit: 0 }, []],
    [{ callerLogLimit: 100_000 }, []],
    [{ callerLogLimit: undefined }, []],
    [{ callerLogLimit: -1 }, ['events.callerLogLimit']],
    [{ callerLogLimit: '1' }, ['events.callerLogLimit']],
    [{ callerLoglimit: 1 }, ['events.callerLoglimit']],
  ]
  for (const [options, paths] of table) {
    const problems = problemsWith(events, options)
    t.same(problems.map(({ path }) => path), paths, JSON.stringify(options))
  }
  await t.rejects(Promise.resolve(Fastify().register(events, { accessLog: 'yes' } as unknown as EventsOptions)), {
    code: 'BULWARK_CONFIG',
  })
})
