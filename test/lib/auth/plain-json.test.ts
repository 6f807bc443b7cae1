import fc from 'fast-check'
import { test } from 'tap'
import { isPlainlyWritten } from '../../../lib/auth/plain-json.js'

function isPlain (text: string): boolean {
  const bytes = Buffer.from(text)
  return isPlainlyWritten(bytes, bytes.length, JSON.parse(text) as object)
}

test('claims as they are minted are plainly written', async (t) => {
  t.ok(
    isPlain(
      JSON.stringify({
        iss: 'bulwark',
        sub: '0-user',
        roles: ['user', 'admin'],
        tv: 0,
        auth_time: 1_800_000_000,
        amr: [],
        max: 999_999_999_999_999,
        path: '/a b~',
        '': '',
      }),
    ),
  )
  t.ok(isPlain('{}'))
})

test('what could be written another way is never called plain', async (t) => {
  const texts = [
    '{ }',
    '{"a":1 }',
    '{"a": 1}',
    '{"a" :1}',
    '{"a":1,\n"b":2}',
    '{"a":[1, 2]}',
    '{"a":1,"a":1}',
    '{"a":1,"a":2}',
    '{"a":1,"b":2,"a":1}',
    '{"__proto__":1,"__proto__":1}',
    '{"a":1.0}',
    '{"a":1e3}',
    '{"a":1E3}',
    '{"a":-0}',
    '{"a":-1}',
    '{"a":0.1}',
    '{"a":1234567890123456}',
    '{"a":9007199254740993}',
    '{"a":[1,9007199254740993]}',
    '{"\\u0061":1}',
    '{"a":"\\u0061"}',
    '{"a":"\\/"}',
    '{"a":"é"}',
    '{"é":1}',
    '{"a":"\u007f"}',
    '{"a":"\u2028"}',
    '{"b":1,"0":2}',
    '{"1":1,"0":2}',
    '{"10":1,"9":1}',
    '{"a":1,"01":2}',
    '{"a":{}}',
    '{"a":{"b":1}}',
    '{"a":[{"b":1,"b":1}]}',
    '{"a":{"b":1,"b":1},"c":1}',
    '{"a":true}',
    '{"a":null}',
    '{"a":false}',
  ]
  for (const text of texts) t.notOk(isPlain(text), encodeURI(text))
})

test('what is plain is exactly what JSON.stringify writes', async (t) => {
  const odd = fc.constantFrom(
    'a',
    'b',
    '0',
    '1',
    '10',
    '__proto__',
    'toJSON',
    'a b',
    'é',
    '"',
    '\\',
    '\u0000',
    '\ud800',
    '{',
    ':',
    ',',
    '[',
  )
  const text = fc.oneof(odd, fc.string(), fc.string({ unit: 'binary' }))
  const value = fc.oneof(
    text,
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.maxSafeInteger(),
    fc.array(fc.oneof(text, fc.nat())),
    fc.dictionary(text, fc.nat()),
  )
  // Texts of JSON that JSON.stringify would not write: members twice, in any order, with white space and with other
  // spellings.
  const space = fc.constantFrom('', '', '', ' ', '\t')
  const spelling = fc.oneof(
    value.map((any) => JSON.stringify(any)),
    fc.constantFrom('1.0', '1e2', '-0', '00'.slice(1), '"\\u0061"', '123456789012345678901'),
  )
  const member = fc.tuple(space, text.map((name) => JSON.stringify(name)), space, spelling, space).map((
    [before, name, middle, said, after],
  ) => `${before}${name}:${middle}${said}${after}`)
  let plain = 0
  let other = 0
  fc.assert(fc.property(fc.array(member, { maxLength: 4 }), (members) => {
    const written = `{${members.join(',')}}`
    if (isPlain(written)) {
      plain++
      return JSON.stringify(JSON.parse(written)) === written
    }
    other++
    return true
  }), { numRuns: 5000 })
  t.ok(plain > 500, `${plain} plain ones`)
  t.ok(other > 500, `${other} other ones`)
})
