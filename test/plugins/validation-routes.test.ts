import { connect, type AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import { test, type Test } from 'tap'
import { BulwarkConfigError } from '../../lib/response/errors.js'
import { securityOf } from '../../lib/policy/install.js'
import { posture } from '../../plugins/posture.js'
import { Type, validation, type ValidationOptions } from '../../plugins/validation.js'

async function server (t: Test, options: ValidationOptions = {}, strict = false): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(validation, options)
  await app.register(posture)
  securityOf(app).root.strict = strict
  return app
}

const A = Type.Object({ kind: Type.Literal('a'), a: Type.Object({ x: Type.Integer() }) })
const B = Type.Object({ kind: Type.Literal('b'), b: Type.Integer() })
const BASE = Type.Object({ id: Type.Integer() })

test('unknown keys are stripped where a route asks for it, and only those that no fitting form knows', async (t) => {
  const app = await server(t)
  app.addSchema({ $id: 'addr', type: 'object', properties: { zip: { type: 'string' } } })
  app.addSchema({
    $id: 'outer',
    definitions: { inner: { $id: 'inner', type: 'object', properties: { zip: { type: 'string' } } } },
  })
  const strip = { validation: { unknown: 'strip' as const } }
  const cases: [string, object, unknown, unknown][] = [
    ['object', BASE, { id: 1, isAdmin: true, constructor: 1 }, { id: 1 }],
    ['nested', Type.Object({ n: Type.Array(BASE) }), { n: [{ id: 1, x: 1 }, { id: 2 }], y: 1 }, {
      n: [{ id: 1 }, { id: 2 }],
    }],
    ['union', Type.Union([A, B]), { kind: 'a', a: { x: 1, y: 2 }, b: 3, c: 4 }, { kind: 'a', a: { x: 1 } }],
    ['intersection', Type.Intersect([BASE, Type.Union([A, B])]), { id: 1, kind: 'b', b: 2, a: 3, c: 4 }, {
      id: 1,
      kind: 'b',
      b: 2,
    }],
    ['reference', { type: 'object', properties: { addr: { $ref: 'addr#' } } }, { addr: { zip: '1', x: 1 }, y: 1 }, {
      addr: { zip: '1' },
    }],
    ['reference in an intersection', { allOf: [{ $ref: 'addr#' }, BASE] }, { zip: '1', id: 1, x: 1 }, {
      zip: '1',
      id: 1,
    }],
    ['own definitions', { type: 'object', definitions: { d: BASE }, properties: { p: { $ref: '#/definitions/d' } } }, {
      p: { id: 1, x: 1 },
    }, { p: { id: 1 } }],
    [
      'recursion',
      Type.Recursive((self) => Type.Object({ v: Type.Integer(), kids: Type.Optional(Type.Array(self)) }), {
        $id: 'stripped',
      }),
      { v: 1, x: 1, kids: [{ v: 2, y: 1, kids: [{ v: 3, z: 1 }] }] },
      { v: 1, kids: [{ v: 2, kids: [{ v: 3 }] }] },
    ],
    ['open part', Type.Object({ free: Type.Object({}, { additionalProperties: true }), any: Type.Any() }), {
      free: { x: 1 },
      any: { y: 1 },
      z: 1,
    }, { free: { x: 1 }, any: { y: 1 } }],
    ['record', Type.Record(Type.String({ pattern: '^x-' }), BASE), { 'x-1': { id: 1, y: 1 }, z: 1 }, {
      'x-1': { id: 1 },
    }],
    [
      'if and then',
      {
        type: 'object',
        properties: { k: { type: 'string' } },
        if: { properties: { k: { const: 'a' } } },
        then: { properties: { a: {} } },
        else: { properties: { b: {} } },
      },
      { k: 'a', a: 1, b: 2 },
      { k: 'a', a: 1 },
    ],
    [
      'if and else',
      {
        type: 'object',
        properties: { k: { type: 'string' } },
        if: { properties: { k: { const: 'a' } } },
        then: { properties: { a: {} } },
        else: { properties: { b: {} } },
      },
      { k: 'z', a: 1, b: 2 },
      { k: 'z', b: 2 },
    ],
    [
      'dependent schema',
      { type: 'object', properties: { a: {} }, dependencies: { a: { properties: { b: { type: 'integer' } } } } },
      { a: 1, b: 2, x: 1 },
      { a: 1, b: 2 },
    ],
    ['any key', Type.Object({}, { additionalProperties: BASE }), { p: { id: 1, x: 1 } }, { p: { id: 1 } }],
    ['tuple', { type: 'array', items: [BASE], minItems: 1, additionalItems: B }, [{ id: 1, b: 1 }, {
      kind: 'b',
      b: 2,
      id: 1,
    }], [{ id: 1 }, { kind: 'b', b: 2 }]],
    ['inner id', { type: 'object', properties: { p: { $ref: 'inner#' } } }, { p: { zip: '1', x: 1 }, y: 1 }, {
      p: { zip: '1' },
    }],
    ['key with a slash', { type: 'object', properties: { 'a/b~c%': Type.Union([A, B]) } }, {
      'a/b~c%': { kind: 'b', b: 1, a: 1 },
    }, { 'a/b~c%': { kind: 'b', b: 1 } }],
    ['media type', { content: { 'application/json': { schema: BASE } } }, { id: 1, x: 1 }, { id: 1 }],
  ]
  for (const [name, body] of cases) {
    app.post(`/${name.replaceAll(' ', '-')}`, { schema: { body }, security: strip }, async (request) =>
      request.body)
  }
  app.post('/shared', { schema: { body: BASE } }, async (request) => request.body)
  app.post('/ambiguous', {
    schema: { body: Type.Union([Type.Object({ a: Type.Integer() }), Type.Object({ b: Type.Integer() })]) },
    security: strip,
  }, async (request) => request.body)
  app.get(
    '/query',
    { schema: { querystring: Type.Object({ n: Type.Integer() }) }, security: strip },
    async ({ query }) => query,
  )
  for (const [name, , sent, left] of cases) {
    const res = await app.inject({ method: 'POST', url: `/${name.replaceAll(' ', '-')}`, payload: sent as object })
    t.same([res.statusCode, res.json()], [200, left], name)
  }
  t.equal(
    (await app.inject({ method: 'POST', url: '/shared', payload: { id: 1, x: 1 } })).statusCode,
    400,
    'the same schema elsewhere still refuses',
  )
  t.equal(
    (await app.inject({ method: 'POST', url: '/ambiguous', payload: { a: 1, b: 1 } })).statusCode,
    400,
    'an ambiguous choice is refused, not guessed',
  )
  t.equal((await app.inject({ method: 'POST', url: '/object', payload: { id: 'x', y: 1 } })).statusCode, 400)
  t.same((await app.inject('/query?n=5&utm_source=x')).json(), { n: 5 })
  const all = await server(t, { unknown: 'strip' })
  all.post('/', { schema: { body: BASE } }, async ({ body }) => body)
  all.post(
    '/closed',
    { schema: { body: BASE }, security: { validation: { unknown: 'reject' } } },
    async ({ body }) => body,
  )
  t.same((await all.inject({ method: 'POST', url: '/', payload: { id: 1, x: 1 } })).json(), { id: 1 })
  t.equal((await all.inject({ method: 'POST', url: '/closed', payload: { id: 1, x: 1 } })).statusCode, 400)
})

