import { test } from 'tap'
import type { Problem } from '../../../lib/response/errors.js'
import { checkOrigins, createOriginList } from '../../../lib/net/origin-pattern.js'

function problemsOf (entry: unknown): Problem[] {
  const problems: Problem[] = []
  checkOrigins([entry], 'origins', problems)
  return problems
}

test('accepts patterns whose every match lies under a domain that is written out', async (t) => {
  const table: [RegExp, string[], string[]][] = [
    [/^https:\/\/[a-z0-9-]+\.example\.com$/, ['https://app.example.com', 'https://a-1.example.com'], [
      'https://example.com',
      'https://a.b.example.com',
      'https://app.example.com:444',
      'http://app.example.com',
      'https://appXexample.com',
    ]],
    [/^https:\/\/[a-z0-9.-]+\.example\.com$/, ['https://a.b.example.com'], [
      'https://evilexample.com',
      'https://a.example.com.evil.example',
    ]],
    [/^https:\/\/(?:[a-z0-9-]+\.)?example\.com$/, ['https://example.com', 'https://a.example.com'], [
      'https://evilexample.com',
      'https://evil-example.com',
    ]],
    [/^https:\/\/(app|admin)\.example\.(?:com|dev)$/, ['https://app.example.com', 'https://admin.example.dev'], [
      'https://app.example.org',
      'https://www.example.com',
    ]],
    [/^https:\/\/preview-\d{1,6}\.example\.com(?::8443)?$/, [
      'https://preview-7.example.com',
      'https://preview-123456.example.com:8443',
    ], ['https://preview-.example.com', 'https://preview-7.example.com:1']],
    [/^http:\/\/localhost:\d+$/, ['http://localhost:5173'], [
      'http://localhost',
      'https://localhost:1',
      'http://localhost.evil.example:1',
    ]],
    [/^http:\/\/192\.168\.\d{1,3}\.\d{1,3}:3000$/, ['http://192.168.1.20:3000'], [
      'http://192.168.1.evil.example:3000',
      'http://192.169.1.1:3000',
    ]],
    [/^https:\/\/\w+\.example\.com$/, ['https://a_b.example.com'], ['https://a.b.example.com']],
    [new RegExp('^https://[a-z]+\\.example\\.com$'), ['https://app.example.com'], [
      'https://app.example.com/',
      'https://app.example.com\n',
    ]],
  ]
  for (const [pattern, matching, others] of table) {
    t.same(problemsOf(pattern), [], String(pattern))
    const list = createOriginList([pattern])
    for (const origin of matching) t.ok(list.has(origin), `${String(pattern)} ${origin}`)
    for (const origin of [...others, 'null', '', `https://${'a'.repeat(250)}.example.com`])
      {t.notOk(list.has(origin), `${String(pattern)} ${origin}`)}
  }
})

test('refuses patterns that say more than their writer means', async (t) => {
  const table: [RegExp, RegExp][] = [
    [/https:\/\/app\.example\.com/, /anchored/],
    [/^https:\/\/app\.example\.com/, /anchored/],
    [/https:\/\/app\.example\.com$/, /anchored/],
    [/^https:\/\/app\.example\.com\$/, /anchored/],
    [/^https?:\/\/app\.example\.com$/, /anchored with its scheme/],
    [/^(?:http|https):\/\/app\.example\.com$/, /anchored with its scheme/],
    [/^(?:https:\/\/app\.example\.com|null)$/, /anchored with its scheme/],
    [/^null$/, /anchored with its scheme/],
    [/^.*$/, /anchored with its scheme/],
    [/^https:\/\/app\.example\.com$|^https:\/\/b\.example\.com$/, /does not belong/],
    [/^https:\/\/app\.example\.com|evil$/, /alternative outside a group/],
    [/^https:\/\/app\.example.com$/, /unescaped dot/],
    [/^https:\/\/.*\.example\.com$/, /unescaped dot/],
    [/^https:\/\/.+$/, /unescaped dot/],
    [/^https:\/\/app\.example\.com$/g, /flags/],
    [/^https:\/\/app\.example\.com$/y, /flags/],
    [/^https:\/\/app\.example\.com$/m, /flags/],
    [/^https:\/\/APP\.example\.com$/i, /flags/],
    [/^https:\/\/[^.]+\.example\.com$/, /divides the parts/],
    [/^https:\/\/[^]+\.example\.com$/, /divides the parts/],
    [/^https:\/\/\S+\.example\.com$/, /not supported/],
    [/^https:\/\/[\S]+\.example\.com$/, /divides the parts/],
    [/^https:\/\/app\.example\.com[:0-9]*$/, /divides the parts/],
    [/^https:\/\/[a-z-.]+example\.com$/, /Somebody else/],
    [/^https:\/\/[a-z]+\.[a-z]+$/, /Somebody else/],
    [/^https:\/\/[a-z]+\.com$/, /Somebody else/],
    [/^https:\/\/app\.[a-z]+\.com$/, /Somebody else/],
    [/^https:\/\/app\.example\.[a-z]{2}$/, /Somebody else/],
    [/^https:\/\/app\.example\.com[a-z.]*$/, /Somebody else/],
    [/^https:\/\/app\.example\d\.com$/, /Somebody else/],
    [/^https:\/\/(?:[a-z]+-)?example\.com$/, /Somebody else/],
    [/^https:\/\/[a-c]+\.com$/, /Somebody else/],
    [/^https:\/\/[a-z]+$/, /Somebody else/],
    [/^https:\/\/[a-f]{8}\.com$/, /Somebody else/],
    [/^https:\/\/app\.example[.a]*com$/, /Somebody else/],
    [/^https:\/\/site[12]\.com$/, /Somebody else/],
    [/^https:\/\/app\.example\.com\/$/, /no origin looks like/],
    [/^https:\/\/app\.example\.com:443$/, /no origin looks like/],
    [/^https:\/\/APP\.example\.com$/, /no origin looks like/],
    [/^https:\/\/$/, /no origin looks like/],
    [/^https:\/\/(?:[a-z]+)+\.example\.com$/, /repeated group/],
    [/^https:\/\/(?:[a-z]+\.){2}example\.com$/, /repeated group/],
    [/^https:\/\/(?:a|a)*\.example\.com$/, /repeated group/],
    [/^https:\/\/[a-z]+[a-z]+[a-z]+[a-z]+\.example\.com$/, /repeats run into/],
    [/^https:\/\/a?a?a?a?a?a?a?\.example\.com$/, /optional parts/],
    [/^https:\/\/[a-z]+?\.example\.com$/, /quantifier on a quantifier/],
    [/^https:\/\/(?=a)app\.example\.com$/, /Look-around/],
    [/^https:\/\/(a)\1\.example\.com$/, /not supported/],
    [/^https:\/\/(?:(?:a|b|c|d|e|f|g|h)(?:a|b|c|d|e|f|g|h)(?:a|b|c|d|e|f|g|h))\.example\.com$/, /alternatives/],
    [new RegExp(`^https:\\/\\/${'a'.repeat(600)}\\.example\\.com$`), /too long/],
  ]
  for (const [pattern, message] of table) {
    const [problem, ...more] = problemsOf(pattern)
    t.match(problem, { path: 'origins[0]', message }, String(pattern))
    t.same(more, [])
  }
})

