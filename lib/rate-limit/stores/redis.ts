import type { Redis } from 'ioredis'
import { DeadlineExceeded, withDeadline } from '../../redis.js'
import { NOT_COUNTED, type Quota, type Reading } from '../quota.js'
import { ADMITTED, BAN, CONSUME, encodeQuotas, GIVE_BACK, NO_QUOTAS, NUMBERS_BEFORE_READINGS, NUMBERS_PER_READING, PEEK, REDIS_CLOCK, RESET, STALE, type Script } from './scripts.js'
import { ServerClock, WITHOUT_END } from './server-clock.js'
import type { LimitStore, Verdict } from './store.js'

/** What the store asks of an ioredis client. */
export interface ScriptClient {
  evalsha: Redis['evalsha']
  eval: Redis['eval']
  /** Absent on a Cluster, which has a stream a node. */
  readonly stream?: { cork (): void, uncork (): void } | undefined
}

export interface RedisStoreOptions {
  readonly prefix: string
  /** How long a caller waits for an answer. */
  readonly deadlineMs: number
  /** A virtual clock, for tests; without it Redis' own clock decides, so that instances need not agree on the time. */
  readonly now?: () => number
}

type Arg = string | number

/** What a command may be late by when its caller still takes the answer: timers and clocks are not exact. */
const LATE_MARGIN_MS = 10

/** Counts in Redis, shared by all instances: one round trip for all limits of a phase. */
export class RedisStore implements LimitStore {
  readonly kind = 'redis'
  readonly #client: ScriptClient
  readonly #prefix: string
  readonly #deadlineMs: number
  readonly #now: (() => number) | undefined
  readonly #encoded = new WeakMap<readonly Quota[], string>()
  readonly #serverClock = new ServerClock()
  #inFlight = 0
  #corked = false

  constructor (client: ScriptClient, options: RedisStoreOptions) {
    this.#client = client
    this.#prefix = options.prefix
    this.#deadlineMs = options.deadlineMs
    this.#now = options.now
  }

  consume (quotas: readonly Quota[], keys: readonly string[]): Promise<Verdict> {
    return withDeadline(this.#consume(quotas, keys, performance.now()), this.#deadlineMs)
  }

  async peek (quotas: readonly Quota[], keys: readonly string[]): Promise<readonly Reading[]> {
    return readingsOf(await this.#ask(PEEK, keys, this.#encode(quotas)), quotas)
  }

  async giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): Promise<void> {
    if (marks.some((mark) => mark !== NOT_COUNTED)) await this.#ask(GIVE_BACK, keys, this.#encode(quotas), ...marks)
  }

  async reset (keys: readonly string[]): Promise<void> {
    if (keys.length > 0) await this.#ask(RESET, keys, NO_QUOTAS)
  }

  async ban (keys: readonly string[], durationMs: number): Promise<void> {
    if (keys.length > 0) await this.#ask(BAN, keys, NO_QUOTAS, durationMs)
  }

  /** The connection belongs to whoever opened it. */
  close (): void {}

  /**
   * A command that waits in the socket of a stopped Redis must not count when it wakes up, long after its caller was told
   * otherwise: each says until when it is valid. The first, when Redis' clock is not known yet, cannot.
   */
  async #consume (quotas: readonly Quota[], keys: readonly string[], startedAt: number): Promise<Verdict> {
    const validUntil = this.#now === undefined ? this.#serverClock.at(startedAt + this.#deadlineMs + LATE_MARGIN_MS) : WITHOUT_END
    const sentAt = performance.now()
    const answer = await this.#send(CONSUME, keys, this.#encode(quotas), validUntil)
    if (!isAnswer(answer)) throw new TypeError('Redis gave an answer of an unknown shape')
    const estimateWasLow = this.#serverClock.observe(sentAt, performance.now(), answer[1])
    if (answer[0] !== STALE) return { admitted: answer[0] === ADMITTED, readings: readingsOf(answer, quotas) }
    // A Redis with another clock took over. It counted nothing, so that asking again is safe; and its answer has mended the
    // estimate, so that this comes to an end.
    if (estimateWasLow) return await this.#consume(quotas, keys, startedAt)
    throw new DeadlineExceeded('Redis got to the command after its time')
  }

  #ask (script: Script, keys: readonly string[], quotas: string, ...more: Arg[]): Promise<unknown> {
    return withDeadline(this.#send(script, keys, quotas, ...more), this.#deadlineMs)
  }

  #encode (quotas: readonly Quota[]): string {
    let encoded = this.#encoded.get(quotas)
    if (encoded === undefined) {
      encoded = encodeQuotas(quotas)
      this.#encoded.set(quotas, encoded)
    }
    return encoded
  }

  async #send (script: Script, keys: readonly string[], quotas: string, ...more: Arg[]): Promise<unknown> {
    const args: Arg[] = []
    for (const key of keys) args.push(this.#prefix + key)
    args.push(quotas, this.#now?.() ?? REDIS_CLOCK)
    for (const arg of more) args.push(arg)
    this.#shareWrite()
    this.#inFlight++
    try {
      return await this.#client.evalsha(script.sha, keys.length, ...args)
    } catch (error) {
      // Only this error promises that nothing ran (a new or flushed Redis); after any other a repeat could count twice.
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return await this.#client.eval(script.lua, keys.length, ...args)
    } finally {
      this.#inFlight--
    }
  }

  /**
   * A lone command goes out at once. While others are under way, those of one turn of the event loop wait for its end in the
   * socket and share one write. ioredis' own pipelining would wait for the pipeline before it as well.
   */
  #shareWrite (): void {
    const { stream } = this.#client
    if (this.#inFlight === 0 || this.#corked || stream === undefined) return
    this.#corked = true
    stream.cork()
    setImmediate(() => {
      this.#corked = false
      stream.uncork()
    })
  }
}

function readingsOf (answer: unknown, quotas: readonly Quota[]): Reading[] {
  if (!isAnswer(answer) || answer.length !== NUMBERS_BEFORE_READINGS + quotas.length * NUMBERS_PER_READING) throw new TypeError('Redis gave an answer of an unknown shape')
  const readings: Reading[] = []
  for (let at = NUMBERS_BEFORE_READINGS; at < answer.length; at += NUMBERS_PER_READING) {
    const [room, used, waitMs, mark] = [answer[at], answer[at + 1] ?? 0, answer[at + 2] ?? 0, answer[at + 3] ?? NOT_COUNTED]
    readings.push({ room: room === 1, used, waitMs, mark, banned: room === -1 })
  }
  return readings
}

/** Each number is checked: the answer comes from outside. */
function isAnswer (answer: unknown): answer is [number, number, ...number[]] {
  return Array.isArray(answer) && answer.length >= NUMBERS_BEFORE_READINGS && answer.every((part) => typeof part === 'number')
}
