// Servers and load generators as processes, each pinned to its core where the system can.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { signIn } from '../stacks/sign-in.mjs'

const SERVER = fileURLToPath(new URL('../server.mjs', import.meta.url))
export const SERVER_CORE = '0'
export const LOAD_CORE = '1'

export const canPin = availableParallelism() > 1 &&
  spawnSync('taskset', ['-c', LOAD_CORE, 'true'], { stdio: 'ignore' }).status === 0

export function pinned (core, command, args, options) {
  return canPin ? spawn('taskset', ['-c', core, command, ...args], options) : spawn(command, args, options)
}

/** The generator and the one that directs it stay off the server's core. */
export function pinSelf () {
  if (canPin) spawnSync('taskset', ['-a', '-p', '-c', LOAD_CORE, String(process.pid)], { stdio: 'ignore' })
}

const running = new Set()
process.on('exit', () => { for (const child of running) child.kill('SIGKILL') })

/**
 * A loop of the lowest priority on the core of the load. A core that sleeps between two answers has to be woken by the
 * server that sends the next one, which costs it the more the slower it is: on a virtual machine up to a fifth of a
 * small request.
 * @returns whether the system can
 */
export function keepLoadAwake () {
  if (!canPin || spawnSync('chrt', ['--idle', '0', 'true'], { stdio: 'ignore' }).status !== 0) return false
  running.add(pinned(LOAD_CORE, 'chrt', ['--idle', '0', process.execPath, '-e', 'for (;;);'], { stdio: 'ignore' }))
  return true
}

/** @param file what to run in place of server.mjs; it has to speak with its parent as that does */
export async function startServer (module, options, { env = {}, file = SERVER, core = SERVER_CORE } = {}) {
  const child = pinned(core, process.execPath, ['--expose-gc', file, module, JSON.stringify(options)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production', ...env },
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  let settle = null
  child.on('message', ({ value, error }) => {
    settle?.(error === undefined ? { value } : { error: new Error(`${module}: ${error}`) })
  })
  child.once('exit', (code) => {
    settle?.({ error: new Error(`${module} ended with ${code}`) })
  })
  // One question at a time.
  const answer = async () => {
    const { value, error } = await new Promise((resolve) => { settle = resolve })
    if (error !== undefined) throw error
    return value
  }
  const port = await answer()
  return {
    port,
    ask (what, more) {
      child.send({ ask: what, ...more })
      return answer()
    },
    async stop () {
      if (child.exitCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

/** Tokens that the server accepts, of so many users. */
export async function tokensOf (server, count) {
  return await server.ask('mint', { count }) ?? await signIn(server.port, count)
}

/** Runs a script to its end. @returns the one value that it sends */
export async function startProcess (file, args) {
  const child = spawn(process.execPath, ['--expose-gc', file, ...args], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production' },
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  return await new Promise((resolve, reject) => {
    child.once('message', ({ value }) => { resolve(value) })
    child.once('exit', (code) => { reject(new Error(`${file} ended with ${code}`)) })
  })
}
