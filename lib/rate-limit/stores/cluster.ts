import { slotOf } from '../../redis/cluster-node.js'
import { DeadlineExceeded, withDeadline } from '../../redis/deadline.js'
import { NOT_COUNTED, type Quota, type Reading } from '../quota.js'
import type { LimitStore, Verdict } from './store.js'

export interface ClusterStoreOptions {
  /** Everything that stands before a key in Redis. */
  readonly prefix: string
  /** How long a caller waits for all slots together. */
  readonly deadlineMs: number
  /** Names the node that serves a key, as far as is known. */
  readonly nodeOf: (key: string) => string
}

/** The quotas of a call whose keys lie in one slot. */
interface Group {
  /** Their places in the call. */
  readonly places: readonly number[]
  readonly quotas: readonly Quota[]
  readonly keys: readonly string[]
}

/**
 * Counts in a Redis Cluster, where one script reaches one slot. All keys in one slot: one round trip, decided in one
 * step. Otherwise the slots are asked one after the other, and the first that refuses ends it: what those before it
 * counted is given back.
 *
 * So in the moment between, a request that will be refused takes a place: another may be refused for it, none is
 * admitted for it. A node that is lost or a give-back that fails leaves the limiter stricter, never laxer.
 */
export class ClusterStore implements LimitStore {
  readonly kind = 'redis'
  /** Reaches every node; the keys of each call must lie in one slot. */
  readonly #store: LimitStore
  readonly #options: ClusterStoreOptions

  constructor (store: LimitStore, options: ClusterStoreOptions) {
    this.#store = store
    this.#options = options
  }

  async consume (quotas: readonly Quota[], keys: readonly string[]): Promise<Verdict> {
    const groups = this.#groupsOf(keys, quotas)
    if (groups.length === 0) return { admitted: true, readings: [] }
    if (groups.length === 1) return await this.#store.consume(quotas, keys)
    const caller = { waits: true }
    try {
      return await withDeadline(this.#consumeInTurn(groups, caller), this.#options.deadlineMs)
    } finally {
      caller.waits = false
    }
  }

  async giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): Promise<void> {
    await all(this.#groupsOf(keys, quotas).map(async (group) => {
      await this.#giveBack(group, group.places.map((place) => marks[place] ?? NOT_COUNTED))
    }))
  }

  async peek (quotas: readonly Quota[], keys: readonly string[]): Promise<readonly Reading[]> {
    const groups = this.#groupsOf(keys, quotas)
    return inOrder(groups, await all(groups.map(async (group) => await this.#store.peek(group.quotas, group.keys))))
  }

  async reset (keys: readonly string[]): Promise<void> {
    await all(this.#groupsOf(keys).map(async (group) => { await this.#store.reset(group.keys) }))
  }

  async ban (keys: readonly string[], durationMs: number): Promise<void> {
    await all(this.#groupsOf(keys).map(async (group) => { await this.#store.ban(group.keys, durationMs) }))
  }

  laneOf (keys: readonly string[]): string {
    return [...new Set(keys.map(this.#options.nodeOf))].sort().join(' ')
  }

  close (): void {
    this.#store.close()
  }

  /** One group a slot, in the order in which the slots occur. */
  #groupsOf (keys: readonly string[], quotas: readonly Quota[] = []): Group[] {
    const placesBySlot = new Map<number, number[]>()
    for (const [place, key] of keys.entries()) {
      const slot = slotOf(this.#options.prefix + key)
      placesBySlot.set(slot, [...placesBySlot.get(slot) ?? [], place])
    }
    return [...placesBySlot.values()].map((places) => ({
      places,
      quotas: places.flatMap((place) => quotas[place] ?? []),
      keys: places.flatMap((place) => keys[place] ?? []),
    }))
  }

  /** Leaves no count behind that its caller does not know of: also not when the caller has gone in the meantime. */
  async #consumeInTurn (groups: readonly Group[], caller: { readonly waits: boolean }): Promise<Verdict> {
    const verdicts: Verdict[] = []
    try {
      for (const { quotas, keys } of groups) {
        verdicts.push(await this.#store.consume(quotas, keys))
        if (!caller.waits) throw new DeadlineExceeded('the caller has gone')
        if (verdicts.at(-1)?.admitted === false) break
      }
    } catch (error) {
      await Promise.all(groups.map(async (group, index) => { await this.#undo(group, verdicts[index]) }))
      throw error
    }
    const admitted = verdicts.every((verdict) => verdict.admitted)
    const readings = await Promise.all(groups.map(async (group, index) => {
      const verdict = verdicts[index]
      const isFinal = verdict !== undefined && verdict.admitted === admitted
      return isFinal ? verdict.readings : await this.#readAfterRefusal(group, verdict)
    }))
    return { admitted, readings: inOrder(groups, readings) }
  }

  /**
   * The refusal came from another slot. Here nothing may stay counted, and what is told must be true: the longest of
   * all waits goes into Retry-After.
   */
  async #readAfterRefusal (group: Group, verdict: Verdict | undefined): Promise<readonly Reading[]> {
    try {
      // The connection keeps their order, so that the second reads what the first left.
      const [, readings] = await Promise.all([this.#undo(group, verdict), this.#store.peek(group.quotas, group.keys)])
      return readings
    } catch {
      // The node is lost in the meantime. The refusal stands, with the best that is known of these limits.
      return group.quotas.map(({ cost, windowMs }, index) => {
        const reading = verdict?.readings[index]
        if (reading === undefined) return { room: true, used: 0, waitMs: windowMs, mark: NOT_COUNTED }
        const counted = reading.mark === NOT_COUNTED ? 0 : cost
        return { ...reading, used: reading.used - counted, mark: NOT_COUNTED }
      })
    }
  }

  /** A count that cannot be given back stays: an outage makes the limiter stricter, never laxer. */
  async #undo (group: Group, verdict: Verdict | undefined): Promise<void> {
    await this.#giveBack(group, verdict?.readings.map(({ mark }) => mark) ?? []).catch(() => {})
  }

  async #giveBack ({ quotas, keys }: Group, marks: readonly number[]): Promise<void> {
    if (marks.some((mark) => mark !== NOT_COUNTED)) await this.#store.giveBack(quotas, keys, marks)
  }
}

/** The readings of all groups in the order of the call. */
function inOrder (groups: readonly Group[], readings: readonly (readonly Reading[])[]): Reading[] {
  const ordered: Reading[] = []
  for (const [index, { places }] of groups.entries()) {
    for (const [at, place] of places.entries()) {
      const reading = readings[index]?.[at]
      if (reading !== undefined) ordered[place] = reading
    }
  }
  return ordered
}

/** Lets all of them come to their end before it tells of the first failure. */
async function all<T> (work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work)
  return await Promise.all(work)
}
