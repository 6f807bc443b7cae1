import { Type, type TSchema } from '@sinclair/typebox'
import { test } from 'tap'
import { createValidatorFactory } from '../../../lib/validation/compiler.js'
import type { ServerAjvOptions } from '../../../lib/validation/create-ajv.js'
import { closedCopy } from '../../../lib/validation/closed.js'

const build = createValidatorFactory({ maxErrors: 20, allErrorsUpTo: 16_384 })
/** One server: its routes share their compilers, so the same ids are compiled again and again. */
const SERVER: ServerAjvOptions = {}

/** Whether a body is accepted, with schemas that were added under their ids. */
function accepts (schema: unknown, body: unknown, external: Record<string, unknown> = {}, server = SERVER): boolean {
  return build(external, server)({ schema, httpPart: 'body' })(structuredClone(body))
}

const A = Type.Object({ a: Type.Integer() })
const B = Type.Object({ b: Type.Integer() })
const kindA = Type.Object({ kind: Type.Literal('a'), a: Type.Integer() })
const kindB = Type.Object({ kind: Type.Literal('b'), b: Type.Integer() })
const tree = (id: string): TSchema =>
  Type.Recursive((self) => Type.Object({ v: Type.Integer(), kids: Type.Optional(Type.Array(self)) }), { $id: id })

