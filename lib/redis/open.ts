import { CONNECT_TIMEOUT_MS } from './client-options.js'
import { connectRedis, reasonOf, type RedisConnection } from './connection.js'
import { DeadlineExceeded, withDeadline } from './deadline.js'
import { isCluster, type RedisClient } from './given-client.js'
import { createScript } from './script.js'
import type { RedisSource } from './source.js'

const PROBE = createScript(`
redis.call('SET', KEYS[1], whole(now), 'PX', 1000)
return redis.call('DEL', KEYS[1])
`)

/**
 * Connects, and finds out whether the suite's scripts run there.
 * @throws Error when Redis is not ready within five seconds or refuses the scripts. The message holds neither URL nor
 * Redis' own text.
 */
export async function openRedis (source: RedisSource, purpose: string, keyPrefix: string): Promise<RedisConnection> {
  const connection = await connectRedis(source, purpose)
  try {
    await assertScriptsRun(connection.client, keyPrefix, purpose)
    return connection
  } catch (error) {
    connection.close()
    throw error
  }
}

/**
 * Runs a script that reads the clock and writes, so that a Redis that cannot is found at boot: one before version 5, a
 * replica, a user without the right. In a cluster one of several slots is enough: a node that is down stops no server
 * from starting.
 * @throws Error that names Redis' reason, `NOPERM` for example.
 */
export async function assertScriptsRun (client: RedisClient, keyPrefix: string, purpose: string): Promise<void> {
  const tags = isCluster(client) ? ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] : ['a']
  let reason: string | null = null
  for (const tag of tags) {
    const key = `${keyPrefix}{${tag}}probe`
    try {
      const run = client.eval(PROBE.lua, 1, key).then(() => client.evalsha(PROBE.sha, 1, key))
      await withDeadline(run, CONNECT_TIMEOUT_MS)
      return
    } catch (error) {
      reason = reasonOf(error)
      if (reason === 'NOSCRIPT') return
      if (error instanceof DeadlineExceeded) break
    }
  }
  throw new Error(`Redis does not run the scripts of ${purpose}${reason === null ? '' : ` (${reason})`}`)
}
