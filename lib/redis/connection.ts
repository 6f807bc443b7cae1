import type { Cluster, Redis } from 'ioredis'
import { CONNECT_TIMEOUT_MS, clusterOptions, retryAfter, sentinelOptions, serverOptions } from './client-options.js'
import { withDeadline } from './deadline.js'
import { isCluster, type RedisClient } from './given-client.js'
import type { RedisSource } from './source.js'

export { DeadlineExceeded } from './deadline.js'
export type { RedisClient } from './given-client.js'
export { resolveRedisSource, type RedisOption, type RedisSource } from './source.js'

/** A Redis client and the function that closes it. */
export interface RedisConnection {
  readonly client: RedisClient
  /** Closes the connection if the suite opened it; a client that the app gave stays open. */
  readonly close: () => void
}

/** How long the other nodes of a cluster may take. A node that is down stops no server from starting. */
const NODES_TIMEOUT_MS = 1000

const ignore = (): void => {}

/**
 * Opens a dedicated connection, or takes the app's ioredis client, and waits until it is ready. A connection of ours
 * reconnects by itself, at most a second apart.
 * @throws Error when it is not ready in time. The message holds neither URL nor password.
 */
export async function connectRedis (
  source: RedisSource,
  purpose: string,
  timeoutMs = CONNECT_TIMEOUT_MS,
): Promise<RedisConnection> {
  const given = source.kind === 'given'
  const client = given ? source.client : await createClient(source, purpose)
  const close = given ? ignore : keepOpen(client)
  let lastError: unknown
  const remember = (error: unknown): void => { lastError = error }
  client.on('error', remember)
  try {
    await withDeadline(given || source.kind === 'server' ? connectOnce(client) : connectAtLast(client), timeoutMs)
    if (isCluster(client) && !given) await whenNodesReady(client)
  } catch (error) {
    close()
    const reason = reasonOf(lastError) ?? reasonOf(error)
    const what = given ? `the given Redis client is not ready for ${purpose}` : `no connection to Redis for ${purpose}`
    // Without the error as its cause: ioredis attaches the command that failed, and AUTH holds the password.
    throw new Error(`${what} within ${timeoutMs / 1000} s${reason === null ? '' : ` (${reason})`}`)
  } finally {
    client.off('error', remember)
  }
  return { client, close }
}

async function createClient (source: Exclude<RedisSource, { kind: 'given' }>, purpose: string): Promise<RedisClient> {
  // Imported here, because services without Redis should not pay for loading it.
  const { Cluster, Redis } = await import('ioredis')
  if (source.kind === 'server') return new Redis(serverOptions(source, purpose))
  if (source.kind === 'sentinel') return new Redis(sentinelOptions(source, purpose))
  const cluster = new Cluster(source.nodes.map(({ host, port }) => ({ host, port })), clusterOptions(source, purpose))
  // ioredis connects to a node at the first command for it, which then waits for the connection without a limit.
  cluster.on('+node', (node: Redis) => {
    if (node.options.readOnly !== true) node.connect().catch(ignore)
  })
  return cluster
}

/**
 * Connects a client of ours again whenever ioredis gives it up; gives the function that closes it. ioredis does so for
 * ever when the Sentinels announce a new master in the very moment in which it asks them for the master.
 */
export function keepOpen (client: RedisClient): () => void {
  let timer: NodeJS.Timeout | undefined
  const connectAgain = (): void => {
    timer = setTimeout(() => { client.connect().catch(ignore) }, retryAfter(0))
  }
  client.on('end', connectAgain)
  // Without a listener ioredis prints each error to the console; the plugins report outages as events instead.
  client.on('error', ignore)
  return () => {
    client.off('end', connectAgain)
    clearTimeout(timer)
    client.disconnect()
  }
}

/** Rejects at the first failure of a client that is not connecting yet; one that is may take its time. */
async function connectOnce (client: RedisClient): Promise<void> {
  if (client.status === 'wait') {
    await client.connect()
  } else if (client.status === 'end') {
    throw new Error('closed')
  } else if (client.status !== 'ready') {
    await new Promise<void>((resolve, reject) => {
      client.once('ready', resolve)
      client.once('end', () => { reject(new Error('closed')) })
    })
  }
}

/** Waits while ioredis tries again, since a failover may be under way. */
async function connectAtLast (client: RedisClient): Promise<void> {
  client.connect().catch(ignore)
  // Not `events.once`, which would reject at the first of the errors that ioredis retries after.
  await new Promise<void>((resolve) => { client.once('ready', resolve) })
}

async function whenNodesReady (cluster: Cluster): Promise<void> {
  const ready = cluster.nodes('master').map(connectOnce)
  await withDeadline(Promise.allSettled(ready), NODES_TIMEOUT_MS).catch(ignore)
}

/** A code like ECONNREFUSED or WRONGPASS, never the text around it: that may name hosts and users. */
export function reasonOf (error: unknown): string | null {
  if (!(error instanceof Error)) return null
  const { code, lastNodeError } = error as { readonly code?: unknown, readonly lastNodeError?: unknown }
  if (typeof code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(code)) return code
  return reasonOf(lastNodeError) ?? /^[A-Z]{3,}\b|\b[A-Z][A-Z_]{4,}\b/.exec(error.message)?.[0] ?? null
}