test('a media type without a schema is 415, with any parser that the app has', async (t) => {
  const app = await server(t, {}, true)
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, text, done) => { done(null, String(text)) })
  const any = Type.Any()
  app.post('/json', { schema: { body: any } }, async () => 'ran')
  app.post('/form', {
    schema: { body: any },
    security: { validation: { contentTypes: ['application/x-www-form-urlencoded'] } },
  }, async () => 'ran')
  app.post('/content', { schema: { body: { content: { 'text/csv': { schema: any } } } } }, async () => 'ran')
  app.post('/both', {
    schema: { body: { content: { 'text/csv': { schema: any }, 'application/xml': { schema: any } } } },
    security: { validation: { contentTypes: ['text/csv', 'text/plain'] } },
  }, async () => 'ran')
  app.post('/none', async () => 'ran')
  app.post('/own', { security: { validation: { contentTypes: ['text/plain'] } } }, async () => 'ran')
  const send = async (url: string, type: string): Promise<number> =>
    (await app.inject({ method: 'POST', url, headers: { 'content-type': type }, payload: '"x"' })).statusCode
  const taken: Record<string, string[]> = {
    '/json': ['application/json'],
    '/form': ['application/x-www-form-urlencoded'],
    '/content': ['text/csv'],
    '/both': ['text/csv'],
    '/none': [],
    '/own': ['text/plain'],
  }
  for (const [url, types] of Object.entries(taken)) {
    for (
      const type of [
        'application/json',
        'application/x-www-form-urlencoded',
        'text/csv',
        'text/plain',
        'application/xml',
        'application/vnd.api+json',
      ]
    ) {
      t.equal(await send(url, type), types.includes(type) ? 200 : 415, `${url} ${type}`)
    }
  }
  for (const url of ['/none', '/own']) {
    t.equal((await app.inject({ method: 'POST', url, payload: 'x' })).statusCode, 415, `${url}: a body without a type`)
  }
  t.equal((await app.inject({ method: 'POST', url: '/none' })).statusCode, 200, 'no body, no type')
  t.same(app.security.posture().routes.map(({ url, body }) => `${url} ${body}`), [
    '/json schema',
    '/form schema',
    '/content schema',
    '/both schema',
    '/none none',
    '/own unchecked',
  ])
  const alone = await server(t)
  alone.post('/none', async () => 'ran')
  alone.post('/no-types', { security: { validation: { contentTypes: [] } } }, async () => 'ran')
  t.equal(
    (await alone.inject({ method: 'POST', url: '/no-types', payload: {} })).statusCode,
    415,
    'an empty list takes no body',
  )
  t.equal(
    (await alone.inject({ method: 'POST', url: '/none', payload: {} })).statusCode,
    200,
    'the plugin alone leaves routes without a schema to the app',
  )
})

