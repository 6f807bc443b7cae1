import { test } from 'tap'
import { compileKeys, deriveKeySecret, normalize } from '../../../lib/rate-limit/keys.js'
import type { KeyPart } from '../../../lib/rate-limit/options.js'
import { resolvePolicies } from '../../../lib/rate-limit/policies.js'
import { rememberRecent } from '../../../lib/common/recent.js'

interface Caller {
  ip?: string | undefined
  body?: unknown
  headers?: Record<string, string>
  auth?: { userId: unknown } | null
  method?: string
}

const secret = deriveKeySecret('a secret of the test, long enough to be one')

function keyer (
  by: KeyPart | readonly KeyPart[],
  more: Record<string, unknown> = {},
  name = 'p',
): (caller: Caller) => string {
  const [key = () => 'the test wrote no limit'] = keyers(name, { limit: 5, window: '1m', by, ...more })
  return key
}

function keyers (name: string, ...limits: Record<string, unknown>[]): ((caller: Caller) => string)[] {
  const resolved = resolvePolicies({ [name]: limits }, 'policies', []).get(name) ?? []
  if (resolved.length !== limits.length) throw new Error('the test wrote a wrong limit')
  return [...compileKeys(secret, resolved, 'x-api-key').values()].map((keyOf) => (caller) =>
    keyOf({ ip: '192.0.2.1', headers: {}, body: undefined, ...caller })
  )
}

test('a key has a constant size and shows nothing of the caller', (t) => {
  const key = keyer(['ip', { body: 'email' }])
  for (const email of ['a@example.com', 'x'.repeat(1_000_000), '', '\0', '{}']) {
    t.match(key({ body: { email } }), /^\{[A-Za-z0-9_-]{22}\}0e1aao$/)
  }
  t.end()
})

test('six spellings of one e-mail address are one caller', (t) => {
  const key = keyer({ body: 'email' })
  const spellings = [
    'user@example.com',
    'User@Example.COM',
    '  user@example.com ',
    'user@example.com\u00a0',
    '\uff55ser@example.com',
    '\tuser@EXAMPLE.com\n',
  ]
  t.equal(new Set(spellings.map((email) => key({ body: { email } }))).size, 1)
  t.not(key({ body: { email: 'user2@example.com' } }), key({ body: { email: 'user@example.com' } }))
  t.equal(normalize('\u212aelvin@example.com'), 'kelvin@example.com')
  t.equal(normalize(`${' '.repeat(5000)}a@b.c`), 'a@b.c', 'leading space does not push the value past the cap')
  t.ok(normalize('\ufdfa'.repeat(100_000)).length <= 256, 'a character that NFKC makes eighteen of')
  t.end()
})

test('malformed body values share one bucket, per the other parts', (t) => {
  const key = keyer(['ip', { body: 'email' }])
  const inherited = Object.create({ email: 'a@b.c' }) as object
  const bodies = [
    undefined,
    null,
    'text',
    7,
    [],
    {},
    { email: null },
    { email: [] },
    { email: ['a@b.c', 'a@b.c'] },
    { email: [['a@b.c']] },
    { email: { a: 1 } },
    inherited,
    { Email: 'a@b.c' },
  ]
  t.equal(new Set(bodies.map((body) => key({ body }))).size, 1)
  t.not(key({ body: {} }), key({ body: {}, ip: '192.0.2.2' }))
  t.not(key({ body: {} }), key({ body: { email: '' } }))
  t.not(key({ body: {} }), key({ body: { email: '-' } }))
  t.end()
})

test('what the validator will turn into text counts as that text', (t) => {
  const key = keyer({ body: 'email' })
  for (const [value, text] of [[['A@b.c'], 'a@b.c'], [7, '7'], [[7], '7'], [true, 'true'], [1e21, '1e+21']] as const) {
    t.equal(key({ body: { email: value } }), key({ body: { email: text } }), JSON.stringify(value))
  }
  t.end()
})

