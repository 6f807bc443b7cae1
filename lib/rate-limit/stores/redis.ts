import type { Redis } from 'ioredis'
import { DeadlineExceeded, withDeadline } from '../../redis/connection.js'
import { NOT_COUNTED, type Quota, type Reading } from '../quota.js'
import { ADMITTED, BAN, CONSUME, encodeQuotas, GIVE_BACK, NO_QUOTAS, NUMBERS_BEFORE_READINGS, NUMBERS_PER_READING, PEEK,
  REDIS_CLOCK, RESET, STALE, type Script } from './scripts.js'
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

const ignore = (): void => {}

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
    const now = performance.now()
    return withDeadline(this.#consume(quotas, keys, now, now), this.#deadlineMs)
  }

  async peek (quotas: readonly Quota[], keys: readonly string[]): Promise<readonly Reading[]> {
    return await this.#ask(PEEK, keys, this.#encode(quotas), [], (answer) => readingsOf(numbersOf(answer), quotas))
  }

  async giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): Promise<void> {
    if (marks.some((mark) => mark !== NOT_COUNTED))
      {await this.#ask(GIVE_BACK, keys, this.#encode(quotas), marks, ignore)}
  }

  async reset (keys: readonly string[]): Promise<void> {
    if (keys.length > 0) await this.#ask(RESET, keys, NO_QUOTAS, [], ignore)
  }

  async ban (keys: readonly string[], durationMs: number): Promise<void> {
    if (keys.length > 0) await this.#ask(BAN, keys, NO_QUOTAS, [durationMs], ignore)
  }

  /** The connection belongs to whoever opened it. */
  close (): void {}

  /**
   * A command that waits in the socket of a stopped Redis must not count when it wakes up, long after its caller was
   * told otherwise: each says until when it is valid. The first, when Redis' clock is not known yet, cannot.
   */
  #consume (quotas: readonly Quota[], keys: readonly string[], startedAt: number, sentAt: number): Promise<Verdict> {
    const validUntil = this.#now === undefined
      ? this.#serverClock.at(startedAt + this.#deadlineMs + LATE_MARGIN_MS)
      : WITHOUT_END
    return this.#send(CONSUME, keys, this.#encode(quotas), [validUntil], (answer) => {
      const numbers = numbersOf(answer)
      const estimateWasLow = this.#serverClock.observe(sentAt, performance.now(), numbers[1] ?? NaN)
      if (numbers[0] !== STALE) return { admitted: numbers[0] === ADMITTED, readings: readingsOf(numbers, quotas) }
      // A Redis with another clock took over. It counted nothing, so that asking again is safe; and its answer has
      // fixed the estimate, so that this comes to an end.
      if (estimateWasLow) return this.#consume(quotas, keys, startedAt, performance.now())
      throw new DeadlineExceeded('Redis got to the command after its time')
    })
  }

  #ask<T> (
    script: Script,
    keys: readonly string[],
    quotas: string,
    more: readonly Arg[],
    read: (answer: unknown) => T,
  ): Promise<T> {
    return withDeadline(this.#send(script, keys, quotas, more, read), this.#deadlineMs)
  }

  #encode (quotas: readonly Quota[]): string {
    let encoded = this.#encoded.get(quotas)
    if (encoded === undefined) {
      encoded = encodeQuotas(quotas)
      this.#encoded.set(quotas, encoded)
    }
    return encoded
  }

  /** Reads the answer in the same turn: each promise in between would cost as much as a limit. */
  #send<T> (
    script: Script,
    keys: readonly string[],
    quotas: string,
    more: readonly Arg[],
    read: (answer: unknown) => T | Promise<T>,
  ): Promise<T> {
    const args: Arg[] = []
    for (const key of keys) args.push(this.#prefix + key)
    args.push(quotas, this.#now?.() ?? REDIS_CLOCK)
    for (const arg of more) args.push(arg)
    this.#shareWrite()
    this.#inFlight++
    return this.#client.evalsha(script.sha, keys.length, ...args).then((answer) => {
      this.#inFlight--
      return read(answer)
    }, (error: unknown) => {
      this.#inFlight--
      // Only this error promises that nothing ran (a new or flushed Redis); after any other a repeat could count twice.
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return this.#client.eval(script.lua, keys.length, ...args).then(read)
    })
  }

  /**
   * A lone command goes out at once. While others are under way, those of one turn of the event loop wait for its end
   * in the socket and share one write. ioredis' own pipelining would wait for the pipeline before it as well.
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

function readingsOf (numbers: readonly number[], quotas: readonly Quota[]): Reading[] {
  if (numbers.length !== NUMBERS_BEFORE_READINGS + quotas.length * NUMBERS_PER_READING)
    {throw new TypeError(UNKNOWN_SHAPE)}
  const readings: Reading[] = []
  for (let at = NUMBERS_BEFORE_READINGS; at < numbers.length; at += NUMBERS_PER_READING) {
    const room = numbers[at]
    readings.push({
      room: room === 1,
      used: numbers[at + 1] ?? 0,
      waitMs: numbers[at + 2] ?? 0,
      mark: numbers[at + 3] ?? NOT_COUNTED,
      banned: room === -1,
    })
  }
  return readings
}

const UNKNOWN_SHAPE = 'Redis gave an answer of an unknown shape'
const SPACE = 0x20
const MINUS = 0x2d
const ZERO = 0x30

/**
 * Whole numbers with a space between. Each character is checked: the answer comes from outside. As one text, because a
 * client takes several times as long for a list of numbers, and gives texts instead of numbers if it was told so.
 */
function numbersOf (answer: unknown): number[] {
  if (typeof answer !== 'string') throw new TypeError(UNKNOWN_SHAPE)
  const numbers: number[] = []
  let number = 0
  let sign = 1
  let digits = 0
  for (let at = 0; at < answer.length; at++) {
    const code = answer.charCodeAt(at)
    if (code >= ZERO && code <= ZERO + 9) {
      number = number * 10 + code - ZERO
      digits++
    } else if (code === SPACE && digits > 0) {
      numbers.push(sign * number)
      number = 0
      sign = 1
      digits = 0
    } else if (code === MINUS && digits === 0 && sign === 1) {
      sign = -1
    } else {
      throw new TypeError(UNKNOWN_SHAPE)
    }
  }
  if (digits === 0 || numbers.length + 1 < NUMBERS_BEFORE_READINGS) throw new TypeError(UNKNOWN_SHAPE)
  numbers.push(sign * number)
  return numbers
}
