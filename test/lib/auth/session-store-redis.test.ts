import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { createLivenessCheck } from '../../../lib/auth/liveness.js'
import { REDIS_DEADLINE_MS, RedisSessionStore } from '../../../lib/auth/redis-store.js'
import type { SessionPolicy } from '../../../lib/auth/session-store.js'
import { connectRedis, resolveRedisSource, type RedisSource } from '../../../lib/redis/connection.js'
import { slotOf } from '../../../lib/redis/cluster-node.js'
import { redisUrl, sourceOf, uniquePrefix } from '../../helpers/redis.js'
import { startCluster, startNode, startSentinels } from '../../helpers/redis-nodes.js'
import { until } from '../../helpers/until.js'
import { Login, POLICY } from './stores.js'

/** So many instances, each with a connection of its own, on Redis' own clock. */
async function instances (
  t: Test,
  count: number,
  { source = sourceOf(redisUrl()), policy = POLICY, keyPrefix = uniquePrefix() }: {
    source?: RedisSource
    policy?: SessionPolicy
    keyPrefix?: string
  } = {},
): Promise<[RedisSessionStore, ...RedisSessionStore[]]> {
  const open = async (): Promise<RedisSessionStore> => {
    const store = new RedisSessionStore({ connection: await connectRedis(source, 'test'), keyPrefix, policy })
    t.teardown(() => { store.close() })
    await store.ready()
    return store
  }
  return [await open(), ...await Promise.all(Array.from({ length: count - 1 }, open))]
}

const unavailable = { code: 'STORE_UNAVAILABLE' }

test('2 to 200 parallel rotations over 4 instances are one rotation with one successor', async (t) => {
  const stores = await instances(t, 4)
  for (const size of [2, 3, 8, 50, 200]) {
    const login = await new Login(stores[0]).open()
    const answers = await Promise.all(
      Array.from({ length: size }, (_, index) => login.on(stores[index % 4] ?? stores[0]).present(0)),
    )
    t.equal(answers.filter(({ status }) => status === 'rotated').length, 1, `${size}`)
    t.ok(answers.every(({ status }) => status === 'rotated' || status === 'grace'))
    t.equal(new Set(answers.map((answer) => JSON.stringify('state' in answer ? answer.state : null))).size, 1)
  }
})

test('parallel logins never pass the maximum, whether they evict or are refused', async (t) => {
  for (const whenFull of ['evict', 'refuse'] as const) {
    const stores = await instances(t, 4, { policy: { ...POLICY, maxSessions: 5, whenFull } })
    const logins = Array.from({ length: 60 }, (_, index) => new Login(stores[index % 4] ?? stores[0]))
    const answers = await Promise.all(logins.map((login) => login.create()))
    t.equal((await stores[0].list('ada')).length, 5)
    t.equal(answers.filter(({ status }) => status === 'created').length, whenFull === 'evict' ? 60 : 5)
    t.equal(
      answers.flatMap((answer) => 'ended' in answer ? answer.ended : []).length,
      whenFull === 'evict' ? 55 : 0,
      'each is told once',
    )
    t.equal((await Promise.all(logins.map((login) => login.alive()))).filter(Boolean).length, 5)
  }
})

test('a login under way while its user is revoked gets no session, on Redis\' own clock', async (t) => {
  const [one, two] = await instances(t, 2)
  const started = performance.now()
  await sleep(5)
  await two?.endAll('ada', 'revoked')
  t.same(await new Login(one).create({ ageMs: performance.now() - started }), { status: 'revoked' })
  await sleep(20)
  t.match(await new Login(one).create({ ageMs: 1 }), { status: 'created' })
})

