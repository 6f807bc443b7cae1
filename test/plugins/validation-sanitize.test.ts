import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance, type FastifySchema } from 'fastify'
import { test, type Test } from 'tap'
import { BulwarkConfigError, type Problem } from '../../lib/response/errors.js'
import { Type, validation } from '../../plugins/validation.js'
import { ROOT } from '../helpers/root.js'

const { Html, PlainText } = Type

async function build (t: Test): Promise<FastifyInstance> {
  const app = Fastify({ bodyLimit: 4_000_000 })
  t.teardown(() => app.close())
  await app.register(validation, {})
  app.setErrorHandler((error: { statusCode?: number, code?: string, members?: object }, _request, reply) =>
    reply.code(error.statusCode ?? 500).send({ code: error.code, ...error.members })
  )
  return app
}

const text = PlainText({ maxLength: 1_000 })
const html = Html({ maxLength: 1_000 })
const plain = Type.String()
const DIRTY = '<p onclick=x>AT&amp;T <script>y</script><b>bold</b></p>'
const TEXT = 'AT&T bold'
const HTML = '<p>AT&amp;T <b>bold</b></p>'

/** What a handler gets of a body. */
async function received (t: Test, body: unknown, payload: unknown, added: readonly object[] = []): Promise<unknown> {
  const app = await build(t)
  for (const schema of added) app.addSchema(schema)
  app.post('/', { schema: { body } }, async (request) => ({ body: request.body }))
  const res = await app.inject({ method: 'POST', url: '/', payload: { ...payload as object } })
  const answer: unknown = res.json()
  return res.statusCode === 200 ? (answer as { body: unknown }).body : answer
}

test('a handler gets the cleaned value wherever in a schema it is asked for', async (t) => {
  const Recursive = Type.Recursive((This) => Type.Object({ text, replies: Type.Array(This) }))
  const Added = {
    $id: 'Comment',
    type: 'object',
    properties: { text: { $ref: '#/definitions/Text' } },
    definitions: { Text: { type: 'string', maxLength: 100, sanitize: 'text' } },
  }
  const cases: [name: string, schema: unknown, payload: unknown, expected: unknown, added?: readonly object[]][] = [
    ['a field, beside one that asks for nothing', Type.Object({ a: text, b: html, c: plain }), {
      a: DIRTY,
      b: DIRTY,
      c: DIRTY,
    }, { a: TEXT, b: HTML, c: DIRTY }],
    ['a value that is clean', Type.Object({ a: text, b: html }), { a: 'x > y', b: 'x' }, { a: 'x > y', b: 'x' }],
    ['an absent one', Type.Object({ a: Type.Optional(text) }), {}, {}],
    ['a nested object', Type.Object({ a: Type.Object({ b: Type.Object({ c: text }) }) }), { a: { b: { c: DIRTY } } }, {
      a: { b: { c: TEXT } },
    }],
    ['a list', Type.Object({ a: Type.Array(html) }), { a: [DIRTY, 'x', DIRTY] }, { a: [HTML, 'x', HTML] }],
    ['a tuple', Type.Object({ a: Type.Tuple([text, plain]) }), { a: [DIRTY, DIRTY] }, { a: [TEXT, DIRTY] }],
    ['a record', Type.Object({ a: Type.Record(Type.String(), text) }), { a: { x: DIRTY, constructor: DIRTY } }, {
      a: { x: TEXT, constructor: TEXT },
    }],
    ['additional keys', Type.Object({}, { additionalProperties: text }), { any: DIRTY }, { any: TEXT }],
    [
      'null or text',
      Type.Object({
        a: Type.Union([text, Type.Null()]),
        b: { type: ['string', 'null'], maxLength: 100, sanitize: 'text' } as never,
      }),
      { a: DIRTY, b: DIRTY },
      { a: TEXT, b: TEXT },
    ],
    ['an intersection', Type.Intersect([Type.Object({ a: text }), Type.Object({ b: plain })]), { a: DIRTY, b: DIRTY }, {
      a: TEXT,
      b: DIRTY,
    }],
    ['a recursive schema', Recursive, { text: DIRTY, replies: [{ text: DIRTY, replies: [] }] }, {
      text: TEXT,
      replies: [{ text: TEXT, replies: [] }],
    }],
    [
      'an added schema',
      { type: 'object', properties: { a: { $ref: 'Comment#' }, b: { $ref: 'Comment#/definitions/Text' } } },
      { a: { text: DIRTY }, b: DIRTY },
      { a: { text: TEXT }, b: TEXT },
      [Added],
    ],
    [
      'if and then',
      {
        type: 'object',
        properties: { kind: { type: 'string' }, a: { type: 'string' } },
        if: { properties: { kind: { const: 'html' } } },
        then: { properties: { a: { type: 'string', maxLength: 100, sanitize: 'basic' } } },
        else: { properties: { a: { type: 'string', maxLength: 100, sanitize: 'text' } } },
      },
      { kind: 'html', a: DIRTY },
      { kind: 'html', a: HTML },
    ],
    ['a default', Type.Object({ a: Type.String({ maxLength: 100, sanitize: 'text', default: '<b>x</b>' }) }), {}, {
      a: 'x',
    }],
    ['both asked for', Type.Object({ a: Type.Intersect([text, html]) }), { a: DIRTY }, { a: TEXT }],
  ]
  for (const [name, schema, payload, expected, added] of cases) {
    t.same(await received(t, schema, payload, added), expected, name)
  }
})

