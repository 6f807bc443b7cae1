import { Type } from '@sinclair/typebox'
import type { Redis } from 'ioredis'
import { checkOptions, readableOptions } from '../options/check-options.js'
import type { Duration } from '../options/duration.js'
import { assertNoProblems, type Problem } from '../response/errors.js'
import type { RedisOption } from '../redis/connection.js'
import { LimitEngine } from './engine.js'
import { createStoreClass, type RateLimitStore } from './fastify-store.js'
import { STORE_OPTIONS, type OnOutage } from './options.js'
import { resolveRateLimit } from './resolve.js'
import { MemoryStore } from './stores/memory.js'
import { openStore } from './stores/open.js'

export type { RateLimitStore, StoredCount, StoredCountCallback } from './fastify-store.js'

export interface RateLimitStoreOptions {
  /**
   * A redis:// or rediss:// URL, or an ioredis client without offline queue. Without it the memory of this process
   * counts.
   */
  readonly redis?: string | Redis | false
  /** At least 32 characters, the same in all instances; needed with Redis. */
  readonly keySecret?: string
  readonly keyPrefix?: string
  readonly deadline?: Duration
  readonly onOutage?: OnOutage
  /** Told once when Redis is lost (false) and once when it answers again (true). */
  readonly onTransition?: (available: boolean) => void
}

const RateLimitStoreOptionsSchema = Type.Object({
  redis: Type.Optional(Type.Unsafe<RedisOption | false>(Type.Unknown())),
  ...STORE_OPTIONS,
  onOutage: Type.Optional(
    Type.Union([Type.Literal('local'), Type.Literal('closed'), Type.Literal('open')], {
      description: 'What decides while Redis cannot be asked. Write one of: local (default), closed, open.',
    }),
  ),
  onTransition: Type.Optional(
    Type.Unsafe<(available: boolean) => void>(
      Type.Function([Type.Boolean()], Type.Void(), {
        description: 'A function that takes whether Redis can be asked.',
      }),
    ),
  ),
}, { additionalProperties: false })

export interface RateLimitStoreClass {
  new (params: object): RateLimitStore
  /** Closes what `createRateLimitStore` opened. Call it when the app closes. */
  close (): void
}

const NO_SERVICE = { production: false, config: {} }

/**
 * For apps that use @fastify/rate-limit (version 11) without the suite's plugin: makes a class for its option `store`.
 * With Redis it connects first, so that a wrong URL stops the boot.
 * @throws BulwarkConfigError with everything that is wrong with the options.
 * @throws Error when Redis does not answer within five seconds; the message holds no URL.
 */
export async function createRateLimitStore (options: RateLimitStoreOptions = {}): Promise<RateLimitStoreClass> {
  const path = 'createRateLimitStore'
  const problems: Problem[] = []
  const checked = checkOptions(RateLimitStoreOptionsSchema, options, path, problems)
  const { onOutage = 'local', onTransition = () => {}, ...store } = checked ?? {}
  const readable = checked === null ? readableOptions(options, path, problems) : store
  const policy = resolveRateLimit({ redis: false, ...readable }, NO_SERVICE, path, problems)
  assertNoProblems(problems.map((problem) =>
    problem.path === `${path}.keySecret`
      ? { ...problem, fix: 'Set keySecret: at least 32 characters, the same in all instances.' }
      : problem
  ))
  const opened = await openStore(policy)
  const engine = new LimitEngine(opened.store, new MemoryStore(), onTransition)
  const { keySecret } = policy
  return class extends createStoreClass({ engine, keySecret, onOutage, report: assertNoProblems }) {
    static close (): void {
      engine.close()
      opened.close()
    }
  }
}
