import { test } from 'tap'
import { checkOrigins, createOriginList, isOrigin } from '../../../lib/net/origin.js'
import type { Problem } from '../../../lib/response/errors.js'

function problemsOf (entry: unknown): Problem[] {
  const problems: Problem[] = []
  checkOrigins([entry], 'origins', problems)
  return problems
}

const LONG = `https://${'a'.repeat(250)}.example.com`

test('an origin is what a browser writes', async (t) => {
  const table: [string, boolean][] = [
    ['https://app.example.com', true],
    ['http://localhost:3000', true],
    ['https://192.168.1.20', true],
    ['http://[::1]:8080', true],
    ['https://app.example.com/', false],
    ['https://app.example.com:443', false],
    ['https://APP.example.com', false],
    ['https://user@app.example.com', false],
    ['https://*.example.com', false],
    ['ftp://app.example.com', false],
    ['file://', false],
    ['null', false],
    ['', false],
    [LONG, false],
  ]
  for (const [text, expected] of table) t.equal(isOrigin(text), expected, text.slice(0, 40))
})

test('a wildcard stands for exactly one label of the same scheme, domain and port', async (t) => {
  const table: [string, string[], string[]][] = [
    ['https://*.example.com', [
      'https://app.example.com',
      'https://a-1.example.com',
      'https://xn--bcher-kva.example.com',
      `https://${'a'.repeat(63)}.example.com`,
    ], [
      'https://example.com',
      'https://.example.com',
      'https://a.b.example.com',
      'https://app.example.com:444',
      'http://app.example.com',
      'https://app.example.org',
      'https://evilexample.com',
      'https://app.example.com.evil.example',
      'https://evil.example/.example.com',
      'https://user@a.example.com',
      'https://app.example.com/',
      'https://app.example.com\n',
      'https://*.example.com',
      `https://${'a'.repeat(64)}.example.com`,
    ]],
    ['https://*.preview.example.com:8443', ['https://one.preview.example.com:8443'], [
      'https://one.preview.example.com',
      'https://preview.example.com:8443',
      'https://one.preview.example.com:84430',
    ]],
    ['http://*.dev.localhost:3000', ['http://app.dev.localhost:3000'], ['http://dev.localhost:3000']],
  ]
  for (const [wildcard, matching, others] of table) {
    t.same(problemsOf(wildcard), [], wildcard)
    const list = createOriginList([wildcard])
    for (const origin of matching) t.ok(list.has(origin), `${wildcard} ${origin}`)
    for (const origin of [...others, 'null', '', LONG]) t.notOk(list.has(origin), `${wildcard} ${origin}`)
  }
})

test('a list holds exact origins beside wildcards', async (t) => {
  const list = createOriginList(['https://exact.example', 'https://*.example.com'])
  t.same(list.exact, ['https://exact.example'])
  t.ok(list.has('https://exact.example'))
  t.ok(list.has('https://a.example.com'))
  t.notOk(list.has('https://a.exact.example'))
  t.notOk(list.isEmpty)
  t.ok(createOriginList([]).isEmpty)
  t.notOk(createOriginList([]).has(''))
})

test('what is neither an exact origin nor a wildcard is refused, with what to write', async (t) => {
  const table: [unknown, RegExp][] = [
    ['https://*.com', /domain of at least two/],
    ['https://*', /domain of at least two/],
    ['https://*.', /domain of at least two/],
    ['https://*.localhost', /domain of at least two/],
    ['https://a.*.example.com', /place of the first label/],
    ['https://*.*.example.com', /place of the first label/],
    ['https://app-*.example.com', /place of the first label/],
    ['https://*app.example.com', /place of the first label/],
    ['https://*.example.com/', /place of the first label/],
    ['https://*.example.com:443', /place of the first label/],
    ['https://*.example.com:*', /place of the first label/],
    ['*://*.example.com', /place of the first label/],
    ['*.example.com', /place of the first label/],
    ['https://*.168.1.1', /place of the first label/],
    ['https://*.EXAMPLE.com', /place of the first label/],
    ['*', /List the origins/],
    ['null', /Remove it/],
    [/^https:\/\/app\.example\.com$/, /https:\/\/\*\.example\.com as text/],
    ['https://app.example.com/', /without a path/],
    ['^https://app', /without a path/],
    ['', /without a path/],
    ...[5, null, undefined, {}, [], true].map((entry): [unknown, RegExp] => [entry, /without a path/]),
  ]
  for (const [entry, fix] of table) t.match(problemsOf(entry), [{ path: 'origins[0]', fix }], String(entry))
})
