import { createRequire } from 'node:module'
import fc from 'fast-check'
import type SanitizeHtml from 'sanitize-html'
import { test, type Test } from 'tap'
import { BASIC_TAGS, createClean, loadClean, MAX_SANITIZED_LENGTH, type Clean,
  type SanitizeMode } from '../../../lib/validation/sanitize.js'
import { faultOf, faultOfName } from '../../../lib/validation/sanitize-rules.js'
import { VECTORS } from './sanitize-corpus.js'

const sanitizeHtml = createRequire(import.meta.url)('sanitize-html') as typeof SanitizeHtml
const clean: Clean = createClean(sanitizeHtml)

const LINK = / href="(?:https?:\/\/|mailto:)[^"<>\u0000-\u001f]*" rel="noopener noreferrer nofollow"/

/** What is left after every tag that may stand there, exactly as it may stand there, is taken out. */
function withoutAllowed (html: string): string {
  return html.replace(new RegExp(`<a(?:${LINK.source})?>`, 'g'), '').replace(
    new RegExp(`</?(?:${BASIC_TAGS.join('|')})>|<br />`, 'g'),
    '',
  )
}

function checkSafe (t: Pick<Test, 'notMatch' | 'equal'>, value: string): void {
  for (const mode of ['text', 'basic'] as const) {
    const cleaned = clean(value, mode)
    if (cleaned === null) continue
    const name = `${mode} of ${JSON.stringify(value)}`
    if (clean(cleaned, mode) !== cleaned) {
      t.equal(clean(cleaned, mode), cleaned, `${name}: cleaning twice is cleaning once`)
    }
    if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/.test(cleaned)) {
      t.notMatch(cleaned, /[^]/, `${name}: a control character is left`)
    }
    if (mode === 'text' ? /<[a-z/!?]/i.test(cleaned) : /[<>]/.test(withoutAllowed(cleaned))) {
      t.notMatch(cleaned, /[^]/, `${name}: markup is left`)
    }
  }
}

test('every known vector comes out without markup beyond the allow-list, and cleaning twice is cleaning once', async (t) => {
  t.ok(VECTORS.length >= 150, `${VECTORS.length} vectors`)
  t.equal(new Set(VECTORS).size, VECTORS.length, 'each is another')
  for (const vector of VECTORS) checkSafe(t, vector)
})

