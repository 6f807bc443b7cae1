import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import root, { test, type Test } from 'tap'
import { ROOT } from './helpers/root.js'

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly types: string, readonly default: string }>>
  readonly bin: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly engines: { readonly node: string }
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest

const PLUGINS: readonly [string, string][] = [
  ['env', 'env'],
  ['headers', 'headers'],
  ['cors', 'cors'],
  ['csrf', 'csrf'],
  ['transport', 'transport'],
  ['rate-limit', 'rateLimit'],
  ['auth', 'auth'],
  ['validation', 'validation'],
  ['cookies', 'cookies'],
  ['errors', 'errors'],
  ['events', 'events'],
]

test('every subpath gives its plugin by name and as default, by import and by require', async (t) => {
  const require = createRequire(import.meta.url)
  for (const [subpath, name] of PLUGINS) {
    const module = await import(`fastify-bulwark/${subpath}`) as Readonly<Record<string, unknown>>
    t.type(module[name], 'function', subpath)
    t.equal(module[name], module['default'], subpath)
    t.equal((require(`fastify-bulwark/${subpath}`) as Readonly<Record<string, unknown>>)[name], module[name], subpath)
  }
  t.same(
    Object.keys(manifest.exports).sort(),
    [
      '.',
      './client',
      './jwt',
      './metrics',
      './otel',
      './package.json',
      './passwords',
      './secrets',
      './testing',
      ...PLUGINS.map(([subpath]) => `./${subpath}`),
    ].sort(),
  )
})

test('the index gives the umbrella, the three ways in and the errors', async (t) => {
  const index = await import('fastify-bulwark') as Readonly<Record<string, unknown>>
  t.same(Object.keys(index).sort(), [
    'BulwarkConfigError',
    'ERROR_CATALOGUE',
    'SecurityError',
    'Type',
    'bulwark',
    'createServer',
    'default',
    'defineSecurity',
    'loadEnv',
    'publicRoute',
    'serverOptions',
  ])
})

test('the secret sources have an entry of their own, and the entry of the env plugin has none of them', async (t) => {
  const secrets = await import('fastify-bulwark/secrets') as Readonly<Record<string, unknown>>
  const names = [
    'LoadEnvAsyncOptionsSchema',
    'SecretSourceError',
    'awsSecrets',
    'fileSecrets',
    'loadEnvAsync',
    'stopRefresh',
    'vaultSecrets',
  ]
  t.same(Object.keys(secrets).sort(), names)
  const plugin = await import('fastify-bulwark/env') as Readonly<Record<string, unknown>>
  for (const name of names) t.notOk(name in plugin, name)
})

test('every production dependency has its reason in the docs, and no other stands there', async (t) => {
  const text = readFileSync(join(ROOT, 'docs', 'dependencies.md'), 'utf8')
  const table = [...text.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell]) =>
    [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name)
  )
  t.same(table.sort(), [...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies)].sort())
})

test('without Redis configured, ioredis is not loaded', async (t) => {
  const script = `
    const { createServer, defineSecurity } = await import('fastify-bulwark')
    const app = await createServer(defineSecurity({}), { logger: false })
    await app.ready()
    const { createRequire } = await import('node:module')
    process.stdout.write(String(Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes('ioredis')).length))
    await app.close()`
  t.equal(
    execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      cwd: ROOT,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] },
    }),
    '0',
  )
})

/** What `npm publish` would send, as an app has it: beside nothing but the packages. */
function installPacked (t: Test): { readonly app: string, readonly folder: string } {
  const app = mkdtempSync(join(tmpdir(), 'bulwark-packed-'))
  t.teardown(() => {
    rmSync(app, { recursive: true })
  })
  execFileSync('npm', ['pack', '--ignore-scripts', '--loglevel=error', '--pack-destination', app], {
    cwd: ROOT,
    stdio: 'ignore',
  })
  const folder = join(app, 'node_modules', 'fastify-bulwark')
  mkdirSync(folder, { recursive: true })
  const [archive = ''] = readdirSync(app).filter((name) => name.endsWith('.tgz'))
  execFileSync('tar', ['-xzf', join(app, archive), '--strip-components=1', '-C', folder])
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return { app, folder }
}

