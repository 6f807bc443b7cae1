import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { createQuota, NOT_COUNTED, type Quota, type Reading } from '../../../lib/rate-limit/quota.js'
import { ClusterStore } from '../../../lib/rate-limit/stores/cluster.js'
import { slotOf } from '../../../lib/redis/cluster-node.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'

const QUOTA = createQuota('exact', 2, 60_000, false)
const COSTLY = createQuota('exact', 9, 60_000, false, { cost: 3 })
const SHADOW = createQuota('exact', 1, 60_000, true)

/** A node of three lines: it counts, and does as it is told when asked to fail or to be late. */
class FakeNode implements LimitStore {
  readonly kind = 'redis'
  readonly used: Map<string, number>
  readonly calls: string[] = []
  readonly lists: (readonly Quota[])[] = []
  closed = false
  failing: string[] = []
  lateMs = 0
  constructor (used: Map<string, number>) { this.used = used }

  async consume (quotas: readonly Quota[], keys: readonly string[]): Promise<Verdict> {
    this.lists.push(quotas)
    await this.#enter('consume', keys)
    const room = quotas.map((quota, index) => this.#of(keys[index]) + quota.cost <= quota.limit)
    const admitted = quotas.every((quota, index) => quota.shadow || room[index] === true)
    const readings = quotas.map((quota, index): Reading => {
      const counts = admitted && room[index] === true
      if (counts) this.used.set(keys[index] ?? '', this.#of(keys[index]) + quota.cost)
      return { room: room[index] === true, used: this.#of(keys[index]), waitMs: 1000, mark: counts ? 7 : NOT_COUNTED }
    })
    return { admitted, readings }
  }

  async giveBack (quotas: readonly Quota[], keys: readonly string[], marks: readonly number[]): Promise<void> {
    await this.#enter('giveBack', keys)
    for (const [index, mark] of marks.entries()) {
      if (mark !== NOT_COUNTED) this.used.set(keys[index] ?? '', this.#of(keys[index]) - (quotas[index]?.cost ?? 0))
    }
  }

  async peek (quotas: readonly Quota[], keys: readonly string[]): Promise<readonly Reading[]> {
    await this.#enter('peek', keys)
    return quotas.map((quota, index) => ({
      room: this.#of(keys[index]) + quota.cost <= quota.limit,
      used: this.#of(keys[index]),
      waitMs: 5000,
      mark: NOT_COUNTED,
    }))
  }

  async reset (keys: readonly string[]): Promise<void> {
    await this.#enter('reset', keys)
    for (const key of keys) this.used.delete(key)
  }

  async ban (keys: readonly string[], durationMs: number): Promise<void> {
    await this.#enter(`ban ${durationMs}`, keys)
  }
  close (): void {
    this.closed = true
  }

  #of (key = ''): number { return this.used.get(key) ?? 0 }
  async #enter (what: string, keys: readonly string[]): Promise<void> {
    this.calls.push(`${what} ${keys.join()}`)
    if (this.lateMs > 0) await sleep(this.lateMs)
    if (this.failing.includes(what)) throw new Error('node lost')
  }
}

/** A Cluster of fake nodes, one a slot, made when first asked. */
function setUp (
  deadlineMs = 1000,
): { store: ClusterStore, node: (tag: string) => FakeNode, used: Map<string, number> } {
  const nodes = new Map<number, FakeNode>()
  const used = new Map<string, number>()
  const nodeAt = (slot: number): FakeNode => {
    const node = nodes.get(slot) ?? new FakeNode(used)
    nodes.set(slot, node)
    return node
  }
  const nodeOf = (keys: readonly string[]): FakeNode => {
    const slots = new Set(keys.map((key) => slotOf(`p:${key}`)))
    if (slots.size !== 1) throw new Error(`${keys.join()} do not lie in one slot`)
    return nodeAt([...slots][0] ?? NaN)
  }
  const store = new ClusterStore({
    kind: 'redis',
    consume: (quotas, keys) => nodeOf(keys).consume(quotas, keys),
    giveBack: (quotas, keys, marks) => nodeOf(keys).giveBack(quotas, keys, marks),
    peek: (quotas, keys) => nodeOf(keys).peek(quotas, keys),
    reset: (keys) => nodeOf(keys).reset(keys),
    ban: (keys, durationMs) => nodeOf(keys).ban(keys, durationMs),
    close: () => { for (const node of nodes.values()) node.close() },
  }, { prefix: 'p:', deadlineMs, nodeOf: (key) => String(slotOf(`p:${key}`)) })
  return { store, node: (tag) => nodeAt(slotOf(`{${tag}}`)), used }
}

test('keys of one slot are asked in one step, with the very list of quotas that was given', async (t) => {
  const { store, node } = setUp()
  const quotas = [QUOTA, QUOTA, SHADOW]
  t.match(await store.consume(quotas, ['{a}1', '{a}2', '{a}3']), { admitted: true })
  t.same(node('a').calls, ['consume {a}1,{a}2,{a}3'])
  t.equal(node('a').lists[0], quotas)
  t.same(await store.consume([], []), { admitted: true, readings: [] })
})

test('readings come back in the order of the call', async (t) => {
  const { store, used } = setUp()
  used.set('{a}2', 1)
  const { readings } = await store.consume([QUOTA, COSTLY, QUOTA], ['{a}1', '{b}', '{a}2'])
  t.same(readings.map((reading) => reading.used), [1, 3, 2])
  const peeked = await store.peek([QUOTA, COSTLY, QUOTA], ['{a}1', '{b}', '{a}2'])
  t.same(peeked.map((reading) => reading.used), [1, 3, 2])
})

test('a later refusal takes back what was counted before it, and tells the truth of every limit', async (t) => {
  const { store, node, used } = setUp()
  used.set('{b}', 2)
  used.set('{d}', 2)
  const verdict = await store.consume([COSTLY, SHADOW, QUOTA, QUOTA, QUOTA], ['{a}', '{a}s', '{b}', '{c}', '{d}'])
  t.equal(verdict.admitted, false)
  t.same(verdict.readings, [
    { room: true, used: 0, waitMs: 5000, mark: NOT_COUNTED },
    { room: true, used: 0, waitMs: 5000, mark: NOT_COUNTED },
    { room: false, used: 2, waitMs: 1000, mark: NOT_COUNTED },
    { room: true, used: 0, waitMs: 5000, mark: NOT_COUNTED },
    { room: false, used: 2, waitMs: 5000, mark: NOT_COUNTED },
  ])
  t.same(Object.fromEntries(used), { '{a}': 0, '{a}s': 0, '{b}': 2, '{d}': 2 })
  t.same(node('c').calls, ['peek {c}'], 'nothing was counted there')
})

test('a first refusal touches no other slot but to read it', async (t) => {
  const { store, node, used } = setUp()
  used.set('{a}', 2)
  t.equal((await store.consume([QUOTA, QUOTA], ['{a}', '{b}'])).admitted, false)
  t.same(node('b').calls, ['peek {b}'])
})

test('a shadow limit without room refuses in no slot', async (t) => {
  const { store, used } = setUp()
  used.set('{a}', 1)
  const { admitted, readings } = await store.consume([SHADOW, QUOTA], ['{a}', '{b}'])
  t.equal(admitted, true)
  t.match(readings, [{ room: false, used: 1, mark: NOT_COUNTED }, { room: true, used: 1, mark: 7 }])
})

test('a refusal stands when a node is lost right after it', async (t) => {
  const { store, node, used } = setUp()
  used.set('{b}', 2)
  node('a').failing = ['giveBack', 'peek']
  node('c').failing = ['peek']
  const { admitted, readings } = await store.consume([COSTLY, QUOTA, QUOTA], ['{a}', '{b}', '{c}'])
  t.equal(admitted, false)
  t.same(readings, [
    { room: true, used: 0, waitMs: 1000, mark: NOT_COUNTED },
    { room: false, used: 2, waitMs: 1000, mark: NOT_COUNTED },
    { room: true, used: 0, waitMs: 60_000, mark: NOT_COUNTED },
  ])
})

test('a node that cannot be asked rejects the call, and what others counted is given back', async (t) => {
  const { store, node, used } = setUp()
  node('b').failing = ['consume']
  await t.rejects(async () => store.consume([QUOTA, QUOTA], ['{a}', '{b}']), { message: 'node lost' })
  t.equal(used.get('{a}'), 0)
  node('a').failing = ['giveBack']
  await t.rejects(async () => store.consume([QUOTA, QUOTA], ['{a}', '{b}']), { message: 'node lost' })
  t.equal(used.get('{a}'), 1, 'stricter, never laxer')
})

test('the deadline holds for all slots together; what counts after it is given back', async (t) => {
  const { store, node, used } = setUp(30)
  node('a').lateMs = 20
  node('b').lateMs = 40
  const startedAt = performance.now()
  await t.rejects(async () => store.consume([QUOTA, QUOTA, QUOTA], ['{a}', '{b}', '{c}']), { name: 'DeadlineExceeded' })
  t.ok(performance.now() - startedAt < 55 + 200)
  await sleep(150)
  t.equal(used.get('{a}'), 0)
  t.equal(used.get('{b}'), 0)
  t.same(node('c').calls, [])
})

test('give-backs, resets and bans go to the slots that they concern, all of them even when one fails', async (t) => {
  const { store, node, used } = setUp()
  await store.consume([QUOTA, QUOTA, QUOTA], ['{a}', '{b}', '{c}'])
  for (const tag of ['a', 'b', 'c']) node(tag).calls.length = 0
  node('a').failing = ['giveBack', 'reset', 'ban 5']
  await t.rejects(store.giveBack([QUOTA, QUOTA, QUOTA], ['{a}', '{b}', '{c}'], [7, 7, NOT_COUNTED]), {
    message: 'node lost',
  })
  t.same(Object.fromEntries(used), { '{a}': 1, '{b}': 0, '{c}': 1 })
  await t.rejects(store.reset(['{a}', '{b}', '{c}']), { message: 'node lost' })
  t.same(Object.fromEntries(used), { '{a}': 1 })
  await t.rejects(store.ban(['{a}', '{b}'], 5), { message: 'node lost' })
  t.same(node('b').calls, ['giveBack {b}', 'reset {b}', 'ban 5 {b}'])
  t.same(node('c').calls, ['reset {c}'])
  store.close()
  t.equal(node('b').closed, true)
})

test('a prefix with a hash tag of its own puts all keys into one slot, and so into one step', async (t) => {
  const node = new FakeNode(new Map())
  const store = new ClusterStore(node, { prefix: '{app}:', deadlineMs: 1000, nodeOf: () => 'node' })
  t.equal((await store.consume([QUOTA, QUOTA, QUOTA], ['{a}1', '{b}2', '{c}3'])).admitted, true)
  t.same(node.calls, ['consume {a}1,{b}2,{c}3'])
})

test('it names the nodes that serve a call, each once, so that they fail apart', (t) => {
  const store = new ClusterStore(new FakeNode(new Map()), {
    prefix: 'p:',
    deadlineMs: 100,
    nodeOf: (key) => slotOf(key) % 2 === 0 ? 'even' : 'odd',
  })
  const [odd, even] = ['a', 'b', 'c', 'd'].reduce<[string, string]>(
    (found, tag) => slotOf(`{${tag}}`) % 2 === 0 ? [found[0], tag] : [tag, found[1]],
    ['', ''],
  )
  t.not(odd, '')
  t.not(even, '')
  t.equal(store.laneOf([`{${odd}}1`, `{${odd}}2`]), 'odd')
  t.equal(store.laneOf([`{${even}}`]), 'even')
  t.equal(store.laneOf([`{${odd}}`, `{${even}}`]), 'even odd')
  t.equal(store.laneOf([`{${even}}`, `{${odd}}`, `{${even}}2`]), 'even odd')
  t.end()
})
