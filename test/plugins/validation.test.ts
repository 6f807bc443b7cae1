import { connect, type AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { test, type Test } from 'tap'
import { problemsWith } from '../helpers/resolve.js'
import type { SecurityEvent } from '../../lib/events/catalogue.js'
import { securityOf } from '../../lib/policy/install.js'
import { Type, validation, type TypeBoxTypeProvider,
  type ValidationOptions } from '../../plugins/validation.js'

interface Built { readonly app: FastifyInstance, readonly events: SecurityEvent[] }

async function build (t: Test, options: ValidationOptions = {}, server: FastifyServerOptions = {}): Promise<Built> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  await app.register(validation, options)
  const events: SecurityEvent[] = []
  securityOf(app).root.emit = (event) => { events.push(event) }
  // What the errors plugin sends, reduced to what this plugin contributes.
  app.setErrorHandler((error: { statusCode?: number, code?: string, members?: object }, _request, reply) =>
    reply.code(error.statusCode ?? 500).send({ code: error.code, ...error.members })
  )
  return { app, events }
}

const User = Type.Object({
  name: Type.String({ minLength: 1 }),
  age: Type.Integer(),
  admin: Type.Boolean({ default: false }),
  tags: Type.Optional(Type.Array(Type.String())),
})

async function post (
  app: FastifyInstance,
  payload: unknown,
  headers: Record<string, string> = {},
): Promise<
  {
    status: number
    body: { code?: string, errors?: { path: string, message: string }[] } & Record<string, unknown>
    size: number
  }
> {
  const res = await app.inject({
    method: 'POST',
    url: '/',
    headers: { 'content-type': 'application/json', ...headers },
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  })
  return { status: res.statusCode, body: res.json(), size: res.body.length }
}

test('a body that fits arrives as it was sent, with its defaults', async (t) => {
  const { app, events } = await build(t)
  app.withTypeProvider<TypeBoxTypeProvider>().post('/', { schema: { body: User } }, async ({ body }) => {
    const age: number = body.age
    return { ...body, age }
  })
  t.same((await post(app, { name: 'Ada', age: 36 })).body, { name: 'Ada', age: 36, admin: false })
  t.same(events, [])
})

test('hostile bodies reach no handler', async (t) => {
  const { app } = await build(t)
  let ran = 0
  app.post('/', { schema: { body: User } }, async () => { ran++; return {} })
  const fits = { name: 'Ada', age: 36 }
  const cases: [string, unknown, string[] | null][] = [
    ['null for a number', { ...fits, age: null }, ['body.age']],
    ['true for a number', { ...fits, age: true }, ['body.age']],
    ['text for a number', { ...fits, age: '36' }, ['body.age']],
    ['null for text', { ...fits, name: null }, ['body.name']],
    ['a number for text', { ...fits, name: 1 }, ['body.name']],
    ['an object for text', { ...fits, name: { $gt: '' } }, ['body.name']],
    ['text for a boolean', { ...fits, admin: 'true' }, ['body.admin']],
    ['text for a list', { ...fits, tags: 'z' }, ['body.tags']],
    ['mass assignment', { ...fits, isAdmin: true, role: 'admin' }, ['body.isAdmin', 'body.role']],
    ['everything wrong at once', { name: '', age: 'x', tags: [1], x: 1 }, [
      'body.x',
      'body.name',
      'body.age',
      'body.tags.0',
    ]],
    ['nothing', {}, ['body.name', 'body.age']],
    ['null', 'null', ['body']],
    ['a list', [], ['body']],
    ['text', '"text"', ['body']],
    ['__proto__', '{"name":"Ada","age":36,"__proto__":{"admin":true}}', null],
    ['constructor.prototype', '{"name":"Ada","age":36,"constructor":{"prototype":{"admin":true}}}', null],
    ['constructor', '{"name":"Ada","age":36,"constructor":1}', ['body.constructor']],
    ['toString', { ...fits, toString: 1 }, ['body.toString']],
    ['no JSON', '{', null],
    ['nothing at all', '', null],
    ['10,000 levels', `${'{"name":'.repeat(10_000)}1${'}'.repeat(10_000)}`, ['body.age']],
  ]
  for (const [name, payload, paths] of cases) {
    const { status, body } = await post(app, payload)
    t.equal(status, 400, name)
    if (paths === null) continue
    t.equal(body.code, 'VALIDATION_FAILED', name)
    t.same(body.errors?.map(({ path }) => path).slice(0, paths.length), paths, name)
  }
  t.equal(ran, 0)
})