test('addresses of one /64 are one caller, also among many recent ones', (t) => {
  const key = keyer('ip')
  t.equal(key({ ip: '2001:db8::1' }), key({ ip: '2001:db8::ffff' }))
  t.not(key({ ip: '2001:db8::1' }), key({ ip: '2001:db8:0:1::1' }))
  t.equal(key({ ip: '::ffff:192.0.2.9' }), key({ ip: '192.0.2.9' }))
  const first = key({ ip: '198.51.100.1' })
  for (let count = 0; count < 10_000; count++) key({ ip: `10.0.${count >> 8}.${count & 255}` })
  t.equal(key({ ip: '198.51.100.1' }), first)
  t.match(key({ ip: undefined }), /^\{[\w-]{22}\}\w+$/)
  t.not(key({ ip: undefined }), key({ ip: '' }))
  t.not(key({ ip: 'x'.repeat(100) }), key({ ip: 'x'.repeat(101) }))
  t.end()
})

test('the key of an IPv6 address that is made of bytes is the one that its text would give', (t) => {
  for (const name of ['p', 'a-longer-name']) {
    const key = keyer('ip', {}, name)
    for (
      const ip of [
        '::',
        '::1',
        '2001:db8::1',
        'f:fe:fdc:ba98::',
        'ffff:ffff:ffff:ffff::9',
        '1000:100:10:1::',
        '2001:DB8:0:a0::',
        '0:90:900:9000::',
      ]
    ) {
      // Too long to be remembered, and therefore made of text.
      t.equal(key({ ip }), key({ ip: `${ip}%${'z'.repeat(70)}` }), ip)
      t.equal(key({ ip }), key({ ip }))
    }
  }
  t.not(keyer('ip')({ ip: '1:2:3:4::' }), keyer('ip')({ ip: '12:3:4:0::' }))
  t.end()
})

test('an anonymous caller counts by address, in a key space of its own', (t) => {
  const key = keyer('user')
  t.equal(key({ auth: { userId: 'u1' } }), key({ auth: { userId: 'u1' }, ip: '192.0.2.77' }))
  t.not(key({ auth: { userId: 'u1' } }), key({ auth: { userId: 'u2' } }))
  for (const auth of [null, undefined, { userId: '' }, { userId: 7 }, { userId: undefined }]) {
    t.equal(key(auth === undefined ? {} : { auth }), key({ auth: null }))
  }
  t.not(key({ auth: null }), key({ auth: null, ip: '192.0.2.2' }))
  t.not(key({ auth: { userId: '192.0.2.1' } }), key({ auth: null }), 'a user named like an address')
  t.end()
})

test('a header is read by any spelling of its name, in full length', (t) => {
  const key = keyer({ header: 'X-Api-Key' })
  t.not(key({ headers: { 'x-api-key': 'a' } }), key({ headers: { 'x-api-key': 'A' } }))
  t.not(
    key({ headers: { 'x-api-key': `${'a'.repeat(300)}1` } }),
    key({ headers: { 'x-api-key': `${'a'.repeat(300)}2` } }),
  )
  t.equal(key({ headers: { 'x-api-key': 'a' }, method: 'GET' }), key({ headers: { 'x-api-key': 'a' }, method: 'HEAD' }))
  t.not(key({}), key({ headers: { 'x-api-key': '-' } }))
  t.end()
})

test('a header whose name every object has is a header like any other', (t) => {
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    const key = keyer({ header: name })
    t.equal(key({}), key({ headers: Object.create(null) as Record<string, string> }), name)
    if (name !== '__proto__') t.not(key({}), key({ headers: { [name.toLowerCase()]: 'a' } }), name)
  }
  t.end()
})

