import { test } from 'tap'
import { createQuota } from '../../../lib/rate-limit/quota.js'
import { createRedisStore } from '../../../lib/rate-limit/stores/open.js'
import { slotOf } from '../../../lib/redis/cluster-node.js'
import { connectRedis, resolveRedisSource } from '../../../lib/redis/connection.js'
import { startCluster } from '../../helpers/redis-nodes.js'
import { until } from '../../helpers/until.js'

const QUOTA = createQuota('exact', 100, 3_600_000, false)

test('a cluster with replicas', async (t) => {
  const { masters, masterOf } = await startCluster(t, { replicas: true })
  const source = resolveRedisSource({ cluster: masters.map(({ url }) => url) }, {}, 'redis', [])
  if (source === null) throw new Error('no source')
  const { client, close } = await connectRedis(source, 'test')
  t.teardown(close)
  const store = createRedisStore(client, { keyPrefix: 'bulwark:rl:', deadlineMs: 500 })
  const consume = async (key: string): Promise<number> => (await store.consume([QUOTA], [key])).readings[0]?.used ?? 0

  for (const [index, how] of ['killed', 'stopped'].entries()) {
    await t.test(`the replica of a node that is ${how} takes its slots over, and no request counts twice`, async (t) => {
      const keys: string[] = []
      const outcomes: Promise<unknown>[] = []
      let admitted = 0
      let number = 0
      const send = (): void => {
        let key = ''
        do key = `{${how}${number++}}`; while (masterOf(slotOf(key)) !== index)
        keys.push(key)
        outcomes.push(consume(key).then(() => { admitted += 1 }, () => {}))
      }
      for (let count = 0; count < 50; count++) send()
      await Promise.all(outcomes)
      t.equal(admitted, 50)
      for (let count = 0; count < 50; count++) send()
      if (how === 'killed') await masters[index]?.kill()
      else masters[index]?.pause()
      await Promise.all(outcomes)
      const before = admitted
      await until('the replica takes over', async () => {
        for (let count = 0; count < 5; count++) send()
        await Promise.all(outcomes)
        return admitted >= before + 50
      }, 30_000)
      let most = 0
      for (const key of keys) most = Math.max(most, await consume(key) - 1)
      t.equal(most, 1)
    })
  }
})
