import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply,
  type LightMyRequestResponse } from 'fastify'
import { PassThrough, Readable } from 'node:stream'
import { test, type Test } from 'tap'
import { bulwark, SecurityError, serverOptions, defineSecurity, publicRoute } from '../../index.js'
import { ERROR_CATALOGUE } from '../../lib/response/errors.js'
import { errors } from '../../plugins/errors.js'
import { API_HEADERS, assertHeaders } from '../helpers/headers.js'
import { captureLogs, type LogLine } from '../helpers/logs.js'
import { exchange } from '../helpers/raw-http.js'

/** Stands in everything that is thrown here, and in no answer. */
const MARK = 'canary-7f3a'

interface Built { readonly app: FastifyInstance, readonly lines: LogLine[] }

async function build (t: Test): Promise<Built> {
  const { logger, lines } = captureLogs()
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(errors)
  return { app, lines }
}

/** Under the whole suite, whose headers no answer may lack. */
async function buildSuite (t: Test): Promise<Built> {
  const { logger, lines } = captureLogs()
  const definition = defineSecurity({ auth: false, rateLimit: false })
  const app = Fastify(serverOptions(definition, { logger }))
  t.teardown(() => app.close())
  await app.register(bulwark, definition)
  return { app, lines }
}

function assertProblem (t: Test, res: LightMyRequestResponse, status: number, code: string, name: string): void {
  t.equal(res.statusCode, status, name)
  t.equal(res.headers['content-type'], 'application/problem+json; charset=utf-8', name)
  const body = res.json<Record<string, unknown>>()
  t.same(Object.keys(body), ['type', 'title', 'status', 'detail', 'instance', 'code'], name)
  t.match(body, { status, code, detail: ERROR_CATALOGUE[code as keyof typeof ERROR_CATALOGUE].detail }, name)
  t.notOk(
    res.payload.includes(MARK) || JSON.stringify(res.headers).includes(MARK),
    `${name}: nothing of the error is told`,
  )
}

function circular (): Error {
  const first = new Error(MARK)
  first.cause = new Error(MARK, { cause: first })
  return first
}

function withGetter (name: string): Error {
  return Object.defineProperty(new Error(MARK), name, { get () { throw new Error(`${MARK} of a getter`) } })
}

const forbid = (): never => { throw new Error(`${MARK} of a trap`) }

const THROWN: readonly (readonly [name: string, thrown: unknown, status: number, code: string])[] = [
  ['a string', MARK, 500, 'INTERNAL_ERROR'],
  ['an empty string', '', 500, 'INTERNAL_ERROR'],
  ['null', null, 500, 'INTERNAL_ERROR'],
  ['undefined', undefined, 500, 'INTERNAL_ERROR'],
  ['a number that is a status', 404, 500, 'INTERNAL_ERROR'],
  ['false', false, 500, 'INTERNAL_ERROR'],
  ['a bigint', 7n, 500, 'INTERNAL_ERROR'],
  ['a symbol', Symbol(MARK), 500, 'INTERNAL_ERROR'],
  ['a function', () => MARK, 500, 'INTERNAL_ERROR'],
  ['an object', { message: MARK }, 500, 'INTERNAL_ERROR'],
  ['an object without a prototype', Object.assign(Object.create(null), { message: MARK }), 500, 'INTERNAL_ERROR'],
  ['an object with a status', { statusCode: 409, message: MARK }, 409, 'CONFLICT'],
  [
    '`status` as http-errors has it',
    Object.assign(new Error(MARK), { status: 422, expose: true, headers: { 'x-leak': MARK } }),
    422,
    'UNPROCESSABLE',
  ],
  [
    'an exposed 500',
    Object.assign(new Error(MARK), { statusCode: 500, expose: true, headers: { 'x-leak': MARK } }),
    500,
    'INTERNAL_ERROR',
  ],
  ['a success as a status', Object.assign(new Error(MARK), { statusCode: 200 }), 500, 'INTERNAL_ERROR'],
  [
    'a redirect as a status',
    Object.assign(new Error(MARK), { statusCode: 302, location: MARK }),
    500,
    'INTERNAL_ERROR',
  ],
  ['a status that HTTP does not know', Object.assign(new Error(MARK), { statusCode: 9999 }), 500, 'INTERNAL_ERROR'],
  ['a status that is text', Object.assign(new Error(MARK), { statusCode: '404' }), 500, 'INTERNAL_ERROR'],
  ['a status that is no number', Object.assign(new Error(MARK), { statusCode: NaN }), 500, 'INTERNAL_ERROR'],
  ['a plain 503', Object.assign(new Error(MARK), { statusCode: 503 }), 503, 'SERVICE_UNAVAILABLE'],
  ['an AggregateError', new AggregateError([new Error(MARK)], MARK), 500, 'INTERNAL_ERROR'],
  ['a circular cause', circular(), 500, 'INTERNAL_ERROR'],
  ['a frozen error', Object.freeze(new Error(MARK)), 500, 'INTERNAL_ERROR'],
  ['a huge message', new Error(MARK.repeat(100_000)), 500, 'INTERNAL_ERROR'],
  ['a toJSON that throws', Object.assign(new Error(MARK), { toJSON: forbid }), 500, 'INTERNAL_ERROR'],
  ['a toJSON that tells', Object.assign(new Error(MARK), { toJSON: () => ({ secret: MARK }) }), 500, 'INTERNAL_ERROR'],
  ['a status whose getter throws', withGetter('statusCode'), 500, 'INTERNAL_ERROR'],
  ['a message whose getter throws', withGetter('message'), 500, 'INTERNAL_ERROR'],
  ['a stack whose getter throws', withGetter('stack'), 500, 'INTERNAL_ERROR'],
  ['a cause whose getter throws', withGetter('cause'), 500, 'INTERNAL_ERROR'],
  ['a code whose getter throws', withGetter('code'), 500, 'INTERNAL_ERROR'],
  ['headers whose getter throws', withGetter('headers'), 500, 'INTERNAL_ERROR'],
  [
    'a validation whose getter throws',
    Object.assign(withGetter('validation'), { statusCode: 400 }),
    400,
    'BAD_REQUEST',
  ],
  [
    'a proxy that hides everything',
    new Proxy(new Error(MARK), { get: (_target, key) => key === 'then' ? undefined : forbid(), has: forbid }),
    500,
    'INTERNAL_ERROR',
  ],
  [
    'an error that looks like ours',
    Object.assign(new Error(MARK), {
      name: 'SecurityError',
      code: 'CONFLICT',
      statusCode: 409,
      members: { leak: MARK },
      headers: { 'x-leak': MARK },
    }),
    409,
    'CONFLICT',
  ],
  ['a refusal of ours with a cause', new SecurityError('CONFLICT', { cause: new Error(MARK) }), 409, 'CONFLICT'],
  [
    'a refusal of ours whose code does not exist',
    Object.defineProperty(new SecurityError('CONFLICT', { detail: MARK }), 'code', { value: MARK }),
    409,
    'CONFLICT',
  ],
]

