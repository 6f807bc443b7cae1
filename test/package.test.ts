import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'tap'
import { ROOT } from './helpers/root.js'

interface Manifest {
  readonly exports: Readonly<Record<string, unknown>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly engines: { readonly node: string }
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest

const PLUGINS: readonly [string, string][] = [
  ['env', 'env'], ['headers', 'headers'], ['cors', 'cors'], ['csrf', 'csrf'], ['transport', 'transport'], ['rate-limit', 'rateLimit'],
  ['auth', 'auth'], ['validation', 'validation'], ['errors', 'errors'], ['events', 'events'],
]

test('every subpath gives its plugin by name and as default, by import and by require', async (t) => {
  const require = createRequire(import.meta.url)
  for (const [subpath, name] of PLUGINS) {
    const module = await import(`fastify-bulwark/${subpath}`) as Readonly<Record<string, unknown>>
    t.type(module[name], 'function', subpath)
    t.equal(module[name], module['default'], subpath)
    t.equal((require(`fastify-bulwark/${subpath}`) as Readonly<Record<string, unknown>>)[name], module[name], subpath)
  }
  t.same(Object.keys(manifest.exports).sort(), ['.', './client', './jwt', './metrics', './otel', './package.json', './passwords', './testing', ...PLUGINS.map(([subpath]) => `./${subpath}`)].sort())
})

test('the index gives the umbrella, the three ways in and the errors', async (t) => {
  const index = await import('fastify-bulwark') as Readonly<Record<string, unknown>>
  t.same(Object.keys(index).sort(), ['BulwarkConfigError', 'ERROR_CATALOGUE', 'SecurityError', 'Type', 'bulwark', 'createServer', 'default', 'defineSecurity', 'loadEnv', 'publicRoute', 'serverOptions'])
})

test('every production dependency has its reason in the docs, and no other stands there', async (t) => {
  const text = readFileSync(join(ROOT, 'docs', 'dependencies.md'), 'utf8')
  const table = [...text.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell]) => [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name))
  t.same(table.sort(), [...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies)].sort())
})

test('without Redis configured, ioredis is not loaded', async (t) => {
  const { execFileSync } = await import('node:child_process')
  const script = `
    const { createServer, defineSecurity } = await import('fastify-bulwark')
    const app = await createServer(defineSecurity({}), { logger: false })
    await app.ready()
    const { createRequire } = await import('node:module')
    process.stdout.write(String(Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes('ioredis')).length))
    await app.close()`
  t.equal(execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: ROOT, encoding: 'utf8', env: { PATH: process.env['PATH'] } }), '0')
})
