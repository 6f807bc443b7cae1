import { Redis } from 'ioredis'
import { test } from 'tap'
import { createQuota, NOT_COUNTED, type Quota, type Reading } from '../../../lib/rate-limit/quota.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import { RedisStore } from '../../../lib/rate-limit/stores/redis.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'
import { redisUrl, uniquePrefix } from '../../helpers/redis.js'
import { startRedis } from './redis-server.js'
import { Oracle, QUOTAS, randomTrace, seeded } from './traces.js'

const clock = { now: 0 }
const client = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false })
const prefix = uniquePrefix()
let stores = 0

const KINDS: Readonly<Record<string, { readonly steps: number, open: () => LimitStore }>> = {
  memory: { steps: 4000, open: () => new MemoryStore({ now: () => clock.now }) },
  redis: { steps: 400, open: () => new RedisStore(client, { prefix: `${prefix}${stores++}:`, deadlineMs: 5000, now: () => clock.now }) },
}

test('the store contract', async (t) => {
  await client.connect()
  t.teardown(async () => {
    const keys = await client.keys(`${prefix}*`)
    if (keys.length > 0) await client.del(...keys)
    client.disconnect()
  })

  for (const [kind, { steps, open }] of Object.entries(KINDS)) {
    for (const quota of QUOTAS) {
      const name = `${kind}: ${quota.algorithm} ${quota.limit} per ${quota.windowMs} ms`
      t.test(`${name} agrees with a plain array on a random trace and never admits more than its limit in any window`, async (t) => {
        const faults = await followTrace(open(), quota, steps)
        t.same(faults, [])
      })

      t.test(`${name} admits when the wait is over, and not a millisecond earlier`, async (t) => {
        const store = open()
        clock.now = 5_000_000
        for (let count = 0; count < quota.limit; count++) {
          t.equal((await store.consume([quota], ['k'])).admitted, true)
          clock.now += count % 3
        }
        const { admitted, readings: [refused] } = await store.consume([quota], ['k'])
        t.equal(admitted, false)
        t.ok((refused?.waitMs ?? 0) <= quota.windowMs, 'nobody waits longer than a window')
        const start = clock.now
        clock.now = start + (refused?.waitMs ?? 0) - 1
        t.equal((await store.consume([quota], ['k'])).admitted, false)
        clock.now += 1
        t.equal((await store.consume([quota], ['k'])).admitted, true)
      })

      t.test(`${name} lets a clock that steps back free nobody`, async (t) => {
        const store = open()
        clock.now = 7_000_000
        for (let count = 0; count < quota.limit; count++) await store.consume([quota], ['k'])
        for (const back of [1, quota.bucketMs, quota.windowMs, 2 * quota.windowMs]) {
          clock.now = 7_000_000 - back
          t.equal((await store.consume([quota], ['k'])).admitted, false, `${back} ms back`)
        }
      })
    }

    t.test(`${kind}: decides several limits all or nothing`, async (t) => {
      const store = open()
      clock.now = 1_000_000
      const set = [createQuota('exact', 2, 1000, false), createQuota('sliding', 100, 1000, false), createQuota('exact', 10, 1000, false)]
      const keys = ['a', 'b', 'c']
      await store.consume(set, keys)
      await store.consume(set, keys)
      for (let again = 0; again < 3; again++) {
        const { admitted, readings } = await store.consume(set, keys)
        t.equal(admitted, false)
        t.same(readings.map(({ room }) => room), [false, true, true])
        t.same(readings.map(({ used }) => used), [2, 2, 2], 'a refused request changes no counter')
        t.same(readings.map(({ mark }) => mark), [NOT_COUNTED, NOT_COUNTED, NOT_COUNTED])
      }
    })

    t.test(`${kind}: a full shadow limit refuses nobody and keeps the others counting`, async (t) => {
      const store = open()
      clock.now = 1_000_000
      const set = [createQuota('exact', 1, 1000, true), createQuota('exact', 3, 1000, false)]
      const verdicts: Verdict[] = []
      for (let count = 0; count < 4; count++) verdicts.push(await store.consume(set, ['s', 'e']))
      t.same(verdicts.map(({ admitted }) => admitted), [true, true, true, false])
      t.same(verdicts.map(({ readings }) => readings[0]?.room), [true, false, false, false])
      t.same(verdicts.map(({ readings }) => readings[1]?.used), [1, 2, 3, 3])
    })

    for (const algorithm of ['exact', 'sliding'] as const) {
      t.test(`${kind}: ${algorithm} gives back exactly the marked request, and nothing where nothing was counted`, async (t) => {
        const store = open()
        clock.now = 1_000_000
        const set = [createQuota(algorithm, 3, 60_000, false)]
        const marks: number[] = []
        for (let count = 0; count < 3; count++) {
          marks.push((await store.consume(set, ['k'])).readings[0]?.mark ?? NOT_COUNTED)
          clock.now += 10_000
        }
        await store.giveBack(set, ['k'], [NOT_COUNTED])
        t.equal((await store.consume(set, ['k'])).admitted, false)
        await store.giveBack(set, ['other'], [marks[0] ?? 0])
        t.equal((await store.consume(set, ['other'])).readings[0]?.used, 1, 'a key that was never counted stays at zero')
        await store.giveBack(set, ['k'], [marks[1] ?? 0])
        t.same(await useUp(store, set, 'k'), 1)
        clock.now += 10 * 60_000
        await store.giveBack(set, ['k'], [marks[2] ?? 0])
        t.same(await useUp(store, set, 'k'), 3, 'what left the window cannot be given back')
      })
    }
  }

  t.test('memory and Redis give the same verdicts, counts, waits and marks on the same trace', async (t) => {
    const differences: unknown[] = []
    for (const [index, quota] of QUOTAS.entries()) {
      const [memory, redis] = [KINDS['memory']?.open() as LimitStore, KINDS['redis']?.open() as LimitStore]
      const second = createQuota('sliding', quota.limit + 2, quota.windowMs * 2, index % 2 === 0)
      const set = [quota, second]
      const marks: number[][] = []
      for (const { now, caller, giveBack } of randomTrace(seeded(index + 1), quota, 200, 2)) {
        clock.now = now
        const keys = [`a${caller}`, `b${caller}`]
        if (giveBack) {
          const last = marks.pop() ?? [NOT_COUNTED, NOT_COUNTED]
          await memory.giveBack(set, keys, last)
          await redis.giveBack(set, keys, last)
        }
        const [expected, actual] = [await memory.consume(set, keys), await redis.consume(set, keys)]
        if (expected.admitted) marks.push(expected.readings.map(({ mark }) => mark))
        if (JSON.stringify(plain(actual)) !== JSON.stringify(plain(expected))) differences.push({ quota, now, actual, expected })
      }
    }
    t.same(differences, [])
  })

  t.test('every Redis key ends by itself, after every call', async (t) => {
    const store = new RedisStore(client, { prefix: `${prefix}ttl:`, deadlineMs: 5000 })
    const set = [createQuota('exact', 2, 2000, false), createQuota('sliding', 100, 3000, false)]
    for (let count = 0; count < 4; count++) {
      const { readings } = await store.consume(set, ['x', 'y'])
      await store.giveBack(set, ['x', 'y'], readings.map(({ mark }) => count % 2 === 0 ? mark : NOT_COUNTED))
      for (const key of await client.keys(`${prefix}ttl:*`)) {
        const ttl = await client.pttl(key)
        t.ok(ttl > 0 && ttl <= 4000, `${ttl} ms`)
      }
    }
  })

  t.test('Redis\' own clock decides when none is given, and a script that Redis has lost is sent again', async (t) => {
    const server = await startRedis()
    const own = new Redis(server.url, { enableOfflineQueue: false, lazyConnect: true })
    await own.connect()
    t.teardown(async () => {
      own.disconnect()
      await server.stop()
    })
    const store = new RedisStore(own, { prefix: 'own:', deadlineMs: 5000 })
    const set = [createQuota('exact', 1, 60_000, false)]
    const { readings: [reading] } = await store.consume(set, ['k'])
    t.ok(Math.abs((reading?.mark ?? 0) - Date.now()) < 5000)
    await own.script('FLUSH')
    t.equal((await store.consume(set, ['k'])).admitted, false)
    await own.script('FLUSH')
    await store.giveBack(set, ['k'], [reading?.mark ?? 0])
    t.equal((await store.consume(set, ['k'])).admitted, true)
  })

  t.test('a process that was busy itself past the deadline still takes the answer that has come', async (t) => {
    const store = new RedisStore(client, { prefix: `${prefix}busy:`, deadlineMs: 20 })
    const set = [createQuota('exact', 9, 60_000, false)]
    await store.consume(set, ['k'])
    const answer = store.consume(set, ['k'])
    for (const start = performance.now(); performance.now() - start < 60;);
    t.equal((await answer).readings[0]?.used, 2)
  })

  t.test('a Redis that is silent costs the deadline and no more, and its late answer is dropped', async (t) => {
    const server = await startRedis()
    const own = new Redis(server.url, { enableOfflineQueue: false, lazyConnect: true })
    await own.connect()
    t.teardown(async () => {
      own.disconnect()
      await server.stop()
    })
    const store = new RedisStore(own, { prefix: 'own:', deadlineMs: 30 })
    const set = [createQuota('exact', 1, 60_000, false)]
    server.pause()
    const start = performance.now()
    await t.rejects(store.consume(set, ['k']), { name: 'DeadlineExceeded' })
    t.ok(performance.now() - start < 500)
    server.resume()
  })
})

