import { readFileSync } from 'node:fs'
import { Type, type Static, type TObject } from '@sinclair/typebox'
import { test, type Test } from 'tap'
import { BulwarkConfigError, type Problem } from '../../../lib/response/errors.js'
import { generatedSecrets, loadEnv, type EnvOf, type LoadedEnv, type LoadEnvOptions } from '../../../plugins/env.js'

const STRONG = 'Zk3vQ9xTf7Lw2Rb8Yc5Nh1Jd6Gs4Mp0Ua-Xe'
const OTHER = 'q7Tn2Vb9Wm4Kc8Zs1Xf6Rj3Lh5Pd0Gy_Bt-Q'

function problemsOf (t: Test, schema: TObject, options: LoadEnvOptions): readonly Problem[] {
  const error = t.throws(() => loadEnv(schema, options), { code: 'BULWARK_CONFIG' })
  return error instanceof BulwarkConfigError ? error.problems : []
}

function pathsOf (t: Test, schema: TObject, options: LoadEnvOptions): string[] {
  return problemsOf(t, schema, options).map(({ path }) => path)
}

function deepFreeze<T> (value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) deepFreeze(member)
    Object.freeze(value)
  }
  return value
}

test('values arrive coerced, typed and frozen', async (t) => {
  const schema = Type.Object({
    PORT: Type.Integer({ default: 3000 }),
    RATIO: Type.Number(),
    DEBUG: Type.Boolean({ default: false }),
    MODE: Type.Union([Type.Literal('a'), Type.Literal('b')]),
    URL: Type.Optional(Type.String({ format: 'uri' })),
    ORIGINS: Type.Array(Type.String(), { separator: ',' }),
    PORTS: Type.Array(Type.Integer(), { separator: ' ', default: [1] }),
  })
  const config = loadEnv(schema, {
    source: {
      RATIO: '0.5',
      DEBUG: 'true',
      MODE: 'b',
      ORIGINS: ' https://a.example, ,https://b.example ',
      PORTS: '80  443',
    },
  })
  const typed: Readonly<Static<typeof schema>> = config
  const port: number = typed.PORT
  const mode: 'a' | 'b' = config.MODE
  t.same({ ...config }, {
    PORT: 3000,
    RATIO: 0.5,
    DEBUG: true,
    MODE: 'b',
    ORIGINS: ['https://a.example', 'https://b.example'],
    PORTS: [80, 443],
  })
  t.equal(port, 3000)
  t.equal(mode, 'b')
  t.equal(config.URL, undefined)
  t.throws(() => { (config as { PORT: number }).PORT = 1 }, TypeError)
  t.throws(() => { config.ORIGINS.push('https://evil.example') }, TypeError)
  t.throws(() => { Object.assign(config, { EXTRA: 1 }) }, TypeError)
})

test('a variable that the schema does not declare is not taken over', async (t) => {
  const config = loadEnv(Type.Object({ A: Type.String() }), { source: { A: 'a', HOME_SECRET: 'x' } })
  t.same(Object.keys(config), ['A'])
})

