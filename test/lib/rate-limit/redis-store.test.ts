import fc from 'fast-check'
import { Redis } from 'ioredis'
import { test } from 'tap'
import { createQuota, NOT_COUNTED, type Quota, type Reading } from '../../../lib/rate-limit/quota.js'
import { RedisStore } from '../../../lib/rate-limit/stores/redis.js'
import type { LimitStore } from '../../../lib/rate-limit/stores/store.js'
import { redisUrl, uniquePrefix } from '../../helpers/redis.js'
import { ALGORITHMS, arbitrarySteps, atCost, CALLERS, SHAPES, type Step } from './oracle.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'

const RUNS = 20
const STEPS = 260
const START = 1_000_000_000
const ACTIONS: readonly Step['action'][] = ['peek', 'giveBack', 'reset', 'ban', 'unban']
const PENALTY = { after: 3, withinMs: 20_000, bansMs: [2000, 9000] }

const clock = { now: START }
const client = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false })
const prefix = uniquePrefix()
let stores = 0

function openRedis (): { store: RedisStore, space: string } {
  const space = `${prefix}${stores++}:`
  return { store: new RedisStore(client, { prefix: space, deadlineMs: 10_000, now: () => clock.now }), space }
}

function withPenalty (quota: Quota): Quota {
  return createQuota(quota.algorithm, quota.limit, quota.windowMs, false, { burst: quota.burst, penalty: PENALTY })
}

test('Redis', async (t) => {
  await client.connect()
  // A script that Redis does not know yet is sent again, behind the commands that follow it; the traces below need
  // their order.
  for (const action of ['consume', ...ACTIONS] as const) {
    await act(openRedis().store, createQuota('exact', 1, 1000, false), {
      action,
      advance: 0,
      caller: 0,
      cost: 1,
      pick: 0,
    }, [1])
  }
  t.teardown(async () => {
    const keys = await client.keys(`${prefix}*`)
    if (keys.length > 0) await client.del(...keys)
    client.disconnect()
  })

  for (const algorithm of ALGORITHMS) {
    for (const quota of SHAPES[algorithm]) {
      for (const shape of [quota, withPenalty(quota)]) {
        t.test(`${algorithm} ${quota.limit} per ${quota.windowMs} ms${shape === quota ? '' : ' with a penalty'} gives the verdicts, counts, waits and marks of the pure functions`, async (t) => {
          await fc.assert(fc.asyncProperty(arbitrarySteps(shape, ACTIONS, STEPS), async (steps) => {
            const { store } = openRedis()
            const fault = await compare(store, shape, steps)
            if (fault !== null) throw new Error(fault)
          }), { numRuns: RUNS / 2, endOnFailure: true })
          t.pass(`${RUNS / 2 * STEPS} steps`)
        })
      }
    }

    t.test(`${algorithm}: a refused request changes nothing in Redis`, async (t) => {
      const { store, space } = openRedis()
      const set = [
        createQuota(algorithm, 3, 60_000, false),
        createQuota('exact', 100, 60_000, false),
        createQuota(algorithm, 1, 60_000, true),
      ]
      const keys = ['full', 'other', 'shadow']
      while ((await store.consume(set, keys)).admitted);
      const before = await snapshot(space)
      t.equal(before.length, 3)
      for (let again = 0; again < 5; again++) {
        t.equal((await store.consume(set, [...keys.slice(0, 2), 'never'])).admitted, false)
      }
      await store.peek(set, keys)
      await store.giveBack(set, keys, [NOT_COUNTED, NOT_COUNTED, NOT_COUNTED])
      t.same(await snapshot(space), before)
    })

    t.test(`${algorithm}: a penalty's refusal changes only what the penalty remembers`, async (t) => {
      const { store, space } = openRedis()
      const set = [withPenalty(createQuota(algorithm, 3, 60_000, false))]
      while ((await store.consume(set, ['k'])).admitted);
      const before = await snapshot(space)
      await store.consume(set, ['k'])
      const after = await snapshot(space)
      t.same(after.filter(([key]) => !key.endsWith(':b')), before.filter(([key]) => !key.endsWith(':b')))
      t.notSame(after, before)
      await store.consume(set, ['k'])
      const banned = await snapshot(space)
      t.equal((await store.consume(set, ['k'])).readings[0]?.banned, true)
      t.same(await snapshot(space), banned, 'a refusal during a ban is not counted')
    })

    t.test(`${algorithm}: four clients at once are admitted no more than the limit, by Redis' own clock`, async (t) => {
      const limit = 30
      const space = `${prefix}clients${algorithm}:`
      const clients = Array.from(
        { length: 4 },
        () => new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false }),
      )
      t.teardown(() => {
        for (const each of clients) each.disconnect()
      })
      await Promise.all(clients.map((each) => each.connect()))
      const set = [createQuota(algorithm, limit, 3_600_000, false)]
      const verdicts = await Promise.all(clients.flatMap((each) => {
        const store = new RedisStore(each, { prefix: space, deadlineMs: 10_000 })
        return Array.from({ length: 50 }, () => store.consume(set, ['k']))
      }))
      t.equal(verdicts.filter(({ admitted }) => admitted).length, limit)
    })
  }

  t.test('every key ends by itself within its window, its ban or its memory of bans, after every call', async (t) => {
    for (const algorithm of ALGORITHMS) {
      const { store, space } = openRedis()
      const quota = withPenalty(createQuota(algorithm, 3, 10_000, false))
      const faults: string[] = []
      const steps = fc.sample(arbitrarySteps(quota, ACTIONS, 150), { numRuns: 1, seed: 11 })[0] ?? []
      const marks: number[] = []
      clock.now = START
      for (const step of steps) {
        clock.now += Math.max(0, step.advance)
        await act(store, atCost(quota, step.cost), step, marks)
        const keys = await client.keys(`${space}*`)
        for (const key of keys) {
          const ttl = await client.pttl(key)
          // One millisecond more, because gcra rounds its interval up.
          const bound = key.endsWith(':b') ? 9000 + 20_000 + 1000 : 10_000 + 1 + 1000
          if (ttl !== -2 && (ttl < 0 || ttl > bound)) faults.push(`${algorithm}: ${step.action} left ${ttl} ms`)
        }
      }
      t.same(faults, [])
    }
  })

  t.test('a ban by hand outlives a shorter memory, and its key ends with it', async (t) => {
    const { store, space } = openRedis()
    await store.ban(['k'], 60_000)
    t.equal(
      (await store.consume([withPenalty(createQuota('exact', 3, 10_000, false))], ['k'])).readings[0]?.banned,
      true,
    )
    const ttl = await client.pttl(`${space}k:b`)
    t.ok(ttl > 55_000 && ttl <= 61_000, `${ttl} ms`)
    await store.ban(['k', 'never'], 0)
    t.equal((await store.consume([createQuota('exact', 3, 10_000, false)], ['k'])).admitted, true)
    t.same(await client.exists(`${space}never:b`), 0, 'lifting what nobody banned writes nothing')
  })

  t.test('one command a decision, whatever the number of limits', async (t) => {
    const own = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false })
    t.teardown(() => { own.disconnect() })
    await own.connect()
    const store = new RedisStore(own, { prefix: `${prefix}writes:`, deadlineMs: 10_000 })
    const set = [
      createQuota('exact', 100, 10_000, false),
      createQuota('sliding', 100, 10_000, false),
      createQuota('gcra', 100, 10_000, false),
    ]
    await store.consume(set, ['a', 'b', 'c'])
    const sent: string[] = []
    const sendCommand = own.sendCommand.bind(own)
    own.sendCommand = (command, stream) => {
      sent.push(command.name)
      return sendCommand(command, stream)
    }
    const verdicts = Array.from({ length: 20 }, () => store.consume(set, ['a', 'b', 'c']))
    await Promise.all(verdicts)
    t.same(sent, Array.from({ length: 20 }, () => 'evalsha'))
  })
})

