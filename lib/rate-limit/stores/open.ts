import { nodeOf } from '../../redis/cluster-node.js'
import type { RedisClient, RedisSource } from '../../redis/connection.js'
import { isCluster } from '../../redis/given-client.js'
import { openRedis } from '../../redis/open.js'
import { ClusterStore } from './cluster.js'
import { MemoryStore } from './memory.js'
import { RedisStore } from './redis.js'
import type { LimitStore } from './store.js'

export interface StoreSettings {
  /** Null counts in the memory of this process. */
  readonly redis: RedisSource | null
  readonly keyPrefix: string
  readonly deadlineMs: number
}

/** Opens the store that the settings name; `close` ends what was opened here. @throws like `openRedis`. */
export async function openStore (
  settings: StoreSettings,
): Promise<{ readonly store: LimitStore, readonly close: () => void }> {
  if (settings.redis === null) return { store: new MemoryStore(), close: () => {} }
  const { client, close } = await openRedis(settings.redis, 'rate-limit', settings.keyPrefix)
  return { store: createRedisStore(client, settings), close }
}

/** A store that counts through this client; the client belongs to the caller. */
export function createRedisStore (
  client: RedisClient,
  { keyPrefix: prefix, deadlineMs }: Pick<StoreSettings, 'keyPrefix' | 'deadlineMs'>,
): LimitStore {
  const store = new RedisStore(client, { prefix, deadlineMs, nodeOf: (key) => nodeOf(client, key) })
  if (!isCluster(client)) return store
  return new ClusterStore(store, {
    prefix: (client.options.keyPrefix ?? '') + prefix,
    deadlineMs,
    nodeOf: (key) => nodeOf(client, prefix + key),
  })
}