test('a schema is validated with every spelling of the Content-Type', async (t) => {
  const { app } = await build(t)
  const ran: string[] = []
  app.post('/one', { schema: { body: User } }, async () => {
    ran.push('one')
    return {}
  })
  app.post('/by-type', { schema: { body: { content: { 'application/json': { schema: User } } } } }, async () => {
    ran.push('by-type')
    return {}
  })
  app.addContentTypeParser('application/vnd.other+json', { parseAs: 'string' }, (_request, text, done) => {
    done(null, JSON.parse(String(text)))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const types = [
    'application/json',
    'Application/Json',
    'APPLICATION/JSON ;charset=utf-8',
    'application/json ',
    'application/json\t',
    'application/json\t;x=1',
    ' application/json',
    '\tapplication/json',
    'application/jsonx',
    'application/json x',
    'application/json a;b=c',
    'application/json, text/plain',
    'application/json;',
    'application/json;charset',
    'application/json\u00a0',
    'text/plain',
    'application/vnd.other+json',
    'application/x-www-form-urlencoded',
    'application',
    '',
    ';',
    'null',
  ]
  const payload = '{"name":"","isAdmin":true}'
  for (const url of ['/one', '/by-type']) {
    for (const type of types) {
      const status = await rawStatus(
        port,
        `POST ${url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: ${type}\r\nContent-Length: ${payload.length}\r\n\r\n${payload}`,
      )
      t.ok([400, 415].includes(status), `${url} ${JSON.stringify(type)}: ${status}`)
    }
    t.ok(
      [400, 415].includes(
        await rawStatus(port, `POST ${url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`),
      ),
      `${url} without a body`,
    )
    t.ok(
      [400, 415].includes(
        await rawStatus(
          port,
          `POST ${url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${payload.length}\r\n\r\n${payload}`,
        ),
      ),
      `${url} without a type`,
    )
  }
  t.same(ran, [])
  for (const url of ['/one', '/by-type']) {
    t.equal((await app.inject({ method: 'POST', url, payload: { name: 'Ada', age: 1 } })).statusCode, 200, url)
  }
})

/** Sends bytes that no client library would, and reads the status. */
async function rawStatus (port: number, request: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => { socket.write(request, 'latin1') })
    socket.on('data', (chunk) => { answer += chunk.toString('latin1') })
    socket.on('close', () => { resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])) })
    socket.on('error', reject)
  })
}

test('query strings are coerced and closed, path parameters and headers coerced and open', async (t) => {
  const { app } = await build(t)
  app.get('/q/:id/:other', {
    schema: {
      querystring: Type.Object({
        n: Type.Integer({ default: 1 }),
        flag: Type.Optional(Type.Boolean()),
        tags: Type.Optional(Type.Array(Type.String())),
      }),
      params: Type.Object({ id: Type.Integer() }),
      headers: Type.Object({ 'X-Count': Type.Optional(Type.Integer()) }),
    },
  }, async ({ query, params, headers }) => ({ query, params, count: headers['x-count'] }))
  const get = async (
    url: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number, body: Record<string, unknown> }> => {
    const res = await app.inject({ url, headers })
    return { status: res.statusCode, body: res.json() }
  }
  t.same((await get('/q/7/x?n=5&flag=true&tags=a', { 'x-count': '3' })).body, {
    query: { n: 5, flag: true, tags: ['a'] },
    params: { id: 7, other: 'x' },
    count: 3,
  })
  t.same((await get('/q/7/x?tags=a&tags=b')).body['query'], { n: 1, tags: ['a', 'b'] })
  const refused: [string, Record<string, string>, string][] = [
    ['/q/7/x?n=x', {}, 'query.n'],
    ['/q/7/x?n=1&n=2', {}, 'query.n'],
    ['/q/7/x?n=1.5', {}, 'query.n'],
    ['/q/7/x?n=', {}, 'query.n'],
    ['/q/7/x?flag=1', {}, 'query.flag'],
    ['/q/7/x?unknown=1', {}, 'query.unknown'],
    ['/q/7/x?__proto__=1', {}, 'query.__proto__'],
    ['/q/7/x?n[$gt]=1', {}, 'query.n[$gt]'],
    ['/q/x/x', {}, 'params.id'],
    ['/q/7/x', { 'x-count': 'x' }, 'headers.x-count'],
  ]
  for (const [url, headers, path] of refused) {
    const { status, body } = await get(url, headers)
    t.equal(status, 400, url)
    t.equal((body['errors'] as { path: string }[])[0]?.path, path)
  }
})

