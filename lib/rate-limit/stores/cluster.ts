import { DeadlineExceeded, withDeadline } from '../../redis/connection.js'
import { NOT_COUNTED, type Quota, type Reading } from '../quota.js'
import { slotOf } from './slot.js'
import type { LimitStore, Verdict } from './store.js'

export interface ClusterStoreOptions {
  /** Everything that stands before a key in Redis. */
  readonly prefix: string
  /** How long a caller waits for all nodes together. */
  readonly deadlineMs: number
  /** Names the node that serves a slot, as far as is known. */
  readonly nodeOf: (slot: number) => string
  /** Makes the store of one node: each node has a clock of its own, which its store learns. */
  readonly createStore: () => LimitStore
}

/** The quotas of a call whose keys lie in one slot. */
interface Group {
  readonly store: LimitStore
  /** Their places in the call. */
  readonly places: readonly number[]
  readonly quotas: readonly Quota[]
  readonly keys: readonly string[]
}

/** Nodes come and go under new addresses; what a store knows of their clocks is learned again at once. */
const MAX_NODES = 1000

/**
 * Counts in a Redis Cluster, where one script reaches one slot. All keys in one slot: one round trip, decided in one
 * step.
 * Otherwise the slots are asked one after the other, and the first that refuses ends it: what those before it counted
 * is given back.
 *
 * So in the moment between, a request that will be refused takes a place: another may be refused for it, none is
 * admitted for it. Whatever goes wrong there (a node lost, a give-back that fails) leaves the limiter stricter, never
 * laxer.
 */
export class ClusterStore implements LimitStore {
  readonly kind = 'redis'
  readonly #options: ClusterStoreOptions
  readonly #stores = new Map<string, LimitStore>()
  /** By the list that the caller uses and the places in it, because stores remember lists of quotas by identity. */
  readonly #parts = new WeakMap<readonly Quota[], Map<string, readonly Quota[]>>()

  constructor (options: ClusterStoreOptions) {
    this.#options = options
  }

