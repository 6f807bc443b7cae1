import { Cluster, Redis } from 'ioredis'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { test } from 'tap'
import { connectRedis, resolveRedisSource } from '../../../lib/redis/connection.js'
import { queuesOffline } from '../../../lib/redis/given-client.js'
import { issueCertificate, makeAuthority } from '../../helpers/certificates.js'
import { startNode } from '../../helpers/redis-nodes.js'
import { redisUrl, sourceOf } from '../../helpers/redis.js'
import { until } from '../../helpers/until.js'
import { startFakeSentinel } from './fake-sentinel.js'

test('a connection of ours never queues and never resends; a given client stays open', async (t) => {
  const connection = await connectRedis(sourceOf(redisUrl()), 'test')
  t.equal(queuesOffline(connection.client), false)
  t.match(connection.client.options, { autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0 })
  connection.close()
  await t.rejects(connection.client.ping())

  const own = new Redis(redisUrl())
  t.teardown(() => { own.disconnect() })
  const given = await connectRedis(sourceOf(own), 'test')
  given.close()
  t.equal(await own.ping(), 'PONG')
  t.equal(queuesOffline(own), true)
})

test('an unreachable Redis is refused without telling its address', async (t) => {
  await t.rejects(connectRedis(sourceOf('redis://user:hidden@127.0.0.1:1'), 'limits'), {
    message: 'no connection to Redis for limits within 5 s (ECONNREFUSED)',
    cause: undefined,
  })
  await t.rejects(connectRedis(sourceOf('redis://user:hidden@nowhere.invalid'), 'limits'), {
    message: /^no connection to Redis for limits within 5 s \((ENOTFOUND|EAI_AGAIN)\)$/,
  })
})

test('a Redis that is silent is refused when the time is over', async (t) => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => {
    silent.close()
  })
  await t.rejects(
    connectRedis(sourceOf(`redis://127.0.0.1:${(silent.address() as AddressInfo).port}`), 'limits', 100),
    {
      message: 'no connection to Redis for limits within 0.1 s',
    },
  )
})

test("a given client is waited for; one that never connects or is closed is refused, and stays the app's", async (t) => {
  const lazy = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false })
  t.teardown(() => { lazy.disconnect() })
  t.equal((await connectRedis(sourceOf(lazy), 'test')).client, lazy)
  t.equal(await lazy.ping(), 'PONG')

  const connecting = new Redis(redisUrl(), { enableOfflineQueue: false })
  t.teardown(() => { connecting.disconnect() })
  await connectRedis(sourceOf(connecting), 'test')
  t.equal(await connecting.ping(), 'PONG')
  t.equal(connecting.listenerCount('error'), 0, 'no listener is left behind')

  const nowhere = new Redis('redis://127.0.0.1:1', {
    lazyConnect: true,
    enableOfflineQueue: false,
    retryStrategy: () => 20,
  })
  t.teardown(() => {
    nowhere.disconnect()
  })
  await t.rejects(connectRedis(sourceOf(nowhere), 'test', 100), {
    message: 'the given Redis client is not ready for test within 0.1 s (ECONNREFUSED)',
  })
  await t.rejects(
    connectRedis(sourceOf(nowhere), 'test', 100),
    { message: /not ready for test within 0.1 s/ },
    'also while it tries again',
  )

  const closed = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false })
  closed.disconnect()
  await t.rejects(connectRedis(sourceOf(closed), 'test'), { message: /not ready/ })
})

test('a given Cluster client is waited for as well', async (t) => {
  const nowhere = new Cluster([{ host: '127.0.0.1', port: 1 }], { lazyConnect: true, enableOfflineQueue: false })
  t.teardown(() => { nowhere.disconnect() })
  nowhere.on('error', () => {})
  await t.rejects(connectRedis(sourceOf(nowhere), 'test', 100), {
    message: /^the given Redis client is not ready for test within 0.1 s/,
  })
})

test('a cluster of which no node answers is refused without a password in the message', async (t) => {
  const source = resolveRedisSource({ cluster: ['redis://127.0.0.1:1'], password: 'hidden' }, {}, 'redis', [])
  if (source === null) throw new Error('no source')
  await t.rejects(connectRedis(source, 'test', 200), {
    message: /^no connection to Redis for test within 0.2 s/,
    cause: undefined,
  })
  const alone = resolveRedisSource({ cluster: [redisUrl()] }, {}, 'redis', [])
  if (alone === null) throw new Error('no source')
  await t.rejects(
    connectRedis(alone, 'test', 200),
    { message: /^no connection to Redis for test within 0.2 s/ },
    'a server that is no cluster',
  )
})

