import { createHash } from 'node:crypto'
import type { Cluster, ClusterOptions, Redis, RedisOptions } from 'ioredis'
import { isCluster, parseRedisUrl, type RedisClient, type RedisSource } from './source.js'

export { isCluster, queuesOffline, resolveRedisSource, type RedisClient, type RedisOption,
  type RedisSource } from './source.js'

/** A Redis client and who closes it. */
export interface RedisConnection<C extends RedisClient = Redis> {
  readonly client: C
  /** Closes the connection if the suite opened it; a client that the app gave stays open. */
  readonly close: () => void
}

/** How long a first connection may take before the server refuses to start. */
const CONNECT_TIMEOUT_MS = 5000
/**
 * How long the nodes of a cluster may take after the first of them answered. One that is down stops no server from
 * starting.
 */
const NODES_TIMEOUT_MS = 1000
const MAX_RETRY_MS = 1000

const retryAfter = (times: number): number => Math.min(50 * 2 ** Math.min(times, 6), MAX_RETRY_MS)

/**
 * Opens a dedicated connection, or takes the app's ioredis client and waits until it is ready.
 *
 * A connection of ours never queues a command for later and never resends one: a limiter's or a session's command that
 * runs after its deadline would count or rotate twice. It reconnects by itself, at most a second apart.
 * @throws Error when the connection does not stand within five seconds. The message holds neither URL nor password.
 */
export function connectRedis (source: string | Redis, purpose: string): Promise<RedisConnection>
export function connectRedis (
  source: string | RedisClient | RedisSource,
  purpose: string,
  timeoutMs?: number,
): Promise<RedisConnection<RedisClient>>
export async function connectRedis (
  input: string | RedisClient | RedisSource,
  purpose: string,
  timeoutMs = CONNECT_TIMEOUT_MS,
): Promise<RedisConnection<RedisClient>> {
  const source = sourceOf(input)
  const given = source.kind === 'given'
  const client = given ? source.client : await createClient(source, purpose)
  let lastError: unknown
  const remember = (error: unknown): void => { lastError = error }
  client.on('error', remember)
  try {
    await withDeadline(whenReady(client, source.kind === 'server' || given), timeoutMs)
    if (isCluster(client) && !given) await whenNodesReady(client)
  } catch (error) {
    if (!given) client.disconnect()
    const reason = reasonOf(lastError) ?? reasonOf(error)
    const what = given ? `the given Redis client is not ready for ${purpose}` : `no connection to Redis for ${purpose}`
    // Not the error itself: ioredis hangs the command that failed on it, and the one that signs in has the password.
    throw new Error(`${what} within ${timeoutMs / 1000} s${reason === null ? '' : ` (${reason})`}`)
  } finally {
    client.off('error', remember)
  }
  return { client, close: () => { if (!given) client.disconnect() } }
}

function sourceOf (input: string | RedisClient | RedisSource): RedisSource {
  if (typeof input !== 'string') return 'kind' in input ? input : { kind: 'given', client: input }
  const server = parseRedisUrl(input)
  if (typeof server === 'string') throw new Error(`not a Redis URL${server}`)
  return { kind: 'server', server }
}

async function createClient (source: Exclude<RedisSource, { kind: 'given' }>, purpose: string): Promise<RedisClient> {
  // Imported here, because services without Redis should not pay for loading it.
  const ioredis = await import('ioredis')
  const client = source.kind === 'cluster'
    ? new ioredis.Cluster(source.nodes.map(({ host, port }) => ({ host, port })), clusterOptions(source, purpose))
    : new ioredis.Redis(
      source.kind === 'server' ? serverOptions(source.server, purpose) : sentinelOptions(source.options, purpose),
    )
  // Without a listener ioredis prints each error to the console; the plugins report outages as events instead.
  client.on('error', () => {})
  // ioredis connects to a node at the first command for it, which then waits for the connection however long that
  // takes.
  if (isCluster(client))
    {client.on('+node', (node: Redis) => {
      if (node.options.readOnly !== true) node.connect().catch(() => {})
    })}
  return client
}

/** Without the key that makes the constructors generic. */
type OwnOptions = Omit<RedisOptions, 'replyMapping'>
type OwnClusterOptions = Omit<ClusterOptions, 'redisOptions'> & {
  readonly redisOptions: Pick<OwnOptions,
    'connectionName' | 'connectTimeout' | 'autoResendUnfulfilledCommands' | 'maxRetriesPerRequest' | 'username'
      | 'password' | 'tls'>
}

function ownOptions (purpose: string): OwnOptions {
  return {
    lazyConnect: true,
    connectionName: `bulwark-${purpose}`,
    connectTimeout: CONNECT_TIMEOUT_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: retryAfter,
  }
}

function serverOptions (
  { host, port, username, password, db, tls, family }: Extract<RedisSource, { kind: 'server' }>['server'],
  purpose: string,
): OwnOptions {
  return { ...ownOptions(purpose), host, port, username, password, db, family, ...(tls ? { tls: {} } : {}) }
}

