import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { createServer, defineSecurity, publicRoute } from '../../index.js'
import { checkEvents, events, watchSecretValues, type EventsOptions } from '../../plugins/events.js'
import type { Problem } from '../../lib/errors.js'
import { loggerOptions, SafeLogController } from '../../lib/logging/options.js'
import { captureLogs, type LogLine } from '../helpers/logs.js'
import { rawResponse } from '../helpers/raw-http.js'

const SECRET = 'hunter2-hunter2'
const open = { security: { auth: publicRoute('a route of the test') } }

interface Service { readonly app: FastifyInstance, readonly lines: LogLine[], readonly requests: () => LogLine[] }

async function build (t: Test, definition: { readonly events?: EventsOptions } = {}, options: FastifyServerOptions = {}, stream: 'own' | 'suite' = 'suite'): Promise<Service> {
  const { logger, lines } = captureLogs()
  // The suite's own serializers and hooks are what is tested.
  const app = await createServer(defineSecurity(definition), { logger: stream === 'own' ? logger : { stream: (logger as { stream: never }).stream }, ...options }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  return { app, lines, requests: () => lines.filter(({ msg }) => msg === 'request') }
}

async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

test('each request leaves one line that names the route, never the URL', async (t) => {
  const { app, lines, requests } = await build(t)
  app.get('/users/:id', open, async () => ({ ok: true }))
  app.get('/throws', open, async () => { throw new Error('broken') })
  app.get('/stream', open, async (_request, reply) => { reply.raw.on('x', () => {}); return reply.send((await import('node:stream')).Readable.from(['a'])) })
  const headers = { 'user-agent': 'probe/1', cookie: `a=${SECRET}`, authorization: `Bearer ${SECRET}` }
  const { headers: sent } = await app.inject({ url: `/users/7?token=${SECRET}`, headers })
  await app.inject({ url: `/nowhere/${SECRET}?token=${SECRET}`, headers })
  await app.inject({ method: 'POST', url: '/users/7', headers })
  await app.inject({ url: '/throws', headers })
  await app.inject({ url: '/stream', headers })
  await app.inject({ method: 'HEAD', url: '/users/7' })
  t.match(requests(), [
    { level: 30, reqId: sent['x-request-id'], method: 'GET', route: '/users/:id', status: 200, ip: '127.0.0.1', bytes: 11, userAgent: 'probe/1' },
    { method: 'GET', route: null, status: 404 },
    { method: 'POST', route: null, status: 405 },
    { method: 'GET', route: '/throws', status: 500 },
    { method: 'GET', route: '/stream', status: 200 },
    { method: 'HEAD', route: '/users/:id', status: 200 },
  ])
  t.equal(requests().length, 6)
  for (const line of requests()) t.ok(typeof line['ms'] === 'number' && line['ms'] >= 0 && line['ms'] < 60_000 && /^\d+(?:\.\d)?$/.test(String(line['ms'])))
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
  const { app, lines } = await build(t, {}, { requestTimeout: 300, http: { headersTimeout: 200, connectionsCheckingInterval: 40 } } as never)
  const port = await listen(app)
  await rawResponse(port, `GET /%zz${SECRET}?token=${SECRET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
  await rawResponse(port, `${SECRET} / HTTP/1.1\r\n\r\n`)
  await rawResponse(port, `GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`)
  await rawResponse(port, 'GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ')
  t.match(lines.filter(({ msg }) => msg?.includes('refused')), [
    { msg: 'request refused by the router', method: 'GET', route: null, status: 400, ip: '127.0.0.1', code: 'FST_ERR_BAD_URL' },
    { msg: 'malformed request refused', reqId: /^[0-9a-f]{32}$/, method: null, route: null, status: 400, ip: '127.0.0.1' },
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
  t.notMatch(written.map((line) => Object.values(line).join(' ')).join(' '), /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202e]|lovelace/u)
  t.ok(text.length < 4000)
  t.match(written.find(({ msg }) => msg === 'request'), { userId: /^u\\u000d\\u000a.* a\*\*\*@example\.com$/ }, 'the user is named')
})

test('a length counts as a number and as text, and what is none is left out', async (t) => {
  const { app, requests } = await build(t)
  for (const [path, length] of [['number', 1], ['text', '1'], ['none', ['1', '2']]] as const) app.head(`/${path}`, open, async (_request, reply) => reply.header('content-length', length).send())
  for (const path of ['number', 'text', 'none']) await app.inject({ method: 'HEAD', url: `/${path}` })
  t.same(requests().map(({ ['bytes']: bytes }) => bytes), [1, 1, undefined])
})

test('Fastify\'s own lines: that of a stream\'s error stays beside the access log, that of a 404 comes back without its URL\'s query', async (t) => {
  const controller = (accessLog: boolean): LogLine[] => {
    const { logger, lines } = captureLogs()
    const app = Fastify({ logger, logController: new SafeLogController(accessLog) })
    t.teardown(() => app.close())
    const request = { log: app.log, url: `/nowhere?token=${SECRET}`, method: 'GET', host: 'x', ip: '192.0.2.1' } as unknown as FastifyRequest
    const reply = { log: app.log, request, elapsedTime: 1, statusCode: 200 } as unknown as FastifyReply
    const own = new SafeLogController(accessLog)
    own.requestCompleted(new Error('stream broke'), request, reply)
    own.requestCompleted(null, request, reply)
    own.routeNotFound(request)
    return lines
  }
  t.match(controller(true), [{ level: 50, err: { message: 'stream broke' } }])
  t.equal(controller(true).length, 1)
  t.match(controller(false), [{ err: { message: 'stream broke' } }, { msg: 'request completed' }, { msg: 'route not found', req: { path: '/nowhere' } }])
  t.notMatch(JSON.stringify(controller(false)), SECRET)
})

test('secrets that are not searched for are counted in a warning at the boot, and never told', async (t) => {
  let values = ['seven77', 'eight888']
  t.teardown(watchSecretValues(() => values))
  for (const [own, expected] of [[values, [{ level: 40, tooShort: 1, beyondBound: 0 }]], [['eight888'], []]] as const) {
    values = [...own]
    const { app, lines } = await build(t)
    await app.ready()
    const warned = lines.filter(({ msg }) => msg?.includes('secret values'))
    t.match(warned, expected)
    t.equal(warned.length, expected.length)
    t.notMatch(JSON.stringify(lines), /seven77/)
  }
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
    [{}, []], [{ accessLog: undefined }, []], [{ accessLog: true }, []], [{ accessLog: false }, []], [{ accessLog: {} }, []], [{ accessLog: { userAgent: undefined } }, []],
    [{ accessLog: 'yes' }, ['events.accessLog']], [{ accessLog: { userAgents: true } }, ['events.accessLog']], [{ accesslog: true }, ['events.accesslog']],
    [{ callerLogLimit: 0 }, []], [{ callerLogLimit: 100_000 }, []], [{ callerLogLimit: undefined }, []], [{ callerLogLimit: -1 }, ['events.callerLogLimit']], [{ callerLogLimit: '1' }, ['events.callerLogLimit']], [{ callerLoglimit: 1 }, ['events.callerLoglimit']],
  ]
  for (const [options, paths] of table) {
    const problems: Problem[] = []
    checkEvents(options, problems)
    t.same(problems.map(({ path }) => path), paths, JSON.stringify(options))
  }
  await t.rejects(Promise.resolve(Fastify().register(events, { accessLog: 'yes' } as unknown as EventsOptions)), { code: 'BULWARK_CONFIG' })
})

test('no line of a server holds a known secret, wherever it was put, nor the headers of an error', async (t) => {
  const values = [SECRET]
  t.teardown(watchSecretValues(() => values))
  const { app, lines } = await build(t)
  app.get('/', open, async (request) => {
    const error = Object.assign(new Error(`connect redis://:${SECRET}@redis`, { cause: new AggregateError([new Error(SECRET)], SECRET) }), { config: { headers: { authorization: 'Bearer other-secret-value' } } })
    request.log.error({ err: error }, 'failed')
    request.log.warn({ error, headers: { cookie: 'sid=other-secret-value' }, deep: { er: SECRET } }, `with ${SECRET}`)
    request.log.child({ key: SECRET }).info({ query: { token: 'other-secret-value' }, url: '/a?t=other-secret-value' }, 'bound')
    request.log.info({ req: request, res: { statusCode: 200, headers: { 'set-cookie': 'other-secret-value' } } }, 'own')
    request.log.info(SECRET)
    throw error
  })
  await app.inject({ url: '/?token=other-secret-value', headers: { cookie: 'sid=other-secret-value' } })
  t.ok(lines.length >= 6)
  t.notMatch(JSON.stringify(lines), /hunter2|other-secret-value/)
  t.match(lines.find(({ msg }) => msg === 'failed'), { err: { message: 'connect redis://:[redacted]@redis', cause: { type: 'AggregateError', errors: [{ message: '[redacted]' }] } } })
})