test('all problems are listed at once, each with the variable and a fix, and none with a value', async (t) => {
  const source = {
    PORT: 'sup3r-port',
    MODE: 'sup3r-mode',
    WEAK: 'sup3r-weak',
    TWIN: STRONG,
    TWIN2: STRONG,
    URL: 'sup3r url',
    NUMBERS: '1,sup3r',
    SHORT: 'x',
  }
  const problems = problemsOf(
    t,
    Type.Object({
      MISSING: Type.String({ description: 'The name of the thing.' }),
      MISSING_SECRET: Type.String({ secret: true }),
      PORT: Type.Integer(),
      MODE: Type.Union([Type.Literal('a'), Type.Literal('b')]),
      WEAK: Type.String({ secret: true }),
      TWIN: Type.String({ secret: true }),
      TWIN2: Type.String({ secret: true }),
      URL: Type.String({ format: 'uri' }),
      NUMBERS: Type.Array(Type.Integer(), { separator: ',' }),
      SHORT: Type.String({ minLength: 2 }),
    }),
    { source },
  )
  t.same(problems.map(({ path }) => path).sort(), [
    'env.MISSING',
    'env.MISSING_SECRET',
    'env.MODE',
    'env.NUMBERS',
    'env.PORT',
    'env.SHORT',
    'env.TWIN2',
    'env.URL',
    'env.WEAK',
  ])
  for (const { path, message, fix } of problems) {
    t.ok(message !== '' && fix !== '', path)
    for (const value of Object.values(source)) {
      if (value.length > 1) t.notOk(`${message} ${fix}`.includes(value), `${path} shows no value`)
    }
    t.notMatch(`${message} ${fix}`, /sup3r/)
  }
  const find = (name: string): Problem | undefined => problems.find(({ path }) => path === `env.${name}`)
  t.match(find('MISSING')?.fix, /The name of the thing\. Set MISSING, or MISSING_FILE/)
  t.match(find('MISSING_SECRET')?.fix, /npx fastify-bulwark keygen/)
  t.match(find('MODE')?.fix, /a, b/)
  t.match(find('TWIN2')?.message, /same secret as TWIN/)
})

test('an empty text counts as absent, and is the empty list where a list is wanted', async (t) => {
  const schema = Type.Object({
    PORT: Type.Integer({ default: 3000 }),
    NAME: Type.Optional(Type.String()),
    ORIGINS: Type.Array(Type.String(), { separator: ',', default: ['https://a.example'] }),
  })
  const config = loadEnv(schema, { source: { PORT: '', NAME: '', ORIGINS: '' } })
  t.equal(config.PORT, 3000)
  t.equal(config.NAME, undefined)
  t.same(config.ORIGINS, [])
  t.same(loadEnv(schema, { source: {} }).ORIGINS, ['https://a.example'])
  t.same(pathsOf(t, Type.Object({ A: Type.String() }), { source: { A: '' } }), ['env.A'])
  t.same(pathsOf(t, Type.Object({ A: Type.Array(Type.String(), { separator: ',' }) }), { source: {} }), ['env.A'])
  t.same(
    pathsOf(t, Type.Object({ A: Type.Array(Type.String(), { separator: ',', minItems: 1 }) }), {
      source: { A: ' , ' },
    }),
    ['env.A'],
  )
})

test("the caller's schema is never changed, frozen or not", async (t) => {
  const make = (): TObject =>
    Type.Object({
      A: Type.Array(Type.String(), { separator: ',', default: ['x'] }),
      S: Type.String({ secret: true, generate: true }),
    })
  const frozen = deepFreeze(make())
  t.same(loadEnv(frozen, { source: {} })['A'], ['x'])
  const plain = make()
  loadEnv(plain, { source: { A: 'b' } })
  t.same(JSON.stringify(plain), JSON.stringify(make()))
  const first = loadEnv(plain, { source: {} })['A']
  t.not(first, loadEnv(plain, { source: {} })['A'], 'a default is copied for each configuration')
})

