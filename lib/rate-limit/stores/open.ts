import type { Redis } from 'ioredis'
import { connectRedis, withDeadline } from '../../redis.js'
import type { RateLimitSettings } from '../settings.js'
import { MemoryStore } from './memory.js'
import { RedisStore } from './redis.js'
import type { LimitStore } from './store.js'

const READY_TIMEOUT_MS = 5000

/**
 * Opens the store that the settings name; `close` ends what was opened here.
 * @throws Error when Redis does not answer within five seconds. The message holds neither URL nor Redis' own text.
 */
export async function openStore (settings: RateLimitSettings): Promise<{ readonly store: LimitStore, close (): void }> {
  if (settings.redis === null) return { store: new MemoryStore(), close: () => {} }
  const connection = await connectRedis(settings.redis, 'rate-limit')
  if (typeof settings.redis !== 'string') await whenReady(settings.redis)
  const store = new RedisStore(connection.client, { prefix: settings.keyPrefix, deadlineMs: settings.deadlineMs })
  return { store, close: () => { connection.close() } }
}

/** A client that the app has just made is often still connecting; without an offline queue its first commands would fail. */
async function whenReady (client: Redis): Promise<void> {
  if (client.status === 'ready') return
  const stop = new AbortController()
  try {
    const ready = client.status === 'wait' ? client.connect() : onceReady(client, stop.signal)
    await withDeadline(ready, READY_TIMEOUT_MS)
  } catch (cause) {
    throw new Error(`the given Redis client is not ready within ${READY_TIMEOUT_MS / 1000} s`, { cause })
  } finally {
    stop.abort()
  }
}

/** Not `events.once`, which would reject at the first of the connection errors that ioredis retries after. */
function onceReady (client: Redis, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    client.once('ready', resolve)
    stopped.addEventListener('abort', () => { client.off('ready', resolve) })
  })
}