test('an app\'s own serializers and hooks stay, and what its hook writes is cleaned', async (t) => {
  const values = [SECRET]
  t.teardown(watchSecretValues(() => values))
  let text = ''
  const hooks = { streamWrite: (line: string) => `${line.trimEnd()} ${SECRET}\n`, logMethod (this: unknown, args: unknown[], method: (...args: unknown[]) => void) { method.apply(this, args) } }
  const app = await createServer(defineSecurity({}), { logger: { level: 'warn', stream: { write (line: string) { text += line } }, serializers: { req: () => 'mine' }, hooks } } as never)
  t.teardown(() => app.close())
  text = ''
  app.log.warn({ req: {}, res: { statusCode: 1, x: 2 } }, 'x')
  t.match(text, /"req":"mine","res":\{"statusCode":1\},"msg":"x"\} \[redacted\]\n$/)
  app.log.info('below the level')
  t.notMatch(text, /below/)
})

test('a logger that is turned off stays off, and an app\'s own controller stays', async (t) => {
  t.same(Object.keys(loggerOptions({ logger: false }, true)), ['logController'])
  t.same(Object.keys(loggerOptions({ logger: false, logController: new SafeLogController(true) }, true)), [])
})

test('a server that listens reports its start and its end, one that does not reports neither', async (t) => {
  const { app, lines } = await build(t, {}, {}, 'own')
  await listen(app)
  await sleep(30)
  await app.close()
  t.match(lines.filter(({ event }) => String(event).startsWith('sys_')), [{ level: 30, event: 'sys_startup', production: false }, { level: 30, event: 'sys_shutdown', uptimeSeconds: 0 }])
  const other = await build(t)
  await other.app.inject('/')
  await other.app.close()
  t.same(other.lines.filter(({ event }) => String(event).startsWith('sys_')), [])
})

