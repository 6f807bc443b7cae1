import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import type { Static } from '@sinclair/typebox'
import { createValidatorFactory } from '../../lib/validation/compiler.js'
import { Type, validation } from '../../plugins/validation.js'

const build = createValidatorFactory({ maxErrors: 20, allErrorsUpTo: 16_384 })
const SERVER = {}

/** The messages of a refusal; empty when the value fits. */
function refused (schema: unknown, value: unknown, httpPart = 'body'): string[] {
  const validate = build({}, SERVER)({ schema, httpPart })
  if (validate(structuredClone(value))) return []
  return (validate.errors?.members['errors'] as { path: string, message: string }[]).map(({ path, message }) =>
    `${path} ${message}`
  )
}

/** In ASCII: TAP is a text of lines, and some of these end one. */
const shown = (value: unknown): string =>
  JSON.stringify(value).replace(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16)}`)

async function server (t: Test): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(validation)
  return app
}

test('each helper takes what it says, and nothing like it', async (t) => {
  const longAddress = (local: number): string => `${'a'.repeat(local)}@${`${'b'.repeat(63)}.`.repeat(3)}com`
  const uuid = '3f2c1b9e-8a47-4d5e-9f10-6b7c8d9e0f1a'
  const cases: [string, unknown, string[], unknown[]][] = [
    ['Email', Type.Email(), ['ada@example.com', 'a.b+c@x-y.co.uk', `${'a'.repeat(64)}@example.com`], [
      'ada',
      'ada@localhost',
      'a..b@x.com',
      '.a@x.com',
      'ada@-x.com',
      'ada@x-.com',
      'ada@x.com\n',
      ' ada@x.com',
      'a@b@x.com',
      '"a"@x.com',
      'ada@[1.2.3.4]',
      `${'a'.repeat(65)}@x.com`,
      `a@${'b'.repeat(260)}.com`,
      'ädä@x.com',
      'ada@x.com.',
      'ada@x.com x',
    ]],
    ['email', Type.String({ format: 'email' }), [longAddress(58)], [longAddress(59)]],
    ['Uuid', Type.Uuid(), [uuid, uuid.toUpperCase()], [
      `urn:uuid:${uuid}`,
      `{${uuid}}`,
      uuid.replaceAll('-', ''),
      `${uuid}\n`,
      ` ${uuid}`,
      'x',
    ]],
    ['Url', Type.Url(), ['https://example.com', 'http://[::1]:8080/a?b#c', 'https://xn--bcher-kva.example/%20'], [
      'javascript:alert(1)',
      'ftp://x.com',
      '//x.com',
      'https:x.com',
      'https:///x.com',
      'https:\\\\x.com',
      'https://user:pass@x.com',
      'https://@x.com',
      'https://x.com/ a',
      ' https://x.com',
      'https://x.com\n',
      `https://x.com/${'a'.repeat(2048)}`,
      'https://',
      'https://x:99999',
    ]],
    ['url', Type.String({ format: 'url' }), [`https://x.com/${'a'.repeat(2034)}`], [
      `https://x.com/${'a'.repeat(2035)}`,
    ]],
    ['Url https', Type.Url({ protocols: ['https'] }), ['https://x.com'], ['http://x.com']],
    ['DateTime', Type.DateTime(), ['2024-02-29T23:59:59Z', '2000-02-29T00:00:00Z', '2024-01-01t00:00:00.123+05:30'], [
      '2023-02-29T00:00:00Z',
      '2024-01-01',
      '2024-01-01\n00:00:00Z',
      '2024-01-01 00:00:00Z',
      '2024-01-01T00:00:00',
      '2024-01-01T00:00:00+01',
      '2024-13-01T00:00:00Z',
      '2024-01-01T24:00:00Z',
      '2016-12-31T23:59:60Z',
      '2024-00-10T00:00:00Z',
      '2024-01-00T00:00:00Z',
      '1900-02-29T00:00:00Z',
      '2024-01-01T00:00:00Zx',
      'x2024-01-01T00:00:00Z',
    ]],
    ['Password', Type.Password(), [
      'Correct-horse-7',
      'Ünicode-pass7',
      'ßNICODE-PASS7',
      'CorrectHorse7😀',
      `aA1!${'x'.repeat(124)}`,
    ], [
      'Short-1a',
      'nouppercase-77',
      'NOLOWERCASE-77',
      'NoDigits-here-',
      'NoSpecial77777',
      'No Special 7777',
      `aA1!${'x'.repeat(125)}`,
    ]],
    ['SafeText', Type.SafeText(), ["Zoë O'Brien", '日本語', '👩‍👩‍👧'], [
      '',
      ' x',
      'x ',
      'a\nb',
      'a\tb',
      'a\u0000b',
      'a\u202eb',
      'a\u2028b',
      'a\u200fb',
      '\ufeffa',
      'a\u2066b',
      'x'.repeat(1001),
    ]],
    ['SafeText in lines', Type.SafeText({ multiline: true, minLength: 0 }), ['', 'a\r\n\tb'], [
      'a\n',
      'a\u0007b',
      'a\u202eb',
    ]],
    ['Trimmed', Type.Trimmed({ maxLength: 5 }), ['a b', 'a\nb'], ['', ' ', ' a', 'a\n', '\u00a0a', 'abcdef']],
    ['Bounded', Type.Bounded(2, 3), ['ab', 'abc'], ['a', 'abcd']],
    ['SerialId', Type.SerialId(), [], [0, -1, 1.5, 2 ** 53]],
    ['OneOf', Type.OneOf(['a', 'b']), ['a', 'b'], ['c', 'A', '']],
    ['ipv4', Type.String({ format: 'ipv4' }), ['1.2.3.4'], ['1.2.3', '1.2.3.256', '01.2.3.4', '1.2.3.4\n']],
    ['ipv6', Type.String({ format: 'ipv6' }), ['::1', '2001:db8::1', '::ffff:1.2.3.4'], [
      'fe80::1%eth0',
      '1::2::3',
      '::g',
    ]],
    ['byte', Type.String({ format: 'byte' }), ['', 'YWI='], ['YWI', 'YW\n\n', '****\n']],
    ['date-time with a bound', Type.String({ format: 'date-time', formatMinimum: '2024-01-01T00:00:00Z' }), [
      '2024-01-01T00:00:00Z',
    ], ['2023-12-31T23:59:59Z']],
    ['time', Type.String({ format: 'time' }), ['23:59:59Z'], [
      '24:00:00Z',
      '23:59:59Zx',
      'x23:59:59Z',
      '23:59:59',
      '23:59:59+24:00',
    ]],
  ]
  for (const [name, schema, good, bad] of cases) {
    for (const value of good) t.same(refused(schema, value), [], `${name} takes ${shown(value)}`)
    for (const value of bad) t.not(refused(schema, value).length, 0, `${name} refuses ${shown(value)}`)
  }
  t.same(refused(Type.SerialId(), 7), [])
  t.same(refused({ type: ['integer', 'null'] }, 2 ** 53 - 1), [])
  t.not(refused({ type: ['integer', 'null'] }, 2 ** 53).length, 0)
})

