// `npm test [-- [--no-install] [compiled test file…]]`: builds, lints, starts a Redis when none is given, runs every
// test, and ends with one plain line of counts.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { findMissing, installMissing, reportMissing } from './installs.mjs'
import { startRedis } from './redis.mjs'

const children = new Set()

/** Runs a file with Node. @returns whether it ended well; what it printed is printed when it has ended */
async function runNode (file, args = []) {
  const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  children.add(child)
  const printed = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { printed.push(chunk) })
  const [status] = await once(child, 'close')
  children.delete(child)
  process.stdout.write(Buffer.concat(printed))
  return status === 0
}

const runPackage = (path, ...args) => runNode(join('node_modules', ...path.split('/')), args)

async function build () {
  // One after the other: both write to dist.
  return await runPackage('typescript/bin/tsc', '-p', 'tsconfig.json') &&
    await runPackage('typescript/bin/tsc', '-p', 'tsconfig.client.json') &&
    await runNode(join('scripts', 'bundle.mjs'))
}

/**
 * After a new installation tap would load its TypeScript plugin, which .taprc takes out, into every process of the
 * first run.
 */
const buildTap = () => runPackage('tap/dist/esm/run.mjs', 'build')

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

function finish (passed, failed, skipped = 0) {
  for (const child of children) child.kill('SIGKILL')
  process.exitCode = failed === 0 ? 0 : 1
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
}

async function main () {
  const args = process.argv.slice(2)
  const chosen = args.filter((argument) => argument !== '--no-install')
  const all = chosen.length === 0
  const missing = findMissing({ observatory: all || chosen.some((argument) => argument.includes('observatory')) })
  const installs = !args.includes('--no-install')
  if (!installs && !reportMissing(missing)) return finish(0, 1)

  // The linter needs no build, and takes as long as a third of the tests on one core: it runs beside them.
  const linted = runPackage('eslint/bin/eslint.js', '.')
  const installed = installs ? installMissing(missing) : null
  const built = await build() && (!all || await buildTap())
  await installed
  if (!built || (!all && !await linted)) return finish(0, 1)

  const redis = process.env.REDIS_URL ? null : await startRedis()
  try {
    const { ok, lines } = await runTests(chosen, redis ? { REDIS_URL: redis.url } : {})
    const { passed, failed, skipped, complete } = count(lines)
    if (!ok) printFailures(lines)
    // In CI everything is installed, so what is skipped there counts as failed.
    const refused = skipped > 0 && process.env.CI ? skipped : 0
    if (refused > 0) console.log(`# ${skipped} skipped: in CI nothing may be skipped`)
    const failures = Math.max(failed + refused, ok && complete && passed > 0 ? 0 : 1)
    const lintFailures = await linted ? 0 : 1
    if (lintFailures > 0) console.log('# the linter found what stands above, among the tests')
    finish(passed, failures + lintFailures, skipped - refused)
  } finally {
    redis?.stop()
  }
}

await main().catch((error) => {
  console.error(error.message)
  finish(0, 1)
})
