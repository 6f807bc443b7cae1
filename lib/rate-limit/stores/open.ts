import type { Cluster } from 'ioredis'
import { assertScriptsRun, connectRedis, isCluster, type RedisClient, type RedisConnection,
  type RedisSource } from '../../redis/connection.js'
import { ClusterStore } from './cluster.js'
import { MemoryStore } from './memory.js'
import { RedisStore } from './redis.js'
import type { LimitStore } from './store.js'

export interface StoreSettings {
  /** Null counts in the memory of this process. */
  readonly redis: string | RedisClient | RedisSource | null
  readonly keyPrefix: string
  readonly deadlineMs: number
}

/**
 * Opens the store that the settings name; `close` ends what was opened here.
 * @throws Error when Redis does not answer within five seconds, or does not run scripts. The message holds neither URL
 * nor Redis' own text.
 */
export async function openStore (
  settings: StoreSettings,
): Promise<{ readonly store: LimitStore, readonly close: () => void }> {
  if (settings.redis === null) return { store: new MemoryStore(), close: () => {} }
  const connection: RedisConnection<RedisClient> = await connectRedis(settings.redis, 'rate-limit')
  try {
    await assertScriptsRun(connection.client, settings.keyPrefix, 'rate-limit')
  } catch (error) {
    connection.close()
    throw error
  }
  return { store: createRedisStore(connection.client, settings), close: () => { connection.close() } }
}

/** A store that counts through this client; the client belongs to the caller. */
export function createRedisStore (
  client: RedisClient,
  { keyPrefix: prefix, deadlineMs }: Pick<StoreSettings, 'keyPrefix' | 'deadlineMs'>,
): LimitStore {
  const createStore = (): RedisStore => new RedisStore(client, { prefix, deadlineMs })
  if (!isCluster(client)) return createStore()
  return new ClusterStore({
    prefix: (client.options.keyPrefix ?? '') + prefix,
    deadlineMs,
    nodeOf: (slot) => masterOf(client, slot),
    createStore,
  })
}

function masterOf (cluster: Cluster, slot: number): string {
  return cluster.slots[slot]?.[0] ?? ''
}