test('the messages can stand in a form', async (t) => {
  t.same(refused(Type.Password(), 'abcdefghijkl'), [
    'body Must contain an upper-case letter, a digit, a special character.',
  ])
  t.same(refused(Type.SafeText(), ' a'), ['body Must not begin or end with a space.'])
  t.same(refused(Type.String(), 'a\u0000'), ['body Contains characters that are not allowed.'])
  t.same(refused(Type.Url(), 'x'), ['body Must be a URL.'])
})

test('a helper that contradicts itself throws where it is written', async (t) => {
  t.throws(() => Type.Page({ defaultLimit: 200 }), { message: 'Type.Page: defaultLimit 200 is above maxLimit 100.' })
  t.throws(() => Type.CursorPage({ defaultLimit: 11, maxLimit: 10 }), { message: /Type\.CursorPage/ })
  t.equal(Type.Page({ defaultLimit: 100 }).properties.limit.default, 100)
  for (const protocols of [['http'], [], ['ftp'], ['https', 'http']]) {
    t.throws(() => Type.Url({ protocols: protocols as never }), { message: /protocols/ })
  }
})

test('a page is bounded, and has its defaults', async (t) => {
  const app = await server(t)
  app.get('/', { schema: { querystring: Type.Page({ maxLimit: 50 }) } }, async ({ query }) => query)
  app.get('/cursor', { schema: { querystring: Type.CursorPage() } }, async ({ query }) => query)
  t.same((await app.inject('/')).json(), { limit: 20, offset: 0 })
  t.same((await app.inject('/?limit=50&offset=10000')).json(), { limit: 50, offset: 10_000 })
  t.same((await app.inject('/cursor?cursor=abc_-')).json(), { limit: 20, cursor: 'abc_-' })
  for (
    const url of [
      '/?limit=51',
      '/?limit=0',
      '/?limit=1&limit=2',
      '/?offset=-1',
      '/?offset=10001',
      '/?limit=1e400',
      '/?page=1',
      '/cursor?cursor=',
      '/cursor?cursor=a%00',
      '/cursor?cursor=a%20b',
      `/cursor?cursor=${'a'.repeat(513)}`,
    ]
  ) {
    t.equal((await app.inject(url)).statusCode, 400, url)
  }
})

