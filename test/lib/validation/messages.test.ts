import { Type } from '@sinclair/typebox'
import { test } from 'tap'
import type { SecurityError } from '../../../lib/response/errors.js'
import { createValidatorFactory } from '../../../lib/validation/compiler.js'
import { takeRejection } from '../../../lib/validation/rejections.js'
import type { FieldError } from '../../../lib/validation/messages.js'
import { sizeUpTo } from '../../../lib/validation/size.js'

const buildDefault = createValidatorFactory({ maxErrors: 20, allErrorsUpTo: 16_384 })
const SERVER = {}

function refusal (
  schema: unknown,
  body: unknown,
  limits?: { maxErrors: number, allErrorsUpTo: number },
): SecurityError | null {
  const build = limits === undefined ? buildDefault : createValidatorFactory(limits)
  const validate = build({}, SERVER)({ schema, httpPart: 'body' })
  return validate(body) ? null : validate.errors
}

function errorsOf (
  schema: unknown,
  body: unknown,
  limits?: { maxErrors: number, allErrorsUpTo: number },
): FieldError[] {
  return (refusal(schema, body, limits)?.members['errors'] ?? []) as FieldError[]
}

test('each finding has a sentence that a form can show', async (t) => {
  const cases: [unknown, unknown, string][] = [
    [Type.String(), 1, 'Must be text.'],
    [Type.Integer(), 'x', 'Must be a whole number.'],
    [Type.Number(), null, 'Must be a number.'],
    [Type.Boolean(), 1, 'Must be true or false.'],
    [Type.Array(Type.String()), 'x', 'Must be a list.'],
    [Type.Null(), 1, 'Must be null.'],
    [{ type: ['string', 'null'] }, 1, 'Must be text or null.'],
    [Type.String({ minLength: 1 }), '', 'Must not be empty.'],
    [Type.String({ minLength: 12 }), 'x', 'Must have at least 12 characters.'],
    [Type.String({ maxLength: 2 }), 'xxx', 'Must have at most 2 characters.'],
    [Type.String({ pattern: '^a+$' }), 'b', 'Has the wrong format.'],
    [Type.String({ format: 'email' }), 'b', 'Must be an e-mail address.'],
    [Type.String({ format: 'uuid' }), 'b', 'Must be a UUID.'],
    [Type.String({ format: 'regex' }), '(', 'Must be of another format.'],
    [Type.Literal('a'), 'b', 'Must be one of the allowed values.'],
    [Type.Union([Type.Literal('a'), Type.Literal('b')]), 'c', 'Must be one of the allowed values.'],
    [{ enum: ['a', 'b'] }, 'c', 'Must be one of the allowed values.'],
    [
      Type.Union([Type.Object({ a: Type.Integer() }), Type.Object({ b: Type.Integer() })]),
      'c',
      'Must be one of the allowed forms.',
    ],
    [Type.Integer({ minimum: 1 }), 0, 'Must be at least 1.'],
    [Type.Integer({ maximum: 1 }), 2, 'Must be at most 1.'],
    [Type.Integer({ exclusiveMinimum: 1 }), 1, 'Must be more than 1.'],
    [Type.Integer({ exclusiveMaximum: 1 }), 1, 'Must be less than 1.'],
    [Type.Integer({ multipleOf: 5 }), 1, 'Must be a multiple of 5.'],
    [Type.Array(Type.Any(), { minItems: 1 }), [], 'Must not be empty.'],
    [Type.Array(Type.Any(), { maxItems: 1 }), [1, 2], 'Must have at most 1 entries.'],
    [Type.Array(Type.Any(), { uniqueItems: true, maxItems: 1000 }), [1, 1], 'Must not repeat an entry.'],
    [{ not: { type: 'string' } }, 'x', 'Is not valid.'],
  ]
  for (const [schema, value, message] of cases) {
    t.same(errorsOf(Type.Object({ f: schema as never }), { f: value }), [{ path: 'body.f', message }], message)
  }
  t.same(errorsOf(Type.Object({ f: Type.String() }), {}), [{ path: 'body.f', message: 'Required.' }])
  t.same(errorsOf(Type.Object({}), { f: 1 }), [{ path: 'body.f', message: 'Unknown field.' }])
  t.same(errorsOf(Type.Object({ f: Type.String() }), 'x'), [{ path: 'body', message: 'Must be an object.' }])
  t.same(errorsOf(Type.Object({ f: Type.String() }), undefined), [{ path: 'body', message: 'Must be an object.' }])
})

test('paths are dotted, down to the list entry', async (t) => {
  const schema = Type.Object({ items: Type.Array(Type.Object({ 'a/b~c': Type.Integer() })) })
  t.same(errorsOf(schema, { items: [{ 'a/b~c': 1 }, { 'a/b~c': 'x', no: 1 }] }), [
    { path: 'body.items.1.no', message: 'Unknown field.' },
    { path: 'body.items.1.a/b~c', message: 'Must be a whole number.' },
  ])
})