test('a body that comes with OPTIONS is no way around', async (t) => {
  const app = await server(t, {}, true)
  const seen: unknown[] = []
  app.options('/none', async ({ body }) => {
    seen.push(body)
    return ''
  })
  app.options('/checked', { schema: { body: BASE } }, async ({ body }) => {
    seen.push(body)
    return ''
  })
  app.route({
    method: ['GET', 'OPTIONS'],
    url: '/both',
    handler: async ({ body }) => {
      seen.push(body)
      return ''
    },
  })
  const send = async (url: string, payload?: object): Promise<number> =>
    (await app.inject({ method: 'OPTIONS', url, ...payload !== undefined && { payload } })).statusCode
  t.same([
    await send('/none', { isAdmin: true }),
    await send('/both', { isAdmin: true }),
    await send('/checked', { isAdmin: true }),
    await send('/checked', { id: 'x' }),
  ], [415, 415, 400, 400])
  t.same([
    await send('/none'),
    await send('/both'),
    await send('/checked', { id: 1 }),
    (await app.inject('/both')).statusCode,
  ], [200, 200, 200, 200])
  t.same(seen, [undefined, undefined, { id: 1 }, undefined])
})

test('a rule that could never take effect stops the boot, with the route and the field', async (t) => {
  const app = await server(t)
  const own: RouteOptions['validatorCompiler'] = () => () => true
  const properties = {
    a: { type: 'integer', minLength: 2 },
    b: { type: 'array', items: { type: 'string' }, trimmed: true },
    c: { type: ['number', 'null'], safeText: 'line', pattern: '^a' },
    d: { type: 'string', minimum: 1 },
    e: { type: 'object', maxItems: 5 },
    f: { type: 'string', required: ['x'] },
    g: { type: 'boolean', controls: true },
    h: { not: { type: 'integer', maxLength: 1 } },
    ok1: { type: ['string', 'integer'], minLength: 2, minimum: 1 },
    ok2: { minLength: 2, minimum: 1 },
    ok3: { type: 'object', controls: true, additionalProperties: true },
    ok4: { type: 'integer', multipleOf: 2, default: 4 },
  }
  app.post('/x', { schema: { body: { type: 'object', properties } } }, async () => '')
  app.get('/own', {
    schema: { querystring: BASE },
    validatorCompiler: own,
    security: { validation: { unknown: 'strip' } },
  }, async () => '')
  app.get('/fine', { schema: { querystring: BASE }, validatorCompiler: own }, async () => '')
  void app.register(async (scope) => {
    scope.setValidatorCompiler(() => () => true)
    scope.post('/scope', { schema: { body: BASE }, security: { validation: { unknown: 'reject' } } }, async () => '')
  })
  void app.register(async (scope) => {
    scope.post('/late', { schema: { body: BASE }, security: { validation: { unknown: 'strip' } } }, async () => '')
    scope.setValidatorCompiler(() => () => true)
  })
  app.post('/by-type', {
    schema: { body: { content: { 'application/json': { schema: BASE } } } },
    security: { validation: { unknown: 'strip' } },
  }, async () => '')
  const error: unknown = await Promise.resolve(app.ready()).then(() => null, (reason: unknown) => reason)
  t.ok(error instanceof BulwarkConfigError)
  const problems = error instanceof BulwarkConfigError ? error.problems : []
  t.same(problems.map(({ path }) => path).sort(), [
    'GET /own security.validation.unknown',
    'POST /late security.validation.unknown',
    'POST /scope security.validation.unknown',
    ...['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name) => `POST /x body.${name}`),
  ])
  const messageOf = (path: string): string | undefined => problems.find((problem) => problem.path === path)?.message
  t.equal(messageOf('POST /x body.c'), 'pattern, safeText never takes effect on type number, null.')
  t.match(messageOf('GET /own security.validation.unknown'), /validatorCompiler of its own/)
})

test('four Content-Type tricks that once skipped validation reach no handler', async (t) => {
  const app = await server(t)
  let ran = 0
  app.addContentTypeParser(/^application\/.*/, { parseAs: 'string' }, (_request, text, done) => {
    done(null, JSON.parse(String(text)))
  })
  app.post('/', { schema: { body: { content: { 'application/json': { schema: BASE } } } } }, async () => {
    ran++
    return ''
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const payload = '{"isAdmin":true}'
  for (
    const [cve, type] of [
      ['CVE-2025-32442', 'ApPlIcAtIoN/JsOn'],
      ['CVE-2025-32442', 'application/json ; charset=utf-8'],
      ['CVE-2026-25223', 'application/json\tx'],
      ['CVE-2026-3419', 'application/json garbage'],
      ['CVE-2026-33806', ' application/json'],
    ] as const
  ) {
    const answer = await new Promise<string>((resolve, reject) => {
      let text = ''
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(
          `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: ${type}\r\nContent-Length: ${payload.length}\r\n\r\n${payload}`,
        )
      })
      socket.on('data', (chunk) => {
        text += String(chunk)
      })
      socket.on('close', () => {
        resolve(text)
      })
      socket.on('error', reject)
    })
    t.match(answer, /^HTTP\/1\.1 4(?:00|15)/, `${cve} ${JSON.stringify(type)}`)
  }
  t.equal(ran, 0)
})

test('a boot names every route and field that could be made slow or would not be checked', async (t) => {
  const app = await server(t)
  app.addSchema({ $id: 'slow', type: 'object', properties: { s: { type: 'string', pattern: '^(a+)+$' } } })
  app.addSchema({ $id: 'around', definitions: { below: { $id: 'below', type: 'string', pattern: '^(b+)+$' } } })
  const body = {
    type: 'object',
    properties: {
      a: { type: 'string', pattern: '^(a+)+$' },
      b: { type: 'array', items: { type: 'string', pattern: '\\s+$' } },
      c: { type: 'string', format: 'emial' },
      d: { type: 'object', patternProperties: { '^(x|x)*$': { type: 'string' } } },
      e: { type: 'array', uniqueItems: true },
      f: { $ref: 'slow#' },
      g: { type: 'string', pattern: '(a)\\1' },
      h: { type: 'string', pattern: '(' },
      i: { type: 'string', pattern: 'x', unsafePattern: '' },
      j: { type: 'string', pattern: '\\s+$', maxLength: 1001 },
      k: { type: 'array', uniqueItems: true, maxItems: 1001 },
      l: { not: { type: 'string', pattern: '^(a+)+$' } },
      m: { anyOf: [{ type: 'string', format: 'emial' }, { type: 'null' }] },
      n: { $ref: '#/definitions/n' },
      o: { $ref: 'below' },
      p: { type: 'string', unsafePattern: 'there is none' },
      ok1: { type: 'string', pattern: '\\s+$', maxLength: 1000 },
      ok2: { type: 'string', pattern: '^(a+)+$', unsafePattern: 'it is cut at 20 characters before' },
      ok3: { type: 'array', uniqueItems: true, maxItems: 1000 },
    },
    definitions: { n: { type: 'string', pattern: '^(a+)+$' } },
  }
  app.post('/x', { schema: { body } }, async () => '')
  app.get('/y', {
    schema: { querystring: { type: 'object', properties: { q: { type: 'string', pattern: 'a+b' } } } },
    security: { validation: { contentTypes: ['JSON', 'text/plain; charset=utf-8', 'text/plain'] } },
  }, async () => '')
  app.get('/z', { security: { validation: false as never } }, async () => '')
  const error: unknown = await Promise.resolve(app.ready()).then(() => null, (reason: unknown) => reason)
  t.ok(error instanceof BulwarkConfigError)
  const paths = error instanceof BulwarkConfigError
    ? error.problems.map(({ path }) => path.replace(/^HEAD/, 'GET'))
    : []
  t.same([...new Set(paths)].sort(), [
    'GET /y query.q',
    'GET /y security.validation.contentTypes',
    'GET /y security.validation.contentTypes[0]',
    'GET /y security.validation.contentTypes[1]',
    'GET /z security.validation',
    'POST /x body → n',
    'POST /x body.a',
    'POST /x body.b[]',
    'POST /x body.c',
    'POST /x body.d',
    'POST /x body.e',
    'POST /x body.f → slow.s',
    'POST /x body.g',
    'POST /x body.h',
    'POST /x body.i',
    'POST /x body.j',
    'POST /x body.k',
    'POST /x body.l',
    'POST /x body.m',
    'POST /x body.o → below → below',
    'POST /x body.p',
  ])
})

test('media types that could never take effect are refused at boot', async (t) => {
  const any = Type.Object({}, { additionalProperties: true })
  const problemsOf = async (method: 'GET' | 'POST', schema: object, contentTypes?: string[]): Promise<string[]> => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(validation)
    app.route({
      method,
      url: '/x',
      schema,
      ...contentTypes !== undefined && { security: { validation: { contentTypes } } },
      handler: async () => '',
    })
    const error: unknown = await Promise.resolve(app.ready()).then(() => null, (reason: unknown) => reason)
    return error instanceof BulwarkConfigError ? error.problems.map(({ path, message }) => `${path}: ${message}`) : []
  }
  const content = (...types: string[]): object => ({
    body: { content: Object.fromEntries(types.map((type) => [type, { schema: any }])) },
  })
  t.same(await problemsOf('GET', {}, ['text/plain']), [
    'GET /x security.validation.contentTypes: This method has no body.',
  ])
  t.same(await problemsOf('GET', {}, []), [])
  t.match(await problemsOf('POST', content('Application/JSON')), [
    /^POST \/x body\.content: "Application\/JSON" is no media type/,
  ])
  t.match(await problemsOf('POST', content('*/*', 'text/csv')), [/"\*\/\*"/])
  t.match(await problemsOf('POST', content('text/csv; charset=utf-8')), [/charset/])
  t.match(await problemsOf('POST', content('text/csv'), ['text/plain']), [/None of these types has a schema/])
  t.same(await problemsOf('POST', content('text/csv', 'text/plain'), ['text/plain']), [])
})