test('users, passwords and databases of a URL are used, and a wrong one is refused without being shown', async (t) => {
  const node = await startNode(t)
  await node.admin.call('ACL', 'SETUSER', 'app', 'on', '>s3cr:t@/', '~*', '+@all')
  const at = `127.0.0.1:${node.port}`
  const { client, close } = await connectRedis(sourceOf(`redis://app:s3cr%3At%40%2F@${at}/3`), 'test')
  t.teardown(close)
  t.equal(await client.call('ACL', 'WHOAMI'), 'app')
  t.match(await client.client('INFO'), / db=3 .*name=bulwark-test|name=bulwark-test .*db=3 /)
  await t.rejects(connectRedis(sourceOf(`redis://app:hidden@${at}`), 'test'), {
    message: 'no connection to Redis for test within 5 s (WRONGPASS)',
    cause: undefined,
  })
  await node.admin.call('CONFIG', 'SET', 'requirepass', 'word')
  await t.rejects(connectRedis(sourceOf(`redis://${at}`), 'test'), {
    message: 'no connection to Redis for test within 5 s (NOAUTH)',
    cause: undefined,
  })
})

test("rediss:// checks the certificate: an authority of one's own is trusted through NODE_EXTRA_CA_CERTS or a given client", async (t) => {
  const folder = t.testdir()
  const authority = makeAuthority(folder)
  const { certFile, keyFile } = issueCertificate(folder, authority, ['localhost'])
  const { port } = await startNode(t, [
    '--tls-cert-file',
    certFile,
    '--tls-key-file',
    keyFile,
    '--tls-ca-cert-file',
    authority.certFile,
    '--tls-auth-clients',
    'no',
  ], { tls: true })
  await t.rejects(connectRedis(sourceOf(`rediss://localhost:${port}`), 'test'), {
    message: /^no connection to Redis for test within 5 s \([A-Z_]*(CERT|ISSUER|SIGNATURE)[A-Z_]*\)$/,
  })
  await t.rejects(
    connectRedis(sourceOf(`redis://localhost:${port}`), 'test', 500),
    { message: /^no connection to Redis/ },
    'and TLS is no option of the server',
  )

  const given = new Redis(port, 'localhost', {
    lazyConnect: true,
    enableOfflineQueue: false,
    tls: { ca: authority.cert },
  })
  t.teardown(() => {
    given.disconnect()
  })
  await connectRedis(sourceOf(given), 'test')
  t.equal(await given.ping(), 'PONG')

  const script = `const { connectRedis, resolveRedisSource } = await import(${
    JSON.stringify(new URL('../../../lib/redis/connection.js', import.meta.url).href)
  })
    const source = resolveRedisSource('rediss://localhost:${port}', {}, 'redis', [])
    const { client, close } = await connectRedis(source, 'test')
    console.log(await client.ping())
    close()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { NODE_EXTRA_CA_CERTS: authority.certFile },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  for await (const chunk of child.stdout) output += String(chunk)
  t.equal(output, 'PONG\n')
})

test('a client that asks for the master in the moment of a failover is not given up', async (t) => {
  const master = await startNode(t)
  const sentinel = await startFakeSentinel(t, master.port)
  const { host, port } = sentinel
  const source = resolveRedisSource({ sentinels: [{ host, port }], name: 'main' }, {}, 'redis', [])
  if (source === null) throw new Error('no source')
  const { client, close } = await connectRedis(source, 'test')
  t.teardown(close)
  await until('the client listens to the Sentinel', () => sentinel.listeners() > 0)
  let ended = 0
  client.on('end', () => { ended++ })
  sentinel.announceAtNextQuestion()
  await master.admin.call('CLIENT', 'KILL', 'TYPE', 'normal')
  await until('it was given up by ioredis', () => ended === 1)
  await until('it is ready again', () => client.status === 'ready')
  t.equal(await client.ping(), 'PONG')
  close()
  await until('it is closed', () => client.status === 'end')
  await new Promise((resolve) => { setTimeout(resolve, 200) })
  t.equal(client.status, 'end', 'close is for good')
})
