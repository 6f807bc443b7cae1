import fc from 'fast-check'
import { CANARY } from './app.js'
import { NAUGHTY } from './strings.js'

/** A value that a field does not expect, as JSON text. */
const foreign: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    'null',
    'true',
    'false',
    '0',
    '-1',
    '1.5',
    '1e400',
    '-0',
    '9007199254740993',
    '""',
    '[]',
    '{}',
    '[null]',
    '[[]]',
    '{"__proto__":{}}',
    '{"toString":1}',
    '[1,2,3]',
    '"\\u0000"',
    '"\\ud800"',
    'undefined',
    'NaN',
  ),
  fc.constantFrom(...NAUGHTY).map((text) => JSON.stringify(text)),
  fc.string({ unit: 'binary', maxLength: 60 }).map((text) => JSON.stringify(text)),
  fc.constantFrom(
    0,
    1,
    2,
    11,
    12,
    13,
    42,
    43,
    44,
    99,
    100,
    101,
    127,
    128,
    129,
    254,
    255,
    1024,
    1025,
    1999,
    2000,
    2001,
    10_000,
  ).map((length) => JSON.stringify('aA1!'.repeat(length).slice(0, length))),
  fc.nat({ max: 3000 }).map((length) => `[${'1,'.repeat(length)}1]`),
  fc.nat({ max: 300 }).map((depth) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`),
  fc.json({ maxDepth: 3 }),
)

const strangeKey = fc.oneof(
  fc.constantFrom(
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    'roles',
    'isAdmin',
    'id',
    'ownerId',
    'owner_id',
    'password_hash',
    '',
    ' ',
    'name ',
    'Name',
    '\0',
    '$ref',
    '0',
    'length',
    'then',
    'toJSON',
  ),
  fc.constantFrom(...NAUGHTY),
  fc.string({ unit: 'binary', maxLength: 20 }),
)

type Pair = readonly [key: string, json: string]

/** One change to the members of an object, kept as pairs so that a key may stand twice. */
function change (fields: readonly string[]): fc.Arbitrary<(pairs: readonly Pair[]) => readonly Pair[]> {
  const field = fc.constantFrom(...fields)
  return fc.oneof(
    fc.tuple(field, foreign).map(([name, value]) => (pairs: readonly Pair[]) =>
      pairs.map((pair) => pair[0] === name ? [name, value] as const : pair)
    ),
    field.map((name) => (pairs: readonly Pair[]) => pairs.filter(([key]) => key !== name)),
    fc.tuple(strangeKey, foreign).map((pair) => (pairs: readonly Pair[]) => [...pairs, pair]),
    fc.tuple(field, foreign).map((pair) => (pairs: readonly Pair[]) => [...pairs, pair]),
    fc.tuple(field, foreign).map((pair) => (pairs: readonly Pair[]) => [pair, ...pairs]),
    field.map((name) => (pairs: readonly Pair[]) =>
      pairs.map(([key, value]) => key === name ? [key, `[${value}]`] as const : [key, value] as const)
    ),
    field.map((name) => (pairs: readonly Pair[]) =>
      pairs.map(([key, value]) => key === name ? [key.toUpperCase(), value] as const : [key, value] as const)
    ),
  )
}

/** The JSON text of a body after one to three changes; now and then also its text is broken. */
export function mutatedBody (body: Readonly<Record<string, unknown>>): fc.Arbitrary<string> {
  const pairs = Object.entries(body).map(([key, value]) => [key, JSON.stringify(value)] as const)
  const texts = fc.array(change(Object.keys(body)), { minLength: 1, maxLength: 3 })
    .map((changes) =>
      `{${
        changes.reduce<readonly Pair[]>((at, apply) => apply(at), pairs).map(([key, value]) =>
          `${JSON.stringify(key)}:${value}`
        ).join(',')
      }}`
    )
  const broken = fc.tuple(texts, fc.nat(), fc.string({ unit: 'binary', maxLength: 3 })).map(([text, at, noise]) =>
    `${text.slice(0, at % text.length)}${noise}${text.slice(at % text.length + noise.length)}`
  )
  return fc.oneof({ weight: 5, arbitrary: texts }, { weight: 1, arbitrary: broken }, { weight: 1, arbitrary: foreign })
}

export interface Query { readonly text: string, readonly values: readonly string[], readonly keys: readonly string[] }

const escape = (text: string): string => encodeURIComponent(text.replace(/\p{Surrogate}/gu, '\ufffd'))

export const mutatedQuery: fc.Arbitrary<Query> = fc.array(
  fc.tuple(
    fc.oneof(
      fc.constantFrom(
        'limit',
        'status',
        'all',
        'limit[]',
        'limit[0]',
        'limit.x',
        'LIMIT',
        'token',
        'access_token',
        '__proto__',
        '__proto__[x]',
        'constructor',
      ),
      strangeKey,
    ),
    fc.oneof(
      fc.constantFrom(
        '',
        '1',
        '100',
        '101',
        '0',
        '-1',
        '1e1',
        '0x1',
        ' 1',
        '1.0',
        '1,2',
        'active',
        'true',
        `${CANARY}-token`,
      ),
      fc.constantFrom(...NAUGHTY),
      fc.string({ unit: 'binary', maxLength: 40 }),
    ),
    fc.constantFrom('=', '', '==', '%3D'),
  ),
  { maxLength: 6 },
).map((pairs) => ({
  text: pairs.map(([key, value, sign]) => `${escape(key)}${sign}${escape(value)}`).join('&'),
  values: pairs.flatMap(([, value]) => [value, escape(value)]),
  keys: pairs.flatMap(([key, value]) => [key, value, escape(key), escape(value)]),
}))

const segment = fc.oneof(
  fc.constantFrom(
    'auth',
    'login',
    'me',
    'projects',
    'users',
    'admin',
    'assets',
    'open',
    'healthz',
    '..',
    '.',
    '',
    '%2e%2e',
    '%2f',
    '%5c',
    '%00',
    '%',
    '%zz',
    '%c0%af',
    '%ff',
    '%ed%a0%80',
    '..;',
    'app.js',
    'api.js%00',
    '*',
    ':id',
    '~',
    'AUTH',
    'me;a=b',
    'me%20',
    'me.json',
  ),
  fc.constantFrom(...NAUGHTY).map(escape),
  fc.string({ maxLength: 20 }).map((text) => text.replace(/[\s#?]/g, '')),
)

export const hostilePath: fc.Arbitrary<string> = fc.tuple(
  fc.array(segment, { minLength: 1, maxLength: 6 }),
  fc.constantFrom('', '/', '//', '?', '?a', '#x'),
)
  .map(([segments, end]) => `/${segments.join('/').replace(/^\/+/, '')}${end}`)

const printable = fc.oneof(
  fc.constantFrom(...NAUGHTY).map((text) =>
    Buffer.from(text).toString('latin1').replace(/[^\t\x20-\x7e\x80-\xff]/g, '')
  ),
  fc.string({ maxLength: 60 }),
  fc.constantFrom(
    'a, b',
    'a; b',
    ',',
    ';',
    '=',
    '""',
    '*',
    '0',
    '-1',
    'x'.repeat(3000),
    'null',
    'https://evil.example',
    'http://localhost',
    'null, null',
  ),
)

const NAMES = [
  'origin',
  'referer',
  'host',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'forwarded',
  'x-real-ip',
  'x-request-id',
  'accept',
  'accept-encoding',
  'if-none-match',
  'if-modified-since',
  'range',
  'expect',
  'sec-fetch-site',
  'sec-fetch-mode',
  'user-agent',
  'access-control-request-method',
  'access-control-request-headers',
  'x-http-method-override',
  'x-original-url',
  'x-api-key',
  'traceparent',
  'upgrade',
  'te',
  '__proto__',
  'constructor',
]

/** Cookies and credentials hold the canary: they may stand nowhere. */
export const hostileHeaders: fc.Arbitrary<Record<string, string>> = fc.tuple(
  fc.dictionary(fc.constantFrom(...NAMES), printable, { maxKeys: 4 }),
  fc.option(
    fc.tuple(fc.constantFrom('Bearer ', 'bearer ', 'Basic ', 'Bearer', '', 'Digest ', 'Bearer  '), printable).map((
      [scheme, text],
    ) => `${scheme}${CANARY}${text}`),
  ),
  fc.option(
    fc.array(fc.tuple(fc.constantFrom('access', 'refresh', '__Host-access', '__proto__', 'a', ''), printable), {
      maxLength: 5,
    }).map((pairs) => pairs.map(([name, text]) => `${name}=${CANARY}${text}`).join('; ')),
  ),
).map(([headers, authorization, cookie]) => ({
  ...headers,
  ...(authorization !== null && { authorization }),
  ...(cookie !== null && { cookie }),
}))
