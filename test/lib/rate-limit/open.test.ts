import { Redis } from 'ioredis'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { RedisSessionStore } from '../../../lib/auth/redis-store.js'
import { createQuota } from '../../../lib/rate-limit/quota.js'
import { openStore } from '../../../lib/rate-limit/stores/open.js'
import { connectRedis } from '../../../lib/redis/connection.js'
import { assertScriptsRun } from '../../../lib/redis/open.js'
import { redisUrl, sourceOf, uniquePrefix } from '../../helpers/redis.js'
import { startNode } from '../../helpers/redis-nodes.js'
import { ROOT } from '../../helpers/root.js'
import { until } from '../../helpers/until.js'

const HOUR = 3_600_000
const QUOTAS = [createQuota('exact', 3, HOUR, false), createQuota('sliding', 300, HOUR, false)]
const RULE =
  /^ACL SETUSER (bulwark on >password .*)$/m.exec(readFileSync(join(ROOT, 'docs', 'redis.md'), 'utf8'))?.[1]?.split(
    ' ',
  ) ?? []

test('without Redis it counts in memory', async (t) => {
  const { store, close } = await openStore({ redis: null, keyPrefix: 'x', deadlineMs: 100 })
  t.equal(store.kind, 'memory')
  close()
})

test('with a URL it opens a connection, which close ends', async (t) => {
  const { store, close } = await openStore({ redis: sourceOf(redisUrl()), keyPrefix: uniquePrefix(), deadlineMs: 1000 })
  t.match(await store.consume(QUOTAS, ['{a}1', '{a}2']), { admitted: true })
  close()
  await t.rejects(async () => store.consume(QUOTAS, ['{a}1', '{a}2']))
})

test('a client of the app stays open, and the probe leaves nothing behind', async (t) => {
  const redis = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false })
  t.teardown(() => { redis.disconnect() })
  const keyPrefix = uniquePrefix()
  const { close } = await openStore({ redis: sourceOf(redis), keyPrefix, deadlineMs: 1000 })
  close()
  t.same(await redis.keys(`${keyPrefix}*`), [])
})

test('the user of docs/redis.md', async (t) => {
  const node = await startNode(t)
  t.equal(await node.admin.call('ACL', 'SETUSER', ...RULE), 'OK')
  const url = `redis://bulwark:password@127.0.0.1:${node.port}`

  await t.test('may do all that the scripts do', async (t) => {
    const folders = ['redis', 'rate-limit/stores', 'auth'].map((name) => join(ROOT, 'lib', name))
    const scripts = folders.flatMap((folder) =>
      readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'))
    ).join('\n')
    const commands = new Set([...scripts.matchAll(/redis\.call\('([A-Z]+)'/g)].map(([, name]) => name))
    t.ok(commands.size > 15)
    for (const name of commands) t.ok(RULE.includes(`+${String(name).toLowerCase()}`), String(name))
  })

  await t.test('can count and keep sessions under the default prefixes', async (t) => {
    const { store, close } = await openStore({ redis: sourceOf(url), keyPrefix: 'bulwark:rl:', deadlineMs: 1000 })
    t.teardown(close)
    for (const admitted of [true, true, true, false]) {
      const verdict = await store.consume(QUOTAS, ['{a}1', '{a}2'])
      t.equal(verdict.admitted, admitted)
    }
    const { readings } = await store.consume(QUOTAS, ['{b}1', '{b}2'])
    await store.giveBack(QUOTAS, ['{b}1', '{b}2'], readings.map(({ mark }) => mark))

    const connection = await connectRedis(sourceOf(url), 'auth')
    const sessions = new RedisSessionStore({
      connection,
      keyPrefix: 'bulwark:auth:',
      policy: {
        idleMs: HOUR,
        absoluteMs: HOUR,
        graceMs: 0,
        tombstoneMs: 1000,
        maxSessions: 5,
        whenFull: 'evict',
        onReuse: 'session',
      },
    })
    t.teardown(() => {
      sessions.close()
    })
    const session = { userId: 'ada', sessionId: 's1', context: 'browser' }
    const login = { ...session, jtiHash: 'h0', label: '', methods: ['pwd'], ageMs: 0, replaces: [] }
    await sessions.create(login)
    t.match(await sessions.rotate({ ...session, generation: 0, jtiHash: 'h0', nextJtiHash: 'h1' }), {
      status: 'rotated',
    })
    t.equal(await sessions.check('ada', 's1', 0), 'alive')
    t.equal((await sessions.list('ada')).length, 1)
    await sessions.outdate('ada')
    t.same(await sessions.endAll('ada', 'logout'), ['s1'])
    await sessions.create({ ...login, sessionId: 's2' })
    t.equal(await sessions.end('ada', 's2', 'logout'), true)
    await connection.client.time()
    t.same(
      await node.admin.call('ACL', 'LOG').then((entries) =>
        (entries as unknown[][]).map((entry) => entry[entry.indexOf('object') + 1])
          .filter((object) => object !== 'client|setinfo' && object !== 'client')
      ),
      [],
      'nothing was refused',
    )
  })

  await t.test('can do nothing else, and a prefix that it may not use is refused at boot', async (t) => {
    const { client, close } = await connectRedis(sourceOf(`${url}/0`), 'test')
    t.teardown(close)
    for (
      const [command, ...args] of [
        ['KEYS', '*'],
        ['FLUSHALL'],
        ['CONFIG', 'GET', '*'],
        ['ACL', 'LIST'],
        ['GET', 'foreign'],
        ['PUBLISH', 'c', 'm'],
        ['SCRIPT', 'FLUSH'],
        ['MONITOR'],
      ] as const
    ) {
      await t.rejects(client.call(command, ...args), { message: /NOPERM/ }, command)
    }
    await t.rejects(openStore({ redis: sourceOf(url), keyPrefix: 'other:', deadlineMs: 1000 }), {
      message: 'Redis does not run the scripts of rate-limit (NOPERM)',
      cause: undefined,
    })
  })
})

test('a Redis that cannot write is refused at boot, and the connection is closed', async (t) => {
  const node = await startNode(t)
  await node.admin.call('CONFIG', 'SET', 'maxmemory', '1')
  await t.rejects(openStore({ redis: sourceOf(node.url), keyPrefix: 'x:', deadlineMs: 1000 }), {
    message: /^Redis does not run the scripts of rate-limit \(OOM\)$/,
  })
  await until(
    'the connection is closed',
    async () => !String(await node.admin.client('LIST')).includes('bulwark-rate-limit'),
  )
  await t.rejects(assertScriptsRun(node.admin, 'x:', 'sessions'), { message: /scripts of sessions/ })
})
