// `npm test`: builds, lints, starts a Redis when none is given, runs every test, and ends with one plain line of
// counts.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/** The binary of the servers that tests start; Valkey's does as well. */
const REDIS_SERVER = process.env.REDIS_SERVER ?? 'redis-server'
const REDIS_START_MS = 10_000
const INSTALL_MS = 300_000

function run (name, args) {
  const { status, error } = spawnSync(process.execPath, [join('node_modules', ...name), ...args], { stdio: 'inherit' })
  if (error) throw error
  return status === 0
}

function hasCommand (command) {
  // Debian keeps nginx in /usr/sbin, which is not on everybody's path.
  const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin` }
  return spawnSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore', env }).status === 0
}

/**
 * Installs what the tests run beside Node, where this user may; otherwise each says itself what it misses. What only
 * some releases of Debian have, `optional`, is no reason by itself to ask for a new list of packages.
 */
function installMissing (tools, optional) {
  const missing = (commands) =>
    Object.entries(commands).filter(([command]) => !hasCommand(command)).map(([, name]) => name)
  const canInstall = process.getuid?.() === 0 && spawnSync('apt-get', ['--version'], { stdio: 'ignore' }).status === 0
  if (!canInstall) return
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' }
  // One name that this release does not have would make apt install none.
  const available = (names) =>
    names.filter((name) =>
      /Candidate: (?!\(none\))/.test(spawnSync('apt-cache', ['policy', name], { encoding: 'utf8', env }).stdout)
    )
  const [needed, wanted] = [missing(tools), missing(optional)]
  if (needed.length === 0 && available(wanted).length === 0) return
  spawnSync('apt-get', ['update', '-qq'], { stdio: 'inherit', env })
  const packages = [...needed, ...available(wanted)]
  console.log(`# installing ${packages.join(', ')}`)
  spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env,
  })
}

/**
 * MDN HTTP Observatory brings 233 packages, so it stays out of the suite's own and is installed once for its one test.
 * Without scripts: they would download lists that the test does not use.
 */
function installObservatory () {
  const folder = join('test', 'observatory')
  const read = (...path) => JSON.parse(readFileSync(join(folder, ...path), 'utf8'))
  // npm writes this file last, so an installation that was interrupted is made again.
  const done = join('node_modules', '.package-lock.json')
  const installed = existsSync(join(folder, done)) ? read(done).packages : {}
  const { dependencies } = read('package.json')
  if (Object.entries(dependencies).every(([name, version]) => installed[`node_modules/${name}`]?.version === version))
    return
  console.log('# installing MDN HTTP Observatory')
  spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: INSTALL_MS,
  })
}

function freePort () {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject).listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

function accepts (port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
      .once('connect', () => { socket.destroy(); resolve(true) })
      .once('error', () => resolve(false))
  })
}

/** A Redis of the tests' own: loopback, nothing on disk, gone when the tests are. */
async function startRedis () {
  if (!hasCommand(REDIS_SERVER)) {
    throw new Error(
      'The tests need a Redis: install it (Debian: apt-get install redis-server; macOS: brew install redis), or set REDIS_URL.',
    )
  }
  const port = await freePort()
  const dir = mkdtempSync(join(tmpdir(), 'bulwark-redis-'))
  const server = spawn(REDIS_SERVER, [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    dir,
  ], { stdio: 'ignore' })
  const until = Date.now() + REDIS_START_MS
  while (!await accepts(port)) {
    if (Date.now() > until || server.exitCode !== null) throw new Error(`${REDIS_SERVER} did not start.`)
    await sleep(50)
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    stop () { server.kill('SIGKILL'); rmSync(dir, { recursive: true, force: true }) },
  }
}

/** Runs the files and tells of each as it ends. @returns tap's output, by line */
async function runTests (files, env) {
  const tests = spawn(process.execPath, [join('scripts', 'run-tests.mjs'), ...files], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  const ended = once(tests, 'close')
  const lines = []
  for await (const line of createInterface({ input: tests.stdout })) {
    lines.push(line)
    if (/^(not )?ok \d/.test(line)) console.log(line)
  }
  const [status] = await ended
  return { ok: status === 0, lines }
}

/** What failed, without what passed around it. */
function printFailures (lines) {
  let inside = false
  for (const line of lines) {
    if (/^\s*not ok /.test(line)) inside = true
    else if (/^\s*(ok |# Subtest)/.test(line)) inside = false
    if (inside) console.log(line)
  }
}

/** Counts assertions; a skipped one counts as failed in CI, where everything is installed. */
function count (lines) {
  const totals = lines.filter((line) => line.startsWith('# { ')).at(-1)
  const read = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals ?? '')?.[1] ?? 0)
  return {
    passed: read('pass'),
    failed: read('fail'),
    skipped: read('skip') + read('todo'),
    complete: totals !== undefined,
  }
}

async function main () {
  for (const project of ['tsconfig.json', 'tsconfig.client.json']) {
    if (!run(['typescript', 'bin', 'tsc'], ['-p', project])) return finish(0, 1)
  }
  if (spawnSync(process.execPath, [join('scripts', 'bundle.mjs')], { stdio: 'inherit' }).status !== 0)
    return finish(0, 1)
  if (!run(['eslint', 'bin', 'eslint.js'], ['.'])) return finish(0, 1)
  installMissing({
    ...(REDIS_SERVER === 'redis-server' && { 'redis-server': 'redis-server' }),
    ...(!process.env.CHROMIUM_PATH && { chromium: 'chromium' }),
    certutil: 'libnss3-tools',
    nginx: 'nginx-light',
    openssl: 'openssl',
  }, { 'valkey-server': 'valkey-server' })
  const chosen = process.argv.slice(2)
  if (chosen.length === 0 || chosen.some((argument) => argument.includes('observatory'))) installObservatory()
  // After a new installation tap would load its TypeScript plugin, which .taprc takes out, into every process of the
  // first run.
  if (chosen.length === 0 && !run(['tap', 'dist', 'esm', 'run.mjs'], ['build'])) return finish(0, 1)
  const redis = process.env.REDIS_URL ? null : await startRedis()
  try {
    const { ok, lines } = await runTests(chosen, redis ? { REDIS_URL: redis.url } : {})
    const { passed, failed, skipped, complete } = count(lines)
    if (!ok) printFailures(lines)
    const refused = skipped > 0 && process.env.CI ? skipped : 0
    if (refused > 0) console.log(`# ${skipped} skipped: in CI nothing may be skipped`)
    finish(passed, Math.max(failed + refused, ok && complete && passed > 0 ? 0 : 1), skipped - refused)
  } finally {
    redis?.stop()
  }
}

function finish (passed, failed, skipped = 0) {
  process.exitCode = failed === 0 ? 0 : 1
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
}

await main().catch((error) => {
  console.error(error.message)
  finish(0, 1)
})