test('a large body with masses of errors gets a small answer', async (t) => {
  const { app } = await build(t, {}, { bodyLimit: 4_000_000 })
  app.post('/', {
    schema: { body: Type.Object({ items: Type.Array(Type.Object({ a: Type.Integer(), b: Type.Integer() })) }) },
  }, async () => ({}))
  const payload = JSON.stringify({ items: Array.from({ length: 100_000 }, () => ({ a: 'x', b: 'y' })) })
  t.ok(payload.length > 1_800_000)
  const large = await post(app, payload)
  t.equal(large.status, 400)
  t.same(large.body.errors, [{ path: 'body.items.0.a', message: 'Must be a whole number.' }])
  const many = await post(app, { items: Array.from({ length: 300 }, () => ({ a: 'x', b: 'y' })) })
  t.equal(many.body.errors?.length, 20)
  t.ok(many.size < 2000 && large.size < 200)
})

test('every refusal is a security event, reported once, without a value', async (t) => {
  const { app, events } = await build(t)
  app.post('/', { schema: { body: User } }, async () => ({}))
  app.post(
    '/attached',
    { schema: { body: User }, attachValidation: true },
    async ({ validationError }) => ({ failed: validationError !== undefined }),
  )
  app.get('/fails', async () => {
    throw new Error('else')
  })
  await app.register(async (child) => {
    await child.register(validation, { maxErrors: 1 })
    child.post('/child', { schema: { body: User } }, async () => ({}))
  })
  await post(app, { name: 'hunter2', age: 'hunter2', hunter2: 1 })
  t.same(events, [{ name: 'input_validation_fail', part: 'body', paths: ['body.*', 'body.age'] }])
  t.same((await app.inject({ method: 'POST', url: '/attached', payload: {} })).json(), { failed: true })
  t.equal(events.length, 2)
  const child = await app.inject({ method: 'POST', url: '/child', payload: {} })
  t.equal(child.json<{ errors: unknown[] }>().errors.length, 1, 'a child scope has options of its own')
  t.equal(events.length, 3)
  await app.inject('/fails')
  t.equal(events.length, 3)
})

test('without any other plugin the answer is a 400 with a stable code', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(validation)
  app.post('/', { schema: { body: User } }, async () => ({}))
  const res = await app.inject({ method: 'POST', url: '/', payload: { name: 'hunter2' } })
  t.equal(res.statusCode, 400)
  t.match(res.json(), { code: 'VALIDATION_FAILED' })
  t.notMatch(res.body, /hunter2/)
})

test('routes of child scopes and schemas added there are covered', async (t) => {
  const { app } = await build(t)
  app.addSchema({ $id: 'zip', type: 'object', properties: { zip: { type: 'string' } } })
  app.register(async (child) => {
    child.addSchema({ $id: 'street', type: 'object', properties: { street: { type: 'string' } } })
    child.post('/', {
      schema: { body: { type: 'object', properties: { a: { $ref: 'zip#' }, b: { $ref: 'street#' } } } },
    }, async () => ({}))
  }, { prefix: '/child' })
  const send = async (payload: object): Promise<number> =>
    (await app.inject({ method: 'POST', url: '/child', payload })).statusCode
  t.equal(await send({ a: { zip: '1' }, b: { street: 's' } }), 200)
  t.equal(await send({ a: { zip: '1', x: 1 } }), 400)
  t.equal(await send({ b: { street: 1 } }), 400)
})

