import type { Redis } from 'ioredis'
import { Generations } from '../common/generations.js'
import { RedisClock } from './clock.js'
import { DeadlineExceeded, withDeadline } from './deadline.js'
import { createScript, type Script } from './script.js'

/** What is asked of an ioredis client, alone or of a Cluster. */
export type ScriptClient = Pick<Redis, 'evalsha' | 'eval'>

export type Arg = string | number

export interface ScriptRunnerOptions {
  /** How long a caller waits for an answer. */
  readonly deadlineMs: number
  /** Names the node that serves a key, as far as is known: each node of a Cluster has a clock of its own. */
  readonly nodeOf?: (key: string) => string
  /** For tests: epoch milliseconds instead of Redis' own clock. */
  readonly now?: (() => number) | undefined
}

/** By how much a command may be late when its caller still takes the answer: timers and clocks are not exact. */
const LATE_MARGIN_MS = 10

/** A server, or a node of a Cluster. They come and go under new addresses. */
interface RedisNode {
  readonly clock: RedisClock
  /** Stands while it is asked for its clock, so that the first requests do so once and not all of them. */
  asking: Promise<unknown> | null
}

const MAX_NODES = 1000

const CLOCK = createScript("return answer('clock')")

/**
 * Runs scripts with a deadline, one round trip each, and learns Redis' clock from their answers.
 *
 * A command that waits in the socket of a stopped Redis must not run when that wakes up, long after its caller was told
 * otherwise. So each script that `expires` is told, by Redis' clock, until when it is valid.
 */
export class ScriptRunner {
  readonly #client: ScriptClient
  readonly #deadlineMs: number
  readonly #nodeOf: (key: string) => string
  readonly #testNow: (() => number) | undefined
  readonly #nodes = new Generations<string, RedisNode>(MAX_NODES)

  constructor (client: ScriptClient, { deadlineMs, nodeOf = () => '', now }: ScriptRunnerOptions) {
    this.#client = client
    this.#deadlineMs = deadlineMs
    this.#nodeOf = nodeOf
    this.#testNow = now
  }

  /** Epoch milliseconds on the clock of the node that serves this key; on this host's before its first answer. */
  now (key: string): number {
    if (this.#testNow !== undefined) return this.#testNow()
    const { clock } = this.#nodeFor(key)
    return clock.known ? clock.at(performance.now()) : Date.now()
  }

  /** Asks the node that serves this key for its clock. @throws like `run`. */
  async sync (key: string): Promise<void> {
    await this.run(CLOCK, [key], [])
  }

  /**
   * The script's answer, which begins with its word. All keys must lie in one slot.
   * @throws DeadlineExceeded, the error of the client, or TypeError for an answer of an unknown shape.
   */
  async run (script: Script, keys: readonly string[], args: readonly Arg[]): Promise<unknown[]> {
    return await withDeadline(this.#run(script, keys, args, performance.now()), this.#deadlineMs)
  }

  async #run (script: Script, keys: readonly string[], args: readonly Arg[], calledAt: number): Promise<unknown[]> {
    const node = this.#nodeFor(keys[0] ?? '')
    const { clock } = node
    if (script.expires && this.#testNow === undefined && !clock.known) {
      await (node.asking ??= this.#learn(script, keys, args, clock).finally(() => { node.asking = null }))
    }
    for (;;) {
      const { answer, wasEarly } = await observe(clock, async () =>
        await this.#evaluate(script, keys, [...this.#timesOf(script, clock, calledAt), ...args]))
      if (answer[0] !== 'stale') return answer
      // The clock was thought to be earlier: a Redis with another one took over. The script changed nothing and its
      // answer corrected the clock, so it may be asked again.
      if (!wasEarly) throw new DeadlineExceeded('Redis reached the command after its deadline')
    }
  }

  /** The script as if it came too late: that loads it and tells the time, and changes nothing. */
  async #learn ({ lua }: Script, keys: readonly string[], args: readonly Arg[], clock: RedisClock): Promise<void> {
    await observe(clock, async () => await this.#client.eval(lua, keys.length, ...keys, '', 0, '', ...args))
  }

  /** ARGV[1] to ARGV[3]. */
  #timesOf ({ expires }: Script, clock: RedisClock, calledAt: number): readonly Arg[] {
    const now = this.#testNow?.()
    if (now !== undefined) return [now, '', now]
    if (!expires) return ['', '', '']
    return ['', clock.latest(calledAt + this.#deadlineMs + LATE_MARGIN_MS), clock.earliest(calledAt)]
  }

  /** Not ioredis' `defineCommand`, which does the same: it would add methods to a client that the app gave. */
  async #evaluate ({ lua, sha }: Script, keys: readonly string[], args: readonly Arg[]): Promise<unknown> {
    try {
      return await this.#client.evalsha(sha, keys.length, ...keys, ...args)
    } catch (error) {
      // Only this error promises that nothing ran (a new or flushed Redis); after any other a repeat could run twice.
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      return await this.#client.eval(lua, keys.length, ...keys, ...args)
    }
  }

  #nodeFor (key: string): RedisNode {
    const name = this.#nodeOf(key)
    const known = this.#nodes.get(name)
    if (known !== undefined) return known
    const node: RedisNode = { clock: new RedisClock(), asking: null }
    this.#nodes.set(name, node)
    return node
  }
}

/** The answer without its time, from which the clock learns. `wasEarly`: the clock is later than it was thought. */
async function observe (
  clock: RedisClock,
  ask: () => Promise<unknown>,
): Promise<{ readonly answer: unknown[], readonly wasEarly: boolean }> {
  const sentAt = performance.now()
  const answered = await ask()
  const receivedAt = performance.now()
  if (!Array.isArray(answered)) throw unknownAnswer()
  const [redisNow, ...answer] = answered as unknown[]
  return { answer, wasEarly: clock.observe(sentAt, receivedAt, integerOf(redisNow)) }
}

/** What a script answers comes from outside, so that each part is checked. */
export function unknownAnswer (): TypeError {
  return new TypeError('Redis gave an answer of an unknown shape')
}

/** Also of a text, because a client may be told to give numbers as texts. @throws TypeError for anything else. */
export function integerOf (part: unknown): number {
  const number = typeof part === 'string' && /^-?\d+$/.test(part) ? Number(part) : part
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) throw unknownAnswer()
  return number
}

/** @throws TypeError for anything but a text. */
export function textOf (part: unknown): string {
  if (typeof part !== 'string') throw unknownAnswer()
  return part
}
