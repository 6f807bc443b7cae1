import type { Redis } from 'ioredis'

/** A Redis client and who closes it. */
export interface RedisConnection {
  readonly client: Redis
  /** Closes the connection if the suite opened it; a client that the app gave stays open. */
  close (): void
}

/** How long a first connection may take before the server refuses to start. */
const CONNECT_TIMEOUT_MS = 5000

/**
 * Opens a dedicated connection from a `redis://` or `rediss://` URL, or takes the app's ioredis client.
 *
 * The connection never queues a command for later and never resends one: a limiter's or a session's command that runs
 * after its deadline would count or rotate twice. It reconnects by itself, at most two seconds apart.
 * @throws Error when the first connection does not stand within five seconds. The message never holds the URL.
 */
export async function connectRedis (source: string | Redis, purpose: string): Promise<RedisConnection> {
  if (typeof source !== 'string') return { client: source, close: () => {} }
  // Imported here, because services without Redis should not pay for loading it.
  const { Redis } = await import('ioredis')
  const client = new Redis(source, {
    lazyConnect: true,
    connectionName: `bulwark-${purpose}`,
    connectTimeout: CONNECT_TIMEOUT_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times, 6), 2000),
  })
  // Without a listener ioredis prints each error to the console; the plugins report outages as events instead.
  client.on('error', () => {})
  try {
    await withDeadline(client.connect(), CONNECT_TIMEOUT_MS)
  } catch (cause) {
    client.disconnect()
    throw new Error(`no connection to Redis for ${purpose} within ${CONNECT_TIMEOUT_MS / 1000} s`, { cause })
  }
  return { client, close: () => { client.disconnect() } }
}

/** True for an ioredis client that queues commands while it is disconnected: they would run long after their deadline. */
export function queuesOffline (client: Redis): boolean {
  return client.options.enableOfflineQueue !== false
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
    operation.then(resolve, reject).finally(() => { clearTimeout(timer) })
  })
}
