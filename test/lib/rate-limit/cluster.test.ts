import { test, type Test } from 'tap'
import type { Problem } from '../../../lib/response/errors.js'
import { LimitEngine, type LimitSet } from '../../../lib/rate-limit/engine.js'
import { createQuota, type Quota } from '../../../lib/rate-limit/quota.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import { createRedisStore } from '../../../lib/rate-limit/stores/open.js'
import { slotOf } from '../../../lib/redis/cluster-node.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'
import { connectRedis, resolveRedisSource } from '../../../lib/redis/connection.js'
import { isCluster } from '../../../lib/redis/given-client.js'
import { startCluster, type TestCluster } from '../../helpers/redis-nodes.js'
import { until } from '../../helpers/until.js'

const HOUR = 3_600_000
const hourly = (limit: number): Quota => createQuota(limit > 1000 ? 'sliding' : 'exact', limit, HOUR, false)
const PREFIX = 'bulwark:rl:'

async function openClusterStore (t: Test, { masters }: TestCluster, deadlineMs = 3000): Promise<LimitStore> {
  const problems: Problem[] = []
  const source = resolveRedisSource({ cluster: masters.slice(0, 2).map(({ url }) => url) }, {}, 'redis', problems)
  t.same(problems, [])
  if (source === null) throw new Error('no source')
  const { client, close } = await connectRedis(source, 'test')
  t.teardown(close)
  t.ok(isCluster(client))
  return createRedisStore(client, { keyPrefix: PREFIX, deadlineMs })
}

async function consume (store: LimitStore, quotas: readonly Quota[], keys: readonly string[]): Promise<Verdict> {
  return await store.consume(quotas, keys)
}

/** A tag whose keys the given master serves. */
function tagOn (cluster: TestCluster, master: number, name: string): string {
  for (let number = 0; ; number++) {
    const tag = `${name}${number}`
    if (cluster.masterOf(slotOf(`{${tag}}`)) === master) return tag
  }
}