test('a wrong schema is refused with the keyword and its fix', async (t) => {
  const cases: [string, TObject, string, RegExp][] = [
    ['misspelt keyword', Type.Object({ A: Type.String({ secrte: true }) }), 'env.A.secrte', /Did you mean "secret"\?/],
    [
      'misspelt JSON Schema keyword',
      Type.Object({ A: Type.String({ minLenght: 1 }) }),
      'env.A.minLenght',
      /"minLength"/,
    ],
    [
      'unknown keyword in an item',
      Type.Object({ A: Type.Array(Type.String({ secret: true }), { separator: ',' }) }),
      'env.A.items.secret',
      /Known here|Did you mean/,
    ],
    [
      'unknown keyword of the object',
      Type.Object({ A: Type.String() }, { minProperties: 1 }),
      'env.minProperties',
      /./,
    ],
    [
      'generate without secret',
      Type.Object({ A: Type.String({ generate: true }) }),
      'env.A',
      /secret: true, generate: true/,
    ],
    [
      'generate for a list',
      Type.Object({ A: Type.Array(Type.String(), { separator: ',', secret: true, generate: true }) }),
      'env.A',
      /Remove `generate`/,
    ],
    [
      'default on a secret',
      Type.Object({ A: Type.String({ secret: true, default: STRONG }) }),
      'env.A',
      /Remove `default`/,
    ],
    ['secret that is no string', Type.Object({ A: Type.Integer({ secret: true }) }), 'env.A', /Type\.String/],
    ['secret of the wrong type', Type.Object({ A: Type.String({ secret: 'yes' }) }), 'env.A', /secret: true/],
    [
      'generate of the wrong type',
      Type.Object({ A: Type.String({ secret: true, generate: 1 }) }),
      'env.A',
      /generate: true/,
    ],
    [
      'requiredIn another mode',
      Type.Object({ A: Type.Optional(Type.String({ requiredIn: 'staging' })) }),
      'env.A',
      /'production'/,
    ],
    [
      'requiredIn with a default',
      Type.Object({ A: Type.Optional(Type.String({ requiredIn: 'production', default: 'x' })) }),
      'env.A',
      /Remove one/,
    ],
    [
      'requiredIn on what is required anyway',
      Type.Object({ A: Type.String({ requiredIn: 'production' }) }),
      'env.A',
      /Type\.Optional/,
    ],
    ['list without separator', Type.Object({ A: Type.Array(Type.String()) }), 'env.A', /separator: ','/],
    ['empty separator', Type.Object({ A: Type.Array(Type.String(), { separator: '' }) }), 'env.A', /','/],
    ['separator of the wrong type', Type.Object({ A: Type.Array(Type.String(), { separator: 1 }) }), 'env.A', /','/],
    ['separator on a string', Type.Object({ A: Type.String({ separator: ',' }) }), 'env.A', /Type\.Array/],
    ['object', Type.Object({ A: Type.Object({}) }), 'env.A', /./],
    ['object in a union', Type.Object({ A: Type.Union([Type.Object({}), Type.String()]) }), 'env.A.anyOf[0]', /./],
    [
      'list of lists',
      Type.Object({ A: Type.Array(Type.Array(Type.String()), { separator: ',' }) }),
      'env.A.items',
      /./,
    ],
    ['name that no shell can set', Type.Object({ 'a-b': Type.String() }), 'env.a-b', /letters/],
    ['unknown format', Type.Object({ A: Type.String({ format: 'nonsense' }) }), 'env', /Correct the schema/],
  ]
  for (const [name, schema, path, fix] of cases) {
    const problem = problemsOf(t, schema, { source: { A: STRONG, 'a-b': 'x' } }).find((each) => each.path === path)
    t.match(problem?.fix, fix, name)
  }
})

test('requiredIn: production is optional elsewhere and required there', async (t) => {
  const schema = Type.Object({ REDIS_URL: Type.Optional(Type.String({ requiredIn: 'production' })) })
  const url: string | undefined = loadEnv(schema, { source: {} }).REDIS_URL
  t.equal(url, undefined)
  t.same(pathsOf(t, schema, { source: { NODE_ENV: 'production' } }), ['env.REDIS_URL'])
  t.equal(loadEnv(schema, { source: { NODE_ENV: 'production', REDIS_URL: 'redis://a' } }).REDIS_URL, 'redis://a')
})

test('generate makes a missing secret outside production only', async (t) => {
  const schema = Type.Object({
    A: Type.String({ secret: true, generate: true, minLength: 32 }),
    B: Type.String({ secret: true, generate: true }),
  })
  for (const NODE_ENV of [undefined, '', 'development', 'test']) {
    const config = loadEnv(schema, { source: { NODE_ENV, B: STRONG } })
    t.match(config.A, /^[A-Za-z0-9_-]{43}$/)
    t.equal(config.B, STRONG)
    t.same(generatedSecrets(config), ['A'])
  }
  for (const NODE_ENV of ['production', 'prod', 'staging']) {
    t.same(pathsOf(t, schema, { source: { NODE_ENV } }), ['env.A', 'env.B'], NODE_ENV)
  }
  t.not(loadEnv(schema, { source: {} }).A, loadEnv(schema, { source: {} }).A)
  t.same(generatedSecrets({}), [], 'a look-alike has none')
})