test('in a union only the branch that holds cleans, wherever its literal stands', async (t) => {
  const raw = { text: plain, kind: Type.Literal('raw') }
  const rich = { text: html, kind: Type.Literal('html') }
  const bare = { text, kind: Type.Literal('text') }
  const unions: [string, unknown][] = [
    ['anyOf', Type.Union([Type.Object(rich), Type.Object(bare), Type.Object(raw)])],
    ['anyOf, the other way round', Type.Union([Type.Object(raw), Type.Object(bare), Type.Object(rich)])],
    ['oneOf', { oneOf: [Type.Object(rich), Type.Object(bare), Type.Object(raw)] }],
    ['a union in a union', Type.Union([Type.Union([Type.Object(rich), Type.Object(bare)]), Type.Object(raw)])],
    [
      'a union that is composed',
      Type.Intersect([
        Type.Union([Type.Object(rich), Type.Object(bare), Type.Object(raw)]),
        Type.Object({ more: Type.Optional(plain) }),
      ]),
    ],
    ['through references', {
      definitions: { rich: Type.Object(rich), bare: Type.Object(bare), raw: Type.Object(raw) },
      anyOf: ['rich', 'bare', 'raw'].map((name) => ({ $ref: `#/definitions/${name}` })),
    }],
  ]
  for (const [name, union] of unions) {
    // In a field, because closing the whole body is not what is tested here.
    const schema = { type: 'object', properties: { a: union, z: text } }
    const moved = JSON.parse(
      JSON.stringify(schema).replaceAll('#/definitions/', '#/properties/a/definitions/'),
    ) as object
    for (const [kind, expected] of [['raw', DIRTY], ['html', HTML], ['text', TEXT]]) {
      t.same(
        await received(t, moved, { a: { text: DIRTY, kind }, z: DIRTY }),
        { a: { text: expected, kind }, z: TEXT },
        `${name}: ${kind ?? ''}`,
      )
    }
  }
})

test('a branch that holds only after cleaning cleans too', async (t) => {
  const schema = Type.Object({
    a: Type.Union([
      Type.String({ minLength: 5, maxLength: 100, sanitize: 'basic' }),
      Type.String({ maxLength: 4, sanitize: 'text' }),
    ]),
  })
  t.same(await received(t, schema, { a: '<script>longer</script>a&lt;' }), { a: 'a&lt;' }, 'the first still holds')
  t.same(await received(t, schema, { a: '<script></script>a&b' }), { a: 'a&amp;b' })
  t.same(await received(t, schema, { a: '<h1>x&y</h1>z<i>' }), { a: 'x&amp;yz<i></i>' })
  t.same(await received(t, schema, { a: '<h1>abc</h1>' }), { a: 'abc' })
})