test('what Redis evicts makes the store stricter, never laxer', async (t) => {
  const keyPrefix = uniquePrefix()
  const [store] = await instances(t, 1, { keyPrefix, policy: { ...POLICY, maxSessions: 3 } })
  const admin = new Redis(redisUrl())
  t.teardown(() => {
    admin.disconnect()
  })
  const drop = async (kind: string): Promise<void> => {
    t.ok(await admin.del(...await admin.keys(`${keyPrefix}*}:${kind}`)) > 0, kind)
  }

  const lost = await new Login(store).open()
  await drop('s:*')
  t.equal(await lost.alive(), false)
  t.same(await store.list('ada'), [])
  t.equal(await store.end('ada', lost.sessionId, 'logout'), false)
  t.equal(await lost.status(0), 'gone -')

  const [kept, other] = [await new Login(store).open(), await new Login(store).open()]
  await drop('i')
  t.equal(await kept.alive(), true, 'the index does not decide')
  t.same(await store.endAll('ada', 'revoked', kept.sessionId), [])
  t.equal(await other.alive(), false, 'a session that is not in the index is revoked all the same')
  t.equal(await other.status(0), 'gone revoked')
  t.equal(await kept.alive(), true)
  t.equal((await store.list('ada')).length, 1, 'it is listed again')
  await drop('i')
  t.match(await new Login(store).create({ replaces: [kept.sessionId] }), {
    ended: [{ sessionId: kept.sessionId, reason: 'login' }],
  })

  await drop('x:*')
  t.equal(await kept.status(0), 'gone -')

  const before = await new Login(store).open()
  await store.outdate('ada')
  await drop('u')
  t.equal(await before.alive(), false, 'who knows what was revoked')
  const after = await new Login(store).open()
  t.same([await before.alive(), await after.alive()], [false, true], 'nor does a new login revive it')
  t.same((await store.list('ada')).map(({ sessionId }) => sessionId), [after.sessionId])
  t.equal(await before.status(0), 'gone revoked')
})

test('a lost write is told from reuse and revokes nothing', async (t) => {
  const keyPrefix = uniquePrefix()
  const [store] = await instances(t, 1, { keyPrefix, policy: { ...POLICY, graceMs: 0 } })
  const admin = new Redis(redisUrl())
  t.teardown(() => { admin.disconnect() })
  const login = await new Login(store).open()
  const [key = ''] = await admin.keys(`${keyPrefix}*:s:*`)
  const dump = await admin.dumpBuffer(key)
  t.equal(await login.status(0), 'rotated 1')
  await admin.restore(key, 60_000, dump, 'REPLACE')
  t.equal(await login.status(1), 'ahead')
  t.equal(await login.alive(), true)
  t.equal(await login.status(0), 'rotated 1', 'who has the token before it goes on')
})

test('each key has an expiry and none outlives what it is about, after each step', async (t) => {
  const keyPrefix = uniquePrefix()
  const [store] = await instances(t, 1, {
    keyPrefix,
    policy: { ...POLICY, graceMs: 0, onReuse: 'user', maxSessions: 3 },
  })
  const admin = new Redis(redisUrl())
  t.teardown(() => { admin.disconnect() })
  const login = new Login(store)
  const other = new Login(store)
  const steps: Record<string, () => Promise<unknown>> = {
    outdate: () => store.outdate('ada'),
    create: () => login.create(),
    another: () => other.create(),
    rotate: () => login.present(0),
    check: () => store.check('ada', login.sessionId, 0),
    list: () => store.list('ada'),
    ahead: () => login.present(9),
    'all but one': () => store.endAll('ada', 'user', login.sessionId),
    evict: async () => { for (let count = 0; count < 4; count++) await new Login(store).create() },
    end: async () => await store.end('ada', (await store.list('ada'))[0]?.sessionId ?? '', 'logout'),
    reuse: async () => await (await new Login(store).open()).present(0, { jtiHash: 'guess' }),
    'end all': () => store.endAll('ada', 'revoked'),
    'nobody': () => store.endAll('nobody', 'revoked'),
  }
  for (const [what, step] of Object.entries(steps)) {
    await step()
    const keys = await admin.keys(`${keyPrefix}*`)
    for (const key of keys) {
      const ttl = await admin.pttl(key)
      const most =
        {
          u: POLICY.absoluteMs + POLICY.tombstoneMs,
          i: POLICY.idleMs + POLICY.tombstoneMs,
          s: POLICY.idleMs + POLICY.tombstoneMs,
          x: POLICY.tombstoneMs,
        }[/\}:([uisx])/.exec(key)?.[1] ?? ''] ?? 0
      t.ok(ttl > 0 && ttl <= most, `${what}: ${key} ${ttl}`)
    }
  }
  const ttls = await Promise.all((await admin.keys(`${keyPrefix}*`)).map((key) => admin.del(key)))
  t.ok(ttls.length > 0)
})

