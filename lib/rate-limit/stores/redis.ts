import { integerOf, ScriptRunner, unknownAnswer, type Arg, type ScriptClient,
  type ScriptRunnerOptions } from '../../redis/script-runner.js'
import type { Script } from '../../redis/script.js'
import { NOT_COUNTED, type Quota, type Reading } from '../quota.js'
import { BAN, CONSUME, encodeQuotas, GIVE_BACK, PEEK, RESET } from './scripts.js'
import type { LimitStore, Verdict } from './store.js'

export interface RedisStoreOptions extends ScriptRunnerOptions {
  readonly prefix: string
}

/** Counts in Redis, shared by all instances: one round trip for all limits of a phase. */
export class RedisStore implements LimitStore {
  readonly kind = 'redis'
  readonly #runner: ScriptRunner
  readonly #prefix: string

  constructor (client: ScriptClient, options: RedisStoreOptions) {
    this.#runner = new ScriptRunner(client, options)
    this.#prefix = options.prefix
  }

  async consume (quotas: readonly Quota[], keys: readonly string[]): Promise<Verdict> {
    const [status, ...numbers] = await this.#run(CONSUME, keys, [encodeQuotas(quotas)])
    if (status !== 'admitted' && status !== 'refused') throw unknownAnswer()
    return { admitted: status === 'admitted', readings: readingsOf(numbers, quotas) }
  }

  async peek (quotas: readonly Quota[], keys: readonly string[]): Promise<readonly Reading[]> {
    const [, ...numbers] = await this.#run(PEEK, keys, [encodeQuotas(quotas)])
    return readingsOf(numbers, quotas)
  }

  async giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): Promise<void> {
    if (marks.every((mark) => mark === NOT_COUNTED)) return
    await this.#run(GIVE_BACK, keys, [encodeQuotas(quotas), ...marks])
  }

  async reset (keys: readonly string[]): Promise<void> {
    if (keys.length > 0) await this.#run(RESET, keys, [])
  }

  async ban (keys: readonly string[], durationMs: number): Promise<void> {
    if (keys.length > 0) await this.#run(BAN, keys, [durationMs])
  }

  /** The connection belongs to the caller that opened it. */
  close (): void {}

  async #run (script: Script, keys: readonly string[], args: readonly Arg[]): Promise<unknown[]> {
    return await this.#runner.run(script, keys.map((key) => this.#prefix + key), args)
  }
}

/** Four numbers a limit: room (1, 0 or -1 = banned), used, wait in milliseconds, mark. */
function readingsOf (parts: readonly unknown[], quotas: readonly Quota[]): Reading[] {
  if (parts.length !== quotas.length * 4) throw unknownAnswer()
  const numbers = parts.map(integerOf)
  return quotas.map((_quota, index) => {
    const [room, used = 0, waitMs = 0, mark = NOT_COUNTED] = numbers.slice(index * 4, index * 4 + 4)
    return { room: room === 1, used, waitMs, mark, banned: room === -1 }
  })
}
