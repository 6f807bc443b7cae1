import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import type { Problem } from '../../../lib/response/errors.js'
import { createQuota } from '../../../lib/rate-limit/quota.js'
import { createRedisStore } from '../../../lib/rate-limit/stores/open.js'
import { connectRedis, resolveRedisSource } from '../../../lib/redis/connection.js'
import { assertScriptsRun } from '../../../lib/redis/open.js'
import { startSentinels } from '../../helpers/redis-nodes.js'
import { until } from '../../helpers/until.js'

const QUOTA = createQuota('exact', 100, 3_600_000, false)

test('Sentinels', async (t) => {
  const { name, master, replica, sentinels } = await startSentinels(t)
  const problems: Problem[] = []
  const source = resolveRedisSource({ sentinels: [...sentinels], name }, {}, 'redis', problems)
  t.same(problems, [])
  if (source === null) throw new Error('no source')

  await t.test('a name that they do not know is refused at boot', async (t) => {
    const unknown = resolveRedisSource({ sentinels: [...sentinels], name: 'other' }, {}, 'redis', problems)
    if (unknown === null) throw new Error('no source')
    await t.rejects(connectRedis(unknown, 'test', 400), { message: 'no connection to Redis for test within 0.4 s' })
  })

  await t.test('a replica is told from a master, and is refused at boot', async (t) => {
    await t.rejects(assertScriptsRun(replica.admin, 'bulwark:', 'test'), {
      message: 'Redis does not run the scripts of test (READONLY)',
    })
  })

  const { client, close } = await connectRedis(source, 'test')
  t.teardown(close)
  const store = createRedisStore(client, { keyPrefix: 'bulwark:rl:', deadlineMs: 500 })
  const consume = async (key: string): Promise<number> => (await store.consume([QUOTA], [key])).readings[0]?.used ?? 0

  await t.test('a master that is killed is replaced within seconds, and no request counts twice', async (t) => {
    t.equal(await consume('{before}'), 1)
    t.equal(await consume('{before}'), 2)
    await until('the replica has it', async () => (await replica.admin.keys('bulwark:rl:{before}*')).length > 0)
    const keys: string[] = []
    const outcomes: Promise<unknown>[] = []
    let admitted = 0
    const send = (): void => {
      const key = `{request${keys.length}}`
      keys.push(key)
      outcomes.push(consume(key).then(() => { admitted += 1 }, () => {}))
    }
    for (let count = 0; count < 50; count++) send()
    await master.kill()
    const killedAt = performance.now()
    // What the old master had answered may lie in the socket still.
    await Promise.all(outcomes)
    const before = admitted
    // Sentinels cut off the clients of whatever they reconfigure, so that the first answer is not the end of it.
    await until('a new master takes over', async () => {
      for (let count = 0; count < 5; count++) send()
      await Promise.all(outcomes)
      return admitted >= before + 50
    }, 30_000)
    t.comment(`${Math.round(performance.now() - killedAt)} ms`)
    const consumeLater = async (key: string): Promise<number> => {
      for (let tries = 0; ; tries++) {
        try {
          return await consume(key)
        } catch (error) {
          // Any other error may be of a command that was carried out.
          if (tries === 500 || !/isn't writeable/.test(String(error))) throw error
          await sleep(20)
        }
      }
    }
    let most = 0
    for (const key of keys) most = Math.max(most, await consumeLater(key) - 1)
    t.equal(most, 1, 'none ran twice, neither on the old master nor on the new')
    t.equal(await consumeLater('{before}'), 3, 'what was replicated goes on')
  })
})

test('no Sentinel at all is refused at boot, without a password in the message', async (t) => {
  const source = resolveRedisSource(
    { sentinels: [{ host: '127.0.0.1', port: 1 }], name: 'main', password: 'hidden', sentinelPassword: 'hidden too' },
    {},
    'redis',
    [],
  )
  if (source === null) throw new Error('no source')
  await t.rejects(connectRedis(source, 'test', 300), { message: 'no connection to Redis for test within 0.3 s' })
})