async function followTrace (store: LimitStore, quota: Quota, steps: number): Promise<string[]> {
  const callers = 3
  const oracles = Array.from({ length: callers }, () => new Oracle(quota))
  const marks: number[][] = Array.from({ length: callers }, () => [])
  const faults: string[] = []
  for (const { now, caller, giveBack } of randomTrace(seeded(quota.limit), quota, steps, callers)) {
    clock.now = now
    const oracle = oracles[caller] as Oracle
    const key = `caller${caller}`
    const mark = giveBack ? marks[caller]?.pop() : undefined
    if (mark !== undefined) {
      await store.giveBack([quota], [key], [mark])
      oracle.giveBack()
    }
    const expected = oracle.admits(now)
    const { admitted, readings } = await store.consume([quota], [key])
    const reading = readings[0] as Reading
    if (admitted !== expected) faults.push(`at ${now}: ${admitted ? 'admitted' : 'refused'} against the oracle`)
    if (admitted) {
      oracle.admit(now)
      marks[caller]?.push(reading.mark)
    } else {
      if (oracle.inWindow(now, quota.windowMs + quota.bucketMs) < quota.limit) faults.push(`at ${now}: refused although a window and a bucket had room`)
      if (!oracle.admits(now + reading.waitMs) || oracle.admits(now + reading.waitMs - 1)) faults.push(`at ${now}: the wait of ${reading.waitMs} ms is wrong`)
    }
    if (reading.used !== oracle.used(now)) faults.push(`at ${now}: ${reading.used} used instead of ${oracle.used(now)}`)
    if (oracle.inWindow(now) > quota.limit) faults.push(`at ${now}: more than the limit in one window`)
    if (faults.length > 3) break
  }
  return faults
}

async function useUp (store: LimitStore, set: readonly Quota[], key: string): Promise<number> {
  let admitted = 0
  while ((await store.consume(set, [key])).admitted) admitted++
  return admitted
}

function plain ({ admitted, readings }: Verdict): unknown {
  return { admitted, readings: readings.map(({ room, used, waitMs, mark }) => ({ room, used, waitMs, mark })) }
}
