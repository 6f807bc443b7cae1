import { Writable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import type { Problem } from '../../lib/response/errors.js'
import { securityOf } from '../../lib/policy/install.js'
import { createServer, defineSecurity } from '../../index.js'
import { env, generatedSecrets, loadEnv, readEnv, type EnvInput } from '../../plugins/env.js'

const STRONG = 'Zk3vQ9xTf7Lw2Rb8Yc5Nh1Jd6Gs4Mp0Ua-Xe'
const schema = Type.Object({
  PORT: Type.Integer({ default: 3000 }),
  SECRET: Type.String({ secret: true, generate: true }),
})

interface Built { readonly app: FastifyInstance, readonly lines: () => Record<string, unknown>[] }

function build (t: Test): Built {
  let text = ''
  const app = Fastify({
    logger: {
      stream: new Writable({
        write (chunk: Buffer, _encoding, done) {
          text += chunk.toString()
          done()
        },
      }),
    },
  })
  t.teardown(() => app.close())
  return {
    app,
    lines: () =>
      text.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>),
  }
}

test('app.config is the checked environment, for this scope and all others', async (t) => {
  const { app } = build(t)
  await app.register(env, { schema, source: { PORT: '1', SECRET: STRONG } })
  t.equal(app.config['PORT'], 1)
  t.equal(app.config['SECRET'], STRONG)
  app.register(async (child) => { t.equal(child.config, app.config) })
  await app.ready()
  t.equal(securityOf(app).root.config, app.config)
})

test('the plugin takes a schema, a schema with options, and what loadEnv returned', async (t) => {
  const loaded = loadEnv(schema, { source: { PORT: '7', SECRET: STRONG } })
  process.env['BULWARK_ENV_TEST'] = 'here'
  t.teardown(() => Reflect.deleteProperty(process.env, 'BULWARK_ENV_TEST'))
  const cases: [EnvInput, string, unknown][] = [
    [Type.Object({ BULWARK_ENV_TEST: Type.String() }), 'BULWARK_ENV_TEST', 'here'],
    [{ schema, source: { PORT: '5' } }, 'PORT', 5],
    [loaded, 'PORT', 7],
  ]
  for (const [input, name, value] of cases) {
    const { app } = build(t)
    await app.register(env, input)
    t.equal(app.config[name], value)
  }
  const { app } = build(t)
  await app.register(env, loaded)
  t.equal(app.config, loaded, 'a loaded configuration is taken as it is')
})

test('NODE_ENV of the source decides whether this is production', async (t) => {
  for (
    const [NODE_ENV, production] of [[undefined, false], ['', false], ['test', false], ['development', false], [
      'production',
      true,
    ], ['prod', true]] as const
  ) {
    const { app } = build(t)
    await app.register(env, { schema, source: { NODE_ENV, SECRET: STRONG } })
    t.equal(securityOf(app).root.production, production, NODE_ENV ?? 'absent')
    const second = build(t).app
    await second.register(env, loadEnv(schema, { source: { NODE_ENV, SECRET: STRONG } }))
    t.equal(securityOf(second).root.production, production, `${NODE_ENV ?? 'absent'}, loaded before`)
  }
})

test('generated secrets are named in one warning, and never shown', async (t) => {
  const { app, lines } = build(t)
  await app.register(env, { schema, source: {} })
  const warnings = lines().filter(({ level }) => level === 40)
  t.equal(warnings.length, 1)
  t.same(warnings[0]?.['variables'], ['SECRET'])
  t.notOk(JSON.stringify(lines()).includes(String(app.config['SECRET'])))
  const quiet = build(t)
  await quiet.app.register(env, { schema, source: { SECRET: STRONG } })
  t.same(quiet.lines().filter(({ level }) => level === 40), [])
})

test('it is registered once, on the root, where nobody else owns app.config', async (t) => {
  const input = { schema, source: { SECRET: STRONG } }
  const twice = build(t).app
  await twice.register(env, input)
  await t.rejects(Promise.resolve(twice.register(env, input)), { code: 'BULWARK_CONFIG' })

  const child = build(t).app
  child.register(async (scope) => { await scope.register(env, input) })
  await t.rejects(Promise.resolve(child.ready()), { code: 'BULWARK_CONFIG' })

  const decorate: Readonly<Record<string, (app: FastifyInstance) => void>> = {
    'app.config': (app) => { app.decorate('config', {}) },
    'app.getEnvs': (app) => { app.decorate('getEnvs', () => ({})) },
    'request.getEnvs': (app) => { app.decorateRequest('getEnvs', () => ({})) },
  }
  for (const [name, own] of Object.entries(decorate)) {
    const owned = build(t).app
    own(owned)
    await t.rejects(Promise.resolve(owned.register(env, input)), { code: 'BULWARK_CONFIG', message: new RegExp(name) })
  }
})

