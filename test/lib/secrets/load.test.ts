import { setTimeout as sleep } from 'node:timers/promises'
import { Type, type TObject } from '@sinclair/typebox'
import { test, type Test } from 'tap'
import { BulwarkConfigError, type Problem } from '../../../lib/response/errors.js'
import { generatedSecrets, loadEnv, secretValuesOf, type LoadedEnv } from '../../../plugins/env.js'
import { loadEnvAsync, SecretSourceError, stopRefresh, type LoadEnvAsyncOptions,
  type SecretSource } from '../../../secrets.js'

const STRONG = 'Zk3vQ9xTf7Lw2Rb8Yc5Nh1Jd6Gs4Mp0Ua-Xe'
const OTHER = 'q7Tn2Vb9Wm4Kc8Zs1Xf6Rj3Lh5Pd0Gy_Bt-Q'
const THIRD = 'nB5rX8kD2wQ7mF4tJ9vL1cS6hY3pG0zA_uE-T'

const schema = Type.Object({
  PORT: Type.Integer({ default: 3000 }),
  A: Type.String({ secret: true }),
  B: Type.Optional(Type.String({ secret: true })),
  URL: Type.Optional(Type.String({ redact: true, requiredIn: 'production' })),
})

interface Fake extends SecretSource { readonly asked: (readonly string[])[] }

function source (values: Readonly<Record<string, unknown>>, name = 'fake'): Fake {
  const asked: (readonly string[])[] = []
  return { name, asked, load: async (names) => { asked.push(names); return values as Record<string, string> } }
}

async function problemsOf (t: Test, options: LoadEnvAsyncOptions, of: TObject = schema): Promise<readonly Problem[]> {
  let problems: readonly Problem[] = []
  await t.rejects(loadEnvAsync(of, options).catch((error: unknown) => {
    if (error instanceof BulwarkConfigError) problems = error.problems
    throw error
  }), { code: 'BULWARK_CONFIG' })
  return problems
}

test('a secret comes from the environment, else from the first source that has it, else it is made up', async (t) => {
  const first = source({ A: STRONG, PORT: '1', toString: 'x' }, 'first')
  const second = source({ A: OTHER, B: OTHER, URL: 'postgres://u:from-second@db' }, 'second')
  const config: LoadedEnv<typeof schema> = await loadEnvAsync(schema, { source: {}, sources: [first, second] })
  t.same([config.A, config.B, config.URL, config.PORT], [STRONG, OTHER, 'postgres://u:from-second@db', 3000])
  t.same(
    [first.asked, second.asked],
    [[['A', 'B', 'URL']], [['A', 'B', 'URL']]],
    'asked once, for what is secret and not set',
  )
  t.ok(Object.isFrozen(config))
  t.same(JSON.parse(JSON.stringify(config)), { PORT: 3000, A: '[redacted]', B: '[redacted]', URL: '[redacted]' })
  t.ok(secretValuesOf(config).includes('from-second'))

  const dir = t.testdir({ b: THIRD, '.env': `URL=from-dotenv` })
  const shadowed = source({ A: STRONG, B: STRONG, URL: 'x' })
  const mixed = await loadEnvAsync(schema, {
    source: { A: OTHER, B_FILE: `${dir}/b` },
    dotenv: `${dir}/.env`,
    sources: [shadowed],
  })
  t.same([mixed.A, mixed.B, mixed.URL], [OTHER, THIRD, 'from-dotenv'])
  t.same(shadowed.asked, [], 'a source that is not needed is not asked')

  const made = await loadEnvAsync(Type.Object({ S: Type.String({ secret: true, generate: true }) }), {
    source: {},
    sources: [source({})],
  })
  t.same(generatedSecrets(made), ['S'])
  t.equal((await loadEnvAsync(schema, { source: { A: STRONG } })).A, STRONG, 'without sources it reads as loadEnv does')
})

