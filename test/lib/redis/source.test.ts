import { Cluster, Redis, type ClusterOptions, type RedisOptions } from 'ioredis'
import { test, type Test } from 'tap'
import type { Problem } from '../../../lib/response/errors.js'
import { parseRedisUrl, resolveRedisSource, type RedisSource } from '../../../lib/redis/source.js'

function resolve (
  input: unknown,
  config: Record<string, unknown> = {},
): { source: RedisSource | null, problems: Problem[] } {
  const problems: Problem[] = []
  return { source: resolveRedisSource(input, config, 'rateLimit.redis', problems), problems }
}

test('a URL names host, port, user, password, database, TLS and address family', async (t) => {
  const plain = { host: 'h', port: 6379, username: undefined, password: undefined, db: 0, tls: false, family: 0 }
  const cases: [string, object][] = [
    ['redis://h', plain],
    ['redis://h/', plain],
    ['redis://h:1', { ...plain, port: 1 }],
    ['rediss://h', { ...plain, tls: true }],
    ['redis://:p%40%3A%2F@h', { ...plain, password: 'p@:/' }],
    ['redis://app:p@h/15', { ...plain, username: 'app', password: 'p', db: 15 }],
    ['redis://[::1]:7/2', { ...plain, host: '::1', port: 7, db: 2 }],
    ['redis://h?family=6', { ...plain, family: 6 }],
  ]
  for (const [text, expected] of cases) t.same(parseRedisUrl(text), expected, text)
})

test('what is no Redis URL, or would change how the suite connects, is refused without showing it', async (t) => {
  const urls = [
    '',
    'x',
    'http://h',
    'redis:',
    'redis://',
    'redis:///0',
    'redis://h:99999',
    'redis://h/x',
    'redis://h/0/1',
    'redis://h/-1',
    'redis://h?enableOfflineQueue=true',
    'redis://h?tls=false',
    'redis://h?family=5',
    'redis://h#x',
    'redis://u:%zz@h',
    ' redis://h',
    'REDIS://h',
    'redis://u:hidden@h h',
  ]
  for (const text of urls) {
    t.type(parseRedisUrl(text), 'string', text)
    const { source, problems } = resolve(text)
    t.equal(source, null)
    t.match(problems, [{ path: 'rateLimit.redis', message: /^Not a Redis URL/, fix: /redis:\/\/host:port/ }])
    t.notMatch(JSON.stringify(problems), /hidden|%zz|h h/)
  }
})

test('the option falls back to REDIS_URL; false and nothing mean no Redis', async (t) => {
  t.equal(resolve(false, { REDIS_URL: 'redis://h' }).source, null)
  t.equal(resolve(undefined).source, null)
  t.equal(resolve(undefined, { REDIS_URL: '' }).source, null)
  t.match(resolve(undefined, { REDIS_URL: 'redis://h' }).source, { kind: 'server', server: { host: 'h' } })
  t.match(resolve('redis://a', { REDIS_URL: 'redis://b' }).source, { server: { host: 'a' } })
  t.match(resolve(undefined, { REDIS_URL: 'hidden' }).problems, [{
    message: 'REDIS_URL in app.config is not a Redis URL.',
  }])
  t.match(resolve(undefined, { REDIS_URL: 5 }).problems, [{ path: 'rateLimit.redis' }])
})

test('Sentinels and clusters are described by plain objects', async (t) => {
  t.same(resolve({ sentinels: [{ host: 'a' }, { host: 'b', port: 1 }], name: 'main', tls: undefined }).source, {
    kind: 'sentinel',
    options: { sentinels: [{ host: 'a' }, { host: 'b', port: 1 }], name: 'main' },
  })
  t.match(resolve({ cluster: ['redis://a:1', 'redis://b:2'], username: 'u', password: 'p' }).source, {
    kind: 'cluster',
    nodes: [{ host: 'a', port: 1 }, { host: 'b', port: 2 }],
    username: 'u',
    password: 'p',
    tls: false,
  })
  t.match(resolve({ cluster: ['rediss://a'] }).source, { tls: true })
  t.match(resolve({ cluster: ['redis://a'], tls: true }).source, { tls: true })
})

