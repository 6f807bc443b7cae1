import { appendFileSync, cpSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import root, { test, type Test } from 'tap'
import { ROOT } from '../helpers/root.js'
import { SECRETS, SLOW, workingDirectory } from './helpers.js'
import { Client, Program, serverDirectory } from './process.js'

root.setTimeout(SLOW.timeout)

test('a production start with ten things wrong prints ten lines, exits with 1, and shows no value', SLOW, async (t) => {
  const cwd = workingDirectory(t)
  writeFileSync(join(cwd, 'weak'), 'sup3r-weak-in-a-file\n')
  const server = new Program(t, 'main.js', {
    cwd,
    env: {
      NODE_ENV: 'production',
      PORT: 'sup3r-port',
      DATABASE_URL: 'mysql://app:sup3r-password@sup3r-host/app',
      REDIS_URL: 'sup3r-cache:6379',
      PUBLIC_ORIGIN: 'http://sup3r-origin.example',
      ALLOWED_ORIGINS: 'https://sup3r-other.example/path',
      ALLOWED_HOSTS: 'https://sup3r-host.example',
      TRUSTED_PROXIES: '0.0.0.0/0',
      JWT_ACCESS_SECRET: 'sup3r-sup3r-sup3r-sup3r-sup3r-sup3r',
      JWT_REFRESH_SECRET_FILE: './weak',
      LOG_LEVEL: 'sup3r-loud',
    },
  })
  t.equal(await server.end(), 1)
  const lines = server.stderr.trimEnd().split('\n')
  t.match(lines[0], /10 problems/)
  t.same(lines.slice(1).map((line) => /^ {2}- ([\w.]+)/.exec(line)?.[1]).sort(), [
    'cors.origin',
    'env.DATABASE_URL',
    'env.JWT_ACCESS_SECRET',
    'env.JWT_REFRESH_SECRET',
    'env.LOG_LEVEL',
    'env.PORT',
    'env.REDIS_URL',
    'transport.hosts',
    'transport.proxies',
    'transport.publicOrigin',
  ], 'the variables and what they define, in one list')
  t.notMatch(server.stderr + server.stdout, /sup3r|0\.0\.0\.0/)
  t.equal(server.stdout, '')
})

test('what only the definition finds is told before a database is opened', SLOW, async (t) => {
  const server = new Program(t, 'main.js', {
    cwd: workingDirectory(t),
    env: {
      ...SECRETS,
      NODE_ENV: 'production',
      DATABASE_URL: 'postgres://app:sup3r-password@127.0.0.1:1/app',
      REDIS_URL: 'redis://:sup3r-password@127.0.0.1:1',
      PUBLIC_ORIGIN: 'http://sup3r-origin.example',
      ALLOWED_HOSTS: 'api.example',
      TRUSTED_PROXIES: 'none',
    },
  })
  t.equal(await server.end(), 1)
  t.match(server.stderr, /1 problem:\n {2}- transport\.publicOrigin:/)
  t.notMatch(server.stderr + server.stdout, /sup3r/)
})

/** What `npm start` needs of a clone, with the packages installed. */
function cloneRepository (t: Test): string {
  const clone = workingDirectory(t)
  const folders = ['cli', 'client', 'example-server', 'lib', 'plugins', 'scripts']
  const files = readdirSync(ROOT).filter((file) => /\.(ts|json)$/.test(file))
  for (const name of [...folders, ...files]) cpSync(join(ROOT, name), join(clone, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(clone, 'node_modules'))
  return clone
}

function start (t: Test, clone: string, cwd: string): Program {
  return new Program(t, join(clone, 'scripts', 'start.mjs'), { cwd, env: { PORT: '0' }, args: ['main'] })
}

test('npm start compiles only what has changed, and two starts at once both serve', SLOW, async (t) => {
  const clone = cloneRepository(t)
  const [one, other] = [await serverDirectory(t), await serverDirectory(t)]
  for (const server of [start(t, clone, one), start(t, clone, other)]) {
    const client = new Client(await server.listening())
    t.equal((await client.send('GET', '/healthz')).status, 200)
    t.match(server.stderr, /^compiling the example server/, 'says what it is doing')
    await server.end('SIGTERM')
  }
  t.same(readdirSync(join(clone, 'dist', 'start')).length, 1, 'one build is left')

  const second = start(t, clone, one)
  await second.listening()
  t.equal(second.stderr, '', 'a second start compiles nothing')
  await second.end('SIGTERM')

  const make = join(clone, 'example-server', 'make-admin.ts')
  appendFileSync(make, "process.stdout.write('changed\\n')\n")
  const changed = new Program(t, join(clone, 'scripts', 'start.mjs'), { cwd: one, env: {}, args: ['make-admin'] })
  await changed.end()
  t.match(changed.stderr, /^compiling.*\nUsage: /s, 'a change is compiled')
  t.match(changed.stdout, /^changed$/m)
})

test('npm start and npm run make-admin run this script', async (t) => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Readonly<Record<string, string>>
  }
  t.equal(scripts['start'], 'exec node scripts/start.mjs main')
  t.equal(scripts['make-admin'], 'exec node scripts/start.mjs make-admin')
})
