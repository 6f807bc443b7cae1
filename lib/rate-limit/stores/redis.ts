import type { Redis } from 'ioredis'
import { withDeadline } from '../../redis.js'
import { NOT_COUNTED, type Quota, type Reading } from '../quota.js'
import { CONSUME, GIVE_BACK, REDIS_CLOCK, type Script } from './scripts.js'
import type { LimitStore, Verdict } from './store.js'

/** What the store asks of an ioredis client. */
export interface ScriptClient {
  evalsha: Redis['evalsha']
  eval: Redis['eval']
}

export interface RedisStoreOptions {
  readonly prefix: string
  /** How long a caller waits for an answer. */
  readonly deadlineMs: number
  /** A virtual clock, for tests; without it Redis' own clock decides, so that instances need not agree on the time. */
  readonly now?: () => number
}

const NUMBERS_PER_READING = 4

/** Counts in Redis, shared by all instances: one round trip for all limits of a phase. */
export class RedisStore implements LimitStore {
  readonly kind = 'redis'
  readonly #client: ScriptClient
  readonly #prefix: string
  readonly #deadlineMs: number
  readonly #now: () => number
  readonly #staticArgs = new WeakMap<readonly Quota[], readonly (string | number)[]>()

  constructor (client: ScriptClient, options: RedisStoreOptions) {
    this.#client = client
    this.#prefix = options.prefix
    this.#deadlineMs = options.deadlineMs
    this.#now = options.now ?? (() => REDIS_CLOCK)
  }

  async consume (quotas: readonly Quota[], keys: readonly string[]): Promise<Verdict> {
    const answer = await this.#run(CONSUME, keys, [this.#now(), ...this.#argsOf(quotas)])
    if (!isAnswer(answer, quotas.length)) throw new TypeError('Redis gave an answer of an unknown shape')
    const readings: Reading[] = []
    for (let at = 1; at < answer.length; at += NUMBERS_PER_READING) {
      const [room = 0, used = 0, waitMs = 0, mark = NOT_COUNTED] = answer.slice(at, at + NUMBERS_PER_READING)
      readings.push({ room: room === 1, used, waitMs, mark })
    }
    return { admitted: answer[0] === 1, readings }
  }

  async giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): Promise<void> {
    const held: string[] = []
    const args: (string | number)[] = []
    for (const [index, mark] of marks.entries()) {
      const key = keys[index]
      const quota = quotas[index]
      if (mark === NOT_COUNTED || key === undefined || quota === undefined) continue
      held.push(key)
      args.push(quota.algorithm, mark)
    }
    if (held.length > 0) await this.#run(GIVE_BACK, held, args)
  }

  peek (): never { throw new Error('not yet') }
  reset (): never { throw new Error('not yet') }
  ban (): never { throw new Error('not yet') }

  /** The connection belongs to whoever opened it. */
  close (): void {}

  #argsOf (quotas: readonly Quota[]): readonly (string | number)[] {
    let args = this.#staticArgs.get(quotas)
    if (args === undefined) {
      args = quotas.flatMap(({ algorithm, limit, windowMs, bucketMs, shadow }) => [algorithm, limit, windowMs, bucketMs, shadow ? 1 : 0])
      this.#staticArgs.set(quotas, args)
    }
    return args
  }

  #run (script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return withDeadline(this.#evaluate(script, keys.map((key) => this.#prefix + key), args), this.#deadlineMs)
  }

  async #evaluate (script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    try {
      return await this.#client.evalsha(script.sha, keys.length, ...keys, ...args)
    } catch (error) {
      // Only this error promises that nothing ran (a new or flushed Redis); after any other a repeat could count twice.
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return await this.#client.eval(script.lua, keys.length, ...keys, ...args)
    }
  }
}

function isAnswer (answer: unknown, quotas: number): answer is number[] {
  return Array.isArray(answer) && answer.length === 1 + quotas * NUMBERS_PER_READING && answer.every((part) => typeof part === 'number')
}