test('helpers have static types', async (t) => {
  const Form = Type.Object({
    email: Type.Email(),
    role: Type.OneOf(['user', 'admin']),
    page: Type.Page(),
    id: Type.SerialId(),
  })
  const form: Static<typeof Form> = { email: 'x', role: 'user', page: { limit: 1, offset: 0 }, id: 1 }
  // @ts-expect-error: not one of the texts
  const wrong: Static<typeof Form> = { ...form, role: 'root' }
  t.ok(wrong)
  t.equal(Form.properties.id.minimum, 1)
})

test('control characters and unpaired surrogates are refused wherever they stand', async (t) => {
  const text = Type.String()
  const evil = ['a\u0000', '\u0007', '\u001b[31m', '\u007f', '\u009b', '\ud800', 'x\udc00y']
  const places: [string, unknown, (value: string) => unknown][] = [
    ['text', Type.Object({ a: text }), (value) => ({ a: value })],
    ['text or null', { type: 'object', properties: { a: { type: ['string', 'null'] } } }, (value) => ({ a: value })],
    ['list', Type.Array(text), (value) => [value]],
    ['tuple', { type: 'array', items: [text] }, (value) => ['ok', value]],
    ['anything', Type.Unknown(), (value) => value],
    ['anything as true', { type: 'object', properties: { a: true } }, (value) => ({ a: value })],
    ['anything below', Type.Object({ a: Type.Any() }), (value) => ({ a: { b: [{ c: value }] } })],
    ['key below anything', Type.Object({ a: Type.Any() }), (value) => ({ a: { [value]: 1 } })],
    ['free object', { type: 'object' }, (value) => ({ a: value })],
    ['free list', { type: 'array' }, (value) => [[value]]],
    ['open object', Type.Object({ b: text }, { additionalProperties: true }), (value) => ({ b: '', a: value })],
    ['key of an open object', Type.Object({}, { additionalProperties: true }), (value) => ({ [value]: 1 })],
    [
      'open intersection',
      Type.Intersect([Type.Object({ b: text })], { unevaluatedProperties: true }),
      (value) => ({ b: '', a: value }),
    ],
    ['beside patterns', {
      type: 'object',
      patternProperties: { '^x-': { type: 'integer' } },
      additionalProperties: true,
    }, (value) => ({ a: value })],
    ['record', Type.Record(text, text), (value) => ({ a: value })],
    ['key of a record', Type.Record(text, Type.Integer()), (value) => ({ [value]: 1 })],
    ['union', Type.Object({ a: Type.Union([Type.Integer(), text]) }), (value) => ({ a: value })],
    [
      'intersection',
      Type.Intersect([Type.Object({ a: text }), Type.Object({ b: text })]),
      (value) => ({ a: 'x', b: value }),
    ],
    ['pattern', Type.String({ pattern: '^[^x]' }), (value) => `a${value}`],
    [
      'recursion',
      Type.Recursive((self) => Type.Object({ a: text, kids: Type.Optional(Type.Array(self)) }), { $id: 'controls' }),
      (value) => ({ a: '', kids: [{ a: value }] }),
    ],
  ]
  for (const [name, schema, put] of places) {
    for (const value of evil) t.not(refused(schema, put(value)).length, 0, `${name}: ${JSON.stringify(value)}`)
    if (!name.startsWith('key')) t.same(refused(schema, put('Zoë\t\r\n😀')), [], name)
  }
  t.same(refused(Type.String({ controls: true }), 'a\u0000\u001b'), [])
  t.not(refused(Type.String({ controls: true }), '\ud800').length, 0, 'an unpaired surrogate is no text at all')
  t.same(refused(Type.Object({ a: Type.Any({ controls: true }) }), { a: { b: '\u0000' } }), [])
})