test('what a schema does not name is refused, however the schema is composed', async (t) => {
  const external = {
    addr: Type.Object({ zip: Type.String() }, { $id: 'addr' }),
    free: { $id: 'free', type: 'object' },
    union: Type.Union([kindA, kindB], { $id: 'union' }),
    defs: { $id: 'defs', definitions: { zip: A, text: { type: 'string' } } },
  }
  const cases: { name: string, schema: unknown, good: unknown[], bad: unknown[] }[] = [
    {
      name: 'object',
      schema: A,
      good: [{ a: 1 }],
      bad: [{ a: 1, x: 1 }, { a: 1, __proto__x: 1 }, JSON.parse('{"a":1,"__proto__":{}}'), { a: 1, constructor: 1 }],
    },
    { name: 'empty object', schema: Type.Object({}), good: [{}], bad: [{ x: 1 }] },
    { name: 'nested', schema: Type.Object({ n: A }), good: [{ n: { a: 1 } }], bad: [{ n: { a: 1, x: 1 } }] },
    { name: 'list', schema: Type.Array(A), good: [[{ a: 1 }]], bad: [[{ a: 1, x: 1 }]] },
    {
      name: 'tuple',
      schema: { type: 'array', items: [A, B], minItems: 2, additionalItems: false },
      good: [[{ a: 1 }, { b: 1 }]],
      bad: [[{ a: 1 }, { b: 1, x: 1 }]],
    },
    {
      name: 'record',
      schema: Type.Record(Type.String(), A),
      good: [{ any: { a: 1 } }],
      bad: [{ any: { a: 1, x: 1 } }],
    },
    {
      name: 'record of a pattern',
      schema: Type.Record(Type.String({ pattern: '^x-' }), Type.Integer()),
      good: [{ 'x-1': 1 }],
      bad: [{ y: 1 }],
    },
    {
      name: 'intersection',
      schema: Type.Intersect([A, B]),
      good: [{ a: 1, b: 1 }],
      bad: [{ a: 1, b: 1, x: 1 }, { a: 1 }],
    },
    {
      name: 'intersection below',
      schema: Type.Object({ n: Type.Intersect([A, B]) }),
      good: [{ n: { a: 1, b: 1 } }],
      bad: [{ n: { a: 1, b: 1, x: 1 } }],
    },
    {
      name: 'intersection of intersections',
      schema: Type.Intersect([Type.Intersect([A, B]), Type.Object({ c: A })]),
      good: [{ a: 1, b: 1, c: { a: 1 } }],
      bad: [{ a: 1, b: 1, c: { a: 1 }, x: 1 }, { a: 1, b: 1, c: { a: 1, x: 1 } }],
    },
    {
      name: 'union',
      schema: Type.Union([A, B]),
      good: [{ a: 1 }, { b: 1 }],
      bad: [{ a: 1, b: 1 }, { a: 1, x: 1 }, {}],
    },
    {
      name: 'oneOf',
      schema: { oneOf: [kindA, kindB] },
      good: [{ kind: 'a', a: 1 }, { kind: 'b', b: 1 }],
      bad: [{ kind: 'a', a: 1, b: 1 }, { kind: 'a', b: 1 }],
    },
    {
      name: 'union in an intersection',
      schema: Type.Intersect([Type.Object({ id: Type.Integer() }), Type.Union([kindA, kindB])]),
      good: [{ id: 1, kind: 'b', b: 1 }],
      bad: [{ id: 1, kind: 'b', b: 1, a: 1 }, { id: 1, kind: 'b', b: 1, x: 1 }],
    },
    {
      name: 'properties beside anyOf',
      schema: { type: 'object', properties: { a: {}, b: {} }, anyOf: [{ required: ['a'] }, { required: ['b'] }] },
      good: [{ a: 1 }, { b: 1 }],
      bad: [{ a: 1, x: 1 }, {}],
    },
    {
      name: 'if and then',
      schema: {
        type: 'object',
        properties: { k: { type: 'string' } },
        if: { properties: { k: { const: 'a' } } },
        then: { properties: { a: {} } },
        else: { properties: { b: {} } },
      },
      good: [{ k: 'a', a: 1 }, { k: 'z', b: 1 }],
      bad: [{ k: 'a', b: 1 }, { k: 'a', x: 1 }],
    },
    {
      name: 'not',
      schema: {
        type: 'object',
        properties: { role: { type: 'string' }, n: { type: 'integer' } },
        not: { type: 'object', properties: { role: { const: 'root' } }, required: ['role'] },
      },
      good: [{ role: 'user', n: 1 }],
      bad: [{ role: 'root' }, { role: 'root', n: 1 }],
    },
    {
      name: 'dependent schema',
      schema: {
        type: 'object',
        properties: { a: {} },
        dependencies: { a: { properties: { b: { type: 'integer' } }, required: ['b'] } },
      },
      good: [{}, { a: 1, b: 1 }],
      bad: [{ a: 1 }, { a: 1, b: 1, x: 1 }, { b: 1 }],
    },
    {
      name: 'reference',
      schema: { type: 'object', properties: { addr: { $ref: 'addr#' } } },
      good: [{ addr: { zip: 'z' } }],
      bad: [{ addr: { zip: 'z', x: 1 } }],
    },
    { name: 'reference at the root', schema: { $ref: 'addr#' }, good: [{ zip: 'z' }], bad: [{ zip: 'z', x: 1 }] },
    {
      name: 'reference in an intersection',
      schema: { allOf: [{ $ref: 'addr#' }, A] },
      good: [{ zip: 'z', a: 1 }],
      bad: [{ zip: 'z', a: 1, x: 1 }],
    },
    {
      name: 'reference to a union',
      schema: { $ref: 'union' },
      good: [{ kind: 'a', a: 1 }],
      bad: [{ kind: 'a', a: 1, x: 1 }],
    },
    {
      name: 'reference into definitions',
      schema: {
        type: 'object',
        properties: { p: { $ref: 'defs#/definitions/zip' }, q: { $ref: 'defs#/definitions/text' } },
      },
      good: [{ p: { a: 1 }, q: 't' }],
      bad: [{ p: { a: 1, x: 1 } }],
    },
    {
      name: 'reference to its own definitions',
      schema: { type: 'object', definitions: { d: A }, properties: { p: { $ref: '#/definitions/d' } } },
      good: [{ p: { a: 1 } }],
      bad: [{ p: { a: 1, x: 1 } }, { x: 1 }],
    },
    { name: 'added schema used as it is', schema: external.addr, good: [{ zip: 'z' }], bad: [{ zip: 'z', x: 1 }] },
    {
      name: 'added schema used below',
      schema: Type.Object({ addr: external.addr }),
      good: [{ addr: { zip: 'z' } }],
      bad: [{ addr: { zip: 'z', x: 1 } }],
    },
    {
      name: 'schema with an id of its own',
      schema: Type.Object({ a: Type.Integer() }, { $id: 'own' }),
      good: [{ a: 1 }],
      bad: [{ a: 1, x: 1 }],
    },
    {
      name: 'recursion',
      schema: tree('t1'),
      good: [{ v: 1, kids: [{ v: 2, kids: [] }] }],
      bad: [{ v: 1, x: 1 }, { v: 1, kids: [{ v: 2, kids: [{ v: 3, x: 1 }] }] }],
    },
    {
      name: 'recursion below',
      schema: Type.Object({ t: tree('t2') }),
      good: [{ t: { v: 1, kids: [{ v: 2 }] } }],
      bad: [{ t: { v: 1, kids: [{ v: 2, x: 1 }] } }],
    },
    {
      name: 'recursion in an intersection',
      schema: Type.Intersect([tree('t3'), A]),
      good: [{ v: 1, a: 1, kids: [{ v: 2 }] }],
      bad: [{ v: 1, a: 1, kids: [{ v: 2, a: 1 }] }, { v: 1, a: 1, x: 1 }],
    },
  ]
  for (const { name, schema, good, bad } of cases) {
    for (const body of good) t.equal(accepts(schema, body, external), true, `${name} accepts ${JSON.stringify(body)}`)
    for (const body of bad) t.equal(accepts(schema, body, external), false, `${name} refuses ${JSON.stringify(body)}`)
  }
})