test('every source that fails and every variable that is wrong is listed at once, without a value', async (t) => {
  const problems = await problemsOf(t, {
    source: { PORT: 'sup3r-port', NODE_ENV: 'production' },
    timeout: '50ms',
    sources: [
      {
        name: 'safe',
        load: async () => {
          throw new SecretSourceError([{ message: 'Sealed.', fix: 'Unseal it.' }, {
            message: 'And more.',
            fix: 'Do it.',
          }])
        },
      },
      {
        name: 'foreign',
        load: async () => {
          throw Object.assign(new Error(`could not parse ${OTHER}`), { code: 'ECONNREFUSED' })
        },
      },
      { name: 'no error', load: () => Promise.reject(Object.assign(new Error(OTHER), { name: OTHER, code: 5 })) },
      { name: 'synchronous', load: () => { throw new TypeError(OTHER) } },
      { name: 'hanging', load: () => new Promise(() => {}) },
      { name: 'no object', load: async () => OTHER as unknown as Record<string, string> },
      { name: 'null', load: async () => null as unknown as Record<string, string> },
      { name: 'number', load: async () => ({ A: 5 }) as unknown as Record<string, string> },
      source({ A: 'sup3r-weak' }, 'weak'),
    ],
  })
  const at = (index: number): string =>
    problems.filter(({ path }) => path === `env.sources[${index}]`).map(({ message }) => message).join('|')
  t.equal(at(0), 'safe: Sealed.|safe: And more.')
  t.match(at(1), /foreign: It failed \(ECONNREFUSED\)/)
  t.match(at(2), /unknown error/)
  t.match(at(3), /TypeError/)
  t.match(at(4), /hanging: No answer within 50 ms/)
  t.match(at(5), /object of texts/)
  t.match(at(6), /object of texts/)
  t.match(at(7), /A is not text/)
  t.same(
    problems.filter(({ path }) => !path.startsWith('env.sources')).map(({ path }) => path),
    ['env.PORT', 'env.A'],
    'what a failed source may hold is not called missing',
  )
  t.match(problems.find(({ path }) => path === 'env.A')?.message, /Too weak/)
  t.notMatch(JSON.stringify(problems), /sup3r|q7Tn2/)
})

test('what is in no source is missing, and the fix says where it may be put', async (t) => {
  const problems = await problemsOf(t, {
    source: { NODE_ENV: 'production' },
    sources: [source({ A: '' }, 'Vault secret/app')],
  })
  t.same(
    problems.map(({ path, message }) => [path, message]),
    [['env.A', 'Missing.'], ['env.URL', 'Missing.']],
    'an empty text counts as absent',
  )
  t.match(problems[0]?.fix, /or store it in Vault secret\/app/)
})

test('the signal of a source is aborted at its deadline', async (t) => {
  let aborted = false
  await problemsOf(t, {
    source: {},
    timeout: '20ms',
    sources: [{
      name: 'slow',
      load: (_names, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            aborted = true
            reject(new Error('late'))
          })
        }),
    }],
  })
  t.ok(aborted)
})

test('every option is refused when it is of the wrong type, misspelt, out of bounds or without effect', async (t) => {
  const ok = source({ A: STRONG })
  const cases: [unknown, string][] = [
    [{ sources: ok }, 'env.sources'],
    [{ sources: [{}] }, 'env.sources[0]'],
    [{ sources: [null] }, 'env.sources[0]'],
    [{ sources: [{ name: '', load: ok.load }] }, 'env.sources[0]'],
    [{ sources: [{ name: 'x' }] }, 'env.sources[0]'],
    [{ sources: [ok], timeout: 5 }, 'env.timeout'],
    [{ sources: [ok], timeout: '5' }, 'env.timeout'],
    [{ sources: [ok], timeout: '25d' }, 'env.timeout'],
    [{ sources: [ok], refresh: '999ms' }, 'env.refresh'],
    [{ sources: [ok], refresh: '25d' }, 'env.refresh'],
    [{ sources: [ok], refresh: true }, 'env.refresh'],
    [{ refresh: '5m' }, 'env.refresh'],
    [{ sources: [ok], refresh: '5m', onRotate: 'x' }, 'env.onRotate'],
    [{ sources: [ok], onRotate: () => {} }, 'env.onRotate'],
    [{ source: [] }, 'env.source'],
    [{ dotenv: 1 }, 'env.dotenv'],
    [{ sourcs: [ok] }, 'env.sourcs'],
  ]
  for (const [options, path] of cases) {
    const problems = await problemsOf(t, { source: { A: STRONG }, ...options as LoadEnvAsyncOptions })
    t.ok(problems.some((problem) => problem.path === path), path)
  }
  t.equal(
    (await loadEnvAsync(
      schema,
      {
        source: {},
        sources: [ok],
        timeout: undefined,
        refresh: undefined,
        onRotate: undefined,
      } as unknown as LoadEnvAsyncOptions,
    )).A,
    STRONG,
  )
  t.throws(
    () => loadEnv(schema, { source: {}, sources: [ok] } as unknown as Parameters<typeof loadEnv>[1]),
    /await loadEnvAsync/,
  )
})

test('a refresh of one second hands over what rotated, coerced and checked', async (t) => {
  let A = STRONG
  const rotated: [string, unknown][] = []
  const rotating: SecretSource = { name: 'rotating', load: async () => ({ A }) }
  const config = await loadEnvAsync(schema, {
    source: {},
    sources: [rotating],
    refresh: '1s',
    onRotate: (name, value) => {
      rotated.push([name, value])
    },
  })
  t.teardown(() => {
    stopRefresh(config)
  })
  A = OTHER
  const until = Date.now() + 5000
  while (rotated.length === 0 && Date.now() < until) await sleep(50)
  t.same(rotated, [['A', OTHER]])
  t.equal(config.A, STRONG, 'the configuration itself stays as it was')
  t.same(secretValuesOf(config), [STRONG, OTHER], 'and neither value may stand in a log')
})
