import { Ajv } from 'ajv'
import fc from 'fast-check'
import { test } from 'tap'
import { createValidatorFactory, type PartValidator } from '../../../lib/validation/compiler.js'
import { Type } from '../../../plugins/validation.js'

const SEED = 20_261_122

const build = createValidatorFactory({ maxErrors: 20, allErrorsUpTo: 16_384 })
const SERVER = {}

/** The messages of a refusal; empty when the value fits. */
function findings (validate: PartValidator, value: unknown): string[] {
  if (validate(value)) return []
  return (validate.errors?.members['errors'] as { path: string, message: string }[]).map(({ path, message }) =>
    `${path} ${message}`
  )
}

function refused (schema: unknown, value: unknown, httpPart = 'body', server = SERVER): string[] {
  return findings(build({}, server)({ schema, httpPart }), value)
}

test('a length counts characters, as Ajv counts them, of any size', async (t) => {
  const ajv = new Ajv()
  // Of up to 3 characters each, so that every limit is met from both sides, with one and two units a character.
  const text = fc.array(fc.constantFrom('a', 'é', '漢', '😀', '𝒳'), { maxLength: 9 }).map((characters) =>
    characters.join('')
  )
  for (let limit = 0; limit <= 5; limit++) {
    for (
      const schema of [{ type: 'string', minLength: limit }, { type: 'string', maxLength: limit }, {
        type: 'string',
        minLength: limit,
        maxLength: limit + 2,
      }]
    ) {
      const ours = build({}, SERVER)({ schema, httpPart: 'body' })
      const theirs = ajv.compile(schema)
      const { failed, counterexample } = fc.check(fc.property(text, (value) => ours(value) === theirs(value)), {
        seed: SEED,
        numRuns: 150,
      })
      t.notOk(failed, `${JSON.stringify(schema)} ${JSON.stringify(counterexample)}`)
    }
  }
  t.same(refused(Type.String({ maxLength: 2 }), '😀😀😀'), ['body Must have at most 2 characters.'])
  t.same(refused(Type.String({ minLength: 3 }), '😀😀'), ['body Must have at least 3 characters.'])
  t.same(refused(Type.String({ maxLength: 3 }), '😀😀', 'body', { customOptions: { unicode: false } }), [
    'body Must have at most 3 characters.',
  ], 'a server that counts units goes on counting them')
})

test('a text that is too long is refused before its pattern reads it', async (t) => {
  // Boot judges the pattern by this length: it would take minutes on what is sent.
  const schema = Type.String({ maxLength: 200, pattern: '^(?:\\s*\\s*)x$' })
  const before = process.cpuUsage()
  t.same(refused(schema, ' '.repeat(500_000)), ['body Must have at most 200 characters.'])
  t.ok(process.cpuUsage(before).user < 2_000_000)
})

test('an e-mail address is accepted up to 64 characters before the @, 63 a label and 254 in all', async (t) => {
  const parts = fc.record({
    local: fc.integer({ min: 1, max: 66 }),
    labels: fc.array(fc.integer({ min: 1, max: 65 }), { minLength: 1, maxLength: 5 }),
  })
  const validate = build({}, SERVER)({ schema: Type.String({ format: 'email' }), httpPart: 'body' })
  const { failed, counterexample } = fc.check(fc.property(parts, ({ local, labels }) => {
    const address = `${'a'.repeat(local)}@${labels.map((length) => 'b'.repeat(length)).join('.')}.example`
    return validate(address) === (local <= 64 && labels.every((length) => length <= 63) && address.length <= 254)
  }), { seed: SEED, numRuns: 1000 })
  t.notOk(failed, JSON.stringify(counterexample))
  for (
    const bad of [
      'a@b',
      'a@-b.example',
      'a@b-.example',
      '.a@b.example',
      'a..b@c.example',
      'a@b..example',
      `a@${'b'.repeat(64)}.e`,
      `${'a'.repeat(65)}@b.e`,
    ]
  ) t.equal(refused(Type.String({ format: 'email' }), bad).length, 1, bad)
})

test('a choice between literals accepts them alone, and coerces only text that came as text', async (t) => {
  const Choice = Type.Union([Type.Literal('user'), Type.Literal('admin'), Type.Literal('')])
  for (const value of ['user', 'admin', '']) t.same(refused(Type.Object({ a: Choice }), { a: value }), [], value)
  for (const value of ['User', 'constructor', 5, null, true, {}, [], ['user']]) {
    t.same(refused(Type.Object({ a: Choice }), { a: value }), ['body.a Must be one of the allowed values.'])
  }
  const mixed = {
    type: 'object',
    properties: { a: { anyOf: [{ const: 5, type: 'integer' }, { const: '5', type: 'string' }] } },
  }
  t.same([refused(mixed, { a: '5' }, 'querystring'), refused(mixed, { a: '5' })], [[], []])
})