/** All keys of the store with their values and ends; a write would show. */
async function snapshot (space: string): Promise<[string, string | null, number][]> {
  const keys = (await client.keys(`${space}*`)).sort()
  return await Promise.all(keys.map(async (key): Promise<[string, string | null, number]> => {
    const [dump, end] = await Promise.all([client.dumpBuffer(key), client.call('PEXPIRETIME', key)])
    return [key, dump.toString('hex'), Number(end)]
  }))
}

/**
 * Runs the whole trace in memory, then on Redis without waiting in between, as each command tells its own
 * time.
 */
async function compare (store: LimitStore, quota: Quota, steps: readonly Step[]): Promise<string | null> {
  const reference = new MemoryStore({ now: () => clock.now })
  const marks = Array.from({ length: CALLERS }, (): number[] => [])
  const pairs: [string, Promise<unknown>, unknown][] = []
  clock.now = START
  for (const [index, step] of steps.entries()) {
    clock.now += step.advance
    const costly = atCost(quota, step.cost)
    const known = marks[step.caller] as number[]
    const actual = act(store, costly, step, known)
    const expected = await act(reference, costly, step, known)
    const mark = (expected as { readings?: Reading[] } | undefined)?.readings?.[0]?.mark ?? NOT_COUNTED
    if (mark !== NOT_COUNTED) known.push(mark)
    pairs.push([
      `step ${index} at ${clock.now}, ${step.action} at cost ${costly.cost}`,
      Promise.resolve(actual),
      expected,
    ])
  }
  for (const [where, actual, expected] of pairs) {
    const [found, wanted] = [normal(await actual), normal(expected)]
    if (found !== wanted) return `${where}: ${found} instead of ${wanted}`
  }
  return null
}

function act (store: LimitStore, quota: Quota, { action, caller, pick }: Step, marks: readonly number[]): unknown {
  const keys = [`caller${caller}`]
  if (action === 'consume') return store.consume([quota], keys)
  if (action === 'peek') return store.peek([quota], keys)
  if (action === 'reset') return pick % 4 === 0 ? store.reset(keys) : undefined
  if (action === 'ban') return store.ban(keys, 1 + pick % 5000)
  if (action === 'unban') return store.ban(keys, 0)
  return store.giveBack([quota], keys, [marks[marks.length - 1 - pick % 4] ?? NOT_COUNTED])
}

function normal (result: unknown): string {
  return JSON.stringify({ result }, (key, value: unknown) => key === 'banned' && value === false ? undefined : value)
}