test('an answer of a status that the response schemas do not name is not sent whole', async (t) => {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(validation)
  securityOf(app).root.strict = true
  const User = Type.Object({ id: Type.Integer() })
  let routes = 0
  const answer = (
    response: object | undefined,
    code: number,
    payload: unknown = { id: 1, passwordHash: 'leaked' },
  ): [number, string] => {
    const url = `/${routes++}`
    app.get(
      url,
      response === undefined ? {} : { schema: { response } },
      (_request, reply) => reply.code(code).send(payload),
    )
    return [code, url]
  }
  const cases = [
    answer({ 200: User }, 202),
    answer({ 200: User, 204: Type.Null() }, 299),
    answer({ 200: User }, 302),
    answer({ 200: User }, 200),
    answer({ '2xx': User }, 202),
    answer({ default: User }, 207),
    answer({ '2XX': User }, 201),
    answer({ 200: User }, 418, {}),
    answer({ 200: User }, 204, null),
    answer(undefined, 202, { id: 1 }),
    answer({ 401: User }, 202, { id: 1 }),
    answer({ 200: User }, 202, 'text'),
  ]
  for (const [index, [code, url]] of cases.entries()) {
    const res = await app.inject(url)
    t.equal(res.statusCode, index < 3 ? 500 : code, url)
    t.notMatch(res.body, 'leaked', url)
  }
  t.match(lines.join(''), /the route answered 299, for which it has no response schema/)
})

