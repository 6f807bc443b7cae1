import { SecurityError } from '../response/errors.js'
import { DeadlineExceeded, isCluster, withDeadline, type RedisClient } from '../redis/connection.js'
import { slotOf } from '../redis/slot.js'
import { listOf } from './redis-answers.js'
import { CLOCK, REDIS_CLOCK, type Script } from './scripts.js'
import { StoreClock } from './store-clock.js'

/** How often an idle instance looks at Redis' clock. */
const SYNC_EVERY_MS = 10_000

/** What a command may be late by when its caller still takes the answer: timers and clocks are not exact. */
const LATE_MARGIN_MS = 10

/** Nodes come and go under new addresses; what is known of their clocks is learned again at once. */
const MAX_NODES = 1000

export type Arg = string | number
export type Keys = readonly [string, ...string[]]

export interface ScriptRunnerOptions {
  readonly client: RedisClient
  /** How long a caller waits for an answer. */
  readonly deadlineMs: number
  /**
   * Names a key of the slot whose node's clock is the store's: in a Cluster each has its own, and all instances must
   * mean the same.
   */
  readonly clockKey: string
  /** What follows the time in the arguments of each script. */
  readonly commonArgs: readonly Arg[]
  /** Told when Redis stops answering (with the cause) and when it answers again (null). */
  readonly onHealth: (cause: unknown) => void
  /** For tests: epoch milliseconds instead of Redis' own clock. */
  readonly now: (() => number) | undefined
}

/** Moments of one call on the clock of the node that it goes to. */
export interface CallTimes {
  /** The last millisecond at which the step may be taken: after that its caller has been told otherwise. 0 is any. */
  readonly validUntil: number
  /** The earliest that the clock may have said so many milliseconds before the call. */
  readonly earliest: (agoMs: number) => number
}

/** Runs scripts with a deadline, each in one round trip, and learns Redis' clock from the answers. */
export class ScriptRunner {
  readonly #options: ScriptRunnerOptions
  readonly #clocks = new Map<string, StoreClock>()
  readonly #timer: NodeJS.Timeout
  #healthy = true

  constructor (options: ScriptRunnerOptions) {
    this.#options = options
    options.client.on('ready', this.#syncSilently)
    if (options.client.status === 'ready') this.#syncSilently()
    this.#timer = setInterval(this.#syncSilently, SYNC_EVERY_MS).unref()
  }

  /** Epoch milliseconds; this host's clock before the first answer. */
  now (): number {
    const { now, clockKey } = this.#options
    if (now !== undefined) return now()
    const clock = this.#clockOf(clockKey)
    return clock.known ? clock.at(performance.now()) : Date.now()
  }

  /** Asks Redis for its clock. @throws SecurityError, `STORE_UNAVAILABLE`. */
  async sync (): Promise<void> {
    await this.#guarded(() => this.#send(CLOCK, [this.#options.clockKey], () => []))
  }

  /** The answer without its time. @throws SecurityError, `STORE_UNAVAILABLE`, whatever went wrong. */
  async run (script: Script, keys: Keys, argsOf: (times: CallTimes) => readonly Arg[]): Promise<unknown[]> {
    const startedAt = performance.now()
    return await this.#guarded(async () => {
      // The first command to a node, whose clock must be known before a limit can be set by it.
      if (!this.#clockOf(keys[0]).known) await this.#send(CLOCK, keys, () => [])
      return await this.#send(script, keys, (clock) => argsOf(this.#timesOf(clock, startedAt)))
    })
  }

  close (): void {
    clearInterval(this.#timer)
    this.#options.client.off('ready', this.#syncSilently)
  }

  readonly #syncSilently = (): void => {
    const { clockKey, deadlineMs } = this.#options
    withDeadline(this.#send(CLOCK, [clockKey], () => []), deadlineMs).catch(() => {})
  }

  #timesOf (clock: StoreClock, startedAt: number): CallTimes {
    const { now, deadlineMs } = this.#options
    if (now !== undefined) return { validUntil: 0, earliest: (agoMs) => Math.floor(now() - agoMs) }
    return {
      validUntil: clock.latest(startedAt + deadlineMs + LATE_MARGIN_MS),
      earliest: (agoMs) => clock.earliest(startedAt - agoMs),
    }
  }

  #clockOf (key: string): StoreClock {
    const { client } = this.#options
    const node = isCluster(client) ? client.slots[slotOf((client.options.keyPrefix ?? '') + key)]?.[0] ?? '' : ''
    let clock = this.#clocks.get(node)
    if (clock === undefined) {
      if (this.#clocks.size >= MAX_NODES) this.#clocks.clear()
      clock = new StoreClock()
      this.#clocks.set(node, clock)
    }
    return clock
  }

  async #send (script: Script, keys: Keys, argsOf: (clock: StoreClock) => readonly Arg[]): Promise<unknown[]> {
    const { now, commonArgs } = this.#options
    const clock = this.#clockOf(keys[0])
    const args = [...keys, now?.() ?? REDIS_CLOCK, ...commonArgs, ...argsOf(clock)]
    const sentAt = performance.now()
    const [told, ...answer] = known(listOf(await this.#evaluate(script, keys.length, args)))
    if (typeof told !== 'number') throw unknownAnswer()
    const estimateWasLow = clock.observe(sentAt, performance.now(), told)
    if (answer[0] !== 'stale') return answer
    // A Redis with another clock took over. It changed nothing, so that asking again is safe; and its answer has fixed
    // the estimate, so that this comes to an end.
    if (estimateWasLow) return await this.#send(script, keys, argsOf)
    throw new DeadlineExceeded('Redis got to the command after its time')
  }

  async #evaluate ({ lua, sha }: Script, keys: number, args: readonly Arg[]): Promise<unknown> {
    const { client } = this.#options
    try {
      return await client.evalsha(sha, keys, ...args)
    } catch (error) {
      // Only this error promises that nothing ran (a new or flushed Redis).
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      return await client.eval(lua, keys, ...args)
    }
  }

  async #guarded<T> (operation: () => Promise<T>): Promise<T> {
    let result: T
    try {
      result = await withDeadline(operation(), this.#options.deadlineMs)
    } catch (cause) {
      this.#setHealth(false, cause)
      throw unavailable(cause)
    }
    this.#setHealth(true, null)
    return result
  }

  #setHealth (healthy: boolean, cause: unknown): void {
    if (healthy === this.#healthy) return
    this.#healthy = healthy
    this.#options.onHealth(cause)
  }
}

function unavailable (cause: unknown): SecurityError {
  return new SecurityError('STORE_UNAVAILABLE', { headers: { 'retry-after': '1' }, members: { retryAfter: 1 }, cause })
}

export function unknownAnswer (): SecurityError {
  return unavailable(new Error('a session script gave an answer of an unknown shape'))
}

/** @throws SecurityError, `STORE_UNAVAILABLE`, for null. */
export function known<T> (part: T | null): T {
  if (part === null) throw unknownAnswer()
  return part
}
