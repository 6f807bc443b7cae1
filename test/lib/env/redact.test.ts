import { generateKeyPairSync } from 'node:crypto'
import { inspect } from 'node:util'
import { Type, type TObject } from '@sinclair/typebox'
import { test, type Test } from 'tap'
import { BulwarkConfigError, type Problem } from '../../../lib/response/errors.js'
import { addSecretValue } from '../../../lib/env/config.js'
import { loadEnv, secretValuesOf } from '../../../plugins/env.js'

const STRONG = 'Zk3vQ9xTf7Lw2Rb8Yc5Nh1Jd6Gs4Mp0Ua-Xe'

function problemsOf (t: Test, schema: TObject, source: Record<string, string> = {}): readonly Problem[] {
  const error = t.throws(() => loadEnv(schema, { source }), { code: 'BULWARK_CONFIG' })
  return error instanceof BulwarkConfigError ? error.problems : []
}

test('what is marked redact is hidden like a secret, and judged by nothing but its schema', async (t) => {
  const schema = Type.Object({
    DATABASE_URL: Type.String({ redact: true, default: 'postgres://localhost/dev' }),
    SMTP_PASSWORD: Type.Optional(Type.String({ redact: true })),
    HOOKS: Type.Array(Type.String(), { separator: ' ', redact: true }),
  })
  const url = 'postgres://app:weak@db/app'
  const config = loadEnv(schema, {
    source: { DATABASE_URL: url, SMTP_PASSWORD: 'weak', HOOKS: 'https://hooks.example/abcdef' },
  })
  t.equal(config.DATABASE_URL, url)
  t.equal(config.SMTP_PASSWORD, 'weak')
  t.same(JSON.parse(JSON.stringify(config)), {
    DATABASE_URL: '[redacted]',
    SMTP_PASSWORD: '[redacted]',
    HOOKS: '[redacted]',
  })
  t.notMatch(inspect(config, { showHidden: true }) + inspect({ ...config }), /weak|abcdef/)
  t.equal(
    loadEnv(schema, { source: { HOOKS: '' } }).DATABASE_URL,
    'postgres://localhost/dev',
    'unlike a secret it may have a default',
  )
})

test('redact is refused where it says nothing or cannot hold', async (t) => {
  const cases: [string, TObject, RegExp][] = [
    ['beside secret', Type.Object({ A: Type.String({ secret: true, redact: true }) }), /Remove `redact`/],
    ['on a number', Type.Object({ A: Type.Integer({ redact: true }) }), /Type\.String\(\{ redact/],
    ['of the wrong type', Type.Object({ A: Type.String({ redact: 'yes' }) }), /redact: true/],
    ['misspelt', Type.Object({ A: Type.String({ redacted: true }) }), /"redact"/],
    ['a message that is no text', Type.Object({ A: Type.String({ message: 1 }) }), /one sentence/],
    ['an empty message', Type.Object({ A: Type.String({ message: '' }) }), /one sentence/],
  ]
  for (const [name, schema, fix] of cases) t.match(problemsOf(t, schema, { A: STRONG })[0]?.fix, fix, name)
  t.doesNotThrow(() =>
    loadEnv(Type.Object({ A: Type.String({ redact: undefined, message: undefined }) }), { source: { A: 'a' } })
  )
})

test('a value that does not fit is answered with the declared message and description, never with itself', async (t) => {
  const schema = Type.Object({
    URL: Type.String({ pattern: '^postgres://', message: 'Not a Postgres URL.', description: 'A postgres:// URL.' }),
    SITE: Type.String({ format: 'uri', message: 'Not an address.' }),
    MODE: Type.Union([Type.Literal('a'), Type.Literal('b')], { message: 'No such mode.' }),
    PLAIN: Type.String({ pattern: '^x' }),
  })
  const problems = problemsOf(t, schema, { URL: 'sup3r://x', SITE: 'sup3r x', MODE: 'sup3r', PLAIN: 'sup3r' })
  t.same(problems.map(({ path, message }) => [path, message]), [
    ['env.URL', 'Not a Postgres URL.'],
    ['env.SITE', 'Not an address.'],
    ['env.MODE', 'No such mode.'],
    ['env.PLAIN', 'The value must match pattern "^x".'],
  ])
  t.equal(problems[0]?.fix, 'A postgres:// URL.')
  t.notMatch(JSON.stringify(problems), /sup3r/)
})

test('the values that no log may hold are known, of a URL also its password', async (t) => {
  const schema = Type.Object({
    PORT: Type.String(),
    S: Type.String({ secret: true }),
    URLS: Type.Array(Type.String(), { separator: ',', redact: true }),
    SHORT: Type.String({ redact: true }),
  })
  const encoded = 'postgres://app:p%40ss-word@db/app'
  const raw = 'redis://:pa{ss}word@cache:6379'
  const query = 'https://mail.example/?apikey=query-key-1&page=visible-page'
  const config = loadEnv(schema, {
    source: { PORT: 'visible-port', S: STRONG, URLS: [encoded, raw, query].join(), SHORT: 'tiny' },
  })
  const values = secretValuesOf(config)
  t.same(
    [...values].sort(),
    [STRONG, encoded, raw, query, 'p%40ss-word', 'p@ss-word', 'pa{ss}word', 'pa%7Bss%7Dword', 'query-key-1'].sort(),
  )
  t.ok(Object.isFrozen(values))
  t.equal(secretValuesOf(config), values, 'the same list as long as nothing rotates')
  t.notMatch(inspect(config, { showHidden: true, depth: null }), /p@ss|Zk3v/)
  addSecretValue(config, STRONG)
  t.equal(secretValuesOf(config), values, 'a value that is known changes nothing')
  addSecretValue(config, 'rotated-value')
  t.same(secretValuesOf(config), [...values, 'rotated-value'])
  t.same(secretValuesOf({ ...config }), [], 'a copy has none')
  t.same(
    secretValuesOf(
      loadEnv(Type.Object({ A: Type.String({ redact: true }) }), { source: { A: 'nonsense://u:%zz-broken@h' } }),
    ).includes('%zz-broken'),
    true,
  )
})

test('an encoded key is refused as a secret, and may be redacted', async (t) => {
  const key = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64')
  t.match(problemsOf(t, Type.Object({ KEY: Type.String({ secret: true }) }), { KEY: key })[0]?.message, /encoded key/)
  t.equal(loadEnv(Type.Object({ KEY: Type.String({ redact: true }) }), { source: { KEY: key } }).KEY, key)
})