test('a response schema drops what it does not declare, also in nested unions; routes without one are listed', async (t) => {
  const lines: string[] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(validation)
  await app.register(posture)
  const User = Type.Object({ id: Type.Integer() })
  const row = { id: 1, passwordHash: 'secret' }
  app.get('/declared', {
    schema: {
      response: {
        200: Type.Object({
          user: User,
          list: Type.Array(Type.Union([User, Type.Null()])),
          either: Type.Union([
            Type.Object({ kind: Type.Literal('u'), user: User }),
            Type.Object({ kind: Type.Literal('n') }),
          ]),
        }),
      },
    },
  }, async () => ({ user: row, list: [row, null], either: { kind: 'u' as const, user: row }, passwordHash: 'secret' }))
  app.get('/bare', async () => row)
  const res = await app.inject('/declared')
  t.same(res.json(), { user: { id: 1 }, list: [{ id: 1 }, null], either: { kind: 'u', user: { id: 1 } } })
  t.same(
    app.security.posture().routes.filter(({ method }) => method === 'GET').map((
      { url, responseSchema },
    ) => [url, responseSchema]),
    [['/declared', true], ['/bare', false]],
  )
  t.equal(lines.length, 1)
  t.same((JSON.parse(lines[0] ?? '{}') as { routes: unknown }).routes, ['GET /bare'])
})

