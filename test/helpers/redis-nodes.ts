import { Redis } from 'ioredis'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { REDIS_SERVER } from './redis.js'
import { until } from './until.js'

/** A redis-server process of the test's own on a free loopback port; killed at the latest when the test ends. */
export interface RedisNode {
  readonly port: number
  readonly url: string
  /** An ordinary client for preparing and looking. */
  readonly admin: Redis
  /** Stops answering without closing a connection (SIGSTOP). */
  pause (): void
  resume (): void
  kill (): Promise<void>
}

const START_TIMEOUT_MS = 10_000

export async function startNode (
  t: Test,
  args: readonly string[] = [],
  { tls = false, server = REDIS_SERVER } = {},
): Promise<RedisNode> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'redis-node-'))
  const ports = tls ? ['--port', '0', '--tls-port', String(port)] : ['--port', String(port)]
  const child = spawn(server, [
    ...ports,
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'no',
    '--repl-diskless-sync-delay',
    '0',
    ...args,
  ], { stdio: ['ignore', 'pipe', 'ignore'] })
  const admin = new Redis(port, '127.0.0.1', {
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    retryStrategy: (times) => Math.min(times * 50, 200),
  })
  admin.on('error', () => {})
  const kill = endOf(child)
  t.teardown(async () => {
    admin.disconnect()
    await kill()
    rmSync(folder, { recursive: true, force: true })
  })
  await untilLine(child, 'Ready to accept connections')
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    admin,
    pause: () => { child.kill('SIGSTOP') },
    resume: () => { child.kill('SIGCONT') },
    kill,
  }
}

function endOf (child: ChildProcess): () => Promise<void> {
  const exited = once(child, 'exit')
  const atExit = (): void => { child.kill('SIGKILL') }
  process.once('exit', atExit)
  return async () => {
    process.off('exit', atExit)
    child.kill('SIGKILL')
    await exited
  }
}

