import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { LOAD_CORE, pinned } from './servers.mjs'

export const hasRedis = () => spawnSync('sh', ['-c', 'command -v redis-server'], { stdio: 'ignore' }).status === 0

/** A Redis of the run's own, on the core of the load: loopback, nothing on disk. */
export async function startRedis (core = LOAD_CORE) {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  const server = pinned(core, 'redis-server', [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
  ], { stdio: ['ignore', 'pipe', 'ignore'] })
  process.on('exit', () => {
    server.kill('SIGKILL')
  })
  for await (const chunk of server.stdout) if (String(chunk).includes('Ready to accept connections')) break
  return { url: `redis://127.0.0.1:${port}`, stop: () => { server.kill('SIGKILL') } }
}