test('every character of the refused kinds is refused, and its neighbours are not', async (t) => {
  const range = (from: number, to: number): number[] =>
    Array.from({ length: to - from + 1 }, (_, index) => from + index)
  const controls = [
    ...range(0, 8),
    0x0b,
    0x0c,
    ...range(0x0e, 0x1f),
    ...range(0x7f, 0x9f),
    0xd800,
    0xdbff,
    0xdc00,
    0xdfff,
  ]
  const marks = [0x061c, 0x200e, 0x200f, ...range(0x202a, 0x202e), ...range(0x2066, 0x2069), 0xfeff]
  const breaks = [0x09, 0x0a, 0x0d, 0x2028, 0x2029]
  const harmless = [0x20, 0x7e, 0xa0, 0x061b, 0x200d, 0x2010, 0x202f, 0x2065, 0x206a, 0xd7ff, 0xe000, 0xfefe]
  const kinds: [string, unknown, number[], number[]][] = [
    ['text', Type.String(), controls, [...marks, ...breaks, ...harmless]],
    ['lines', Type.SafeText({ multiline: true }), [...controls, ...marks], [...breaks, ...harmless]],
    ['line', Type.SafeText(), [...controls, ...marks, ...breaks], harmless],
  ]
  for (const [name, schema, bad, good] of kinds) {
    const validate = build({}, SERVER)({ schema, httpPart: 'body' })
    const taken = (points: number[]): string[] =>
      points.filter((point) => validate(`a${String.fromCharCode(point)}b`)).map((point) => point.toString(16))
    t.same(taken(bad), [], name)
    t.same(taken(good), good.map((point) => point.toString(16)), name)
  }
})

test('the same holds for paths, query strings and named headers', async (t) => {
  const app = await server(t)
  app.get('/p/:name/:other', { schema: { params: Type.Object({ name: Type.String() }) } }, async () => 'ok')
  app.get('/q', {
    schema: {
      querystring: Type.Object({ a: Type.Optional(Type.String()), list: Type.Optional(Type.Array(Type.String())) }),
    },
  }, async () => 'ok')
  app.get('/h', { schema: { headers: Type.Object({ 'X-Name': Type.String() }) } }, async () => 'ok')
  for (
    const url of ['/p/a%00/x', '/p/x/a%00', '/q?a=%00', '/q?a=%1b', '/q?list=a&list=%7f', '/q?a=1&a=2', '/q?a%00=1']
  ) {
    t.equal((await app.inject(url)).statusCode, 400, url)
  }
  for (const url of ['/p/a/b', '/q?a=x%0a', '/q?list=a&list=b']) t.equal((await app.inject(url)).statusCode, 200, url)
  t.equal((await app.inject({ url: '/h', headers: { 'x-name': 'a\u009b' } })).statusCode, 400)
  t.equal(
    (await app.inject({ url: '/h', headers: { 'x-name': 'a', 'user-agent': '\u00c3\u009f' } })).statusCode,
    200,
    'a header that no schema names is left alone',
  )
})

test('numbers that JavaScript cannot hold are refused', async (t) => {
  const app = await server(t)
  app.post('/', {
    schema: {
      body: Type.Object({
        n: Type.Optional(Type.Integer()),
        x: Type.Optional(Type.Number()),
        free: Type.Optional(Type.Integer({ maximum: 1e300 })),
      }),
    },
  }, async () => 'ok')
  app.get('/:x', { schema: { params: Type.Object({ x: Type.Number() }) } }, async () => 'ok')
  const send = async (payload: string): Promise<number> =>
    (await app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload }))
      .statusCode
  for (
    const payload of [
      '{"n":9007199254740993}',
      '{"n":-9007199254740993}',
      '{"n":1e400}',
      '{"x":1e400}',
      '{"x":-1e400}',
      '{"n":1.5}',
    ]
  ) t.equal(await send(payload), 400, payload)
  t.equal((await app.inject('/1e400')).statusCode, 400)
  t.equal((await app.inject('/1e300')).statusCode, 200)
  for (
    const payload of ['{"n":9007199254740991}', '{"n":-0}', '{"n":1.0}', '{"x":1e300}', '{"free":9007199254740993}']
  ) {
    t.equal(await send(payload), 200, payload)
  }
})

test('invalid UTF-8 has one answer each in a body and a URL', async (t) => {
  const app = await server(t)
  app.post('/', { schema: { body: Type.Object({ a: Type.String() }) } }, async ({ body }) => body)
  app.get('/:id', {
    schema: {
      params: Type.Object({ id: Type.String() }),
      querystring: Type.Object({ a: Type.Optional(Type.String()) }),
    },
  }, async ({ params, query }) => ({ params, query }))
  const payload = Buffer.concat([Buffer.from('{"a":"x'), Buffer.from([0xff, 0xc3]), Buffer.from('"}')])
  const res = await app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload })
  t.same([res.statusCode, res.body], [200, '{"a":"x\ufffd\ufffd"}'], 'as U+FFFD')
  t.equal((await app.inject('/%ff')).statusCode, 400)
  t.equal((await app.inject('/x?a=%ff')).json<{ query: { a: string } }>().query.a, '%ff', 'as it is written')
})