test('app.getEnvs and request.getEnvs give the configuration, typed', async (t) => {
  const server = await createServer(
    defineSecurity({ env: { schema, source: { PORT: '7', SECRET: STRONG } }, auth: false }),
    {
      logger: false,
    },
  )
  t.teardown(() => server.close())
  const port: number = server.getEnvs().PORT
  // @ts-expect-error no such variable
  t.equal(server.getEnvs().PROT, undefined)
  t.equal(port, 7)
  t.equal(server.getEnvs(), server.config)
  server.get('/', async (request) => {
    const own: number = request.getEnvs().PORT
    t.equal(request.getEnvs(), server.config)
    return { own, all: request.getEnvs() }
  })
  t.same((await server.inject({ url: '/', headers: { host: 'localhost' } })).json(), {
    own: 7,
    all: { PORT: 7, SECRET: '[redacted]' },
  })
})

test('options that belong elsewhere are refused with the place or the name they have', async (t) => {
  const cases: [string, unknown, RegExp][] = [
    ['sources', [], /await loadEnvAsync.*fastify-bulwark\/secrets/],
    ['refresh', '5m', /await loadEnvAsync/],
    ['timeout', '5s', /await loadEnvAsync/],
    ['onRotate', () => {}, /await loadEnvAsync/],
    ['data', {}, /source:/],
    ['env', true, /process\.env/],
    ['confKey', 'settings', /app\.config/],
    ['expandEnv', true, /Remove it/],
    ['ajv', {}, /Remove it/],
    ['dotenv', { path: '.env' }, /dotenv: '/],
  ]
  for (const [name, value, fix] of cases) {
    const problems: Problem[] = []
    readEnv({ schema: Type.Object({}), source: {}, [name]: value }, problems)
    t.match(problems, [{ path: `env.${name}`, fix }])
    t.equal(problems.length, 1, name)
  }
})

test('a definition is read once, and each missing secret is generated once', async (t) => {
  let reads = 0
  const source = {
    get SECRET (): string | undefined {
      reads++
      return undefined
    },
  }
  const problems: Problem[] = []
  const { config } = readEnv({ schema, source }, problems)
  t.equal(reads, 1)
  const { app } = build(t)
  await app.register(env, config as EnvInput)
  t.equal(app.config, config)
  t.equal(reads, 1)
})

test('anything else than a schema or a loaded configuration is refused', async (t) => {
  const loaded = loadEnv(schema, { source: { SECRET: STRONG } })
  const cases: unknown[] = [
    {},
    { source: {} },
    { schema: Type.String() },
    { schema: {} },
    { ...loaded },
    { schema, surce: {} },
    { schema, source: 1 },
    Type.String(),
  ]
  for (const input of cases) {
    const problems: Problem[] = []
    readEnv(input, problems)
    t.not(problems.length, 0)
    const { app } = build(t)
    await t.rejects(Promise.resolve(app.register(env, input as EnvInput)), { code: 'BULWARK_CONFIG' })
  }
  for (const input of [null, 'x', 1, [], true]) {
    const problems: Problem[] = []
    readEnv(input, problems)
    t.not(problems.length, 0, String(input))
  }
})

test('readEnv tells the umbrella what it needs before any other check', async (t) => {
  const problems: Problem[] = []
  const none = readEnv(undefined, problems)
  t.same([{ ...none.config }, none.production, problems], [{}, false, []])
  const read = readEnv({ schema, source: { NODE_ENV: 'production', PORT: 'x', SECRET: STRONG } }, problems)
  t.same(problems.map(({ path }) => path), ['env.PORT'])
  t.equal(read.production, true, 'also when a variable is wrong')
  t.same({ ...read.config }, {})
  const good = readEnv({ schema, source: {} }, [])
  t.equal(good.config['PORT'], 3000)
  t.same(generatedSecrets(good.config), ['SECRET'])
  t.equal(readEnv(good.config, []).config, good.config, 'handing it on reads nothing twice')
})