test('an API key is read from its header and is nowhere in clear; a caller without one counts by address', (t) => {
  const key = keyer('apiKey')
  const clear = 'sk_live_0123456789'
  t.notMatch(key({ headers: { 'x-api-key': clear } }), /sk_live|0123456789/)
  t.equal(key({ headers: { 'x-api-key': clear } }), key({ headers: { 'x-api-key': clear }, ip: '203.0.113.9' }))
  t.not(key({ headers: { 'x-api-key': clear } }), key({ headers: { 'x-api-key': clear.toUpperCase() } }))
  for (const headers of [{}, { 'x-api-key': '' }, { authorization: clear }]) {
    t.equal(key({ headers }), key({}), JSON.stringify(headers))
    t.not(key({ headers }), key({ headers, ip: '203.0.113.9' }))
  }
  t.not(key({ headers: { 'x-api-key': 'i9:192.0.2.1' } }), key({}), 'a key that looks like an address')
  t.end()
})

test('the keys of one policy and phase share a hash tag: the caller where all count alike, else the policy', (t) => {
  const tagOf = (key: string | undefined): string => /^\{([^{}]+)\}/.exec(key ?? '')?.[1] ?? ''
  const shape = { limit: 5, window: '1m' }
  const caller = { body: { email: 'a@b.c' }, auth: { userId: 'u' } }
  const alike = keyers('p', { ...shape, by: 'ip' }, { ...shape, window: '1h', by: 'ip' }, { ...shape, by: 'user' }).map(
    (key) => key(caller)
  )
  t.equal(tagOf(alike[0]), tagOf(alike[1]))
  t.match(tagOf(alike[0]), /^[\w-]{22}$/)
  t.match(tagOf(alike[2]), /^[\w-]{22}$/, 'the phase of users is one of its own')
  t.not(
    tagOf(alike[0]),
    tagOf(keyers('p', { ...shape, by: 'ip' })[0]?.({ ip: '192.0.2.2' })),
    'callers spread over the slots',
  )
  const mixed = keyers('p', { ...shape, by: ['ip', { body: 'email' }] }, { ...shape, by: { body: 'email' } }).map((
    key,
  ) => key(caller))
  t.same(mixed.map(tagOf), ['p', 'p'])
  t.equal(new Set([...alike, ...mixed]).size, 5)
  for (const key of [...alike, ...mixed]) t.match(key, /[\w-]{22}/)
  t.end()
})

test('parts cannot run into one another', (t) => {
  const key = keyer([{ body: 'a' }, { body: 'b' }])
  t.not(key({ body: { a: 'xb1:y', b: '' } }), key({ body: { a: 'x', b: 'y' } }))
  t.not(key({ body: { a: '1', b: '23' } }), key({ body: { a: '12', b: '3' } }))
  t.not(key({ body: { a: 'x' } }), key({ body: { b: 'x' } }))
  t.end()
})

test('limits that differ in what they store never share a key', (t) => {
  const caller = { body: { email: 'a' }, headers: { email: 'a' } }
  const keys = [
    keyer({ body: 'email' }),
    keyer({ header: 'email' }),
    keyer({ body: 'email' }, { algorithm: 'sliding' }),
    keyer({ body: 'email' }, { window: '2m' }),
    keyer({ body: 'email' }, {}, 'q'),
    keyer(['ip', { body: 'email' }]),
    keyer([{ body: 'email' }, 'ip']),
  ].map((key) => key(caller))
  t.equal(new Set(keys).size, keys.length)
  t.equal(keyer('ip', { limit: 5 })({}), keyer('ip', { limit: 6 })({}), 'a changed number keeps its counts')
  t.end()
})

test('the secret decides the keys, and without one each process draws its own', (t) => {
  t.same(deriveKeySecret('x'.repeat(32)), deriveKeySecret('x'.repeat(32)))
  t.notSame(deriveKeySecret('x'.repeat(32)), deriveKeySecret('y'.repeat(32)))
  t.notSame(deriveKeySecret(null), deriveKeySecret(null))
  t.end()
})

test('the memory of recent answers is bounded', (t) => {
  let made = 0
  const recall = rememberRecent((text) => { made++; return text.toUpperCase() }, 10)
  for (let count = 0; count < 1000; count++) t.equal(recall('a'), 'A')
  t.equal(made, 1)
  for (let count = 0; count < 100; count++) recall(`b${count}`)
  recall('a')
  t.equal(made, 102, 'it was forgotten')
  t.end()
})
