import { join } from 'node:path'
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import * as fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { BulwarkConfigError } from '../../lib/response/errors.js'
import { env } from '../../plugins/env.js'
import { instance, official } from '../helpers/differential.js'

const theirEnv = official('@fastify/env')

type Source = Readonly<Record<string, string>>

/** The values that the plugin gives, or the names of the variables that keep it from starting. */
async function outcomeOf (plugin: unknown, options: object): Promise<unknown> {
  const app = Fastify()
  try {
    await app.register(plugin as typeof theirEnv, options)
    return { ...app.getEnvs() }
  } catch (error) {
    if (error instanceof BulwarkConfigError) return namesOf(error.problems.map(({ path }) => path.replace('env.', '')))
    const { errors } = error as { readonly errors: readonly { readonly instancePath: string }[] }
    return namesOf(errors.map(({ instancePath }) => instancePath.split('/')[1] ?? ''))
  } finally {
    await app.close()
  }
}

function namesOf (names: readonly string[]): readonly string[] {
  return [...new Set(names)].sort()
}

async function theirs (schema: TObject, data: Source): Promise<unknown> {
  return await outcomeOf(theirEnv, { schema: structuredClone(schema), data: { ...data }, env: false, dotenv: false })
}

async function ours (schema: TObject, source: Source): Promise<unknown> {
  return await outcomeOf(env, { schema, source })
}

const TEXTS = ['a', 'b', '0', '1', '-1', '1.5', '1e3', '0x10', ' 1', 'NaN', 'true', 'null', '[]', ' ', '💥']

/** One of each kind. */
const SCHEMAS: Readonly<Record<string, TSchema>> = {
  TEXT: Type.String(),
  BOUNDED: Type.String({ minLength: 2, maxLength: 4 }),
  PATTERN: Type.String({ pattern: '^[a-z]+$' }),
  OPTIONAL: Type.Optional(Type.String()),
  DEFAULTED: Type.String({ default: 'x' }),
  INTEGER: Type.Integer(),
  PORT: Type.Integer({ minimum: 0, maximum: 65_535, default: 3000 }),
  NUMBER: Type.Number(),
  MULTIPLE: Type.Number({ multipleOf: 0.5 }),
  BOOLEAN: Type.Boolean(),
  FLAG: Type.Boolean({ default: false }),
  CHOICE: Type.Union([Type.Literal('a'), Type.Literal('b')]),
  ENUM: Type.Unsafe<string>({ type: 'string', enum: ['a', 'b'] }),
  CONSTANT: Type.Literal('a'),
  MIXED: Type.Union([Type.Integer(), Type.Literal('a')]),
}

const NAMES = Object.keys(SCHEMAS)
/** Each kind of variable twice: with a text, and without. */
const schema = Type.Object({
  ...SCHEMAS,
  ...Object.fromEntries(NAMES.map((name) => [`${name}_ABSENT`, Type.Optional(SCHEMAS[name] ?? Type.Never())])),
})

/** All kinds of variables get the text; then those that take it, so that there are values to compare. */
async function compare (t: Test, text: string): Promise<void> {
  const data = { ...Object.fromEntries(NAMES.map((name) => [name, text])), UNDECLARED: text }
  const refused = await theirs(schema, data)
  t.same(await ours(schema, data), refused, `refused: ${JSON.stringify(text)}`)
  const rest = Type.Omit(schema, Array.isArray(refused) ? refused as string[] : [])
  t.same(await ours(rest, data), await theirs(rest, data), `values: ${JSON.stringify(text)}`)
}

test('the same schema and the same data give the values of @fastify/env, and the same refusals', async (t) => {
  for (const text of TEXTS) await compare(t, text)
  const missing = Type.Object({ NAME: Type.String() })
  t.same(await ours(missing, {}), ['NAME'])
  t.type(await theirs(missing, {}), Array)
})

test('generated texts give the values of @fastify/env, and the same refusals', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string({ minLength: 1 }), fc.double().map(String)), async (text) => {
      await compare(t, text)
    }),
    { numRuns: 25 },
  )
})