test('whatever is thrown leaves as a problem document that tells nothing of it', async (t) => {
  const { app } = await buildSuite(t)
  for (const [index, [, thrown]] of THROWN.entries()) {
    app.get(`/async/${index}`, async () => {
      await Promise.resolve()
      throw thrown as Error
    })
    app.get(`/sync/${index}`, () => {
      throw thrown as Error
    })
    app.get(`/hook/${index}`, {
      preHandler: (_request, _reply, done) => {
        done((thrown ?? new Error(MARK)) as Error)
      },
    }, () => 'not reached')
  }
  for (const [index, [name, thrown, status, code]] of THROWN.entries()) {
    for (const way of ['async', 'sync', ...(thrown instanceof Object ? ['hook'] : [])]) {
      const res = await app.inject(`/${way}/${index}`)
      assertProblem(t, res, status, code, `${name}, ${way}`)
      assertHeaders(t, res.headers, API_HEADERS)
    }
  }
})

test('members of a refusal stand beside those of the document and never in their place', async (t) => {
  const { app } = await build(t)
  app.get('/', async () => {
    throw new SecurityError('CONFLICT', {
      members: { status: 200, code: 'FINE', instance: 'x', type: 'y', field: 'name' },
    })
  })
  const res = await app.inject('/')
  t.match(res.json(), { status: 409, code: 'CONFLICT', type: 'about:blank', field: 'name' })
})

test('a refusal that JSON or HTTP cannot hold is a 500 and not a broken answer', async (t) => {
  const { app } = await buildSuite(t)
  const loop: Record<string, unknown> = {}
  loop['self'] = loop
  const table: readonly (readonly [string, SecurityError])[] = [
    ['circular members', new SecurityError('CONFLICT', { members: { loop } })],
    ['a bigint among the members', new SecurityError('CONFLICT', { members: { count: 5n } })],
    ['a line break in a header', new SecurityError('CONFLICT', { headers: { 'retry-after': `5\r\nx-leak: ${MARK}` } })],
    ['a NUL in a header', new SecurityError('CONFLICT', { headers: { 'x-name': `${MARK}\0` } })],
  ]
  for (const [index, [, error]] of table.entries()) app.get(`/${index}`, async () => { throw error })
  for (const [index, [name]] of table.entries()) {
    const res = await app.inject(`/${index}`)
    assertProblem(t, res, 500, 'INTERNAL_ERROR', name)
    assertHeaders(t, res.headers, API_HEADERS)
  }
})