test('whatever is put together from these pieces, an accepted pattern matches only domains that it writes out', async (t) => {
  // Numerical Recipes' generator: the same pieces on every run.
  let seed = 1
  const next = (below: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return Math.floor(seed / 2 ** 32 * below)
  }
  const pick = (list: readonly string[]): string => list[next(list.length)] ?? ''
  const pieces = [
    'a',
    'app',
    'evil',
    'com',
    'example',
    '\\.',
    '\\.',
    '\\.example',
    '\\.com',
    '\\.example\\.com',
    '-',
    '[a-z]',
    '[a-z]+',
    '[a-z0-9-]+',
    '[a-z.]*',
    '[.-]',
    '[.a]+',
    '\\d',
    '\\w+',
    '[ab]{1,3}',
    '(?:a|b)',
    '(?:app\\.)?',
    '(?:[a-z]+\\.)?',
    '(?:com|dev)',
    'a?',
    '(?::\\d+)?',
  ]
  const words = ['a', 'b', 'x', 'app', 'evil', 'com', 'dev', 'example', '7', '-', '.', '.', '.example', '.com', '.evil']
  const texts = Array.from(
    { length: 1500 },
    () => `https://${Array.from({ length: 1 + next(6) }, () => pick(words)).join('')}`,
  ).filter((text) => URL.canParse(text))
  const domainOf = (text: string): string =>
    text.slice('https://'.length).replace(/:\d+$/, '').split('.').slice(-2).join('.')
  let accepted = 0
  for (let round = 0; round < 800; round++) {
    const pattern = new RegExp(`^https:\\/\\/${Array.from({ length: 1 + next(5) }, () => pick(pieces)).join('')}$`)
    if (problemsOf(pattern).length > 0) continue
    accepted++
    const list = createOriginList([pattern])
    const domains = new Set(texts.filter((text) => list.has(text)).map(domainOf))
    // Optional and alternative pieces make a handful; a class that reaches into the domain makes many.
    if (domains.size > 6) t.fail(`${String(pattern)}: ${[...domains].slice(0, 8).join(' ')}`)
  }
  t.ok(accepted > 50, `${accepted} patterns were accepted`)
})

test('entries that are neither text nor pattern are refused', async (t) => {
  for (const entry of [5, null, undefined, {}, [], true, 'null', '*', '', 'https://app.example.com/', '^https://app'])
    {t.equal(problemsOf(entry).length, 1, typeof entry)}
})

test('no accepted pattern takes long on any text, however it was made to fail late', async (t) => {
  const patterns = [
    /^https:\/\/[a-z0-9.-]+[a-z0-9.-]+\.example\.com$/,
    /^https:\/\/a?a?a?[a.]*a*\.example\.com$/,
    /^https:\/\/[a-z-]+\.[a-z-]+\.[a-z-]+\.example\.com$/,
  ]
  for (const pattern of patterns) {
    t.same(problemsOf(pattern), [], String(pattern))
    const list = createOriginList([pattern])
    const started = process.cpuUsage()
    for (let round = 0; round < 10; round++) {
      for (
        const text of [
          `https://${'a'.repeat(240)}`,
          `https://${'a.'.repeat(120)}x`,
          `https://${'a-'.repeat(100)}.example.con`,
          `https://${'.example.com'.repeat(20)}x`,
        ]
      ) t.notOk(list.has(text))
    }
    const { user } = process.cpuUsage(started)
    t.ok(user < 400_000, `${String(pattern)}: ${user} µs for 40 texts`)
  }
})

test('a list keeps its own patterns, so changing the original changes nothing', async (t) => {
  const pattern = /^https:\/\/app\.example\.com$/
  const list = createOriginList([pattern, 'https://exact.example.com'])
  pattern.test = () => true
  pattern.exec = () => ['x'] as unknown as RegExpExecArray
  t.notOk(list.has('https://evil.example'))
  t.ok(list.has('https://exact.example.com'))
})