test('app.getEnvs and request.getEnvs give the configuration, as with @fastify/env', async (t) => {
  const cases: [unknown, object][] = [
    [theirEnv, {
      schema: { type: 'object', properties: { NAME: { type: 'string' } } },
      data: { NAME: 'a' },
      env: false,
    }],
    [env, { schema: Type.Object({ NAME: Type.String() }), source: { NAME: 'a' } }],
  ]
  for (const [plugin, options] of cases) {
    const app = instance(t)
    await app.register(plugin as typeof theirEnv, options)
    app.get('/', async (request) => request.getEnvs())
    t.same({ ...app.getEnvs() }, { NAME: 'a' })
    t.equal(app.getEnvs(), app.config)
    t.same((await app.inject('/')).json(), { NAME: 'a' })
  }
})

const STRONG = 'Zk3vQ9xTf7Lw2Rb8Yc5Nh1Jd6Gs4Mp0Ua-Xe'

interface Choice {
  /** What the suite decided otherwise. */
  readonly name: string
  readonly theirs: (app: FastifyInstance, folder: string) => unknown
  readonly expectTheirs: unknown
  readonly ours: (app: FastifyInstance, folder: string) => unknown
  readonly expectOurs: unknown
}

/** `refused` when the plugin does not start. */
async function look (
  app: FastifyInstance,
  plugin: unknown,
  options: object,
  what: (app: FastifyInstance) => unknown,
): Promise<unknown> {
  try {
    await app.register(plugin as typeof theirEnv, options)
  } catch {
    return 'refused'
  }
  return what(app)
}

const value = (app: FastifyInstance): unknown => app.getEnvs()['NAME']
const withString = Type.Object({ NAME: Type.Optional(Type.String({ default: 'default' })) })
const forTheirs = (schema: TObject, data: object, more: object = {}): object => ({
  schema: structuredClone(schema),
  data,
  env: false,
  ...more,
})