test('ten thousand failed sign-ins leave a bounded log with exact counts, of one address and of ten thousand', async (t) => {
  const addresses: [string, (index: number) => string, number][] = [
    ['one', () => '192.0.2.1', 20],
    ['one /64', (index) => `2001:db8:0:1::${index.toString(16)}`, 20],
    ['ten thousand', (index) => `10.1.${index >> 8}.${index & 255}`, 100],
    ['ten thousand /64s', (index) => `2001:db8:${(index >> 8).toString(16)}:${(index & 255).toString(16)}::1`, 100],
  ]
  for (const [name, ip, most] of addresses) {
    const { logger, lines } = captureLogs()
    const app = Fastify({ logger })
    await app.register(events)
    await app.ready()
    for (let index = 0; index < 10_000; index++) {
      const request = { id: `req-${index}`, ip: ip(index), method: 'POST', log: app.log, routeOptions: { url: '/login' } }
      app.security.events.emit('authn_login_fail', { reason: 'credentials' }, request as unknown as FastifyRequest)
    }
    await app.close()
    const counted = lines.filter((line) => line['suppressed'] !== undefined)
    const logged = lines.filter((line) => line.msg === 'authn_login_fail' && line['suppressed'] === undefined).length
    t.equal(logged + counted.reduce((sum, line) => sum + Number(line['suppressed']), 0), 10_000, name)
    // The run may cross from one window of ten seconds into the next.
    t.ok(logged <= most * counted.length, `${name}: ${logged} lines`)
    if (most === 20) t.ok(counted.every((line) => (line['callers'] as unknown[]).length === 1), name)
  }
})

test('failed sign-ins through the server are counted by the address that a declared proxy gives', async (t) => {
  const { logger, lines } = captureLogs()
  const app = Fastify({ logger, trustProxy: ['127.0.0.1'] })
  await app.register(events, { accessLog: false, callerLogLimit: 2 })
  app.post('/login', async (request, reply) => {
    app.security.events.emit('authn_login_fail', { reason: 'credentials' }, request)
    return reply.code(401).send({})
  })
  for (let index = 0; index < 20; index++) await app.inject({ method: 'POST', url: '/login', headers: { 'x-forwarded-for': index < 15 ? '192.0.2.1' : '192.0.2.2' } })
  await app.close()
  t.same(lines.filter((line) => line['suppressed'] !== undefined).map((line) => [line['suppressed'], line['callers']]), [[16, [{ caller: '192.0.2.1', suppressed: 13 }, { caller: '192.0.2.2', suppressed: 3 }]]])
})

test('emit wants a name of the catalogue and passes its fields on alone', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(events)
  const seen: unknown[] = []
  app.security.events.on('*', (event) => { seen.push(event) })
  app.security.events.emit('authn_password_change', { userId: 'u1', password: SECRET } as { userId: string }, null)
  app.security.events.emit('user_created', { userId: 'u2', by: 'u1', name: 'authz_fail' } as { userId: string, by: string }, null)
  t.match(seen, [{ name: 'authn_password_change', userId: 'u1', requestId: null }, { name: 'user_created', userId: 'u2', by: 'u1' }])
  t.notMatch(JSON.stringify(seen), SECRET)
  // @ts-expect-error no such event
  t.throws(() => { app.security.events.emit('authn_password_changed', { userId: 'u1' }, null) }, { name: 'TypeError', message: /Did you mean "authn_password_change"/ })
  // @ts-expect-error the fields of another event
  t.throws(() => { app.security.events.emit('*', { userId: 'u1' }, null) }, { name: 'TypeError' })
  // @ts-expect-error a field is missing
  app.security.events.emit('authz_change', { userId: 'u1', from: 'a' }, null)
})
