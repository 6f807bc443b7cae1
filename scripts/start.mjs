// `npm start` and `npm run make-admin`: node scripts/start.mjs <main | make-admin> [argument…]
// Runs a program of the example server from its sources. They are compiled when they have changed, without a type
// check, into a folder named after their content: a second start compiles nothing, and two at once do not disturb each
// other.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const ROOT = join(import.meta.dirname, '..')
const BUILDS = join(ROOT, 'dist', 'start')
const PROGRAMS = ['main', 'make-admin']
/** What the programs are compiled from, beside the .ts files of the root. */
const FOLDERS = ['cli', 'client', 'example-server', 'lib', 'plugins']
const SETTINGS = ['package.json', 'package-lock.json', 'tsconfig.json', 'scripts/bundle.mjs', 'scripts/start.mjs']
/** A build of another content may still be loading in another process. */
const KEPT_MS = 60 * 60 * 1000

const listSources = () => [
  ...readdirSync(ROOT),
  ...FOLDERS.flatMap((folder) => readdirSync(join(ROOT, folder), { recursive: true }).map((file) => join(folder, file))),
].filter((file) => file.endsWith('.ts')).sort()

function hashSources () {
  const hash = createHash('sha256')
  for (const file of [...SETTINGS, ...listSources()]) {
    const content = readFileSync(join(ROOT, file))
    hash.update(`${file} ${content.length}\n`).update(content)
  }
  return hash.digest('hex').slice(0, 16)
}

/** The programs and the suite they import, as a package of its own: `fastify-bulwark` is what stands beside them. */
async function compile (folder) {
  const { bundle, compileForBrowsers, PUBLISHED } = await import('./bundle.mjs')
  const manifest = readFileSync(join(ROOT, 'package.json'), 'utf8')
  const half = `${folder}.${process.pid}`
  mkdirSync(half, { recursive: true })
  writeFileSync(join(half, 'package.json'), manifest.replaceAll('./dist/bundle/', './').replaceAll('./dist/', './'))
  await bundle([...PUBLISHED, ...PROGRAMS.map((name) => `example-server/${name}`)], half)
  await compileForBrowsers('client/session', half)
  try {
    renameSync(half, folder)
  } catch (error) {
    // Another start was first.
    rmSync(half, { recursive: true })
    if (!existsSync(folder)) throw error
  }
}

function removeOldBuilds (current) {
  for (const name of readdirSync(BUILDS)) {
    const folder = join(BUILDS, name)
    if (name !== current && statSync(folder).mtimeMs < Date.now() - KEPT_MS) rmSync(folder, { recursive: true, force: true })
  }
}

const [program, ...args] = process.argv.slice(2)
if (!PROGRAMS.includes(program)) throw new Error(`Usage: node scripts/start.mjs <${PROGRAMS.join(' | ')}> [argument…]`)

const name = hashSources()
const folder = join(BUILDS, name)
if (!existsSync(folder)) {
  process.stderr.write('compiling the example server (about 2 s; only when its sources have changed) …\n')
  await compile(folder)
  removeOldBuilds(name)
}
const file = join(folder, 'example-server', `${program}.js`)
process.argv = [process.execPath, file, ...args]
process.setSourceMapsEnabled(true)
await import(pathToFileURL(file).href)