test('the log keeps what the answer does not tell: the chain of causes, and codes of libraries', async (t) => {
  const { app, lines } = await build(t)
  const database = Object.assign(new Error('duplicate key (ada@example.com)'), { code: '23505', detail: MARK })
  app.get('/conflict', async () => { throw new SecurityError('CONFLICT', { cause: database }) })
  app.get('/broken', async () => { throw new Error('outer', { cause: new Error('inner', { cause: database }) }) })
  app.get('/unreadable', async () => { throw withGetter('message') })
  app.post('/json', async () => 'not reached')
  await app.inject('/conflict')
  await app.inject('/broken')
  await app.inject('/unreadable')
  await app.inject({
    method: 'POST',
    url: '/json',
    payload: `{"password": ${MARK}}`,
    headers: { 'content-type': 'application/json' },
  })
  const own = lines.filter(({ ['code']: code }) => code !== undefined)
  t.match(own, [
    { level: 30, code: 'CONFLICT', status: 409, causes: ['23505'] },
    {
      level: 50,
      code: 'INTERNAL_ERROR',
      err: {
        message: 'outer',
        cause: { message: 'inner', cause: { code: '23505', message: 'duplicate key (ada@example.com)' } },
      },
    },
    { level: 50, code: 'INTERNAL_ERROR' },
    { level: 30, code: 'BAD_REQUEST', status: 400, causes: [/^FST_ERR_CTP/] },
  ])
  t.notMatch(JSON.stringify(own[0]), /ada@/, 'a refusal is logged without its words')
  t.notMatch(
    JSON.stringify(lines),
    new RegExp(`password|${MARK}"`),
    'neither the body that could not be read nor a property',
  )
})

test('a hook that fails after the answer was decided cannot tell what it knows', async (t) => {
  const { app, lines } = await buildSuite(t)
  const failure = (): Error =>
    Object.assign(new Error(`${MARK} in a hook`), { headers: { 'x-leak': MARK }, statusCode: 418 })
  const hooks = {
    async: {
      onSend: async () => {
        throw failure()
      },
    },
    callback: {
      onSend: (_request: unknown, _reply: unknown, _payload: unknown, done: (error: Error) => void) => {
        setImmediate(() => {
          done(failure())
        })
      },
    },
    sync: {
      onSend: (_request: unknown, _reply: unknown, _payload: unknown, done: (error: Error) => void) => {
        done(failure())
      },
    },
    serialization: {
      preSerialization: async () => {
        throw failure()
      },
    },
  }
  for (const [name, hook] of Object.entries(hooks)) {
    app.get(`/${name}/answers`, { ...hook }, async () => ({ fine: true }))
    app.get(`/${name}/refuses`, { ...hook }, async () => { throw new SecurityError('CONFLICT') })
    app.get(`/${name}/fails`, { ...hook }, async () => { throw new Error(MARK) })
  }
  for (const name of Object.keys(hooks)) {
    for (const way of ['answers', 'refuses', 'fails']) {
      const res = await app.inject(`/${name}/${way}`)
      t.equal(res.headers['content-type'], 'application/problem+json; charset=utf-8', `${name} ${way}`)
      t.notOk(
        res.payload.includes(MARK) || JSON.stringify(res.headers).includes(MARK),
        `${name} ${way}: ${res.payload}`,
      )
      t.equal(res.json<{ status: number }>().status, res.statusCode)
      assertHeaders(t, res.headers, API_HEADERS)
    }
  }
  t.ok(lines.some((line) => JSON.stringify(line).includes(`${MARK} in a hook`)), 'the log knows')
})

test('a response that its schema cannot hold, or that is nothing to send, is a 500 without words', async (t) => {
  const { app } = await buildSuite(t)
  app.get('/required', {
    schema: { response: { 200: { type: 'object', required: ['secret'], properties: { secret: { type: 'string' } } } } },
  }, async () => ({ other: MARK }))
  app.get(
    '/number',
    { schema: { response: { 200: { type: 'object', properties: { count: { type: 'integer' } } } } } },
    async () => ({ count: MARK }),
  )
  app.get('/bigint', async () => ({ count: 5n, [MARK]: MARK }))
  app.get('/tojson', async () => ({ toJSON: forbid }))
  app.get('/text', async (_request, reply) => reply.type('text/plain').send({ [MARK]: MARK }))
  app.get('/header', async (_request, reply) => reply.header('x-name', `a\r\nx-leak: ${MARK}`).send('fine'))
  app.get('/async-header', async (_request, reply) => {
    await Promise.resolve()
    return reply.header('x-name', `${MARK}\u0000`).send('fine')
  })
  for (const path of ['/required', '/number', '/bigint', '/tojson', '/text', '/header', '/async-header']) {
    const res = await app.inject(path)
    assertProblem(t, res, 500, 'INTERNAL_ERROR', path)
    assertHeaders(t, res.headers, API_HEADERS)
  }
})