const CHOICES: readonly Choice[] = [
  {
    name: 'an empty text counts as absent, so the default holds',
    theirs: (app) => look(app, theirEnv, forTheirs(withString, { NAME: '' }), value),
    expectTheirs: '',
    ours: (app) => look(app, env, { schema: withString, source: { NAME: '' } }, value),
    expectOurs: 'default',
  },
  {
    name: 'a required variable whose text is empty is refused as missing',
    theirs: (app) => look(app, theirEnv, forTheirs(Type.Object({ NAME: Type.String() }), { NAME: '' }), value),
    expectTheirs: '',
    ours: (app) => look(app, env, { schema: Type.Object({ NAME: Type.String() }), source: { NAME: '' } }, value),
    expectOurs: 'refused',
  },
  {
    name: 'the configuration is frozen',
    theirs: (app) => look(app, theirEnv, forTheirs(withString, {}), (made) => Object.isFrozen(made.getEnvs())),
    expectTheirs: false,
    ours: (app) => look(app, env, { schema: withString, source: {} }, (made) => Object.isFrozen(made.getEnvs())),
    expectOurs: true,
  },
  {
    name: 'a list is declared as an array; its items are trimmed and empty ones dropped',
    theirs: (app) =>
      look(app, theirEnv, forTheirs(Type.Object({ NAME: Type.String({ separator: ',' }) }), { NAME: 'a, b,' }), value),
    expectTheirs: ['a', ' b', ''],
    ours: (app) =>
      look(app, env, {
        schema: Type.Object({ NAME: Type.Array(Type.String(), { separator: ',' }) }),
        source: { NAME: 'a, b,' },
      }, value),
    expectOurs: ['a', 'b'],
  },
  {
    name: 'a secret is redacted when the configuration is printed',
    theirs: (app) =>
      look(app, theirEnv, forTheirs(withString, { NAME: STRONG }), (made) => JSON.stringify(made.getEnvs())),
    expectTheirs: JSON.stringify({ NAME: STRONG }),
    ours: (app) =>
      look(
        app,
        env,
        { schema: Type.Object({ NAME: Type.String({ secret: true }) }), source: { NAME: STRONG } },
        (made) => JSON.stringify(made.getEnvs()),
      ),
    expectOurs: JSON.stringify({ NAME: '[redacted]' }),
  },
  {
    name: 'a weak secret is refused',
    theirs: (app) => look(app, theirEnv, forTheirs(withString, { NAME: 'changeme' }), value),
    expectTheirs: 'changeme',
    ours: (app) =>
      look(
        app,
        env,
        { schema: Type.Object({ NAME: Type.String({ secret: true }) }), source: { NAME: 'changeme' } },
        value,
      ),
    expectOurs: 'refused',
  },
  {
    name: 'formats are checked, where a schema with one does not compile there',
    theirs: (app) =>
      look(
        app,
        theirEnv,
        forTheirs(Type.Object({ NAME: Type.String({ format: 'uri' }) }), { NAME: 'https://a.example' }),
        value,
      ),
    expectTheirs: 'refused',
    ours: (app) =>
      look(app, env, {
        schema: Type.Object({ NAME: Type.String({ format: 'uri' }) }),
        source: { NAME: 'https://a.example' },
      }, value),
    expectOurs: 'https://a.example',
  },
  {
    name: 'NAME_FILE names a file with the value',
    theirs: (app, folder) =>
      look(
        app,
        theirEnv,
        forTheirs(withString, { NAME_FILE: join(folder, 'value') }),
        value,
      ),
    expectTheirs: 'default',
    ours: (app, folder) =>
      look(
        app,
        env,
        { schema: withString, source: { NAME_FILE: join(folder, 'value') } },
        value,
      ),
    expectOurs: 'from-file',
  },
  {
    name: 'a .env file is not read in production',
    theirs: (app, folder) =>
      look(
        app,
        theirEnv,
        forTheirs(withString, { NODE_ENV: 'production' }, {
          dotenv: { path: join(folder, '.env') },
        }),
        value,
      ),
    expectTheirs: 'dotenv',
    ours: (app, folder) =>
      look(app, env, {
        schema: withString,
        source: { NODE_ENV: 'production' },
        dotenv: join(folder, '.env'),
      }, value),
    expectOurs: 'refused',
  },
  {
    name: '`source` stands in for process.env, where `data` is laid over it',
    theirs: (app) => look(app, theirEnv, forTheirs(withString, {}, { env: true }), value),
    expectTheirs: 'process',
    ours: (app) => look(app, env, { schema: withString, source: {} }, value),
    expectOurs: 'default',
  },
  {
    name: 'a variable is taken as it is written, so `expandEnv` is refused',
    theirs: (app) =>
      look(app, theirEnv, forTheirs(withString, { NAME: 'a-$OTHER', OTHER: 'b' }, { expandEnv: true }), value),
    expectTheirs: 'a-b',
    ours: (app) => look(app, env, { schema: withString, source: {}, expandEnv: true }, value),
    expectOurs: 'refused',
  },
  {
    name: 'the configuration has one place, so `confKey` is refused',
    theirs: (app) =>
      look(app, theirEnv, forTheirs(withString, {}, { confKey: 'settings' }), (made) => made.hasDecorator('settings')),
    expectTheirs: true,
    ours: (app) => look(app, env, { schema: withString, source: {}, confKey: 'settings' }, value),
    expectOurs: 'refused',
  },
]

for (const { name, theirs: runTheirs, expectTheirs, ours: runOurs, expectOurs } of CHOICES) {
  test(`decided otherwise: ${name}`, async (t) => {
    const folder = t.testdir({ value: 'from-file', '.env': 'NAME=dotenv' })
    process.env['NAME'] = 'process'
    t.teardown(() => Reflect.deleteProperty(process.env, 'NAME'))
    t.same(await runTheirs(instance(t), folder), expectTheirs, '@fastify/env')
    t.same(await runOurs(instance(t), folder), expectOurs, 'the suite')
  })
}
