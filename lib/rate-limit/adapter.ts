import { createHmac } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import type { Redis } from 'ioredis'
import type { Duration } from '../options/duration.js'
import { durationOption, oneOf } from '../options/option-schema.js'
import { assertNoProblems, type Problem } from '../response/errors.js'
import { checkOptions, readableOptions } from '../options/check-options.js'
import { Adapter, type AdapterContext, type RateLimitStore } from './adapter-store.js'
import { LimitEngine } from './engine.js'
import { deriveKeySecret } from './keys.js'
import type { OnOutage } from './limits.js'
import { rememberRecent } from '../common/recent.js'
import { resolveSettings } from './settings.js'
import { MemoryStore } from './stores/memory.js'
import { openStore } from './stores/open.js'

/** Our counting for apps that keep the plugin @fastify/rate-limit (version 11): a class for its option `store`. */

export type { RateLimitStore, StoredCount, StoredCountCallback } from './adapter-store.js'

const RECENT_CALLERS = 2048
const KEY_LENGTH = 22

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
  redis: Type.Optional(Type.Unknown()),
  keySecret: Type.Optional(
    Type.String({ minLength: 32, description: 'At least 32 characters, the same in all instances.' }),
  ),
  keyPrefix: Type.Optional(
    Type.String({
      pattern: '^[!-~]{1,64}$',
      description: "Begins every Redis key: 1 to 64 printable ASCII characters without spaces. Default: 'bulwark:rl:'.",
    }),
  ),
  deadline: Type.Optional(
    durationOption("How long a request waits for Redis. Default: '50ms'."),
  ),
  onOutage: Type.Optional(
    oneOf("What decides while Redis cannot be asked. Default: 'local'.", 'local', 'closed', 'open'),
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

/**
 * Makes a class for the option `store` of @fastify/rate-limit. With Redis it connects first, so that a wrong URL stops
 * the boot.
 * @throws BulwarkConfigError with everything that is wrong with the options.
 * @throws Error when Redis does not answer within five seconds; the message holds no URL.
 */
export async function createRateLimitStore (options: RateLimitStoreOptions = {}): Promise<RateLimitStoreClass> {
  const path = 'createRateLimitStore'
  const problems: Problem[] = []
  const checked = checkOptions(RateLimitStoreOptionsSchema, options, path, problems)
  const { redis, keySecret, keyPrefix, deadline } =
    (checked ?? readableOptions(options, path, problems)) as RateLimitStoreOptions
  const settings = resolveSettings(
    { redis: redis ?? false, ...keySecret !== undefined && { keySecret }, ...keyPrefix !== undefined && { keyPrefix }, ...deadline !== undefined && { deadline } },
    { production: false, config: {} }, path, problems,
  )
  assertNoProblems(problems.map((problem) => problem.path === `${path}.keySecret` ? { ...problem, fix: 'Set keySecret: at least 32 characters, the same in all instances.' } : problem))
  const opened = await openStore(settings)
  const engine = new LimitEngine(opened.store, new MemoryStore(), checked?.onTransition ?? (() => {}))
  const digest = hasher(settings.keySecret)
  const shared: AdapterContext = {
    engine,
    digest,
    digestOfRecent: rememberRecent(digest, RECENT_CALLERS),
    onOutage: checked?.onOutage ?? 'local',
    instances: 0,
    unnamed: 0,
  }
  return class extends Adapter {
    static close (): void {
      engine.close()
      opened.close()
    }

    constructor (params: object) {
      super(shared, params, `${++shared.instances}`, '*')
    }
  }
}

function hasher (keySecret: string | null): (text: string) => string {
  const secret = deriveKeySecret(keySecret)
  return (text) =>
    createHmac('sha256', secret).update('@fastify/rate-limit ').update(text).digest('base64url').slice(0, KEY_LENGTH)
}