test('a stream that fails before its first byte is a 500, and after it a cut connection', async (t) => {
  const { app } = await buildSuite(t)
  app.get('/early', async (_request, reply) => reply.send(new Readable({ read () { this.destroy(new Error(MARK)) } })))
  app.get('/late', async (_request, reply) => {
    const stream = new PassThrough()
    stream.write('first part ')
    setTimeout(() => { stream.destroy(new Error(MARK)) }, 50)
    return reply.type('text/plain').send(stream)
  })
  app.get('/raw', async (_request, reply) => {
    reply.raw.writeHead(200, { 'content-type': 'text/plain' })
    reply.raw.write('first part ')
    throw new Error(MARK)
  })
  const early = await app.inject('/early')
  assertProblem(t, early, 500, 'INTERNAL_ERROR', 'early')
  assertHeaders(t, early.headers, API_HEADERS)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  for (const path of ['/late', '/raw']) {
    const text = await exchange(port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
    t.match(text, /first part/, path)
    t.notOk(text.includes(MARK), path)
    t.notMatch(text, /\r\n0\r\n\r\n$/, `${path} does not end like a whole answer`)
    t.notMatch(text, /problem\+json/, path)
  }
  t.equal((await app.inject('/early')).statusCode, 500, 'the server lives')
})

test('an error after the answer disturbs nobody', async (t) => {
  const { app } = await buildSuite(t)
  app.get('/sent', async (_request, reply) => {
    void reply.send({ fine: true })
    throw new Error(MARK)
  })
  app.get('/twice', (_request, reply) => {
    void reply.send({ fine: true })
    void reply.send({ fine: false })
  })
  app.get('/refused-twice', (_request, reply) => {
    void reply.send(new SecurityError('CONFLICT'))
    void reply.send(new Error(MARK))
  })
  app.get('/response-hook', {
    onResponse: async () => {
      throw new Error(MARK)
    },
  }, async () => ({ fine: true }))
  for (const path of ['/sent', '/twice', '/response-hook']) {
    t.same((await app.inject(path)).json(), { fine: true }, path)
  }
  assertProblem(t, await app.inject('/refused-twice'), 409, 'CONFLICT', 'the first word counts')
})

test("an app's own handler answers where it was set, before or after the suite, and its own failures are not told", async (t) => {
  const mine = (_error: FastifyError, _request: unknown, reply: FastifyReply): void => {
    void reply.code(418).send('mine')
  }
  const { logger, lines } = captureLogs()
  const early = Fastify({ logger, allowErrorHandlerOverride: false })
  t.teardown(() => early.close())
  early.setErrorHandler(mine)
  await early.register(errors)
  early.get('/x', async () => { throw new Error(MARK) })
  t.equal((await early.inject('/x')).body, 'mine')
  t.equal(
    (await early.inject('/nope')).headers['content-type'],
    'text/plain; charset=utf-8',
    'the suite refuses, the app words it',
  )
  t.match(lines, [{ level: 40, msg: /error handler already/ }])

  const { app } = await buildSuite(t)
  await app.register(async (scope) => {
    scope.setErrorHandler(async () => { throw new Error(MARK) })
    scope.get('/throws', async () => { throw new Error('x') })
  })
  await app.register(async (scope) => {
    scope.setErrorHandler((error, _request, reply) => { void reply.send(error) })
    scope.get('/passes-on', async () => { throw new Error(MARK) })
  })
  await app.register(async (scope) => {
    scope.setErrorHandler(mine)
    scope.get('/mine', async () => { throw new SecurityError('CONFLICT') })
    scope.get('/mine-broken', { onSend: async () => { throw new Error(MARK) } }, async () => { throw new Error('x') })
  })
  for (const path of ['/throws', '/passes-on', '/mine-broken']) {
    assertProblem(t, await app.inject(path), 500, 'INTERNAL_ERROR', path)
  }
  t.equal((await app.inject('/mine')).body, 'mine')
})

test('a HEAD request gets the status and the headers of a refusal', async (t) => {
  const { app } = await buildSuite(t)
  app.get('/x', { security: { auth: publicRoute('test') } }, async () => { throw new Error(MARK) })
  app.get('/y', { onSend: async () => { throw new Error(MARK) } }, async () => 'fine')
  for (const path of ['/x', '/y']) {
    const res = await app.inject({ method: 'HEAD', url: path })
    t.equal(res.statusCode, 500)
    t.equal(res.body, '')
    assertHeaders(t, res.headers, API_HEADERS)
  }
})
