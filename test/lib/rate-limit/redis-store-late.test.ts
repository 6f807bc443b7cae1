import { Redis } from 'ioredis'
import { setTimeout as wait } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { createQuota } from '../../../lib/rate-limit/quota.js'
import { RedisStore, type ScriptClient } from '../../../lib/rate-limit/stores/redis.js'
import { ADMITTED, REFUSED, STALE } from '../../../lib/rate-limit/stores/scripts.js'
import { ServerClock, WITHOUT_END } from '../../../lib/rate-limit/stores/server-clock.js'
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
  // The first command of a store knows no time of Redis yet.
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
    if (turn % 10 === 5)
      {others.push(
        client.script('FLUSH'),
        store.peek(set, ['k', 'l']),
        store.ban(['other'], 1000),
        store.reset(['other']),
      )}
    if (turn % 7 === 0) await wait(0)
  }
  await Promise.all(others)
  t.equal((await Promise.all(answers)).filter(({ admitted }) => admitted).length, 50)
  t.equal((await store.peek(set, ['k', 'l']))[0]?.used, 50)
})

/** A client whose Redis has a clock, and a mind, of the test's own. */
function scripted (...answers: ((validUntil: number) => unknown)[]): { client: ScriptClient, asked: number[] } {
  const asked: number[] = []
  const answer = async (_script: string, _keys: number, ...args: unknown[]): Promise<unknown> => {
    asked.push(Number(args.at(-1)))
    return (answers[asked.length - 1] ?? answers.at(-1))?.(asked.at(-1) ?? 0)
  }
  return { client: { evalsha: answer, eval: answer }, asked }
}

test('after a failover to a Redis whose clock is ahead, a fresh command is asked again and counts once', async (t) => {
  const yesterday = Date.now() - 86_400_000
  const counted = (now: number): string => [ADMITTED, now, 1, 1, 3_600_000, now].join(' ')
  const { client, asked } = scripted(
    () => counted(yesterday),
    (validUntil) => Date.now() > validUntil ? `${STALE} ${Date.now()}` : counted(Date.now()),
  )
  const store = new RedisStore(client, { prefix: '', deadlineMs: 1000 })
  t.equal((await store.consume([hour], ['k'])).admitted, true)
  t.equal((await store.consume([hour], ['k'])).admitted, true)
  t.equal(asked.length, 3, 'the stale answer fixed the estimate')
  t.equal(asked[0], WITHOUT_END)
  t.ok(
    (asked[2] ?? 0) >= Date.now() && (asked[2] ?? 0) < Date.now() + 1000 + 100,
    'valid until its deadline and a little more',
  )
  t.equal((await store.consume([hour], ['k'])).admitted, true)
  t.equal(asked.length, 4)
})

test('a command that is too late by a clock that did not change is not asked again', async (t) => {
  const { client, asked } = scripted(() => `${REFUSED} ${Date.now()} 0 50 10 -1`, () => `${STALE} ${Date.now()}`)
  const store = new RedisStore(client, { prefix: '', deadlineMs: 1000 })
  t.equal((await store.consume([hour], ['k'])).admitted, false)
  await t.rejects(store.consume([hour], ['k']), { name: 'DeadlineExceeded' })
  t.equal(asked.length, 2)
})

test('an answer of an unknown shape is an error and never an admission', async (t) => {
  for (
    const answer of [
      null,
      'OK',
      1,
      [],
      [ADMITTED, 1, 1, 1, 1, 1],
      '',
      '1',
      '1 1',
      '1 1 1 1 1',
      '1 1 1 1 1 x',
      '1 1 1 1 1 ',
      ' 1 1 1 1 1 1',
      '1  1 1 1 1 1',
      '1 1 1 1 1 1.5',
      '1 1 1 1 1 --1',
      '1 1 1 1 1 1-',
      '1 1 1 1 1 -',
      '1 1 1 1 1 1e3',
      '1 1 1 1 1 1 1 1 1 1',
    ]
  ) {
    const store = new RedisStore(scripted(() => answer).client, { prefix: '', deadlineMs: 1000 })
    await t.rejects(store.consume([hour], ['k']), TypeError, JSON.stringify(answer))
    await t.rejects(store.peek([hour], ['k']), TypeError, JSON.stringify(answer))
  }
})

test('only NOSCRIPT is sent again', async (t) => {
  for (
    const [message, calls] of [['NOSCRIPT No matching script', 2], [
      "READONLY You can't write against a read only replica.",
      1,
    ], ['ERR timeout', 1]] as const
  ) {
    let called = 0
    const fail = async (): Promise<never> => { called++; throw new Error(message) }
    const store = new RedisStore({ evalsha: fail, eval: fail }, { prefix: '', deadlineMs: 1000 })
    await t.rejects(store.consume([hour], ['k']), { message })
    t.equal(called, calls, message)
  }
})

test('what is known of Redis\' clock errs towards later, never beyond a command\'s way there', (t) => {
  const clock = new ServerClock()
  t.equal(clock.at(0), WITHOUT_END)
  t.equal(clock.observe(100, 140, 5020), false)
  t.equal(clock.at(100), 5021, 'as if it had been sent and run at once')
  t.equal(clock.observe(200, 202, 5101), false)
  t.equal(clock.at(200), 5102, 'a quicker answer knows better')
  t.equal(clock.observe(300, 900, 5290), false, 'a slow one proves nothing')
  t.equal(clock.at(300), 5202)
  t.equal(clock.observe(1000, 1004, 15_000), true, 'a clock ahead proves it too low')
  t.equal(clock.at(1000), 15_001)
  t.equal(clock.observe(1100, 1104, 2000), false, 'a clock behind is taken at once')
  t.equal(clock.at(1100), 2001)
  t.end()
})

test('a lone command goes out at once; those of one turn share a write, also after failures', async (t) => {
  const writes: string[] = []
  let fails = false
  const ask = async (): Promise<string> => {
    writes.push('command')
    if (fails) throw new Error('lost')
    return `${ADMITTED} ${Date.now()} 1 1 10 5`
  }
  const client: ScriptClient = {
    evalsha: ask,
    eval: ask,
    stream: {
      cork: () => {
        writes.push('cork')
      },
      uncork: () => {
        writes.push('uncork')
      },
    },
  }
  const store = new RedisStore(client, { prefix: '', deadlineMs: 1000 })
  const together = async (count: number): Promise<string> => {
    await Promise.allSettled(Array.from({ length: count }, () => store.consume([hour], ['k'])))
    await wait(5)
    return writes.splice(0).join(' ')
  }
  for (const failing of [false, true, false]) {
    fails = failing
    for (let times = 0; times < 2; times++) {
      t.equal(await together(1), 'command')
      t.equal(await together(3), 'command cork command command uncork')
    }
  }
})
