import { Redis } from 'ioredis'
import { setTimeout as wait } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { createQuota } from '../../../lib/rate-limit/quota.js'
import { RedisStore } from '../../../lib/rate-limit/stores/redis.js'
import { startRedis, type OwnRedis } from './redis-server.js'

const hour = createQuota('exact', 50, 3_600_000, false)
const penalized = createQuota('gcra', 1, 3_600_000, false, {
  penalty: { after: 1, withinMs: 60_000, bansMs: [60_000] },
})

async function ownRedis (t: Test): Promise<{ server: OwnRedis, client: Redis }> {
  const server = await startRedis()
  const client = new Redis(server.url, { enableOfflineQueue: false, lazyConnect: true })
  client.on('error', () => {})
  await client.connect()
  t.teardown(async () => {
    client.disconnect()
    await server.stop()
  })
  return { server, client }
}

test('commands that waited in the socket of a stopped Redis count nothing when it wakes up', async (t) => {
  const { server, client } = await ownRedis(t)
  const store = new RedisStore(client, { prefix: 'late:', deadlineMs: 40 })
  const patient = new RedisStore(client, { prefix: 'late:', deadlineMs: 5000 })
  const set = [hour, penalized]
  // On a busy machine the first may be late.
  while (!(await store.consume(set, ['k', 'l']).then(() => true, () => false)));
  const before = await patient.peek(set, ['k', 'l'])
  server.pause()
  const late = Array.from({ length: 100 }, () => store.consume(set, ['k', 'l']))
  for (const { status } of await Promise.allSettled(late)) if (status !== 'rejected') t.fail('a stopped Redis decided')
  await wait(60)
  server.resume()
  t.same(
    (await patient.peek(set, ['k', 'l'])).map(({ used, banned }) => [used, banned]),
    before.map(({ used, banned }) => [used, banned]),
    'neither counts nor refusals',
  )
  const { readings } = await patient.consume([hour], ['k'])
  t.equal(readings[0]?.used, (before[0]?.used ?? 0) + 1, 'a fresh one counts at once')
})

test('the store goes on deciding after a stop: its estimate of Redis\' clock does not suffer', async (t) => {
  const { server, client } = await ownRedis(t)
  const store = new RedisStore(client, { prefix: 'on:', deadlineMs: 40 })
  const decide = (): Promise<boolean> => store.consume([hour], ['k']).then(() => true, () => false)
  for (let count = 0; count < 5; count++) await decide()
  server.pause()
  await Promise.all(Array.from({ length: 10 }, decide))
  await wait(80)
  server.resume()
  let decided = 0
  for (let count = 0; count < 20; count++) if (await decide()) decided++
  t.ok(decided >= 15, `${decided} of 20`)
})

test('a script cache that is flushed amid traffic loses and doubles nothing', async (t) => {
  const { client } = await ownRedis(t)
  const store = new RedisStore(client, { prefix: 'flush:', deadlineMs: 5000 })
  const set = [hour, createQuota('gcra', 50, 3_600_000, false)]
  const answers: Promise<{ admitted: boolean }>[] = []
  const others: Promise<unknown>[] = []
  for (let turn = 0; turn < 200; turn++) {
    answers.push(store.consume(set, ['k', 'l']))
    if (turn % 10 === 5) {
      others.push(
        client.script('FLUSH'),
        store.peek(set, ['k', 'l']),
        store.ban(['other'], 1000),
        store.reset(['other']),
      )
    }
    if (turn % 7 === 0) await wait(0)
  }
  await Promise.all(others)
  t.equal((await Promise.all(answers)).filter(({ admitted }) => admitted).length, 50)
  t.equal((await store.peek(set, ['k', 'l']))[0]?.used, 50)
})

test('an answer of an unknown shape is an error and never an admission', async (t) => {
  const readings = [1, 1, 1, 1]
  for (
    const answer of [
      [],
      ['admitted'],
      ['OK', ...readings],
      [1, ...readings],
      ['admitted', 1, 1, 1],
      ['admitted', 1, 1, 1, 'x'],
      ['admitted', 1, 1, 1, 1.5],
      ['admitted', ...readings, ...readings],
    ]
  ) {
    const reply = async (): Promise<unknown> => [Date.now(), ...answer]
    const store = new RedisStore({ evalsha: reply, eval: reply }, { prefix: '', deadlineMs: 1000 })
    await t.rejects(store.consume([hour], ['k']), TypeError, JSON.stringify(answer))
    if (answer.length !== 5) await t.rejects(store.peek([hour], ['k']), TypeError, JSON.stringify(answer))
  }
})