test('so do 12,000 mixtures, mutations and encodings of them', { timeout: 120_000 }, async (t) => {
  const bits = fc.constantFrom(
    '<',
    '>',
    '&',
    '"',
    "'",
    '/',
    '=',
    '`',
    ' ',
    '\0',
    '\t',
    '\n',
    ';',
    '#',
    '!--',
    '-->',
    '<![CDATA[',
    ']]>',
    '&lt;',
    '&gt;',
    '&amp;',
    '&#60;',
    '&#x3c',
    '&quot',
    '<a href="',
    '<a href=https://a.example/>',
    '</a>',
    '<p>',
    '</p>',
    '<b',
    '<ul><li>',
    '<br>',
    '<svg>',
    '<math>',
    '<style>',
    '</style>',
    '<title>',
    '<noscript>',
    '<xmp>',
    'javascript:',
    'onerror=trap()',
    '<img src=x ',
    'x',
    '\ud800',
    'é',
    '😀',
  )
  const mutated = fc.tuple(fc.constantFrom(...VECTORS), fc.array(fc.tuple(fc.nat(), fc.nat(6), bits), { maxLength: 5 }))
    .map(([vector, changes]) =>
      changes.reduce(
        (text, [at, length, bit]) =>
          text.slice(0, at % (text.length + 1)) + bit + text.slice(at % (text.length + 1) + length),
        vector,
      )
    )
  const spliced = fc.tuple(fc.constantFrom(...VECTORS), fc.constantFrom(...VECTORS), fc.nat(), fc.nat()).map((
    [a, b, x, y],
  ) => a.slice(0, x % (a.length + 1)) + b.slice(y % (b.length + 1)))
  const soup = fc.array(bits, { maxLength: 30 }).map((parts) => parts.join(''))
  const encoded = fc.tuple(fc.constantFrom(...VECTORS), fc.integer({ min: 1, max: 3 })).map(([vector, layers]) =>
    Array.from({ length: layers }).reduce<string>(
      (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'),
      vector,
    )
  )
  for (const [arbitrary, runs] of [[mutated, 5_000], [spliced, 3_000], [soup, 3_000], [encoded, 1_000]] as const) {
    fc.assert(fc.property(arbitrary, (value) => { checkSafe(t, value) }), { numRuns: runs, seed: 20_261 })
  }
  t.pass('all are safe')
})

test('text is plain text and basic is HTML', async (t) => {
  const cases: [value: string, text: string, basic: string][] = [
    ['', '', ''],
    ['AT&T', 'AT&T', 'AT&amp;T'],
    ['AT&amp;T', 'AT&T', 'AT&amp;T'],
    ['1 < 2 > 1 <3', '1 < 2 > 1 <3', '1 &lt; 2 &gt; 1 &lt;3'],
    ['"quoted" \'text\'', '"quoted" \'text\'', '"quoted" \'text\''],
    ['a\tb\r\nc', 'a\tb\r\nc', 'a\tb\r\nc'],
    ['a\u0000b\u001bc\u009fd', 'abcd', 'abcd'],
    ['a&#0;b&#27;[31m', 'a\ufffdb[31m', 'a\ufffdb[31m'],
    ['<p>Hello <b>you</b></p>', 'Hello you', '<p>Hello <b>you</b></p>'],
    ['<h1>Title</h1><img src=x>', 'Title', 'Title'],
    ['<script>steal()</script>x', 'x', 'x'],
    ['a </ b> c', 'a  c', 'a  c'], ['x</ ', 'x/ ', 'x&lt;/ '],
    ['<b>open', 'open', '<b>open</b>'],
    ['a<br>b', 'ab', 'a<br />b'],
    ['&lt;b&gt;bold&lt;/b&gt;', 'bold', '&lt;b&gt;bold&lt;/b&gt;'],
    ['&amp;lt;script&amp;gt;x', '', '&amp;lt;script&amp;gt;x'],
    ['<p class=x id=y style=color:red title=z data-a=b onclick=c>x</p>', 'x', '<p>x</p>'],
    [
      '<a href=HTTPS://A.example/b?c=d&e=f>x</a>',
      'x',
      '<a href="https://a.example/b?c=d&amp;e=f" rel="noopener noreferrer nofollow">x</a>',
    ],
    [
      '<a href=http://a.example rel=opener target=_blank name=x>x</a>',
      'x',
      '<a href="http://a.example/" rel="noopener noreferrer nofollow">x</a>',
    ],
    [
      '<a href="mailto:ada@example.com">x</a>',
      'x',
      '<a href="mailto:ada@example.com" rel="noopener noreferrer nofollow">x</a>',
    ],
    ['<a href="/logout">x</a><a>y</a>', 'xy', '<a>x</a><a>y</a>'],
    ['<a href="//evil.example">x</a>', 'x', '<a>x</a>'],
    ['<a href="https://bank.example@evil.example">x</a>', 'x', '<a>x</a>'],
    [`<a href="https://a.example/${'x'.repeat(2_000)}">x</a>`, 'x', '<a>x</a>'],
    [
      '<a href="tel:1">x</a><a href="ftp://a.example">y</a><a href="javascript:z">z</a>',
      'xyz',
      '<a>x</a><a>y</a><a>z</a>',
    ],
  ]
  for (const [value, text, basic] of cases) {
    t.equal(clean(value, 'text'), text, `text of ${value.slice(0, 80)}`)
    t.equal(clean(value, 'basic'), basic, `basic of ${value.slice(0, 80)}`)
  }
  for (const tag of BASIC_TAGS) if (tag !== 'br') t.equal(clean(`<${tag}>x</${tag}>`, 'basic'), `<${tag}>x</${tag}>`)
})

test('what is built to cost time is refused', async (t) => {
  const refused: [string, string, SanitizeMode][] = [
    ['101 open elements', '<b>'.repeat(101), 'basic'],
    ['101 open foreign elements', '<x>'.repeat(101), 'text'],
    ['101 open elements within what is dropped', `<svg>${'<g>'.repeat(101)}`, 'basic'],
    ['what is longer than any schema allows once it is escaped', '<'.repeat(60_000), 'basic'],
    ['many layers of encoding', `&${'amp;'.repeat(20)}lt;b&gt;`, 'text'],
  ]
  for (const [name, value, mode] of refused) t.equal(clean(value, mode), null, name)
  t.equal(clean('<b>'.repeat(100), 'text'), '')
  t.equal(clean('<b></b>'.repeat(101), 'text'), '', 'beside each other')
  t.equal(clean('<br><img>'.repeat(101), 'text'), '', 'without content')
  t.equal(clean('&amp;amp;amp;lt;b>x', 'text'), 'x')
  t.equal(clean('<b>x</b>', 'basic'), '<b>x</b>', 'the next value is not hurt')
})

test('an error of the parser is not taken for a refusal', async (t) => {
  const broken = createClean(Object.assign(() => { throw new TypeError('broken') }, sanitizeHtml))
  t.throws(() => broken('<b>', 'text'), { message: 'broken' })
})

test('the work grows with the length, not with its square', async (t) => {
  // Counted, not timed: how many characters the parser got in all its rounds.
  let read = 0
  const counting = createClean(Object.assign((html: string, options?: SanitizeHtml.IOptions) => {
    read += html.length
    return sanitizeHtml(html, options)
  }, sanitizeHtml))
  for (const bit of ['<', '&', '<b>', '</i>', '<!--', '<a href="', '&amp;', '<p>', '<x a=b ']) {
    for (const mode of ['text', 'basic'] as const) {
      read = 0
      counting(bit.repeat(MAX_SANITIZED_LENGTH / bit.length), mode)
      t.ok(read <= 7 * MAX_SANITIZED_LENGTH, `${mode} of ${bit}: ${read}`)
    }
  }
})

test('sanitize-html is there and does what is expected of it', async (t) => {
  const loaded = loadClean()
  t.type(loaded, 'function')
  t.equal(loadClean(), loaded, 'it is loaded once')
})

test('a use of the keyword that cannot hold is a fault', async (t) => {
  const fits = { type: 'string', maxLength: 100, sanitize: 'text' }
  const cases: [Record<string, unknown>, RegExp | null][] = [
    [{}, null],
    [{ sanitize: 'basic' }, null],
    [{ type: ['string', 'null'] }, null],
    [{ maxLength: 1 }, null],
    [{ maxLength: 100_000 }, null],
    [{ writeOnly: false }, null],
    [{ format: 'email' }, null],
    [{ sanitize: 'html' }, /not known/],
    [{ sanitize: true }, /not known/],
    [{ sanitize: false }, /not known/],
    [{ sanitize: null }, /not known/],
    [{ sanitize: ['text'] }, /not known/],
    [{ sanitize: 'Text' }, /not known/],
    [{ type: 'object' }, /not of type string/],
    [{ type: undefined }, /not of type string/],
    [{ type: ['string', 'number'] }, /not of type string/],
    [{ type: [] }, /not of type string/],
    [{ type: ['null'] }, /not of type string/],
    [{ maxLength: undefined }, /bound/],
    [{ maxLength: 0 }, /bound/],
    [{ maxLength: 100_001 }, /bound/],
    [{ maxLength: '100' }, /bound/],
    [{ maxLength: 1.5 }, /bound/],
    [{ maxLength: Infinity }, /bound/],
    [{ format: 'password' }, /password/],
    [{ writeOnly: true }, /password/],
  ]
  for (const [change, message] of cases) {
    const fault = faultOf({ ...fits, ...change })
    if (message === null) t.equal(fault, null, JSON.stringify(change))
    else t.match(fault?.message, message, JSON.stringify(change))
  }
  for (
    const name of [
      'password',
      'newPassword',
      'new_password',
      'pass-phrase',
      'passcode',
      'Passwd',
      'dbPwd',
      'pwd',
      'clientSecret',
      'refreshToken',
      'token',
      'pin',
    ]
  ) t.not(faultOfName(name), null, name)
  for (const name of ['text', 'secretary', 'pinned', 'tokens', 'passage', 'compass', 'bio']) {
    t.equal(faultOfName(name), null, name)
  }
})
