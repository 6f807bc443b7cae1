import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { assertNoProblems, type Problem } from '../../../lib/errors.js'
import type { SecurityEvent } from '../../../lib/events/catalogue.js'
import { securityOf } from '../../../lib/policy/install.js'
import { NOT_COUNTED, type Quota, type Reading } from '../../../lib/rate-limit/quota.js'
import { resolveSettings, type RateLimitInput } from '../../../lib/rate-limit/settings.js'
import { setUpRateLimit } from '../../../lib/rate-limit/setup.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'

/** Counts every algorithm as a plain list of stamps, on a clock that the test moves. It can do all that control asks. */
export class FakeStore implements LimitStore {
  readonly kind = 'memory'
  readonly bans = new Map<string, number>()
  readonly stamps = new Map<string, number[]>()
  now = 1_000_000
  down = false

  consume (quotas: readonly Quota[], keys: readonly string[]): Verdict {
    const readings = this.peek(quotas, keys).map((reading) => ({ ...reading }))
    const admitted = readings.every(({ room }, index) => room || quotas[index]?.shadow === true)
    for (const [index, reading] of readings.entries()) {
      const { cost } = quotas[index] as Quota
      if (!admitted || !reading.room) continue
      const key = keys[index] as string
      this.stamps.set(key, [...this.stamps.get(key) ?? [], ...new Array<number>(cost).fill(this.now)])
      reading.used += cost
      reading.mark = this.now
      reading.waitMs = this.#waitMs(quotas[index] as Quota, key, 1)
    }
    return { admitted, readings }
  }

  giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): undefined {
    for (const [index, mark] of marks.entries()) {
      const list = this.stamps.get(keys[index] as string) ?? []
      for (let unit = 0; mark !== NOT_COUNTED && unit < (quotas[index] as Quota).cost; unit++) if (list.includes(mark)) list.splice(list.indexOf(mark), 1)
    }
  }

  peek (quotas: readonly Quota[], keys: readonly string[]): Reading[] {
    if (this.down) throw new Error('secret text of the store')
    return quotas.map((quota, index) => {
      const key = keys[index] as string
      const used = this.#live(quota, key).length
      const banned = (this.bans.get(key) ?? 0) > this.now
      const room = !banned && used + quota.cost <= roof(quota)
      const wait = used === 0 ? quota.windowMs : this.#waitMs(quota, key, room ? 1 : used + quota.cost - roof(quota))
      return { room, used, waitMs: banned ? Math.max((this.bans.get(key) ?? 0) - this.now, used + quota.cost <= roof(quota) ? 0 : wait) : wait, mark: NOT_COUNTED, ...(banned && { banned }) }
    })
  }

  reset (keys: readonly string[]): undefined {
    this.peek([], [])
    for (const key of keys) [this.stamps, this.bans].forEach((map) => map.delete(key))
  }

  ban (keys: readonly string[], durationMs: number): undefined {
    this.peek([], [])
    for (const key of keys) this.bans.set(key, this.now + durationMs)
  }

  close (): void {}

  #live (quota: Quota, key: string): number[] {
    return (this.stamps.get(key) ?? []).filter((stamp) => stamp > this.now - quota.windowMs)
  }

  /** Until so many units have left the window. */
  #waitMs (quota: Quota, key: string, units: number): number {
    return (this.#live(quota, key)[units - 1] ?? this.now) + quota.windowMs - this.now
  }
}

function roof ({ algorithm, burst, limit }: Quota): number {
  return algorithm === 'gcra' ? burst : limit
}

/** An app whose limiter counts in the given store. */
export async function buildOn<S extends LimitStore> (t: Test, store: S, options: RateLimitInput = {}, server: FastifyServerOptions = {}): Promise<{ app: FastifyInstance, store: S, events: SecurityEvent[] }> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  const problems: Problem[] = []
  const settings = resolveSettings(options, { production: false, config: {} }, 'rateLimit', problems)
  assertNoProblems(problems)
  const events: SecurityEvent[] = []
  securityOf(app).root.emit = (event) => { events.push(event) }
  await setUpRateLimit(app, settings, async () => ({ store, close: () => {} }))
  return { app, store, events }
}