test('the rules of the schema hold for the cleaned value', async (t) => {
  const schema = Type.Object({
    a: Type.Optional(PlainText({ minLength: 3, maxLength: 20 })),
    b: Type.Optional(Html({ maxLength: 20 })),
    c: Type.Optional(PlainText({ maxLength: 20, pattern: '^[^<>]*b' })),
  })
  const refused: [object, string, string][] = [
    [{ a: '<b></b><i></i>' }, 'body.a', 'Must have at least 3 characters.'],
    [{ a: '<script>x</script>' }, 'body.a', 'Must have at least 3 characters.'],
    [{ b: '&&&&&&&&&&' }, 'body.b', 'Must have at most 20 characters.'],
    [{ b: '<a href=http://a>' }, 'body.b', 'Must have at most 20 characters.'],
    [{ c: 'b<b>' }, '', ''],
    [{ c: '&lt;b&gt;x' }, 'body.c', 'Has the wrong format.'],
    [{ a: '<b>'.repeat(7) }, 'body.a', 'Must have at most 20 characters.'],
  ]
  for (const [payload, path, message] of refused) {
    const answer = await received(t, schema, payload)
    if (path === '') t.same(answer, { c: 'b' })
    else t.same(answer, { code: 'VALIDATION_FAILED', errors: [{ path, message }] }, JSON.stringify(payload))
  }
})

test('query strings and path parameters are cleaned, and coerced as before', async (t) => {
  const app = await build(t)
  app.get('/:name', {
    schema: {
      params: Type.Object({ name: text }),
      querystring: Type.Object({ q: text, n: Type.Integer(), tags: Type.Array(text) }),
    },
  }, async ({ params, query }) => ({ params, query }))
  const value = encodeURIComponent('<b>x</b>')
  t.same((await app.inject(`/${value}?q=${value}&n=5&tags=${value}`)).json(), {
    params: { name: 'x' },
    query: { q: 'x', n: 5, tags: ['x'] },
  })
})

test('each media type of a body is cleaned by its own schema', async (t) => {
  const app = await build(t)
  app.post(
    '/',
    { schema: { body: { content: { 'application/json': { schema: Type.Object({ a: text }) } } } } },
    async ({ body }) => body as object,
  )
  t.same((await app.inject({ method: 'POST', url: '/', payload: { a: DIRTY } })).json(), { a: TEXT })
})

test('a request that would cost too much is refused with its path, and the next one is answered', async (t) => {
  const app = await build(t)
  app.post('/', { schema: { body: Type.Object({ a: Type.Array(Html({ maxLength: 100_000 })) }) } }, async () => ({}))
  const post = async (a: string[]): Promise<unknown> =>
    (await app.inject({ method: 'POST', url: '/', payload: { a } })).json()
  const refusal = (index: number): object => ({
    code: 'VALIDATION_FAILED',
    errors: [{ path: `body.a.${index}`, message: 'Is not valid.' }],
  })
  t.same(await post(['x', '<b>'.repeat(101)]), refusal(1), 'too deep')
  t.same(await post(Array.from({ length: 100_000 }, () => '<b')), refusal(594), 'thousands of short ones')
  t.same(
    await post(['<b>x</b>'.repeat(12_000), '<b>x</b>'.repeat(12_000)]),
    refusal(1),
    'two of nearly the whole length',
  )
  t.same(await post(Array.from({ length: 100_000 }, () => 'clean')), {}, 'values without markup cost nothing')
  t.same(await post(['<b>x</b>'.repeat(12_000)]), {})
})