test('a change reaches the caches of other instances at once', async (t) => {
  const [one, two] = await instances(t, 2)
  if (two === undefined) return
  const check = createLivenessCheck(one, { delayMs: 60_000 })
  const heard: string[] = []
  one.onChange((ids) => { heard.push(...ids) })
  // Until the second connection stands.
  await until('it hears', async () => {
    await two.end('ada', (await new Login(two).open()).sessionId, 'logout')
    return heard.length > 0
  }, 5000)
  const ways: Record<string, (login: Login) => Promise<unknown>> = {
    end: (login) => two.end('ada', login.sessionId, 'logout'),
    'end all': () => two.endAll('ada', 'revoked'),
    outdate: () => two.outdate('ada'),
    reuse: (login) => login.on(two).present(0, { jtiHash: 'guess' }),
    replaced: (login) => new Login(two).create({ replaces: [login.sessionId] }),
  }
  for (const [what, change] of Object.entries(ways)) {
    const login = await new Login(one).open()
    const owner = { userId: 'ada', sessionId: login.sessionId, tokenVersion: one.now() - 3_600_000 }
    const current = { ...owner, tokenVersion: Number.MAX_SAFE_INTEGER }
    t.equal(await check('cached', current), 'alive')
    t.equal(check('cached', current), 'alive', 'no trip')
    const changed = performance.now()
    await change(login)
    await until(what, async () => await check('cached', what === 'outdate' ? owner : current) !== 'alive', 1000)
    t.ok(performance.now() - changed < 200, what)
  }
})

test('a user without the right to channels is served all the same', async (t) => {
  const node = await startNode(t)
  await node.admin.call(
    'ACL',
    'SETUSER',
    'narrow',
    'on',
    '>password',
    '~*',
    'resetchannels',
    '-@all',
    '+@read',
    '+@write',
    '+@scripting',
    '+time',
    '+info',
    '+client',
  )
  const [one, two] = await instances(t, 2, { source: sourceOf(`redis://narrow:password@127.0.0.1:${node.port}`) })
  if (two === undefined) return
  one.onChange(() => {})
  const login = await new Login(one).open()
  t.equal(await login.status(0), 'rotated 1')
  t.equal(await two.end('ada', login.sessionId, 'logout'), true)
  const next = await new Login(two).open()
  t.same(await one.endAll('ada', 'revoked'), [next.sessionId])
  await two.outdate('ada')
  t.equal(await next.alive(), false)
})

test('a Redis that is stopped is unavailable in time, and takes no step late', async (t) => {
  const node = await startNode(t)
  const [store] = await instances(t, 1, { source: sourceOf(node.url), policy: { ...POLICY, graceMs: 0 } })
  const login = await new Login(store).open()
  const [late, ended] = [new Login(store), await new Login(store).open()]
  node.pause()
  const started = performance.now()
  await Promise.all([
    t.rejects(login.present(0), unavailable),
    t.rejects(late.create(), unavailable),
    t.rejects(store.list('ada'), unavailable),
    t.rejects(ended.alive(), unavailable),
    t.rejects(store.end('ada', ended.sessionId, 'logout'), unavailable),
  ])
  t.ok(performance.now() - started < REDIS_DEADLINE_MS + 300)
  await sleep(100)
  node.resume()
  await until('it answers again', () => store.ready().then(() => true, () => false))
  t.equal(await late.alive(), false, 'no login')
  t.equal(await ended.alive(), false, 'a logout is done late rather than never')
  t.equal(await login.status(0), 'rotated 1', 'no rotation')
})

test('a flushed script cache, a killed subscriber and a full Redis', async (t) => {
  const node = await startNode(t)
  const [store] = await instances(t, 1, { source: sourceOf(node.url) })
  const heard: string[] = []
  store.onChange((ids) => { heard.push(...ids) })
  const logins = await Promise.all(Array.from({ length: 20 }, () => new Login(store).open()))
  const rounds = await Promise.all(Array.from({ length: 200 }, async (_, index) => {
    if (index % 10 === 0) await node.admin.script('FLUSH')
    return await logins[index % 20]?.present(0)
  }))
  t.equal(rounds.filter((answer) => answer?.status === 'rotated').length, 20)
  t.equal(rounds.filter((answer) => answer?.status === 'grace').length, 180)
  await node.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  t.equal(await logins[0]?.alive(), true, 'it never fails a request')

  await node.admin.config('SET', 'maxmemory', '1')
  t.equal(await logins[0]?.alive(), true)
  await t.rejects(new Login(store).create(), unavailable)
  t.equal(
    await store.end('ada', logins[1]?.sessionId ?? '', 'logout'),
    true,
    'what ends sessions works on a full Redis',
  )
  t.equal((await store.endAll('ada', 'revoked')).length, 19)
  await store.outdate('bob')
  await node.admin.config('SET', 'maxmemory', '0')
  t.equal((await store.list('ada')).length, 0)
  t.match(await new Login(store).create({ ageMs: 60_000 }), { status: 'revoked' })
})

