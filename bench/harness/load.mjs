// Closed-loop load by wrk, and the server's own account of the CPU time it took.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { LOAD_CORE, pinned } from './servers.mjs'

const SCRIPT = fileURLToPath(new URL('../wrk.lua', import.meta.url))
/** Until every connection is open and the first answers are back. */
const SETTLE_MS = 120
/** A server that gets little of its core in a round gets longer, up to a bound. */
const LEAST_REQUESTS = 1500
const LONGEST_MS = 5000
export const CONNECTIONS = 64

const folder = mkdtempSync(join(tmpdir(), 'bulwark-bench-'))
process.on('exit', () => { rmSync(folder, { recursive: true, force: true }) })

export function requireWrk () {
  if (spawnSync('sh', ['-c', 'command -v wrk'], { stdio: 'ignore' }).status !== 0) {
    throw new Error(
      'The benchmark makes its load with wrk: install it ' +
      '(Debian and Ubuntu: apt-get install wrk; macOS: brew install wrk).',
    )
  }
}

let files = 0
/** @returns the name of a file that wrk.lua reads */
export function writeRequests (requests) {
  const file = join(folder, `requests-${files++}`)
  writeFileSync(file, requests.join('\0'))
  return file
}

function startWrk (port, file, connections) {
  const child = pinned(LOAD_CORE, 'wrk', [
    '-t1',
    `-c${connections}`,
    '-d600s',
    '-s',
    SCRIPT,
    `http://127.0.0.1:${port}/`,
    '--',
    file,
  ], { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  child.stdout.on('data', (chunk) => { text += chunk })
  child.stderr.on('data', (chunk) => { text += chunk })
  const closed = once(child, 'close')
  return async () => {
    // It prints its counts when it is interrupted.
    child.kill('SIGINT')
    await closed
    return text
  }
}

/** wrk knows only whether an answer is a 2xx or 3xx; which one it is was checked before. */
function assertAnswers (text, status) {
  const total = Number(/(\d+) requests in /.exec(text)?.[1] ?? 0)
  const others = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0)
  const [, connect, read, write] = /Socket errors: connect (\d+), read (\d+), write (\d+)/.exec(text) ?? []
  if (total === 0 || Number(connect ?? 0) + Number(read ?? 0) + Number(write ?? 0) > 0)
    throw new Error(`wrk did not get its answers:\n${text}`)
  if (others !== (status < 400 ? 0 : total))
    throw new Error(`${others} of ${total} answers were not 2xx or 3xx, where ${status} is expected`)
}

/**
 * One round against one server.
 * @returns cpu: µs a request (user and system); perSecond: answers; share: how much of its core the server had
 */
export async function measure (server, file, status, seconds, connections = CONNECTIONS) {
  const stop = startWrk(server.port, file, connections)
  await sleep(SETTLE_MS)
  const from = await server.ask('mark')
  await sleep(seconds * 1000)
  let to = await server.ask('mark')
  while (to.requests - from.requests < LEAST_REQUESTS && to.at - from.at < LONGEST_MS) {
    await sleep(50)
    to = await server.ask('mark')
  }
  assertAnswers(await stop(), status)
  const requests = to.requests - from.requests
  const wallUs = (to.at - from.at) * 1000
  return {
    cpu: (to.cpu - from.cpu) / requests,
    perSecond: requests / wallUs * 1e6,
    share: (to.cpu - from.cpu) / wallUs,
    requests,
    preempted: to.preempted - from.preempted,
  }
}

/** Load until the server has had so many requests. */
export async function loadUntil (server, file, status, requests) {
  const { requests: before } = await server.ask('mark')
  const stop = startWrk(server.port, file, CONNECTIONS)
  while ((await server.ask('mark')).requests - before < requests) await sleep(50)
  assertAnswers(await stop(), status)
}
