import type { Cluster, Redis } from 'ioredis'
import type { Problem } from '../response/errors.js'

export type RedisClient = Redis | Cluster

/** By what it can do, because the app may bring an ioredis of its own. */
export function isRedisClient (value: unknown): value is RedisClient {
  if (typeof value !== 'object' || value === null) return false
  const { evalsha, eval: evaluate, status, options } = value as Readonly<Record<string, unknown>>
  return typeof evalsha === 'function' && typeof evaluate === 'function' && typeof status === 'string' &&
    typeof options === 'object' && options !== null
}

export function isCluster (client: RedisClient): client is Cluster {
  return client.isCluster
}

/** Adds a problem for each reason why commands through this client could run late, twice or nowhere. */
export function checkGivenClient (client: RedisClient, path: string, problems: Problem[]): void {
  const add = (message: string, fix: string): void => { problems.push({ path, message, fix }) }
  const name = isCluster(client) ? 'ioredis Cluster client' : 'ioredis client'
  const fix = isCluster(client)
    ? 'Create the ioredis client with { enableOfflineQueue: false, retryDelayOnFailover: 0 }, or give { cluster }.'
    : 'Create the ioredis client with { enableOfflineQueue: false, autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0 }, or give the URL.'
  if (queuesOffline(client)) {
    add(`This ${name} queues commands while it is disconnected; they would run long after their request was answered.`,
      fix)
  } else if (resends(client)) {
    add(`This ${name} sends commands again after their connection broke; one that Redis had run already would run twice.`,
      fix)
  }
  if (client.status === 'end') add('This ioredis client is closed.', 'Give one that is open, or the URL.')
  if (isCluster(client)) {
    if ((client.options.scaleReads ?? 'master') !== 'master') {
      add('This ioredis Cluster client reads from replicas, which are behind.', 'Create it without scaleReads.')
    }
  } else if (client.options.readOnly === true || client.options.role === 'slave') {
    add('This ioredis client is connected to a replica, which cannot count.', 'Give a client of the master.')
  }
}

/**
 * ioredis ignores `redisOptions.enableOfflineQueue` of a Cluster, but an app that wrote true there wants the queue.
 */
export function queuesOffline (client: RedisClient): boolean {
  if (client.options.enableOfflineQueue !== false) return true
  if (!isCluster(client)) return false
  const ofNodes: object = client.options.redisOptions ?? {}
  return 'enableOfflineQueue' in ofNodes && ofNodes.enableOfflineQueue === true
}

/** True for a client that repeats, on the next connection, what the last one left without an answer. */
function resends (client: RedisClient): boolean {
  if (!isCluster(client)) return typeof client.options.retryStrategy === 'function' && resendsOn(client.options)
  // The nodes of a Cluster connect again only if they are told how; the Cluster itself asks again after a delay.
  const { retryDelayOnFailover, clusterNodeRetryStrategy, redisOptions = {} } = client.options
  return retryDelayOnFailover !== 0 || (typeof clusterNodeRetryStrategy === 'function' && resendsOn(redisOptions))
}

/** With `maxRetriesPerRequest: 0` each connection that breaks ends the commands on it. */
function resendsOn (
  { autoResendUnfulfilledCommands, maxRetriesPerRequest }: {
    readonly autoResendUnfulfilledCommands?: boolean | undefined
    readonly maxRetriesPerRequest?: number | null | undefined
  },
): boolean {
  return autoResendUnfulfilledCommands !== false && maxRetriesPerRequest !== 0
}
