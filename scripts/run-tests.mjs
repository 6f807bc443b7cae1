// Runs test files with tap, one process each: node scripts/run-tests.mjs [file…] (compiled; without one, all of
// dist/test).
// The tap command would load its module loaders for mocks and coverage, which no test uses, into each process and into
// each process that a test starts: 1.1 s of 2.2 s.
import { readdirSync } from 'node:fs'
import { t } from 'tap'
import { phasesOf } from './test-order.mjs'

const JOBS = 3
/** No promise about speed: it ends a file that hangs, on a machine that is slow for other reasons, too. */
const FILE_TIMEOUT_SECONDS = 300

const chosen = process.argv.slice(2)
const files = chosen.length > 0
  ? chosen
  : readdirSync('dist/test', { recursive: true }).filter((name) => name.endsWith('.test.js')).map((name) =>
    `dist/test/${name}`
  )
if (files.length === 0) throw new Error('No compiled test in dist/test: run npm run build first.')

function runFile (name) {
  return t.spawn(process.execPath, ['--enable-source-maps', '--import=./dist/test/helpers/watch-logs.js', name], {
    name,
    buffered: true,
    timeout: FILE_TIMEOUT_SECONDS * 1000,
    env: { ...process.env, TAP_TIMEOUT: String(FILE_TIMEOUT_SECONDS) },
  })
}

t.setTimeout(0)
t.jobs = JOBS
const { together, alone } = phasesOf(files)
await Promise.all(together.map(runFile))
for (const name of alone) await runFile(name)
