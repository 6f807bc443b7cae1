import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { test } from 'tap'
import { slotOf } from '../../lib/redis/cluster-node.js'
import { rateLimit } from '../../plugins/rate-limit.js'
import { issueCertificate, makeAuthority } from '../helpers/certificates.js'
import { startCluster, startNode, type TestCluster } from '../helpers/redis-nodes.js'
import { addLogin, bootProblems, build, login, REMOTE, statuses } from '../lib/rate-limit/app.js'

const keySecret = 'the secret of the test, thirty-two characters or more'
const policies = { global: { limit: 40, window: '1h', by: 'ip' } } as const
/** By address and account, by address, by account: `login` as it is by default, its keys in one slot. */
const LOGIN_SLOT = slotOf('bulwark:rl:{login}')

/** Scripts that the nodes ran since the start. */
async function scripts ({ masters }: TestCluster): Promise<number> {
  const counts = await Promise.all(
    masters.map(async ({ admin }) =>
      Number(/cmdstat_evalsha:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0)
    ),
  )
  return counts.reduce((sum, count) => sum + count, 0)
}

test('the limiter on a Redis Cluster of three nodes', async (t) => {
  const cluster = await startCluster(t)
  const options = {
    redis: { cluster: cluster.masters.slice(0, 2).map(({ url }) => url) },
    keySecret,
    policies,
    deadline: '5s',
  } as const
  const [first, second] = [await build(t, options), await build(t, options)]
  const [one, two] = [addLogin(first.app, ['global', 'login']), addLogin(second.app, ['global', 'login'])]
  first.app.get('/', async () => 'ok')
  const failures = (): number =>
    first.app.security.limits.counters().store.failures + second.app.security.limits.counters().store.failures

  await t.test('limits whose keys lie in different slots hold together over two instances', async (t) => {
    const answers = await Promise.all(
      Array.from(
        { length: 60 },
        (_, index) => (index % 2 === 0 ? first : second).app.inject(login('victim@example.com')),
      ),
    )
    t.equal(one.guesses + two.guesses, 5)
    t.equal(answers.filter(({ statusCode }) => statusCode === 429).length, 55)
    t.same(await statuses(second.app, 1, login('victim@example.com', 'right')), [429])
    t.same(
      await first.app.security.limits.inspect('login', { ip: REMOTE, body: { email: 'victim@example.com' } }).then((
        states,
      ) => states.map(({ used }) => used)),
      [5, 5, 5],
    )
    t.equal(failures(), 0)
  })

  await t.test('one script a slot and phase: a wrong sign-in costs three, a right one gives back with two more', async (t) => {
    const remoteAddress = '203.0.113.9'
    const costOf = async (password: string): Promise<number> => {
      const before = await scripts(cluster)
      await first.app.inject(login('someone@example.com', password, remoteAddress))
      return await scripts(cluster) - before
    }
    t.equal(await costOf('wrong'), 3)
    t.equal(await costOf('right'), 5)
    t.match(
      await second.app.security.limits.inspect('login', { ip: remoteAddress, body: { email: 'someone@example.com' } }),
      [{ used: 1 }, { used: 1 }, { used: 1 }],
    )
  })

  await t.test('what one slot refuses counts nothing in the others', async (t) => {
    const remoteAddress = '203.0.113.10'
    t.same(new Set(await statuses(first.app, 40, { url: '/', remoteAddress })), new Set([200]))
    t.same(await statuses(second.app, 3, login('third@example.com', 'wrong', remoteAddress)), [429, 429, 429])
    t.match(
      await first.app.security.limits.inspect('login', { ip: remoteAddress, body: { email: 'third@example.com' } }),
      [{ used: 0 }, { used: 0 }, { used: 0 }],
    )
    t.match(await first.app.security.limits.inspect('global', { ip: remoteAddress }), [{ used: 40 }])
  })

  await t.test('callers spread over all nodes, and every key ends by itself', async (t) => {
    for (let last = 1; last <= 30; last++) await first.app.inject({ url: '/', remoteAddress: `192.0.2.${last}` })
    for (const { admin } of cluster.masters) {
      const keys = await admin.keys('bulwark:rl:*')
      t.ok(keys.length >= 3, `${keys.length} keys`)
      for (const key of keys) t.ok(await admin.pttl(key) > 0)
    }
  })

  await t.test('a slot that moves while the server runs keeps its counts', async (t) => {
    const from = cluster.masterOf(LOGIN_SLOT)
    await cluster.moveSlot(LOGIN_SLOT, (from + 1) % 3)
    t.same(await statuses(first.app, 2, login('victim@example.com', 'right')), [429, 429])
    const account = { ip: '203.0.113.11', body: { email: 'fourth@example.com' } }
    t.same(await statuses(second.app, 6, login(account.body.email, 'wrong', account.ip)), [
      401,
      401,
      401,
      401,
      401,
      429,
    ])
    t.match(await first.app.security.limits.inspect('login', account), [{ used: 5 }, { used: 5 }, { used: 5 }])
    t.equal(failures(), 0, 'and nobody noticed')
  })
})

