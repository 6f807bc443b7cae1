import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { REDIS_SERVER } from '../../helpers/redis.js'

/** A Redis of the test's own, which it may pause, kill and start again. Nothing is written to disk. */
export interface OwnRedis {
  readonly url: string
  /** Stops answering without closing a connection (SIGSTOP). */
  pause (): void
  resume (): void
  kill (): Promise<void>
  start (): Promise<void>
  stop (): Promise<void>
}

export async function startRedis (): Promise<OwnRedis> {
  const port = await freePort()
  let child: ChildProcess | null = null
  const start = async (): Promise<void> => {
    child = spawn(REDIS_SERVER, ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    for await (const chunk of child.stdout ?? []) if (String(chunk).includes('Ready to accept connections')) break
  }
  const end = async (): Promise<void> => {
    const ending = child
    child = null
    if (ending === null) return
    const exited = once(ending, 'exit')
    ending.kill('SIGCONT')
    ending.kill('SIGKILL')
    await exited
  }
  await start()
  return {
    url: `redis://127.0.0.1:${port}`,
    pause: () => { child?.kill('SIGSTOP') },
    resume: () => { child?.kill('SIGCONT') },
    kill: end,
    start,
    stop: end,
  }
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
