import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import type { RedisClient, RedisSource } from '../../lib/redis/connection.js'
import { parseRedisUrl } from '../../lib/redis/source.js'

/**
 * The binary of the servers that tests start: Redis', or that of a server that speaks its protocol (`valkey-server`).
 */
export const REDIS_SERVER = process.env['REDIS_SERVER'] ?? 'redis-server'

/**
 * The Redis that `npm test` provides. Missing, it is an error and never a skip: a limiter that was only ever tested in
 * memory has not been tested.
 */
export function redisUrl (): string {
  const url = process.env['REDIS_URL']
  if (url === undefined || url === '') {
    throw new Error('REDIS_URL is not set. Run `npm test`, which starts a Redis of its own.')
  }
  return url
}

/** A source as the `redis` option resolves it, without judging a client. */
export function sourceOf (redis: string | RedisClient): RedisSource {
  if (typeof redis !== 'string') return { kind: 'given', client: redis }
  const server = parseRedisUrl(redis)
  if (typeof server === 'string') throw new Error(`not a Redis URL${server}`)
  return { kind: 'server', server }
}

/** A key prefix of the test's own, so that tests share a Redis and nothing is ever flushed. */
export function uniquePrefix (): string {
  return `test:${randomBytes(8).toString('hex')}:`
}

/** Such a prefix whose keys go with the test, and a client to look at them. */
export function ownKeys (t: Test): { readonly keyPrefix: string, readonly client: Redis } {
  const keyPrefix = uniquePrefix()
  const client = new Redis(redisUrl())
  t.teardown(async () => {
    const keys = await client.keys(`${keyPrefix}*`)
    if (keys.length > 0) await client.del(...keys)
    client.disconnect()
  })
  return { keyPrefix, client }
}