  async consume (quotas: readonly Quota[], keys: readonly string[]): Promise<Verdict> {
    const groups = this.#group(quotas, keys)
    const [only] = groups
    if (only === undefined) return { admitted: true, readings: [] }
    if (groups.length === 1) return await only.store.consume(quotas, keys)
    const caller = { waits: true }
    try {
      return await withDeadline(consumeInTurn(groups, quotas.length, caller), this.#options.deadlineMs)
    } finally {
      caller.waits = false
    }
  }

  async giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): Promise<void> {
    await all(this.#group(quotas, keys).map(async ({ store, places, quotas, keys }) => {
      const own = places.map((place) => marks[place] ?? NOT_COUNTED)
      if (own.some((mark) => mark !== NOT_COUNTED)) await store.giveBack(quotas, keys, own)
    }))
  }

  async peek (quotas: readonly Quota[], keys: readonly string[]): Promise<readonly Reading[]> {
    const readings = new Array<Reading>(quotas.length)
    await all(
      this.#group(quotas, keys).map(async ({ store, places, quotas, keys }) => {
        put(readings, places, await store.peek(quotas, keys))
      }),
    )
    return readings
  }

  async reset (keys: readonly string[]): Promise<void> {
    await all(this.#group([], keys).map(async ({ store, keys }) => { await store.reset(keys) }))
  }

  async ban (keys: readonly string[], durationMs: number): Promise<void> {
    await all(this.#group([], keys).map(async ({ store, keys }) => { await store.ban(keys, durationMs) }))
  }

  laneOf (keys: readonly string[]): string {
    const nodes = new Set(keys.map((key) => this.#options.nodeOf(slotOf(this.#options.prefix + key))))
    return [...nodes].sort().join(' ')
  }

  close (): void {
    for (const store of this.#stores.values()) store.close()
  }

  /** One group a slot, in the order in which the slots occur. */
  #group (quotas: readonly Quota[], keys: readonly string[]): Group[] {
    const bySlot = new Map<number, number[]>()
    for (const [place, key] of keys.entries()) {
      const slot = slotOf(this.#options.prefix + key)
      const places = bySlot.get(slot)
      if (places === undefined) bySlot.set(slot, [place])
      else places.push(place)
    }
    return [...bySlot].map(([slot, places]) => ({
      store: this.#storeOf(slot),
      places,
      quotas: places.length === keys.length ? quotas : this.#part(quotas, places),
      keys: places.length === keys.length ? keys : places.map((place) => keys[place] ?? ''),
    }))
  }

  #part (quotas: readonly Quota[], places: readonly number[]): readonly Quota[] {
    const parts = this.#parts.get(quotas) ?? new Map<string, readonly Quota[]>()
    this.#parts.set(quotas, parts)
    const name = places.join()
    let part = parts.get(name)
    if (part === undefined) {
      part = places.flatMap((place) => quotas[place] ?? [])
      parts.set(name, part)
    }
    return part
  }

  #storeOf (slot: number): LimitStore {
    const node = this.#options.nodeOf(slot)
    let store = this.#stores.get(node)
    if (store === undefined) {
      if (this.#stores.size >= MAX_NODES) this.#stores.clear()
      store = this.#options.createStore()
      this.#stores.set(node, store)
    }
    return store
  }
}

/** Never leaves a count behind that its caller does not know of: also not when the caller has gone in the meantime. */
async function consumeInTurn (
  groups: readonly Group[],
  size: number,
  caller: { readonly waits: boolean },
): Promise<Verdict> {
  const asked: Verdict[] = []
  let admitted = true
  try {
    for (const { store, quotas, keys } of groups) {
      const verdict = await store.consume(quotas, keys)
      asked.push(verdict)
      if (!caller.waits) throw new DeadlineExceeded('the caller has gone')
      admitted = verdict.admitted
      if (!admitted) break
    }
  } catch (error) {
    await Promise.all(asked.map(async (verdict, index) => { await undo(groups[index], verdict) }))
    throw error
  }
  const readings = new Array<Reading>(size)
  await Promise.all(groups.map(async (group, index) => {
    const verdict = asked[index]
    const own = admitted || verdict?.admitted === false ? verdict?.readings : await readAfterRefusal(group, verdict)
    put(readings, group.places, own ?? [])
  }))
  return { admitted, readings }
}

/**
 * The refusal came from another slot. Here nothing may stay counted, and what is told must be true: the longest of all
 * waits goes into Retry-After.
 */
async function readAfterRefusal (group: Group, verdict: Verdict | undefined): Promise<readonly Reading[]> {
  const { store, quotas, keys } = group
  try {
    // The connection keeps their order, so that the second reads what the first left.
    const [, readings] = await Promise.all([undo(group, verdict), store.peek(quotas, keys)])
    return readings
  } catch {
    // The node is lost in the meantime. The refusal stands all the same, with the best that is known of these limits.
    return quotas.map(({ cost, windowMs }, index) => {
      const reading = verdict?.readings[index]
      if (reading === undefined) return { room: true, used: 0, waitMs: windowMs, mark: NOT_COUNTED }
      return { ...reading, used: reading.mark === NOT_COUNTED ? reading.used : reading.used - cost, mark: NOT_COUNTED }
    })
  }
}

/** A count that cannot be given back stays: an outage makes the limiter stricter, never laxer. */
async function undo (group: Group | undefined, verdict: Verdict | undefined): Promise<void> {
  if (group === undefined || verdict === undefined) return
  const marks = verdict.readings.map(({ mark }) => mark)
  if (marks.some((mark) => mark !== NOT_COUNTED))
    {await Promise.resolve(group.store.giveBack(group.quotas, group.keys, marks)).catch(() => {})}
}

function put (readings: Reading[], places: readonly number[], own: readonly Reading[]): void {
  for (const [index, place] of places.entries()) {
    const reading = own[index]
    if (reading !== undefined) readings[place] = reading
  }
}

/** Lets all of them come to their end before it tells of the first failure. */
async function all (work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason
}
