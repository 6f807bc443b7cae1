import { test } from 'tap'
import { growthOf } from '../../../lib/validation/pattern.js'

/** Doubles with each character. */
const EXPONENTIAL = [
  '^(a+)+$',
  '^(a*)*$',
  '^(a|a)*$',
  '^(a|aa)+$',
  '^([a-z]+)*$',
  '^(\\w+\\s?)*$',
  '^(\\d+)*x$',
  '^(.*)*$',
  '^(?:.+)+@$',
  '^(x+x+)+y$',
  '^([a-zA-Z0-9])(([\\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}(([a-z]{2,3})|([a-z]{2,3}[.]{1}[a-z]{2,3}))$',
  '^(([a-z])+.)+[A-Z]([a-z])+$',
  '(a+)+$',
  '^(\\w|\\d)*!$',
  '^(?:a?b?)*c*$|^(a{1,30}){1,30}$',
  '^((ab)*)+$',
  '^(?:\\s|\\s\\s)*$',
  '^(?=(a+)+b)a',
  '^([^"]|\\\\.)*"$',
  '^(a|b|ab)*c$',
  '(a+)+\\b',
  '^(?:a+)+(?!b)',
  '^(?:[^\\u0000-\\u3fff\\u4001-\\u{10ffff}]|[^\\u0000-\\u3fff\\u4001-\\u{10ffff}])+$',
  '^(?:[a-z]+\\d*)+$',
  '^((?:x?|y?)a)*$',
]
/** Grows with the square or worse. */
const POLYNOMIAL: [string, number][] = [
  ['\\s+$', 2],
  ['^\\s*(.*?)\\s*$', 3],
  ['^a*a*b$', 2],
  ['^\\d+\\d+$', 2],
  ['^.*@.*$', 2],
  ['^(.+)-(.+)$', 2],
  ['a+b', 2],
  ['^[a-z]*[a-z0-9]*[0-9a-z]*!$', 3],
  ['^\\w+\\w+\\w+$', 3],
  ['^<.*>.*</.*>$', 3],
  ['^\\s*\\s*$', 2],
  ['^[^@]+[^.]+\\.[a-z]+$', 2],
  ['.*x.*y', 3],
  ['^ *,? *$', 2],
  ['^a*?a*?$', 2],
  ['\\d+$', 2],
  ['^\\S+\\S+@\\S+$', 3],
  ['^(?!.*x.*y)[a-z]+$', 2],
  ['^a+|a+b', 2],
  ['^[a-z]{1,300}[a-z0-9]{1,300}$', 2],
]
/** Linear, though many of them look alike. */
const LINEAR = [
  '^[a-z]+$',
  '^\\d{3}-\\d{4}$',
  '^(?:[a-z0-9]+-)*[a-z0-9]+$',
  '^[a-z0-9]+(?:-[a-z0-9]+)*$',
  '^(a|b)*$',
  '^(ab|cd)+$',
  '^https?://',
  '^\\+?[1-9]\\d{1,14}$',
  '^#[0-9a-f]{6}$',
  '^[^\\s@]+@[^\\s@.]+\\.[a-z]+$',
  '^(?=.*[a-z])(?=.*[A-Z])(?=.*\\d)[\\x21-\\x7e]{12,128}$',
  '^[A-Za-z0-9_-]{43}$',
  '^v?\\d+\\.\\d+\\.\\d+$',
  '^(?:\\d{1,3}\\.){3}\\d{1,3}$',
  '^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$',
  '^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$',
  '^postgres(ql)?://',
  '^(mailto:|tel:|https://)[\\x21-\\x7e]+$',
  '^[^\\s<>@]+@[^\\s<>@]+$',
  '^x-',
  "^\\p{L}[\\p{L} '-]*$",
  '^[^\\r\\n]*$',
  '^(?:GET|POST)(?: (?:GET|POST))*$',
  '^\\s*\\S',
  'a+',
  '(a+)+',
  '^[a-z]{1,50}[a-z0-9]{1,50}$',
  '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d(?::\\d\\d(?:\\.\\d+)?)?Z$',
  '^"(?:[^"\\\\]|\\\\.)*"$',
  '^(?:a|b)(?:a|b)*$',
  '^[A-Z]{2}\\d{2}(?: ?[A-Z0-9]{4}){2,7}$',
  '^\\d+(?:,\\d+)*$',
  '^\\d+(?:\\.\\d+)?$',
  '^[a-z](?:_?[a-z0-9])*$',
  '^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$',
  '^$',
  '',
  '^(?:foo|bar|baz)$',
  '^/(?:[a-z]+/)*[a-z]*$',
  '^[^:]+:[^:]+$',
  '^\\w+:\\w+$',
]

test('a pattern that takes exponential time is told from one that looks like it', async (t) => {
  for (const source of EXPONENTIAL) t.same(growthOf(source), { kind: 'exponential' }, source)
  for (const source of LINEAR) t.same(growthOf(source), { kind: 'polynomial', degree: 1 }, source)
})

test('the degree of a polynomial pattern is found', async (t) => {
  for (const [source, degree] of POLYNOMIAL) t.same(growthOf(source), { kind: 'polynomial', degree }, source)
})

test('what cannot be judged is said so', async (t) => {
  for (const source of ['^(a+)\\1$', '^(?<x>a)\\k<x>$', `^${'a?'.repeat(2000)}$`]) {
    t.same(growthOf(source), { kind: 'not judged' }, source.slice(0, 20))
  }
  for (const source of ['(', '[', 'a{2,1}', '\\p{Nope}']) t.same(growthOf(source), { kind: 'invalid' }, source)
})