test('what lists all findings is compiled once, when the first refusal needs it', async (t) => {
  let compiled = 0
  const app = Fastify({ ajv: { onCreate: (ajv: { compile: (schema: object) => unknown }) => {
    const compile = ajv.compile.bind(ajv)
    ajv.compile = (schema) => { compiled++; return compile(schema) }
  } } as never })
  t.teardown(() => app.close())
  await app.register(validation)
  for (const url of ['/a', '/b']) {
    app.post(url, { schema: { body: Type.Object({ n: Type.Integer(), m: Type.Integer() }) } }, async () => '')
  }
  await app.ready()
  t.equal(compiled, 2, 'boot waits for what judges')
  for (let time = 0; time < 2; time++) {
    t.equal((await app.inject({ method: 'POST', url: '/a', payload: { n: 'x', m: 'x' } })).statusCode, 400)
  }
  t.equal(compiled, 3, 'once, and for no other route')
})

test('routes for several versions each have their own rule, though they share method and URL', async (t) => {
  const app = await server(t)
  const declare = (version: string, body: object, unknown: 'reject' | 'strip'): void => {
    app.route({
      method: 'POST',
      url: '/',
      constraints: { version },
      schema: { body },
      security: { validation: { unknown } },
      handler: async (request) => request.body,
    })
  }
  declare('1.0.0', Type.Object({ id: Type.Integer() }), 'strip')
  declare('2.0.0', Type.Object({ id: Type.Integer() }), 'reject')
  const send = async (version: string): Promise<number> =>
    (await app.inject({ method: 'POST', url: '/', headers: { 'accept-version': version }, payload: { id: 1, x: 1 } }))
      .statusCode
  t.same([await send('1.0.0'), await send('2.0.0')], [200, 400])

  const shared = await server(t)
  for (const [version, unknown] of [['1.0.0', 'strip'], ['2.0.0', 'reject']] as const) {
    shared.route({
      method: 'POST',
      url: '/',
      constraints: { version },
      schema: { body: BASE },
      security: { validation: { unknown } },
      handler: async () => '',
    })
  }
  const error: unknown = await Promise.resolve(shared.ready()).then(() => null, (reason: unknown) => reason)
  t.match(error, {
    problems: [{ path: 'POST / security.validation.unknown', message: /share a schema object/ }],
  })
})

test('the schema objects of a user stay on the route, and a compiler of its own gets them', async (t) => {
  class Shape { readonly type = 'object' }
  const app = await server(t)
  const body = new Shape()
  const querystring = Type.Object({ a: Type.Optional(Type.String()) })
  const schema = { body, querystring }
  const got: unknown[] = []
  const validatorCompiler: RouteOptions['validatorCompiler'] = (part) => { got.push(part.schema); return () => true }
  app.post('/own', { schema, validatorCompiler }, async () => '')
  app.post('/ours', { schema: { body: querystring } }, async ({ routeOptions }) =>
    String(routeOptions.schema?.body === querystring))
  await app.ready()
  t.equal(got[0], body)
  t.equal(got[1], querystring)
  t.equal((await app.inject({ method: 'POST', url: '/ours', payload: {} })).body, 'true')
  t.same(Object.keys(body), ['type'])
})