test('the limiter over TLS as a user with no more rights than the manual names', async (t) => {
  const folder = t.testdir()
  const authority = makeAuthority(folder)
  const { certFile, keyFile } = issueCertificate(folder, authority, ['localhost'])
  const rights =
    '~bulwark:* resetchannels -@all +eval +evalsha +info +client|setname +select +time +get +set +mget +del +exists +pexpire +pexpireat +pttl +llen +lindex +ltrim +rpush +lrem +hget +hset +hmget +hgetall +hdel +hincrby'
  const { port } = await startNode(t, [
    '--tls-cert-file',
    certFile,
    '--tls-key-file',
    keyFile,
    '--tls-ca-cert-file',
    authority.certFile,
    '--tls-auth-clients',
    'no',
    '--user',
    'bulwark',
    'on',
    '>secret',
    ...rights.split(' '),
    '--user',
    'poor',
    'on',
    '>poor',
    '~bulwark:*',
    '-@all',
    '+evalsha',
    '+eval',
    '+info',
    '+client|setname',
    '--user',
    'default',
    'off',
  ], { tls: true })
  const connect = (username: string, password: string): Redis => {
    const client = new Redis(port, 'localhost', {
      username,
      password,
      lazyConnect: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      tls: { ca: authority.cert },
    })
    client.on('error', () => {})
    t.teardown(() => { client.disconnect() })
    return client
  }
  const { app } = await build(t, {
    redis: connect('bulwark', 'secret'),
    keySecret,
    deadline: '5s',
    policies: {
      ...policies,
      all: [
        { limit: 3, window: '1h', by: 'ip', algorithm: 'exact', penalty: { after: 1, within: '1h', bans: ['1h'] } },
        { limit: 9, window: '1h', by: 'ip', algorithm: 'sliding', count: 'failures' },
        { limit: 9, window: '1h', by: 'ip', algorithm: 'gcra' },
        { limit: 9, window: '1h', by: 'ip', algorithm: 'fixed', count: 'failures' },
      ],
    },
  })
  addLogin(app)
  app.get('/all', { security: { rateLimit: ['all'] } }, async () => 'ok')
  t.same(await statuses(app, 6, login('victim@example.com')), [401, 401, 401, 401, 401, 429])
  t.same(await statuses(app, 3, login('other@example.com', 'right')), [200, 200, 200])
  t.same(await statuses(app, 4, { url: '/all' }), [200, 200, 200, 429])
  const caller = { ip: REMOTE }
  t.match(await app.security.limits.inspect('all', caller), [{ used: 3, banned: true }, { used: 0 }, { used: 3 }, {
    used: 0,
  }])
  await app.security.limits.unban('all', caller)
  t.match(await app.security.limits.inspect('all', caller), [{ banned: false }, {}, {}, {}])
  await app.security.limits.reset('all', caller)
  t.same(await statuses(app, 1, { url: '/all' }), [200])
  t.equal(app.security.limits.counters().store.failures, 0, 'no right was missing')

  const other = Fastify()
  t.teardown(() => other.close().catch(() => {}))
  const problems = await bootProblems(() => other.register(rateLimit, { redis: connect('poor', 'poor'), keySecret }))
  t.match(
    problems,
    [{ path: 'rateLimit.redis', message: /does not run the scripts/ }],
    'a right that is missing shows at boot',
  )
})