test('all instances have Redis\' clock, whatever their own says', async (t) => {
  const [one, two] = await instances(t, 2)
  const admin = new Redis(redisUrl())
  t.teardown(() => { admin.disconnect() })
  const realNow = Date.now
  t.teardown(() => { Date.now = realNow })
  Date.now = () => realNow() + 600_000
  const [seconds, micros] = await admin.time()
  const redisNow = Number(seconds) * 1000 + Number(micros) / 1000
  for (const store of [one, two]) t.ok(Math.abs((store?.now() ?? 0) - redisNow) < 50, 'ten minutes apart')
  const login = await new Login(one).open()
  const answer = await login.present(0)
  t.ok('state' in answer && Math.abs(answer.state.rotatedAt - redisNow) < 500)
  t.match(await new Login(one).create({ ageMs: 5 }), { status: 'created' })
})

test('a Redis with another clock that takes over stops nothing', async (t) => {
  for (const shift of [600, -600]) {
    const { client, close } = await connectRedis(sourceOf(redisUrl()), 'test')
    t.teardown(close)
    const store = new RedisSessionStore({
      connection: { client, close },
      keyPrefix: uniquePrefix(),
      policy: { ...POLICY, graceMs: 0 },
    })
    t.teardown(() => {
      store.close()
    })
    await store.ready()
    const login = await new Login(store).open()
    const shifted = (lua: string): string =>
      lua.replace('tonumber(time[1]) * 1000', `(tonumber(time[1]) + ${shift}) * 1000`)
    client.evalsha = async () => {
      throw new Error('NOSCRIPT')
    }
    const evaluate = client.eval.bind(client) as (
      lua: string,
      keys: number,
      ...args: (string | number)[]
    ) => Promise<unknown>
    client.eval = (async (lua: string, keys: number, ...args: (string | number)[]) =>
      await evaluate(shifted(lua), keys, ...args)) as typeof client.eval
    const before = store.now()
    const created = await new Login(store).create()
    t.equal(created.status, 'created')
    t.ok(Math.abs(store.now() - before - shift * 1000) < 1000)
    t.equal(await login.alive(), shift < 0, 'sessions of 100 s, seen from ten minutes later')
  }
})

test('a Cluster serves it from each of its nodes, and no script leaves its slot', async (t) => {
  const { masters, masterOf } = await startCluster(t)
  const source = resolveRedisSource({ cluster: masters.map((node) => node.url) }, {}, 'redis', [])
  if (source === null) throw new Error('no source')
  const policy: SessionPolicy = { ...POLICY, maxSessions: 2, onReuse: 'user' }
  const [one, two] = await instances(t, 2, { source, policy, keyPrefix: 'c:' })
  if (two === undefined) return
  const heard: string[] = []
  one.onChange((ids) => {
    heard.push(...ids)
  })
  await until('it hears', async () => {
    await two.end('eve', (await new Login(two, 'eve').open()).sessionId, 'logout')
    return heard.length > 0
  }, 8000)
  for (let number = 0; number < 12; number++) {
    const userId = `user${number}`
    const [a, b, c] = [await new Login(one, userId).open(), await new Login(two, userId).open(), new Login(one, userId)]
    t.match(await c.create({ replaces: [b.sessionId] }), { ended: [{ sessionId: b.sessionId, reason: 'login' }] })
    t.equal(await a.on(two).status(0), 'rotated 1')
    await one.outdate(userId)
    t.equal((await two.list(userId)).length, 2)
    t.equal(await one.check(userId, a.sessionId, 0), 'outdated')
    t.match(await c.present(0, { jtiHash: 'guess' }), { status: 'reuse' })
    t.same([await a.alive(), await two.endAll(userId, 'revoked')], [false, []])
  }
  const used = new Set<number>()
  for (const { admin } of masters) for (const key of await admin.keys('*')) used.add(masterOf(slotOf(key)))
  t.equal(used.size, 3, 'all nodes have some')
})

test('Sentinels: a new master takes over, and sessions that it has live on', async (t) => {
  const { name, master, replica, sentinels } = await startSentinels(t)
  const source = resolveRedisSource({ sentinels: [...sentinels], name }, {}, 'redis', [])
  if (source === null) throw new Error('no source')
  const [store] = await instances(t, 1, { source, keyPrefix: 's:' })
  store.onChange(() => {})
  const login = await new Login(store).open()
  await until('the replica has it', async () => (await replica.admin.keys('s:*')).length === 3)
  await master.kill()
  await t.rejects(login.present(0), unavailable)
  await until('a new master takes over', () => login.alive().catch(() => false), 15_000)
  t.equal(await login.status(0), 'rotated 1')
})