function sentinelOptions (
  { tls, ...options }: Extract<RedisSource, { kind: 'sentinel' }>['options'],
  purpose: string,
): OwnOptions {
  return {
    ...ownOptions(purpose),
    ...options,
    sentinels: options.sentinels.map(({ host, port = 26379 }) => ({ host, port })),
    // Must always be a number: without one ioredis gives up for ever when no Sentinel answers once.
    sentinelRetryStrategy: retryAfter,
    sentinelReconnectStrategy: () => CONNECT_TIMEOUT_MS,
    sentinelCommandTimeout: 1000,
    // A master that hangs or is cut off keeps its connections open; the Sentinels say when another one took over.
    failoverDetector: true,
    disconnectTimeout: 500,
    ...(tls === true ? { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true } : {}),
  }
}

function clusterOptions (
  { username, password, tls }: Extract<RedisSource, { kind: 'cluster' }>,
  purpose: string,
): OwnClusterOptions {
  // Neither the offline queue nor the retries of a node are options here: a node that is lost is found anew.
  const { connectionName, connectTimeout, autoResendUnfulfilledCommands, maxRetriesPerRequest } = ownOptions(purpose)
  return {
    lazyConnect: true,
    enableOfflineQueue: false,
    // It would ask a node at random, and begin anew when that one is down. Who serves which slots has been asked
    // already.
    enableReadyCheck: false,
    redisOptions: {
      connectionName,
      connectTimeout,
      autoResendUnfulfilledCommands,
      maxRetriesPerRequest,
      username,
      password,
      ...(tls ? { tls: {} } : {}),
    },
    clusterRetryStrategy: retryAfter,
    // MOVED, ASK and TRYAGAIN say that nothing ran. A closed connection says nothing of the kind, so those commands are
    // not resent.
    maxRedirections: 3,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: 10,
    // A node that hangs sends no MOVED: only asking the others tells who took its slots over.
    slotsRefreshInterval: 2000,
    slotsRefreshTimeout: 1000,
    // A certificate is checked against the name, if the nodes are known by names.
    ...(tls ? { dnsLookup: (address, callback) => { callback(null, address) } } : {}),
  }
}

/**
 * Rejects at the first failure when `once`; otherwise waits while ioredis tries again, since a failover may be under
 * way.
 */
async function whenReady (client: RedisClient, once: boolean): Promise<void> {
  if (client.status === 'ready') return
  if (client.status === 'end') throw new Error('closed')
  if (client.status === 'wait') {
    const connected = client.connect()
    if (once) { await connected; return }
    connected.catch(() => {})
  }
  // Not `events.once`, which would reject at the first of the errors that ioredis retries after.
  await new Promise<void>((resolve, reject) => {
    client.once('ready', resolve)
    client.once('end', () => { reject(new Error('closed')) })
  })
}

async function whenNodesReady (cluster: Cluster): Promise<void> {
  const ready = cluster.nodes('master').map(async (node) => { await whenReady(node, true) })
  await withDeadline(Promise.allSettled(ready), NODES_TIMEOUT_MS).catch(() => {})
}

const PROBE =
  "local time = redis.call('TIME') redis.call('SET', KEYS[1], time[1], 'PX', 1000) return redis.call('DEL', KEYS[1])"
const PROBE_SHA = createHash('sha1').update(PROBE).digest('hex')

/**
 * Runs a script that reads the clock and writes, as the suite's do, so that a Redis that cannot is found at boot: one
 * before version 5, a replica, a user without the right. INFO and HELLO would tell less, and may be forbidden. In a
 * cluster one of several slots is enough: a node that is down stops no server from starting.
 * @throws Error that names Redis' reason, `NOPERM` for example.
 */
export async function assertScriptsRun (
  client: RedisClient,
  keyPrefix: string,
  purpose: string,
  timeoutMs = CONNECT_TIMEOUT_MS,
): Promise<void> {
  const tags = isCluster(client) ? ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] : ['a']
  let reason: string | null = null
  for (const tag of tags) {
    const key = `${keyPrefix}{${tag}}probe`
    try {
      await withDeadline(client.eval(PROBE, 1, key).then(() => client.evalsha(PROBE_SHA, 1, key)), timeoutMs)
      return
    } catch (error) {
      reason = reasonOf(error)
      if (reason === 'NOSCRIPT') return
      if (error instanceof DeadlineExceeded) break
    }
  }
  throw new Error(`Redis does not run the scripts of ${purpose}${reason === null ? '' : ` (${reason})`}`)
}

/** A code like ECONNREFUSED or WRONGPASS, never the text around it: that may name hosts and users. */
function reasonOf (error: unknown): string | null {
  if (!(error instanceof Error)) return null
  const { code, lastNodeError } = error as { readonly code?: unknown, readonly lastNodeError?: unknown }
  if (typeof code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(code)) return code
  return reasonOf(lastNodeError) ?? /^[A-Z]{3,}\b|\b[A-Z][A-Z_]{4,}\b/.exec(error.message)?.[0] ?? null
}

/** Thrown by `withDeadline`; the operation itself goes on, its late result is dropped. */
export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded'
}

/**
 * Rejects with `DeadlineExceeded` when the operation is not done after `milliseconds`. A process that was busy itself
 * finds the timer due before it has read the answer that already lies in its socket, so the socket gets one last look.
 */
export function withDeadline<T> (operation: Promise<T>, milliseconds: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      setImmediate(() => { reject(new DeadlineExceeded(`not done within ${milliseconds} ms`)) })
    }, milliseconds)
    operation.then((result) => {
      clearTimeout(timer)
      resolve(result)
    }, (error: unknown) => {
      clearTimeout(timer)
      reject(error instanceof Error ? error : new TypeError('what was thrown is no error', { cause: error }))
    })
  })
}