test('validateInput cleans too, and what cannot be cleaned reaches no handler', async (t) => {
  const app = await build(t)
  const seen: unknown[] = []
  app.post('/in', async (request) => {
    seen.push(request.validateInput(request.body, Type.Object({ a: text })))
    return request.body
  })
  app.post(
    '/bad',
    async (request) =>
      request.validateInput(request.body, { type: 'object', properties: { a: { type: 'string', sanitize: 'text' } } }),
  )
  t.same((await app.inject({ method: 'POST', url: '/in', payload: { a: DIRTY } })).json(), { a: TEXT })
  t.same(seen, [true])
  t.equal((await app.inject({ method: 'POST', url: '/bad', payload: { a: DIRTY } })).statusCode, 500)
})

async function problemsOf (t: Test, schema: FastifySchema, added: readonly object[] = []): Promise<readonly Problem[]> {
  const app = await build(t)
  for (const one of added) app.addSchema(one)
  app.route({ method: 'POST', url: '/notes', schema, handler: async () => ({}) })
  const error: unknown = await app.ready().then(() => null, (reason: unknown) => reason)
  if (error === null) return []
  if (!(error instanceof BulwarkConfigError)) throw new Error('another error', { cause: error })
  return error.problems
}

test('a keyword that cannot hold stops the boot, with the route and the field', async (t) => {
  const bad = { type: 'string', sanitize: 'text' }
  const body = (properties: object): FastifySchema => ({ body: { type: 'object', properties } })
  const cases: [name: string, schema: FastifySchema, paths: string[], added?: readonly object[]][] = [
    ['nothing wrong', body({ a: text, b: html, password: plain }), []],
    ['no bound', body({ a: bad, b: { ...bad, maxLength: 100_001 } }), ['body.a', 'body.b']],
    ['another value', body({ a: { ...text, sanitize: 'html' } }), ['body.a']],
    ['false', body({ a: { ...text, sanitize: false } }), ['body.a']],
    [
      'no string',
      body({
        a: { type: 'object', sanitize: 'text' },
        b: { type: 'array', items: { type: 'number', sanitize: 'text' } },
      }),
      ['body.a', 'body.b.*'],
    ],
    ['a password by its name', body({ newPassword: text, o: Type.Object({ password: html }) }), [
      'body.newPassword',
      'body.o.password',
    ]],
    ['a password by its format', body({ a: { ...text, format: 'password' }, b: { ...text, writeOnly: true } }), [
      'body.a',
      'body.b',
    ]],
    ['the whole body', { body: text }, ['body']],
    ['a condition', body({ a: { not: text }, b: { type: 'array', contains: text }, c: { if: text, then: true } }), [
      'body.a',
      'body.b',
      'body.c',
    ]],
    ['key names', body({ a: { type: 'object', propertyNames: text } }), ['body.a']],
    [
      'nested, in lists, unions and records',
      body({
        a: Type.Array(Type.Union([Type.Object({ b: bad as never }), Type.Null()])),
        c: Type.Record(Type.String(), bad as never),
      }),
      ['body.a.*.b', 'body.c.*'],
    ],
    ['query and params', {
      querystring: { type: 'object', properties: { q: bad } },
      params: { type: 'object', properties: { p: bad } },
    }, ['query.q', 'params.p']],
    ['headers', { headers: { type: 'object', properties: { h: text } } }, ['headers.h']],
    ['an answer', {
      response: {
        200: Type.Object({ a: text }),
        '4xx': { content: { 'application/json': { schema: Type.Object({ b: html }) } } },
      },
    }, ['response.200.a', 'response.4xx.b']],
    ['a body by media type', {
      body: { content: { 'application/json': { schema: { type: 'object', properties: { a: bad } } } } },
    }, ['body.a']],
    ['through a reference', body({ a: { $ref: 'Text#' }, password: { $ref: 'Good#' }, c: { $ref: 'Good#' } }), [
      'body.a',
      'body.password',
    ], [{ $id: 'Text', ...bad }, { $id: 'Good', ...text }]],
    ['through a pointer', {
      body: {
        type: 'object',
        properties: { a: { $ref: '#/definitions/x~1y' } },
        definitions: { 'x/y': bad, unused: bad },
      },
    }, ['body.a']],
    ['in a recursive schema', {
      body: Type.Recursive((This) => Type.Object({ a: bad as never, next: Type.Optional(This) })),
    }, ['body.a', 'body.next.a']],
    ['a field that is called sanitize', body({ sanitize: { type: 'number' } }), []],
  ]
  for (const [name, schema, paths, added] of cases) {
    const problems = await problemsOf(t, schema, added)
    t.same(problems.map(({ path }) => path), paths.map((path) => `POST /notes ${path}`), name)
    for (const { message, fix } of problems) t.ok(message.length > 10 && fix.length > 10, name)
  }
})

