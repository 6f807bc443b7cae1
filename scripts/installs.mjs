// What the tests run beside Node: system packages, and MDN HTTP Observatory for one test. `npm test` installs what is
// missing, or says what it is.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The binary of the servers that tests start; Valkey's does as well. */
export const REDIS_SERVER = process.env.REDIS_SERVER ?? 'redis-server'

/** Debian's packages by the command that each brings. */
const NEEDED = {
  ...(REDIS_SERVER === 'redis-server' && { 'redis-server': 'redis-server' }),
  ...(!process.env.CHROMIUM_PATH && { chromium: 'chromium' }),
  certutil: 'libnss3-tools',
  nginx: 'nginx-light',
  openssl: 'openssl',
}
/** Debian 12 has it in its backports only. The one test that needs it says that it is left out. */
const OPTIONAL = { 'valkey-server': 'valkey-server' }

const OBSERVATORY = join('test', 'observatory')
const INSTALL_MS = 300_000

export function hasCommand (command) {
  // Debian keeps nginx in /usr/sbin, which is not on the path of every user.
  const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin` }
  return spawnSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore', env }).status === 0
}

const missingOf = (packages) =>
  Object.entries(packages).filter(([command]) => !hasCommand(command)).map(([, name]) => name)

/** npm writes .package-lock.json last, so an installation that was interrupted is made again. */
function isObservatoryMissing () {
  const read = (...path) => JSON.parse(readFileSync(join(OBSERVATORY, ...path), 'utf8'))
  const done = join('node_modules', '.package-lock.json')
  const installed = existsSync(join(OBSERVATORY, done)) ? read(done).packages : {}
  return Object.entries(read('package.json').dependencies)
    .some(([name, version]) => installed[`node_modules/${name}`]?.version !== version)
}

/** @returns names of Debian packages, and whether MDN HTTP Observatory is missing */
export function findMissing ({ observatory }) {
  return {
    needed: missingOf(NEEDED),
    optional: missingOf(OPTIONAL),
    observatory: observatory && isObservatoryMissing(),
  }
}

/** `npm test -- --no-install`. @returns whether the tests can run without an installation */
export function reportMissing ({ needed, optional, observatory }) {
  if (needed.length > 0) console.log(`# missing: ${needed.join(', ')} (Debian: apt-get install ${needed.join(' ')})`)
  if (observatory) console.log(`# missing: MDN HTTP Observatory (npm ci in ${OBSERVATORY})`)
  if (optional.length > 0) console.log(`# missing, and its test is left out: ${optional.join(', ')}`)
  return needed.length === 0 && !observatory
}

function run (command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], ...options })
  return new Promise((resolve) => {
    child.once('error', () => { resolve(false) })
    child.once('close', (status) => { resolve(status === 0) })
  })
}

async function installPackages (needed, optional) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' }
  // One name that this release does not have would make apt-get install none.
  const isAvailable = (name) =>
    /Candidate: (?!\(none\))/.test(spawnSync('apt-cache', ['policy', name], { encoding: 'utf8', env }).stdout)
  // What is only optional is no reason to ask for a new list of packages.
  if (needed.length === 0 && !optional.some(isAvailable)) return
  const names = [...needed, ...optional]
  console.log(`# about to install with apt-get: ${names.join(', ')}`)
  await run('apt-get', ['update', '-qq'], { env })
  const install = ['install', '-y', '-qq', '--no-install-recommends']
  await run('apt-get', [...install, ...names.filter((name) => needed.includes(name) || isAvailable(name))], { env })
}

/**
 * Without its scripts: they would download lists that the test does not use. It brings 233 packages, so it stays out of
 * the suite's own.
 */
async function installObservatory () {
  console.log(`# about to install with npm: MDN HTTP Observatory, in ${OBSERVATORY}`)
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  await run('npm', args, { cwd: OBSERVATORY, timeout: INSTALL_MS })
}

/** Installs what is missing, where this user may; a test whose program is missing says so itself. */
export async function installMissing ({ needed, optional, observatory }) {
  const canInstall = process.getuid?.() === 0 && spawnSync('apt-get', ['--version'], { stdio: 'ignore' }).status === 0
  if (!canInstall && needed.length > 0) console.log(`# missing, and this user may not install it: ${needed.join(', ')}`)
  await Promise.all([
    canInstall && installPackages(needed, optional),
    observatory && installObservatory(),
  ])
}