let packed: ReturnType<typeof installPacked> | null = null
/** Installed once, for all tests of this file. */
function packedOnce (): ReturnType<typeof installPacked> {
  packed ??= installPacked(root)
  return packed
}

test('what is published is whole: each entry loads, each type is there, and a server runs on it', async (t) => {
  const { app, folder } = packedOnce()
  for (const entry of [...Object.values(manifest.exports), ...Object.values(manifest.bin)]) {
    for (const file of typeof entry === 'string' ? [entry] : [entry.types, entry.default])
      { t.ok(existsSync(join(folder, file)), file) }
  }
  const files = readdirSync(join(folder, 'dist'), { recursive: true, encoding: 'utf8' })
  for (const file of files.filter((name) => name.endsWith('.d.ts'))) {
    const text = readFileSync(join(folder, 'dist', file), 'utf8')
    const missing = [...text.matchAll(/(?:from|import\() ?['"](\.[^'"]+)\.js['"]/g)].map(([, path]) =>
      join(dirname(join(folder, 'dist', file)), `${path ?? ''}.d.ts`)
    ).filter((path) => !existsSync(path))
    t.same(missing, [], file)
  }
  t.notOk(files.some((name) => /^(test|example-server|bench)\b/.test(name)))

  // /client is for browsers.
  const entries = Object.keys(manifest.exports).filter((name) => !['./client', './package.json'].includes(name)).map((
    name,
  ) => name.replace('.', 'fastify-bulwark'))
  const script = `
    for (const entry of ${JSON.stringify(entries)}) await import(entry)
    const { createServer, defineSecurity, publicRoute, SecurityError } = await import('fastify-bulwark')
    const { auth } = await import('fastify-bulwark/auth')
    const oneOfEach = (await import('fastify-bulwark')).Type === (await import('fastify-bulwark/validation')).Type
    const app = await createServer(defineSecurity({ transport: { proxies: 'none', https: 'off' } }), { logger: false })
    app.get('/', { security: { auth: publicRoute('a test') } }, async () => { throw new SecurityError('NOT_FOUND') })
    const answer = await app.inject({ url: '/', headers: { host: 'localhost' } })
    process.stdout.write(JSON.stringify([answer.statusCode, answer.json().code, typeof answer.headers['content-security-policy'], typeof auth, oneOfEach]))
    await app.close()`
  const printed = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: app,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
  })
  t.same(JSON.parse(printed), [404, 'NOT_FOUND', 'string', 'function', true])
  t.match(
    execFileSync(process.execPath, [join(folder, manifest.bin['fastify-bulwark'] ?? ''), '--version'], {
      cwd: app,
      encoding: 'utf8',
    }),
    /^\d+\.\d+\.\d+\n$/,
  )
})

test('the stack of an error thrown by what is published names the files of the repository', async (t) => {
  const { app, folder } = packedOnce()
  const scripts = readdirSync(join(folder, 'dist', 'bundle'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.js'))
  for (const file of scripts) t.ok(existsSync(join(folder, 'dist', 'bundle', `${file}.map`)), file)
  const script = `
    const { defineSecurity, createServer } = await import('fastify-bulwark')
    try {
      await createServer(defineSecurity({ cors: { unheardOf: true } }))
    } catch (error) {
      process.stdout.write(error.stack)
    }`
  const stack = execFileSync(process.execPath, ['--enable-source-maps', '--input-type=module', '-e', script], {
    cwd: app,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
  })
  t.match(stack, /fastify-bulwark\/(lib|plugins)\/[\w/-]+\.ts:\d+:\d+/)
  t.notMatch(stack, /dist\/bundle\//)
  const { size } = statSync(join(app, readdirSync(app).find((name) => name.endsWith('.tgz')) ?? ''))
  t.ok(size < 1_000_000, `${size} bytes packed`)
})
