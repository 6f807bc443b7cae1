import { test } from 'tap'
import { encodePassword } from '../../../lib/passwords/text.js'

test('spellings that keyboards make of one password are the same bytes', async (t) => {
  const pairs: readonly (readonly [string, string, string])[] = [
    ['composed and decomposed accents', 'Gar\u00e7on-caf\u00e9', 'Garc\u0327on-cafe\u0301'],
    ['Hangul syllables and their letters', '\ud55c\uae00', '\u1112\u1161\u11ab\u1100\u1173\u11af'],
    ['a space and a no-break space', 'two words', 'two\u00a0words'],
    ['a space and an ideographic space', 'two words', 'two\u3000words'],
    ['the sign and the letter', '10 \u2126', '10 \u03a9'],
  ]
  for (const [name, one, other] of pairs) t.same(encodePassword(one), encodePassword(other), name)
})

test('different passwords stay different', async (t) => {
  const all = [
    'a',
    'A',
    'a ',
    ' a',
    'a\0',
    'a\0b',
    '\ufb01',
    'fi',
    '\uff41',
    '\u{1f40e}',
    '\u{1f434}',
    'a\u200b',
    '\t',
    '\n',
    ' ',
  ]
  t.equal(new Set(all.map((password) => JSON.stringify(encodePassword(password)))).size, all.length)
})

test('1,024 bytes are a password and 1,025 are none, counted after composing', async (t) => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['1,024 letters', 'a'.repeat(1024), true],
    ['1,025 letters', 'a'.repeat(1025), false],
    ['256 horses', '\u{1f40e}'.repeat(256), true],
    ['257 horses', '\u{1f40e}'.repeat(257), false],
    ['512 decomposed accents, three bytes each before', 'e\u0301'.repeat(512), true],
    ['513 of them', 'e\u0301'.repeat(513), false],
    ['341 letters with three marks each', '\u03b1\u0313\u0300\u0345'.repeat(341), true],
    ['a megabyte', 'a'.repeat(1_048_576), false],
  ]
  for (const [name, password, fits] of cases) t.equal(typeof encodePassword(password) !== 'string', fits, name)
  t.equal(encodePassword('a'.repeat(1025)), 'The password is too long.')
})

test('what is no text, empty or not Unicode is no password', async (t) => {
  for (const value of [undefined, null, 5, {}, ['a'], { length: 1, normalize: () => 'a' }, true]) {
    t.equal(encodePassword(value), 'The password is not a text.')
  }
  t.equal(encodePassword(''), 'The password is empty.')
  for (const value of ['\ud800', 'a\udc00', '\udc00\ud800']) {
    t.equal(encodePassword(value), 'The password is not valid Unicode text.')
  }
})
