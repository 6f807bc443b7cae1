import { join } from 'node:path'
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import * as fc from 'fast-check'
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { env, type EnvInput } from '../../plugins/env.js'
import { instance, official } from '../helpers/differential.js'

const theirEnv = official('@fastify/env')

type Source = Readonly<Record<string, string>>

/** What `app.getEnvs()` and `request.getEnvs()` give, or the paths of the variables that are refused. */
interface Outcome { readonly values: unknown, readonly ofRequest: unknown, readonly refused: boolean }

async function outcomeOf (app: FastifyInstance): Promise<Outcome> {
  app.get('/', async (request) => request.getEnvs())
  try {
    await app.ready()
  } catch {
    return { values: null, ofRequest: null, refused: true }
  }
  return { values: { ...app.getEnvs() }, ofRequest: (await app.inject('/')).json(), refused: false }
}

async function theirs (t: Test, schema: TObject, data: Source): Promise<Outcome> {
  const app = instance(t)
  const options: object = { schema: structuredClone(schema), data: { ...data }, env: false, dotenv: false }
  app.register(theirEnv, options)
  return outcomeOf(app)
}

async function ours (t: Test, schema: TObject, source: Source): Promise<Outcome> {
  const app = instance(t)
  app.register(env, { schema, source } as EnvInput)
  return outcomeOf(app)
}

const TEXTS = [
  'a',
  'A',
  'b',
  '0',
  '1',
  '-1',
  '1.5',
  '-0',
  '1e3',
  '0x10',
  ' 1',
  '1 ',
  'NaN',
  'Infinity',
  'true',
  'false',
  'TRUE',
  'null',
  'undefined',
  '[]',
  '{}',
  ' ',
  'ü',
  '💥',
  '9007199254740993',
  '3000',
  'a,b',
]

const SCHEMAS: Readonly<Record<string, TSchema>> = {
  'a string': Type.String(),
  'a string with bounds': Type.String({ minLength: 2, maxLength: 4 }),
  'a string with a pattern': Type.String({ pattern: '^[a-z]+$' }),
  'an optional string': Type.Optional(Type.String()),
  'a string with a default': Type.String({ default: 'x' }),
  'an integer': Type.Integer(),
  'an integer with bounds and a default': Type.Integer({ minimum: 0, maximum: 65_535, default: 3000 }),
  'a number': Type.Number(),
  'a multiple': Type.Number({ multipleOf: 0.5 }),
  'a boolean': Type.Boolean(),
  'a boolean with a default': Type.Boolean({ default: false }),
  'a choice of texts': Type.Union([Type.Literal('a'), Type.Literal('b')]),
  'an enum': Type.Unsafe<string>({ type: 'string', enum: ['a', 'b'] }),
  'a constant': Type.Literal('a'),
  'an integer or a text': Type.Union([Type.Integer(), Type.Literal('a')]),
}

test('the same schema and the same data give what @fastify/env gives, or are refused by both', async (t) => {
  for (const [name, property] of Object.entries(SCHEMAS)) {
    const schema = Type.Object({ NAME: property, OTHER: Type.Optional(Type.String()) })
    for (const text of [undefined, ...TEXTS]) {
      const data: Source = { OTHER: 'x', UNDECLARED: 'x', ...text !== undefined && { NAME: text } }
      t.same(await ours(t, schema, data), await theirs(t, schema, data), `${name}: ${JSON.stringify(text)}`)
    }
  }
})

test('generated texts give what @fastify/env gives, for every kind of variable', async (t) => {
  const schema = Type.Object(
    Object.fromEntries(Object.entries(SCHEMAS).map(([, property], index) => [`V${index}`, Type.Optional(property)])),
  )
  const names = Object.keys(schema.properties)
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...names),
      fc.oneof(fc.string({ minLength: 1 }), fc.double().map(String)),
      async (name, text) => {
        const data = { [name]: text }
        const [a, b] = [await ours(t, schema, data), await theirs(t, schema, data)]
        return t.same(a, b, `${name}: ${JSON.stringify(text)}`)
      },
    ),
    { numRuns: 200 },
  )
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
