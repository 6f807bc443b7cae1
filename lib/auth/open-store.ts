import type { FastifyBaseLogger } from 'fastify'
import { BulwarkConfigError } from '../response/errors.js'
import type { SecurityEvent } from '../events/catalogue.js'
import { openRedis } from '../redis/open.js'
import { MemorySessionStore } from './memory-store.js'
import type { ResolvedAuthOptions } from './options.js'
import { RedisSessionStore } from './redis-store.js'
import type { SessionPolicy, SessionStore } from './session-store.js'
import { CLOCK_TOLERANCE_SECONDS } from './tokens.js'

export interface OpenParts {
  readonly policy: SessionPolicy
  /** Epoch milliseconds, for sessions in memory; Redis has its own clock. */
  readonly now: () => number
  readonly log: FastifyBaseLogger
  readonly emit: (event: SecurityEvent) => void
}

/** @throws BulwarkConfigError when Redis cannot be reached or used; the log has the cause, the message has no URL. */
export async function openSessionStore (
  options: ResolvedAuthOptions,
  { policy, now, log, emit }: OpenParts,
): Promise<SessionStore> {
  if (options.redis === null) return new MemorySessionStore(policy, now)
  let store: RedisSessionStore | null = null
  try {
    store = new RedisSessionStore({
      connection: await openRedis(options.redis, 'auth', options.keyPrefix),
      keyPrefix: options.keyPrefix,
      policy,
      onHealth (cause) {
        if (cause === null) emit({ name: 'store_recovered', store: 'sessions' })
        else emit({ name: 'store_unavailable', store: 'sessions', fallback: 'refuse' })
      },
    })
    await store.ready()
    return store
  } catch (cause) {
    // Else its connection would keep a process alive that has just refused to start.
    store?.close()
    log.error({ err: cause }, 'auth: Redis cannot be reached')
    throw new BulwarkConfigError([{
      path: 'auth.redis',
      message: 'Redis cannot be reached.',
      fix: 'Check the URL and that the server accepts this client; the log has the cause.',
    }])
  }
}

export function policyOf (
  { accessTtlMs, refreshIdleMs, refreshAbsoluteMs, graceMs, maxSessions, whenFull, onReuse }: ResolvedAuthOptions,
): SessionPolicy {
  return Object.freeze({
    idleMs: refreshIdleMs,
    absoluteMs: refreshAbsoluteMs,
    graceMs,
    maxSessions,
    whenFull,
    onReuse,
    tombstoneMs: accessTtlMs + CLOCK_TOLERANCE_SECONDS * 1000,
  })
}
