import { Redis } from 'ioredis'
import { test } from 'tap'
import { createQuota, NOT_COUNTED, type Algorithm, type Quota, type Reading } from '../../../lib/rate-limit/quota.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import { RedisStore } from '../../../lib/rate-limit/stores/redis.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'
import { redisUrl, uniquePrefix } from '../../helpers/redis.js'
import { startRedis } from './redis-server.js'
import { ALGORITHMS, atCost, SHAPES } from './oracle.js'
import { Oracle, QUOTAS, randomTrace, seeded } from './traces.js'

const clock = { now: 0 }
const client = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false })
const prefix = uniquePrefix()
let stores = 0

const KINDS: Readonly<Record<string, { readonly steps: number, open: () => LimitStore }>> = {
  memory: { steps: 4000, open: () => new MemoryStore({ now: () => clock.now }) },
  redis: {
    steps: 400,
    open: () => new RedisStore(client, { prefix: `${prefix}${stores++}:`, deadlineMs: 5000, now: () => clock.now }),
  },
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
      const set = [
        createQuota('exact', 2, 1000, false),
        createQuota('sliding', 100, 1000, false),
        createQuota('exact', 10, 1000, false),
      ]
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
        t.equal(
          (await store.consume(set, ['other'])).readings[0]?.used,
          1,
          'a key that was never counted stays at zero',
        )
        await store.giveBack(set, ['k'], [marks[1] ?? 0])
        t.same(await useUp(store, set, 'k'), 1)
        clock.now += 10 * 60_000
        await store.giveBack(set, ['k'], [marks[2] ?? 0])
        t.same(await useUp(store, set, 'k'), 3, 'what left the window cannot be given back')
      })
    }
  }

  for (const [kind, { open }] of Object.entries(KINDS)) {
    for (const algorithm of ALGORITHMS) {
      t.test(`${kind}: ${algorithm} takes a request's cost, all of it or nothing, and gives all of it back`, async (t) => {
        const store = open()
        clock.now = 1_000_000_000
        const quota = createQuota(algorithm, 10, 60_000, false)
        const marks: number[] = []
        for (
          const [cost, used, admitted] of [[4, 4, true], [5, 9, true], [2, 9, false], [1, 10, true], [
            1,
            10,
            false,
          ]] as const
        ) {
          const verdict = await store.consume([atCost(quota, cost)], ['k'])
          t.equal(verdict.admitted, admitted)
          t.equal(verdict.readings[0]?.used, used)
          if (admitted) marks.push(verdict.readings[0]?.mark ?? NOT_COUNTED)
        }
        await store.giveBack([atCost(quota, 5)], ['k'], [marks[1] ?? 0])
        t.equal((await store.peek([quota], ['k']))[0]?.used, 5)
        t.equal((await store.consume([atCost(quota, 6)], ['k'])).admitted, false)
        t.equal((await store.consume([atCost(quota, 5)], ['k'])).admitted, true)
      })

      t.test(`${kind}: ${algorithm} admits a costly request when its wait is over, and not a millisecond earlier`, async (t) => {
        const store = open()
        clock.now = 1_000_000_000
        const quota = createQuota(algorithm, 9, 10_007, false, { burst: 6 })
        while ((await store.consume([quota], ['k'])).admitted) clock.now += 7
        for (const cost of [1, 3, 6]) {
          const costly = atCost(quota, cost)
          const { readings: [refused] } = await store.consume([costly], ['k'])
          t.equal(refused?.room, false)
          t.same(plain(await store.consume([costly], ['k'])), {
            admitted: false,
            readings: [refused].map((reading) => row(reading as Reading)),
          }, 'refused again, alike')
          clock.now += (refused?.waitMs ?? 0) - 1
          t.equal((await store.consume([costly], ['k'])).admitted, false, `cost ${cost}, early`)
          clock.now += 1
          t.equal((await store.consume([costly], ['k'])).admitted, true, `cost ${cost}`)
          while ((await store.consume([quota], ['k'])).admitted);
        }
      })

      t.test(`${kind}: ${algorithm} is read by peek as consume would read it, and peek counts nothing`, async (t) => {
        const store = open()
        clock.now = 1_000_000_000
        const set = [createQuota(algorithm, 3, 60_000, false)]
        const empty = { room: true, used: 0, waitMs: 60_000, mark: NOT_COUNTED }
        for (let again = 0; again < 3; again++) t.same((await store.peek(set, ['k'])).map(row), [empty])
        while ((await store.consume(set, ['k'])).admitted) clock.now += 5
        const [peeked] = await store.peek(set, ['k'])
        t.same(row(peeked as Reading), row((await store.consume(set, ['k'])).readings[0] as Reading))
      })

      t.test(`${kind}: ${algorithm} forgets counts, refusals and bans at a reset, of these keys alone`, async (t) => {
        const store = open()
        clock.now = 1_000_000_000
        const set = [penalized(algorithm, { after: 1, withinMs: 60_000, bansMs: [10_000] })]
        for (const key of ['k', 'other']) await useUp(store, set, key)
        await store.reset(['k', 'never'])
        t.equal((await store.peek(set, ['k']))[0]?.used, 0)
        t.equal((await store.consume(set, ['k'])).admitted, true)
        t.equal((await store.peek(set, ['other']))[0]?.banned, true)
        await store.reset([])
      })

      t.test(`${kind}: ${algorithm} is banned by hand whatever its counts, and zero lifts the ban and keeps the counts`, async (t) => {
        const store = open()
        clock.now = 1_000_000_000
        const set = [createQuota(algorithm, 3, 60_000, false)]
        await store.consume(set, ['k'])
        await store.ban(['k', 'new'], 5000)
        for (const [key, used] of [['k', 1], ['new', 0]] as const) {
          const { admitted, readings } = await store.consume(set, [key])
          t.equal(admitted, false)
          t.match(readings[0], { room: false, used, waitMs: 5000, mark: NOT_COUNTED, banned: true })
        }
        await store.ban(['k'], 0)
        t.equal((await store.consume(set, ['k'])).readings[0]?.used, 2)
        clock.now += 4999
        t.equal((await store.consume(set, ['new'])).admitted, false)
        clock.now += 1
        t.equal((await store.consume(set, ['new'])).admitted, true)
        await store.ban([], 5000)
      })

      t.test(`${kind}: ${algorithm} climbs the ladder of bans, and comes down when it was quiet for long enough`, async (t) => {
        const store = open()
        clock.now = 1_000_000_000
        const penalty = { after: 2, withinMs: 100_000, bansMs: [3000, 20_000] }
        const set = [createQuota(algorithm, 1, 1000, false, { penalty })]
        const offend = async (): Promise<Reading> => {
          await store.consume(set, ['k'])
          await store.consume(set, ['k'])
          return (await store.consume(set, ['k'])).readings[0] as Reading
        }
        for (const banMs of [3000, 20_000, 20_000]) {
          const began = await offend()
          t.equal(began.room, false)
          t.equal(began.waitMs, banMs, 'the refusal that begins the ban waits for its end')
          clock.now += banMs - 1
          t.match((await store.consume(set, ['k'])).readings[0], { room: false, waitMs: 1, banned: true })
          clock.now += 1
        }
        clock.now += penalty.withinMs
        t.equal((await offend()).waitMs, 3000, 'forgotten')
      })

      t.test(`${kind}: ${algorithm} forgets a refusal after its time, and a shadow limit bans nobody`, async (t) => {
        const store = open()
        clock.now = 1_000_000_000
        const penalty = { after: 2, withinMs: 10_000, bansMs: [3000] }
        const set = [createQuota(algorithm, 1, 60_000, false, { penalty })]
        await store.consume(set, ['k'])
        for (let count = 0; count < 4; count++) {
          t.not((await store.consume(set, ['k'])).readings[0]?.banned, true)
          clock.now += 10_000
        }
        const shadow = [createQuota(algorithm, 1, 60_000, true, { penalty: { ...penalty, after: 1 } })]
        for (let count = 0; count < 5; count++) {
          const { admitted, readings } = await store.consume(shadow, ['s'])
          t.equal(admitted, true)
          t.not(readings[0]?.banned, true)
        }
      })
    }

    t.test(`${kind}: a ban of one limit counts nothing in the others, and only the limit without room remembers a refusal`, async (t) => {
      const store = open()
      clock.now = 1_000_000_000
      const penalty = { after: 1, withinMs: 60_000, bansMs: [30_000] }
      const set = [
        createQuota('exact', 2, 1000, false, { penalty }),
        createQuota('sliding', 100, 60_000, false, { penalty }),
        createQuota('gcra', 50, 60_000, false),
      ]
      const keys = ['a', 'b', 'c']
      await store.consume(set, keys)
      await store.consume(set, keys)
      for (let again = 0; again < 3; again++) {
        const { admitted, readings } = await store.consume(set, keys)
        t.equal(admitted, false)
        t.same(readings.map(({ room }) => room), [false, true, true])
        t.same(readings.map(({ used }) => used), [2, 2, 2])
        t.same(readings.map(({ banned }) => banned === true), [again > 0, false, false])
        t.equal(readings[0]?.waitMs, 30_000)
      }
      clock.now += 30_000
      t.equal((await store.consume(set, keys)).admitted, true)
    })
  }

  t.test('memory and Redis give the same verdicts, counts, waits and marks on the same trace', async (t) => {
    const differences: unknown[] = []
    for (const [index, quota] of [...QUOTAS, ...SHAPES.gcra, ...SHAPES.fixed].entries()) {
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
        if (JSON.stringify(plain(actual)) !== JSON.stringify(plain(expected))) {
          differences.push({ quota, now, actual, expected })
        }
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
      if (oracle.inWindow(now, quota.windowMs + quota.bucketMs) < quota.limit) {
        faults.push(`at ${now}: refused although a window and a bucket had room`)
      }
      if (!oracle.admits(now + reading.waitMs) || oracle.admits(now + reading.waitMs - 1)) {
        faults.push(`at ${now}: the wait of ${reading.waitMs} ms is wrong`)
      }
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
  return { admitted, readings: readings.map(row) }
}

function row ({ room, used, waitMs, mark, banned }: Reading): Record<string, unknown> {
  return { room, used, waitMs, mark, ...(banned === true ? { banned } : {}) }
}

function penalized (algorithm: Algorithm, penalty: Quota['penalty']): Quota {
  return createQuota(algorithm, 3, 60_000, false, { penalty })
}
