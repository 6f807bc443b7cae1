// The CPU time (user and system) that `npm start` takes until the server listens, in a fresh copy of the repository:
// `node bench/start.mjs`. First start: compiles, makes a database. Second start: does neither. Linux only.
import { execFileSync, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const LISTENING = 'example listening on'
/** What /proc counts in. */
const TICKS_PER_SECOND = 100

/** As `git clone` makes it, with the packages installed. */
function copyRepository () {
  const folder = mkdtempSync(join(tmpdir(), 'bulwark-start-'))
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  for (const file of files.split('\0').filter((name) => name !== '')) cpSync(join(ROOT, file), join(folder, file))
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** CPU seconds of a group of processes, and of the children they have waited for. */
function cpuOfGroup (group) {
  let ticks = 0
  for (const id of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const fields = readFileSync(`/proc/${id}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ').map(Number)
      // From the state on: 2 is the group; 11 to 14 are utime, stime, cutime, cstime.
      if (fields[2] === group) ticks += fields[11] + fields[12] + fields[13] + fields[14]
    } catch {
      // It has ended meanwhile.
    }
  }
  return ticks / TICKS_PER_SECOND
}

async function measureStart (cwd) {
  const npm = spawn('npm', ['start'], {
    cwd,
    detached: true,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, PORT: '0', LOG_LEVEL: 'fatal' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise((resolve) => npm.once('close', resolve))
  let printed = ''
  const cpu = await new Promise((resolve, reject) => {
    npm.stdout.on('data', (text) => {
      printed += text
      if (printed.includes(LISTENING)) resolve(cpuOfGroup(npm.pid))
    })
    npm.once('close', () => { reject(new Error(`npm start ended without listening:\n${printed}`)) })
  })
  process.kill(-npm.pid, 'SIGTERM')
  await ended
  return cpu
}

const folder = copyRepository()
try {
  for (const name of ['first', 'second']) {
    console.log(`${name} start: ${(await measureStart(folder)).toFixed(1)} s of CPU until it listens`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