test('what the author left open on purpose stays open', async (t) => {
  const external = { free: { $id: 'free', type: 'object' }, any: { $id: 'any' } }
  const cases: [string, unknown, unknown][] = [
    ['additionalProperties: true', Type.Object({ a: Type.Integer() }, { additionalProperties: true }), { a: 1, x: 1 }],
    [
      'additionalProperties with a schema',
      Type.Object({ a: Type.Integer() }, { additionalProperties: Type.String() }),
      { a: 1, x: 'x' },
    ],
    ['free-form object', { type: 'object' }, { x: 1 }],
    ['anything', Type.Unknown(), { x: 1 }],
    ['unevaluatedProperties with a schema', Type.Intersect([A, B], { unevaluatedProperties: Type.String() }), {
      a: 1,
      b: 1,
      x: 'x',
    }],
    ['reference to a free-form object', { type: 'object', properties: { f: { $ref: 'free#' } } }, { f: { x: 1 } }],
    ['reference to anything', { type: 'object', properties: { f: { $ref: 'any#' } } }, { f: { x: 1 } }],
    ['boolean schema', true, { x: 1 }],
    ['contains', { type: 'array', contains: A }, [{ a: 1, x: 1 }]],
  ]
  for (const [name, schema, body] of cases) t.equal(accepts(schema, body, external), true, name)
  t.equal(accepts(Type.Object({ a: Type.Integer() }, { additionalProperties: Type.String() }), { a: 1, x: 1 }), false)
  t.equal(accepts(false, {}), false)
})

test('closing copies: the schema that was written is not touched, frozen or not', async (t) => {
  const freeze = (value: unknown): void => {
    if (typeof value === 'object' && value !== null) {
      for (const member of Object.values(value)) freeze(member)
      Object.freeze(value)
    }
  }
  const schema = Type.Intersect([A, Type.Union([kindA, kindB]), Type.Object({ n: Type.Array(A) })])
  const before = JSON.stringify(schema)
  freeze(schema)
  t.not(closedCopy(schema), schema)
  t.equal(accepts(schema, {}), false)
  t.equal(JSON.stringify(schema), before)
  t.same(
    Object.keys(
      closedCopy({ properties: JSON.parse('{"__proto__":{"type":"string"}}') as unknown, type: 'object' }) as object,
    ),
    ['properties', 'type', 'additionalProperties'],
  )
})

test('Ajv options and schemas that would weaken validation are refused at boot', async (t) => {
  for (const option of ['allErrors', 'coerceTypes', 'removeAdditional', '$data', 'unevaluated', 'addUsedSchema']) {
    t.throws(() => accepts(A, {}, {}, { customOptions: { [option]: true } }), {
      message: new RegExp(option.replace('$', '\\$')),
    })
  }
  t.throws(() => accepts(A, {}, {}, { mode: 'JTD' }), /mode/)
  t.throws(() => accepts(Type.String({ controls: 'true' }), 'a'), /controls/)
  t.throws(() => accepts({ $async: true, type: 'object' }, {}), /\$async/)
})

test('a schema of draft-07 or of 2019-09 is read as its $schema says, and closed', async (t) => {
  const properties = { a: { type: 'integer' }, b: { type: 'string' } }
  for (const $schema of [
    undefined,
    'http://json-schema.org/draft-07/schema#',
    'https://json-schema.org/draft/2019-09/schema',
  ]) {
    const schema = { ...$schema !== undefined && { $schema }, type: 'object', properties }
    t.equal(accepts(schema, { a: 1, b: 'x' }), true, String($schema))
    t.equal(accepts(schema, { a: 1, c: 1 }), false, String($schema))
    t.throws(() => accepts({ ...schema, required: 'a' }, {}), /required/, 'the schema itself is judged')
  }
  const dependent = {
    type: 'object',
    properties,
    dependentRequired: { a: ['b'] },
    dependentSchemas: { a: { properties: { c: { type: 'integer' } } } },
  }
  t.equal(accepts(dependent, { a: 1, b: 'x', c: 1 }), true)
  for (const body of [{ a: 1, c: 1 }, { b: 'x', c: 1 }, { a: 1, b: 'x', d: 1 }, { a: 1, b: 'x', c: 'x' }]) {
    t.equal(accepts(dependent, body), false, JSON.stringify(body))
  }
  t.throws(() => accepts({ $schema: 'https://json-schema.org/draft/2020-12/schema' }, {}), /no schema with key or ref/)
})

test('the server\'s own Ajv plugins, keywords and formats still apply', async (t) => {
  const even = { keyword: 'even', validate: (_schema: unknown, data: unknown): boolean => Number(data) % 2 === 0 }
  const server: ServerAjvOptions = {
    customOptions: { formats: { odd: /^odd$/ } },
    plugins: [(ajv: { addKeyword (definition: object): unknown }) => ajv.addKeyword(even)],
    onCreate: (ajv) => { ajv.addFormat('even', /^even$/) },
  }
  t.equal(accepts(Type.Object({ n: Type.Integer({ even: true }) }), { n: 2 }, {}, server), true)
  t.equal(accepts(Type.Object({ n: Type.Integer({ even: true }) }), { n: 3 }, {}, server), false)
  for (const format of ['odd', 'even']) t.equal(accepts(Type.String({ format }), format, {}, server), true)
  t.equal(accepts(Type.String({ format: 'email' }), 'not an address', {}, server), false)
  const loose: ServerAjvOptions = { customOptions: { formats: { email: /^/ } } }
  t.equal(
    accepts(Type.String({ format: 'email' }), 'not an address', {}, loose),
    true,
    'a format of the server replaces ours',
  )
  t.equal(accepts(Type.String({ format: 'email' }), 'a\u0000', {}, loose), false, 'and its texts are looked at')
})
