import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { keepOpen, type RedisClient } from '../redis/connection.js'
import { isCluster } from '../redis/given-client.js'

const MAX_RETRY_MS = 5000
/** A Cluster's subscriber may lose a channel when it moves to another node; subscribing again is harmless. */
const RESUBSCRIBE_MS = 5000

const ignore = (): void => {}

/**
 * Listens to a channel on a connection of its own, and again after each reconnection; gives the function that ends
 * that. Messages may be lost and failures are not told: nothing may rely on it.
 */
export function listenTo (client: RedisClient, channel: string, heard: (message: string) => void): () => void {
  const hear = (from: string, message: string): void => { if (from === channel) heard(message) }
  return isCluster(client) ? listenToCluster(client, channel, hear) : listenToServer(client, channel, hear)
}

function listenToServer (client: Redis, channel: string, hear: (from: string, message: string) => void): () => void {
  const own = client.duplicate<Partial<RedisOptions>>({
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResubscribe: false,
    connectionName: `${client.options.connectionName ?? 'bulwark'}-changes`,
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 7), MAX_RETRY_MS),
  })
  const close = keepOpen(own)
  own.on('message', hear)
  own.on('ready', () => { own.subscribe(channel).catch(ignore) })
  own.connect().catch(ignore)
  return close
}

function listenToCluster (
  cluster: Cluster,
  channel: string,
  hear: (from: string, message: string) => void,
): () => void {
  const subscribe = (): void => {
    cluster.subscribe(channel).catch((error: unknown) => {
      if (error instanceof Error && error.message.startsWith('NOPERM')) stop()
    })
  }
  const timer = setInterval(subscribe, RESUBSCRIBE_MS).unref()
  const stop = (): void => {
    clearInterval(timer)
    cluster.off('ready', subscribe)
  }
  cluster.on('message', hear)
  cluster.on('ready', subscribe)
  if (cluster.status === 'ready') subscribe()
  return () => {
    stop()
    cluster.off('message', hear)
    if (cluster.status === 'ready') cluster.unsubscribe(channel).catch(ignore)
  }
}