test('a secret is judged by its strength, in every mode', async (t) => {
  const schema = Type.Object({ S: Type.String({ secret: true }) })
  const weak = [
    'short',
    'changeme-changeme-changeme-changeme',
    'a'.repeat(64),
    '-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----',
  ]
  for (const S of weak) {
    for (const NODE_ENV of ['development', 'production']) {t.same(pathsOf(t, schema, { source: { S, NODE_ENV } }), [
        'env.S',
      ])}
  }
  t.equal(loadEnv(schema, { source: { S: STRONG } }).S, STRONG)
})

test('a private key may be a secret: its strength is judged where it is used', async (t) => {
  const pem = '-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIE\n-----END EC PRIVATE KEY-----'
  t.equal(loadEnv(Type.Object({ KEY: Type.String({ secret: true }) }), { source: { KEY: pem } }).KEY, pem)
})

test('a list of secrets is judged item by item, and must not repeat one', async (t) => {
  const schema = Type.Object({ KEYS: Type.Array(Type.String(), { separator: ',', secret: true }) })
  t.same(loadEnv(schema, { source: { KEYS: `${STRONG},${OTHER}` } }).KEYS, [STRONG, OTHER])
  t.same(pathsOf(t, schema, { source: { KEYS: `${STRONG},weak` } }), ['env.KEYS'])
  t.same(pathsOf(t, schema, { source: { KEYS: `${STRONG},${STRONG}` } }), ['env.KEYS'])
})

test('every option is refused when it is of the wrong type or misspelt', async (t) => {
  const schema = Type.Object({})
  const cases: [unknown, string][] = [
    [{ source: 'x' }, 'env.source'],
    [{ source: null }, 'env.source'],
    [{ source: [] }, 'env.source'],
    [{ dotenv: 1 }, 'env.dotenv'],
    [{ dotenv: '' }, 'env.dotenv'],
    [{ sorce: {} }, 'env.sorce'],
    [{ dotEnv: true }, 'env.dotEnv'],
  ]
  for (const [options, path] of cases) t.ok(pathsOf(t, schema, options as LoadEnvOptions).includes(path), path)
  t.doesNotThrow(() => loadEnv(schema, { source: { A: undefined } }))
  t.same(pathsOf(t, Type.Object({ A: Type.Integer() }), { source: { A: 3 } as unknown as Record<string, string> }), [
    'env.A',
  ], 'a source holds text')
})

test('names that every object inherits are refused instead of taken for values', async (t) => {
  t.same(pathsOf(t, Type.Object({ toString: Type.String(), constructor: Type.String() }), { source: {} }), [
    'env.toString',
    'env.constructor',
  ])
})

test('the types follow what was written under env', async (t) => {
  const schema = Type.Object({ PORT: Type.Integer({ default: 1 }) })
  const config = loadEnv(schema, { source: {} })
  const fromSchema: EnvOf<typeof schema> = { PORT: 1 }
  const fromSetup: EnvOf<{ schema: typeof schema, dotenv: false }> = { PORT: 1 }
  const fromLoaded: EnvOf<typeof config> = config
  const loaded: LoadedEnv<typeof schema> = fromLoaded
  // @ts-expect-error the configuration is read-only
  t.throws(() => { fromLoaded.PORT = 2 }, TypeError)
  // @ts-expect-error no such variable
  t.equal(loaded.PROT, undefined)
  t.same([fromSchema.PORT, fromSetup.PORT, loaded.PORT], [1, 1, 1])
})

test('the sources of this room read no environment but through its source', async (t) => {
  for (const file of ['config', 'schema']) {
    t.notMatch(readFileSync(new URL(`../../../../lib/env/${file}.ts`, import.meta.url), 'utf8'), /process\.env/)
  }
})
