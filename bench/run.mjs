// `npm run bench`: the suite beside bare Fastify and its peers. docs/performance.md says what is measured and how to
// read it.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { randomBytes } from 'node:crypto'
import { readOptions, USAGE } from './harness/options.mjs'
import { canPin, keepLoadAwake, pinSelf } from './harness/servers.mjs'

const HERE = import.meta.dirname
const ROOT = new URL('..', import.meta.url)

/** The peers stay out of the suite's own packages, and are installed once. */
function installPeers () {
  const { dependencies } = JSON.parse(readFileSync(`${HERE}/package.json`, 'utf8'))
  // npm writes this file last, so an installation that was interrupted is made again.
  const done = `${HERE}/node_modules/.package-lock.json`
  const installed = existsSync(done) ? JSON.parse(readFileSync(done, 'utf8')).packages : {}
  if (Object.entries(dependencies).every(([name, version]) => installed[`node_modules/${name}`]?.version === version))
    return
  console.log('installing what the suite is compared with (bench/package.json)')
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'], {
    cwd: HERE,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) throw new Error('npm ci in bench/ failed.')
}

function build () {
  const { status } = spawnSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: 'inherit' })
  if (status !== 0) throw new Error('The build failed.')
}

const versionOf = (name) =>
  ['bench/node_modules', 'node_modules'].map((folder) => new URL(`${folder}/${name}/package.json`, ROOT)).filter((
    file,
  ) => existsSync(file)).map((file) => JSON.parse(readFileSync(file, 'utf8')).version)[0]
const PACKAGES = [
  'fastify',
  '@fastify/helmet',
  '@fastify/cors',
  '@fastify/rate-limit',
  '@fastify/jwt',
  '@fastify/cookie',
  'express',
  'helmet',
  'cors',
  'express-rate-limit',
  'jsonwebtoken',
  'zod',
  'hono',
  '@hono/node-server',
  'hono-rate-limiter',
  'rate-limit-redis',
  'ioredis',
  'pino',
]

function describeMachine () {
  return {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    pinned: canPin,
    loadAverageBefore: Number(loadavg()[0].toFixed(2)),
    packages: Object.fromEntries(PACKAGES.map((name) => [name, versionOf(name)])),
  }
}

/** The chart and the pages show what the results say. */
async function publish () {
  const { readResults, updatePages } = await import('./harness/docs.mjs')
  const results = readResults()
  if (results.routes) (await import('./harness/chart.mjs')).drawChart(results)
  updatePages()
}

const rounded = (_key, value) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value

async function main () {
  const options = readOptions(process.argv.slice(2))
  if (options.help) return console.log(USAGE)
  const file = new URL(options.out ?? 'bench/results.json', ROOT)
  if (options.draw) return await publish()
  const { requireWrk } = await import('./harness/load.mjs')
  requireWrk()
  if (options.beside === null) installPeers()
  if (process.env.BENCH_BUILD !== 'no') build()
  pinSelf()
  const awake = keepLoadAwake()
  // All processes of a run make and read the same tokens.
  process.env.BENCH_ACCESS_SECRET = randomBytes(32).toString('base64url')
  process.env.BENCH_REFRESH_SECRET = randomBytes(32).toString('base64url')
  const machine = { ...describeMachine(), awake }
  console.log(
    `Node ${machine.node}, ${machine.cores} × ${machine.cpu}, load ${machine.loadAverageBefore}; ${
      canPin
        ? 'servers on core 0, load on core 1'
        : 'NOT pinned to cores (no taskset, or one core): compare ratios only'
    }${awake ? ', which is kept awake' : ''}\n`,
  )
  if (options.scale) return (await import('./scale.mjs')).runScale(options, machine)
  if (options.beside !== null) return await (await import('./harness/beside.mjs')).runBeside(options)
  if (options.profile !== null) return (await import('./harness/profile.mjs')).printProfiles(options)
  const phases = await import('./harness/phases.mjs')
  // A part that is measured again replaces that part of what is there.
  const before = options.isPart && options.out !== null && existsSync(file)
    ? JSON.parse(readFileSync(file, 'utf8'))
    : {}
  const results = { ...before, machine, settings: { ...before.settings } }
  for (const phase of [...options.scenarios.length > 0 ? ['routes'] : [], ...options.phases]) {
    const outcome = await phases[phase](options)
    if (outcome !== null) {
      results[phase] = outcome
      results.settings[phase] = {
        rounds: phases.ROUNDS[phase](options.rounds),
        seconds: options.seconds,
        quick: options.quick,
      }
    }
    machine.loadAverageAfter = Number(loadavg()[0].toFixed(2))
    // Written after each part, so that a run that is stopped is not lost.
    if (options.out !== null) writeFileSync(file, `${JSON.stringify(results, rounded, 1)}\n`)
  }
  if (options.out === 'bench/results.json') await publish()
}

// What was started ends with the run, however it ends.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => { process.exit(1) })

await main().catch((error) => {
  console.error(error.message)
  process.exitCode = 1
})
process.exit()