async function untilLine (child: ChildProcess, text: string): Promise<void> {
  const stop = setTimeout(() => { child.kill('SIGKILL') }, START_TIMEOUT_MS)
  let seen = false
  const { stdout } = child
  if (stdout === null) throw new Error('no output to read')
  for await (const chunk of stdout) {
    seen = String(chunk).includes(text)
    if (seen) break
  }
  clearTimeout(stop)
  if (!seen) throw new Error(`a Redis process did not say "${text}"`)
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

export interface TestCluster {
  /** The masters, in the order of their slots. */
  readonly masters: readonly RedisNode[]
  /** One a master, or none. */
  readonly replicas: readonly RedisNode[]
  /** The index of the master that the slot began with. */
  readonly masterOf: (slot: number) => number
  /** Moves an empty slot (or a slot with keys) to another master, as redis-cli does, while it is in use. */
  readonly moveSlot: (slot: number, to: number) => Promise<void>
}

const SLOTS = 16384

/** Three masters, each with a third of the slots, and as many replicas if asked for. */
export async function startCluster (
  t: Test,
  { replicas = false, args = [] as readonly string[] } = {},
): Promise<TestCluster> {
  const start = async (): Promise<RedisNode & { bus: number }> => {
    const bus = await freePort()
    const node = await startNode(t, [
      '--cluster-enabled',
      'yes',
      '--cluster-port',
      String(bus),
      '--cluster-node-timeout',
      '1000',
      '--cluster-require-full-coverage',
      'no',
      '--cluster-replica-validity-factor',
      '0',
      ...args,
    ])
    return { ...node, bus }
  }
  const nodes = await Promise.all(Array.from({ length: replicas ? 6 : 3 }, start))
  const masters = nodes.slice(0, 3)
  const first = (index: number): number => Math.ceil(index * SLOTS / 3)
  for (const [index, node] of nodes.entries()) {
    await node.admin.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
    if (index < 3) await node.admin.call('CLUSTER', 'ADDSLOTSRANGE', first(index), first(index + 1) - 1)
    if (index > 0) await nodes[0]?.admin.call('CLUSTER', 'MEET', '127.0.0.1', node.port, node.bus)
  }
  const info = async (node: RedisNode): Promise<string> => String(await node.admin.call('CLUSTER', 'INFO'))
  const isWhole = async (): Promise<boolean> =>
    (await Promise.all(nodes.map(info))).every((text) =>
      text.includes('cluster_state:ok') && text.includes(`cluster_known_nodes:${nodes.length}`) &&
      text.includes('cluster_size:3')
    )
  await until('all nodes know the cluster', isWhole)
  const ids = await Promise.all(masters.map(async ({ admin }) => String(await admin.call('CLUSTER', 'MYID'))))
  for (const [index, node] of nodes.slice(3).entries()) {
    await node.admin.call('CLUSTER', 'REPLICATE', ids[index] ?? '')
    await until(
      'a replica is in sync',
      async () => (await node.admin.info('replication')).includes('master_link_status:up'),
    )
  }
  const moveSlot = async (slot: number, to: number): Promise<void> => {
    const from = masters.findIndex((_, index) => slot < first(index + 1))
    const [source, target] = [masters[from], masters[to]]
    const [sourceId, targetId] = [ids[from], ids[to]]
    if (source === undefined || target === undefined || sourceId === undefined || targetId === undefined) {
      throw new Error('no such node')
    }
    await target.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', sourceId)
    await source.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', targetId)
    for (;;) {
      const keys = await source.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, 10) as string[]
      if (keys.length === 0) break
      await source.admin.call('MIGRATE', '127.0.0.1', target.port, '', 0, 5000, 'KEYS', ...keys)
    }
    for (const { admin } of [target, source, ...masters]) await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', targetId)
  }
  return {
    masters,
    replicas: nodes.slice(3),
    masterOf: (slot) => masters.findIndex((_, index) => slot < first(index + 1)),
    moveSlot,
  }
}

export interface TestSentinels {
  readonly name: string
  readonly master: RedisNode
  readonly replica: RedisNode
  readonly sentinels: readonly { readonly host: string, readonly port: number }[]
}

/** A master, a replica and three Sentinels, which replace a master that is gone for half a second. */
export async function startSentinels (t: Test): Promise<TestSentinels> {
  const name = 'main'
  const master = await startNode(t)
  const replica = await startNode(t, ['--replicaof', '127.0.0.1', String(master.port)])
  await until(
    'the replica is in sync',
    async () => (await replica.admin.info('replication')).includes('master_link_status:up'),
  )
  const sentinels = await Promise.all([1, 2, 3].map(async () => {
    const port = await freePort()
    const folder = mkdtempSync(join(tmpdir(), 'sentinel-'))
    const file = join(folder, 'sentinel.conf')
    writeFileSync(file, [
      `port ${port}`, 'bind 127.0.0.1', `dir ${folder}`,
      `sentinel monitor ${name} 127.0.0.1 ${master.port} 2`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 3000`,
    ].join('\n'))
    const child = spawn(REDIS_SERVER, [file, '--sentinel'], { stdio: ['ignore', 'pipe', 'ignore'] })
    const kill = endOf(child)
    t.teardown(async () => {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    })
    await untilLine(child, '+monitor')
    return { host: '127.0.0.1', port }
  }))
  for (const { port } of sentinels) {
    const admin = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: 0 })
    admin.on('error', () => {})
    t.teardown(() => { admin.disconnect() })
    await until('the Sentinels know each other', async () => {
      const state = await admin.call('SENTINEL', 'MASTER', name) as string[]
      const value = (key: string): string | undefined => state[state.indexOf(key) + 1]
      return value('num-other-sentinels') === '2' && value('num-slaves') === '1'
    })
    admin.disconnect()
  }
  return { name, master, replica, sentinels }
}