test('a cluster of three nodes', async (t) => {
  const cluster = await startCluster(t)
  const [one, two] = [await openClusterStore(t, cluster), await openClusterStore(t, cluster)]

  await t.test('a slot is what the server says it is', async (t) => {
    for (
      const key of [
        '',
        'a',
        '123456789',
        '{a}b',
        'x{a}b',
        '{}b',
        '{a',
        'a}',
        'x{}{a}',
        '{{a}}',
        '{a}{b}',
        'é',
        '{é😀}x',
        '}{a}',
        'bulwark:rl:{c2VjcmV0}0e1',
      ]
    ) {
      t.equal(slotOf(key), Number(await cluster.masters[0]?.admin.call('CLUSTER', 'KEYSLOT', key)), key)
    }
  })

  await t.test('two instances decide any mix of policies and callers as one counter would, all or nothing', async (t) => {
    const counts = new Map<string, number>()
    for (let round = 0; round < 300; round++) {
      const policies = [0, 1, 2].filter(() => Math.random() < 0.6)
      const pairs = policies.flatMap((policy) => {
        const tag = `p${policy}c${Math.floor(Math.random() * 5)}`
        return [{ key: `{${tag}}a`, quota: hourly(6 + policy) }, { key: `{${tag}}b`, quota: hourly(100) }]
      })
      const [keys, quotas] = [pairs.map(({ key }) => key), pairs.map(({ quota }) => quota)]
      const expected = pairs.every(({ key, quota }) => (counts.get(key) ?? 0) < quota.limit)
      const store = round % 2 === 0 ? one : two
      const verdict = await store.consume(quotas, keys)
      t.equal(verdict.admitted, expected, `round ${round}: ${keys.join(' ')}`)
      t.equal(verdict.readings.filter(Boolean).length, keys.length, 'one reading for each')
      if (verdict.admitted) for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
      if (verdict.admitted) t.same(verdict.readings.map(({ used }) => used), keys.map((key) => counts.get(key)))
      if (verdict.admitted && Math.random() < 0.2) {
        await store.giveBack(quotas, keys, verdict.readings.map(({ mark }) => mark))
        for (const key of keys) counts.set(key, (counts.get(key) ?? 0) - 1)
      }
    }
    t.ok([...counts.values()].some((count) => count >= 6), 'some limits were reached')
  })

  await t.test('200 requests at once never pass the limit, nor a limit in another slot', async (t) => {
    const quotas = [hourly(50), hourly(20)]
    const keys = ['{flood0}', '{flood1}']
    t.not(slotOf('{flood0}'), slotOf('{flood1}'))
    const verdicts = await Promise.all(
      Array.from({ length: 200 }, async (_, index) => (index % 2 === 0 ? one : two).consume(quotas, keys)),
    )
    const admitted = verdicts.filter((verdict) => verdict.admitted).length
    t.ok(admitted <= 20 && admitted > 0, `${admitted} admitted`)
    const after = await one.consume([hourly(200)], ['{flood0}'])
    t.equal(after.readings[0]?.used, admitted + 1, 'what was refused stands nowhere')
  })

  await t.test('a script that a node has lost is sent to it again', async (t) => {
    const key = `{${tagOn(cluster, 1, 'flush')}}`
    await one.consume([hourly(9)], [key])
    await cluster.masters[1]?.admin.script('FLUSH')
    t.match(await one.consume([hourly(9)], [key]), { admitted: true, readings: [{ used: 2 }] })
  })

  await t.test('a slot that moves to another node in mid-traffic keeps its counts', async (t) => {
    const tag = tagOn(cluster, 0, 'move')
    let [sent, failed, moving] = [0, 0, true]
    const traffic = async (store: LimitStore): Promise<void> => {
      while (moving) {
        sent += 1
        await consume(store, [hourly(10_000), hourly(20_000)], [`{${tag}}a`, `{${tag}}b`]).catch(() => { failed += 1 })
      }
    }
    const flows = [traffic(one), traffic(two)]
    await until('there is traffic', () => sent > 100)
    await cluster.moveSlot(slotOf(`{${tag}}`), 2)
    const moved = sent
    await until('there is traffic after the move', () => sent > moved + 100)
    moving = false
    await Promise.all(flows)
    const { readings } = await one.consume([hourly(10_000), hourly(20_000)], [`{${tag}}a`, `{${tag}}b`])
    t.equal(readings[0]?.used, sent - failed + 1, `${failed} of ${sent} failed, and none counted twice`)
    t.equal(readings[1]?.used, sent - failed + 1)
    t.ok(failed < 20, `${failed} failed`)
  })

  await t.test('when a node is killed its slots reject within the deadline and the others go on', async (t) => {
    const store = await openClusterStore(t, cluster, 200)
    const [dead, alive, both] = [`{${tagOn(cluster, 1, 'dead')}}`, `{${tagOn(cluster, 0, 'alive')}}`, [
      hourly(90),
      hourly(90),
    ]]
    await store.consume(both, [alive, dead])
    const inFlight = Array.from({ length: 20 }, () => consume(store, [hourly(90)], [dead]))
    inFlight.push(
      cluster.masters[1]?.kill().then(() => ({ admitted: true, readings: [] })) ?? Promise.reject(new Error('no node')),
    )
    await Promise.allSettled(inFlight)
    for (let round = 0; round < 20; round++) {
      const startedAt = performance.now()
      await t.rejects(consume(store, [hourly(90)], [dead]))
      t.ok(performance.now() - startedAt < 600, 'in time')
      await t.rejects(consume(store, both, [alive, dead]))
      t.match(await store.consume([hourly(90)], [alive]), { admitted: true, readings: [{ used: round + 2 }] })
    }
    const told: boolean[] = []
    const engine = new LimitEngine(store, new MemoryStore(), (available) => { told.push(available) })
    const closed: LimitSet = { quotas: [hourly(90)], onOutage: ['closed'] }
    for (let round = 0; round < 20; round++) {
      const [lost, found] = await Promise.all([
        engine.decide(closed, [dead]),
        engine.decide(closed, [`{${alive}}other`]),
      ])
      t.equal(lost.outcome, 'unavailable')
      t.match(found, { outcome: 'admitted', source: 'store' }, 'the breaker of a lost node is not that of the others')
    }
    t.same(told, [false])
    const late = await openClusterStore(t, cluster)
    t.match(
      await late.consume([hourly(90)], [alive]),
      { admitted: true, readings: [{ used: 22 }] },
      'a new instance starts without the node',
    )
  })
})
