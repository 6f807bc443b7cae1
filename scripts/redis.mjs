// A Redis of the tests' own: loopback, nothing on disk, gone when the tests are.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCommand, REDIS_SERVER } from './installs.mjs'

const START_MS = 10_000

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

/** @returns its URL, and how to stop it */
export async function startRedis () {
  if (!hasCommand(REDIS_SERVER)) {
    throw new Error(
      'The tests need a Redis: install it (Debian: apt-get install redis-server; macOS: brew install redis), or set REDIS_URL.',
    )
  }
  const port = await freePort()
  const dir = mkdtempSync(join(tmpdir(), 'bulwark-redis-'))
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir]
  const server = spawn(REDIS_SERVER, args, { stdio: 'ignore' })
  const until = Date.now() + START_MS
  while (!await accepts(port)) {
    if (Date.now() > until || server.exitCode !== null) throw new Error(`${REDIS_SERVER} did not start.`)
    await sleep(50)
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    stop () { server.kill('SIGKILL'); rmSync(dir, { recursive: true, force: true }) },
  }
}
