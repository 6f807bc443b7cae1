import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { assertNoProblems, type Problem } from '../../../lib/response/errors.js'
import type { SecurityEvent } from '../../../lib/events/catalogue.js'
import { securityOf } from '../../../lib/policy/install.js'
import type { Quota, Reading } from '../../../lib/rate-limit/quota.js'
import { installLimiter } from '../../../lib/rate-limit/install.js'
import type { RateLimitOptions } from '../../../lib/rate-limit/options.js'
import { resolveRateLimit } from '../../../lib/rate-limit/resolve.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'

/** The memory store on a clock that the test moves; it notes the keys that it is asked about, and can be lost. */
export class ClockedStore extends MemoryStore {
  readonly keys = new Set<string>()
  down = false
  readonly #clock: { now: number }

  constructor () {
    const clock = { now: 1_000_000 }
    super({ capacity: 1024, now: () => clock.now })
    this.#clock = clock
  }

  get now (): number {
    return this.#clock.now
  }

  set now (milliseconds: number) {
    this.#clock.now = milliseconds
  }

  override consume (quotas: readonly Quota[], keys: readonly string[]): Verdict {
    for (const key of keys) this.keys.add(key)
    return super.consume(quotas, keys)
  }

  override peek (quotas: readonly Quota[], keys: readonly string[]): readonly Reading[] {
    this.#check()
    return super.peek(quotas, keys)
  }

  override reset (keys: readonly string[]): undefined {
    this.#check()
    super.reset(keys)
  }

  override ban (keys: readonly string[], durationMs: number): undefined {
    this.#check()
    super.ban(keys, durationMs)
  }

  #check (): void {
    if (this.down) throw new Error('secret text of the store')
  }
}

/** An app whose limiter counts in the given store. */
export async function buildOn<S extends LimitStore> (
  t: Test,
  store: S,
  options: RateLimitOptions = {},
  server: FastifyServerOptions = {},
): Promise<{ app: FastifyInstance, store: S, events: SecurityEvent[] }> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  const problems: Problem[] = []
  const policy = resolveRateLimit(options, { production: false, config: {} }, 'rateLimit', problems)
  assertNoProblems(problems)
  const events: SecurityEvent[] = []
  securityOf(app).root.emit = (event) => { events.push(event) }
  installLimiter(app, policy, { store, close: () => {} })
  return { app, store, events }
}