test('every mistake in such an object is a problem that names its place and shows no value', async (t) => {
  const cases: [object, string][] = [
    [{ sentinels: [] , name: 'x' }, 'rateLimit.redis.sentinels'],
    [{ sentinels: 'a', name: 'x' }, 'rateLimit.redis.sentinels'],
    [{ sentinels: [{}], name: 'x' }, 'rateLimit.redis.sentinels[0].host'],
    [{ sentinels: ['a'], name: 'x' }, 'rateLimit.redis.sentinels[0]'],
    [{ sentinels: [{ host: 'a', port: 0 }], name: 'x' }, 'rateLimit.redis.sentinels[0].port'],
    [{ sentinels: [{ host: 'a', port: 65536 }], name: 'x' }, 'rateLimit.redis.sentinels[0].port'],
    [{ sentinels: [{ host: 'a', prot: 1 }], name: 'x' }, 'rateLimit.redis.sentinels[0].prot'],
    [{ sentinels: [{ host: 'a' }] }, 'rateLimit.redis.name'],
    [{ sentinels: [{ host: 'a' }], name: '' }, 'rateLimit.redis.name'],
    [{ sentinels: [{ host: 'a' }], name: 'x', pasword: 'hidden' }, 'rateLimit.redis.pasword'],
    [{ sentinels: [{ host: 'a' }], name: 'x', password: 5 }, 'rateLimit.redis.password'],
    [{ sentinels: [{ host: 'a' }], name: 'x', tls: {} }, 'rateLimit.redis.tls'],
    [{ cluster: [] }, 'rateLimit.redis.cluster'],
    [{ cluster: 'redis://a' }, 'rateLimit.redis.cluster'],
    [{ cluster: [5] }, 'rateLimit.redis.cluster[0]'],
    [{ cluster: ['redis://a', 'hidden'] }, 'rateLimit.redis.cluster[1]'],
    [{ cluster: ['redis://:hidden@a'] }, 'rateLimit.redis.cluster[0]'],
    [{ cluster: ['redis://a/1'] }, 'rateLimit.redis.cluster[0]'],
    [{ cluster: ['redis://a', 'rediss://b'] }, 'rateLimit.redis.cluster'],
    [{ cluster: ['rediss://a'], tls: false }, 'rateLimit.redis.cluster'],
    [{ cluster: ['redis://a'], name: 'x' }, 'rateLimit.redis.name'],
    [{ cluster: ['redis://a'], sentinels: [{ host: 'a' }] }, 'rateLimit.redis.sentinels'],
    [{ host: 'a' }, 'rateLimit.redis'],
    [[], 'rateLimit.redis'],
    [new Map(), 'rateLimit.redis'],
  ]
  for (const [input, path] of cases) {
    const { source, problems } = resolve(input)
    t.equal(source, null)
    t.equal(problems[0]?.path, path, JSON.stringify(input))
    t.ok(problems.every(({ fix }) => fix !== ''))
    t.notMatch(JSON.stringify(problems), /hidden/)
  }
  for (const input of [true, null, 5, 5n, () => {}]) {
    t.match(resolve(input, { REDIS_URL: '' }).problems.length, input === null ? 0 : 1)
  }
})

const single = (t: Test, options: RedisOptions): Redis => {
  const client = new Redis({ ...options, lazyConnect: true } as { lazyConnect: true })
  t.teardown(() => { client.disconnect() })
  return client
}

const cluster = (t: Test, options: Omit<ClusterOptions, 'redisOptions'> & { redisOptions?: object }): Cluster => {
  const client = new Cluster([{ host: '127.0.0.1', port: 1 }], { ...options, lazyConnect: true })
  t.teardown(() => { client.disconnect() })
  return client
}

const calm = { enableOfflineQueue: false, autoResendUnfulfilledCommands: false }
const calmCluster = { enableOfflineQueue: false, retryDelayOnFailover: 0 }

test('a client of the app is taken if its commands cannot wait for a connection and are sent once', async (t) => {
  const retryOnce = { clusterNodeRetryStrategy: () => 10, redisOptions: { maxRetriesPerRequest: 0 } }
  for (
    const client of [
      single(t, calm),
      single(t, { enableOfflineQueue: false, maxRetriesPerRequest: 0 }),
      single(t, { enableOfflineQueue: false, retryStrategy: () => null, maxRetriesPerRequest: 0 }),
      // It never connects again.
      single(t, { enableOfflineQueue: false, retryStrategy: null }),
      cluster(t, calmCluster),
      cluster(t, { ...calmCluster, ...retryOnce }),
    ]
  ) t.same(resolve(client), { source: { kind: 'given', client }, problems: [] })
})

test('a client that would run commands late or twice, read old values or is closed is refused, each with what to write', async (t) => {
  const closed = new Redis({ ...calm, lazyConnect: true })
  closed.disconnect()
  const cases: [unknown, RegExp, RegExp][] = [
    [single(t, {}), /queues commands/, /enableOfflineQueue: false/],
    [single(t, { ...calm, enableOfflineQueue: true }), /queues commands/, /enableOfflineQueue: false/],
    [cluster(t, {}), /Cluster client queues commands/, /enableOfflineQueue: false/],
    [
      cluster(t, { ...calmCluster, redisOptions: { enableOfflineQueue: true } }),
      /queues commands/,
      /enableOfflineQueue: false/,
    ],
    [
      single(t, { enableOfflineQueue: false }),
      /client sends commands again/,
      /autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0/,
    ],
    [
      single(t, { enableOfflineQueue: false, maxRetriesPerRequest: 1 }),
      /sends commands again/,
      /maxRetriesPerRequest: 0/,
    ],
    [
      single(t, { enableOfflineQueue: false, maxRetriesPerRequest: null }),
      /sends commands again/,
      /maxRetriesPerRequest: 0/,
    ],
    [
      single(t, { enableOfflineQueue: false, autoResendUnfulfilledCommands: true }),
      /sends commands again/,
      /autoResendUnfulfilledCommands: false/,
    ],
    [cluster(t, { enableOfflineQueue: false }), /Cluster client sends commands again/, /retryDelayOnFailover: 0/],
    [
      cluster(t, { enableOfflineQueue: false, retryDelayOnFailover: 100 }),
      /sends commands again/,
      /retryDelayOnFailover: 0/,
    ],
    [
      cluster(t, { ...calmCluster, clusterNodeRetryStrategy: () => 10 }),
      /sends commands again/,
      /retryDelayOnFailover: 0/,
    ],
    [cluster(t, { ...calmCluster, scaleReads: 'slave' }), /replicas/, /without scaleReads/],
    [single(t, { ...calm, readOnly: true }), /replica/, /master/],
    [
      single(t, { ...calm, sentinels: [{ host: '127.0.0.1', port: 1 }], name: 'x', role: 'slave' }),
      /replica/,
      /master/,
    ],
    [closed, /closed/, /open/],
  ]
  for (const [client, message, fix] of cases) {
    const { source, problems } = resolve(client)
    t.equal(source, null)
    t.match(problems, [{ path: 'rateLimit.redis', message, fix }])
  }
})