test('request.validateInput answers with a boolean, for a part and for a schema', async (t) => {
  const { app } = await build(t)
  app.post(
    '/',
    { schema: { body: Type.Object({}, { additionalProperties: true }), querystring: Type.Object({}) } },
    async (request) => ({
      part: request.validateInput({ x: 1 }, 'querystring'),
      bad: request.validateInput({ x: '1' }, Type.Object({ x: Type.Integer() })),
      good: request.validateInput({ x: 1 }, Type.Object({ x: Type.Integer() })),
    }),
  )
  t.same((await post(app, {})).body, { part: false, bad: false, good: true })
})

test('responses are serialized as before', async (t) => {
  const { app } = await build(t)
  app.get('/', {
    schema: {
      response: {
        200: Type.Object({
          id: Type.Integer(),
          n: Type.Optional(Type.Object({ a: Type.Integer() }, { additionalProperties: true })),
        }),
      },
    },
  }, async () => ({ id: '7', secret: 'x', n: { a: 1, b: 2 } }))
  t.same((await app.inject('/')).json(), { id: 7, n: { a: 1, b: 2 } })
})

test('a boot that would leave routes to another validator fails', async (t) => {
  const owned = Fastify()
  t.teardown(() => owned.close())
  owned.setValidatorCompiler(() => () => true)
  await t.rejects(Promise.resolve(owned.register(validation)), { code: 'BULWARK_CONFIG' })

  for (
    const ajv of [{ customOptions: { coerceTypes: true as const } }, {
      customOptions: { removeAdditional: 'all' as const },
    }]
  ) {
    const { app } = await build(t, {}, { ajv })
    app.post('/', { schema: { body: User } }, async () => ({}))
    await t.rejects(Promise.resolve(app.ready()), /owns these Ajv options/)
  }
  const { app } = await build(t)
  app.post('/', { schema: { body: { $async: true, type: 'object' } } }, async () => ({}))
  await t.rejects(Promise.resolve(app.ready()), /\$async/)
})

test('every option is checked', async (t) => {
  const wrong: [unknown, string][] = [
    [{ maxErrors: 0 }, 'validation.maxErrors'],
    [{ maxErrors: 101 }, 'validation.maxErrors'],
    [{ maxErrors: '5' }, 'validation.maxErrors'],
    [{ maxErrors: 1.5 }, 'validation.maxErrors'],
    [{ allErrorsUpTo: -1 }, 'validation.allErrorsUpTo'],
    [{ allErrorsUpTo: 1_048_577 }, 'validation.allErrorsUpTo'],
    [{ maxError: 5 }, 'validation.maxError'],
    [{ unknown: 'drop' }, 'validation.unknown'],
    [{ unknown: true }, 'validation.unknown'],
    [{ unknwon: 'strip' }, 'validation.unknwon'],
  ]
  for (const [options, path] of wrong) {
    const problems = problemsWith(validation, options)
    t.same(problems.map((problem) => problem.path), [path])
    await t.rejects(build(t, options as ValidationOptions), { code: 'BULWARK_CONFIG' })
  }
  for (
    const options of [
      {},
      { maxErrors: undefined },
      { maxErrors: 1 },
      { maxErrors: 100 },
      { allErrorsUpTo: 0 },
      { allErrorsUpTo: 1_048_576 },
      { unknown: undefined },
      { unknown: 'strip' },
      { unknown: 'reject' },
    ]
  ) {
    const problems = problemsWith(validation, options)
    t.same(problems, [])
  }
  const { app } = await build(t)
  await t.rejects(Promise.resolve(app.register(validation)), { code: 'BULWARK_CONFIG' }, 'twice in one scope')
})