test('HEAD, which Fastify declares beside GET, repeats no problem, and child scopes are checked', async (t) => {
  const app = await build(t)
  await app.register(async (child) => {
    child.get('/:a', {
      schema: { params: { type: 'object', properties: { a: { type: 'string', sanitize: 'text' } } } },
    }, async () => ({}))
  }, { prefix: '/v1' })
  await t.rejects(async () => {
    await app.ready()
  }, { code: 'BULWARK_CONFIG', problems: [{ path: 'GET /v1/:a params.a' }] })
})

test('without sanitize-html a service starts that does not ask for it, and one that does says what to install', {
  timeout: 60_000,
}, async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'bulwark-sanitize-'))
  t.teardown(() => { rmSync(home, { recursive: true, force: true }) })
  for (const folder of ['lib', 'plugins']) cpSync(join(ROOT, 'dist', folder), join(home, folder), { recursive: true })
  writeFileSync(join(home, 'package.json'), '{"type":"module"}')
  mkdirSync(join(home, 'node_modules'))
  for (const name of readdirSync(join(ROOT, 'node_modules'))) {
    if (name !== 'sanitize-html' && !name.startsWith('.')) {
      symlinkSync(join(ROOT, 'node_modules', name), join(home, 'node_modules', name))
    }
  }
  const run = (schema: object): { status: number | null, out: string } => {
    writeFileSync(join(home, 'main.js'), `
      import Fastify from 'fastify'
      import { validation } from './plugins/validation.js'
      const app = Fastify()
      await app.register(validation, {})
      app.post('/notes', { schema: { body: ${
        JSON.stringify({ type: 'object', properties: { a: schema, b: { type: 'string', sanitize: 'other' } } })
      } } }, async () => ({}))
      await app.ready().then(() => console.log('started'), (error) => console.log(error.code, error.message))`.replace(
        ', b: {',
        ', b: {',
      ),
    )
    const { status, stdout, stderr } = spawnSync(process.execPath, ['main.js'], {
      cwd: home,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] ?? '' },
    })
    return { status, out: stdout + stderr }
  }
  const { status, out } = run(text)
  t.equal(status, 0, out)
  t.match(out, /BULWARK_CONFIG/)
  t.match(out, /POST \/notes body\.a: .*not installed\. Run: npm install sanitize-html/)
  t.match(out, /POST \/notes body\.b: /, 'with all other problems')
  writeFileSync(join(home, 'main.js'), '')
  t.match(run(plain).out, /^BULWARK_CONFIG [^]*1 problem:\n {2}- POST \/notes body\.b/)

  mkdirSync(join(home, 'node_modules', 'sanitize-html'))
  writeFileSync(join(home, 'node_modules', 'sanitize-html', 'index.js'), 'module.exports = (html) => html')
  t.ok(existsSync(join(home, 'node_modules', 'sanitize-html')))
  t.match(run(text).out, /POST \/notes body\.a: .*cannot be loaded/, 'a package that cleans nothing')
})