test('of a choice, the form that was meant is explained, or else only the choice', async (t) => {
  const schema = Type.Union([
    Type.Object({ kind: Type.Literal('card'), number: Type.String({ minLength: 12 }) }),
    Type.Object({ kind: Type.Literal('iban'), iban: Type.String() }),
  ])
  t.same(errorsOf(schema, { kind: 'card', number: 'x' }), [{
    path: 'body.number',
    message: 'Must have at least 12 characters.',
  }])
  t.same(errorsOf(schema, { kind: 'cash' }), [{ path: 'body', message: 'Must be one of the allowed forms.' }])
  t.same(errorsOf(Type.Object({ n: Type.Union([Type.String({ minLength: 2 }), Type.Null()]) }), { n: 'x' }), [{
    path: 'body.n',
    message: 'Must have at least 2 characters.',
  }])
  t.same(
    errorsOf(Type.Intersect([Type.Object({ id: Type.Integer() }), schema]), { id: 1, kind: 'card', number: 'x' }),
    [{ path: 'body.number', message: 'Must have at least 12 characters.' }],
  )
})

test('neither a value nor a long key goes back, and the event does not even carry an unknown key', async (t) => {
  const value = 'hunter2-hunter2'
  const key = 'k'.repeat(5000)
  const schema = Type.Object({
    a: Type.Integer(),
    b: Type.String({ format: 'email' }),
    c: Type.Literal('x'),
    d: Type.Record(Type.String(), Type.Integer()),
  })
  const error = refusal(schema, { a: value, b: value, c: value, d: { [key]: value }, [key]: value })
  const text = JSON.stringify(error?.members)
  t.notMatch(text, value)
  t.notMatch(text, /k{101}/)
  t.ok(text.length < 1000)
  const rejection = takeRejection(error)
  t.equal(rejection?.part, 'body')
  t.ok(rejection?.paths.includes('body.*'))
  t.notMatch(JSON.stringify(rejection), /k{101}/)
  t.equal(takeRejection(error), null, 'a refusal is reported once')
  for (const other of [null, undefined, 'x', {}, new Error('x')]) t.equal(takeRejection(other), null)
})

test('maxErrors and allErrorsUpTo bound what is collected', async (t) => {
  const schema = Type.Object(
    Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`f${index}`, Type.Integer()])),
  )
  t.equal(errorsOf(schema, {}).length, 20)
  t.equal(errorsOf(schema, {}, { maxErrors: 3, allErrorsUpTo: 16_384 }).length, 3)
  t.equal(errorsOf(schema, {}, { maxErrors: 100, allErrorsUpTo: 16_384 }).length, 50)
  t.equal(errorsOf(schema, { f0: 'x' }, { maxErrors: 100, allErrorsUpTo: 0 }).length, 1)
  const list = Type.Array(Type.Integer())
  t.equal(errorsOf(list, Array(10).fill('xxxxxx')).length, 10)
  t.equal(errorsOf(list, Array(10_000).fill('xxxxxx')).length, 1, 'beyond the size only the first')
})

test('a choice in each of thousands of entries is a small answer that costs little', async (t) => {
  const schema = Type.Array(Type.Union([Type.Object({ a: Type.Integer() }), Type.Object({ b: Type.Integer() })]))
  const started = process.cpuUsage()
  t.equal(errorsOf(schema, Array(1200).fill({ z: 1 })).length, 20)
  t.ok(process.cpuUsage(started).user < 1_500_000)
})

test('a body that nests deeper than the stack is refused, not failed', async (t) => {
  const schema = Type.Recursive((self) => Type.Object({ k: Type.Optional(Type.Array(self)) }), { $id: 'deep' })
  const body: unknown = JSON.parse(`${'{"k":['.repeat(30_000)}${']}'.repeat(30_000)}`)
  t.same(errorsOf(schema, body), [{ path: 'body', message: 'Nested too deeply.' }])
  t.same(errorsOf(Type.Object({ k: Type.String() }), body), [{ path: 'body.k', message: 'Must be text.' }])
  const open = Type.Object({ any: Type.Any() })
  const nested = (levels: number): unknown => ({ any: JSON.parse('['.repeat(levels) + ']'.repeat(levels)) as unknown })
  t.same(
    errorsOf(open, nested(50_000)),
    [{ path: 'body', message: 'Nested too deeply.' }],
    'where the schema leaves it open, too',
  )
  t.same(errorsOf(open, nested(500)), [])
  t.equal(errorsOf(open, nested(510)).length, 1)
})

test('the size is counted up to the limit and not further', async (t) => {
  for (const value of ['text', 1, null, true, [], {}, { a: [1, 'two', { three: null }] }]) {
    const bytes = JSON.stringify(value).length
    const size = sizeUpTo(value, 1000)
    t.ok(size >= bytes / 2 && size <= bytes * 2 + 4, JSON.stringify(value))
  }
  let reads = 0
  const watched = new Proxy(Array(1_000_000).fill(1), {
    get: (target, key) => {
      reads++
      return Reflect.get(target, key) as unknown
    },
  })
  t.ok(sizeUpTo(watched, 100) > 100)
  t.ok(reads < 10)
})

test('a text that is much too long is not also matched against its pattern', async (t) => {
  const schema = Type.String({ pattern: '^x', maxLength: 2 })
  t.equal(errorsOf(schema, 'aaa').length, 2)
  t.equal(errorsOf(schema, 'aaaaa').length, 1)
})

test('a list that is too long is not also compared entry by entry', async (t) => {
  const schema = { type: 'array', items: { type: 'object' }, uniqueItems: true, maxItems: 2 }
  t.equal(errorsOf(schema, [{}, {}, {}]).length, 1)
  t.equal(errorsOf(schema, [{}, {}]).length, 1)
})
