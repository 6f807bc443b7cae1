import { Cluster, Redis } from 'ioredis'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { test } from 'tap'
import { connectRedis, DeadlineExceeded, queuesOffline, resolveRedisSource,
  withDeadline } from '../../../lib/redis/connection.js'
import { issueCertificate, makeAuthority } from '../../helpers/certificates.js'
import { startNode } from '../../helpers/redis-nodes.js'
import { redisUrl } from '../../helpers/redis.js'

test('an operation that is done in time gives its result or its own error', async (t) => {
  t.equal(await withDeadline(Promise.resolve(5), 1000), 5)
  await t.rejects(withDeadline(Promise.reject(new TypeError('own')), 1000), { name: 'TypeError' })
})

test('an operation that is late is given up, and its late failure hurts nobody', async (t) => {
  let fail = (_error: Error): void => {}
  const late = new Promise<never>((_resolve, reject) => { fail = reject })
  await t.rejects(withDeadline(late, 5), { name: 'DeadlineExceeded' })
  fail(new Error('late'))
  await new Promise(setImmediate)
  t.ok(new DeadlineExceeded('x') instanceof Error)
})

test('an answer that lies in the socket already is taken, even when the process was busy past the deadline', async (t) => {
  const connection = await connectRedis(redisUrl(), 'test')
  t.teardown(() => { connection.close() })
  const answer = withDeadline(connection.client.ping(), 20)
  await new Promise(setImmediate)
  const until = performance.now() + 60
  while (performance.now() < until);
  t.equal(await answer, 'PONG')
})

test('a connection of ours never queues and never resends; a given client stays open', async (t) => {
  const connection = await connectRedis(redisUrl(), 'test')
  t.equal(queuesOffline(connection.client), false)
  t.equal(connection.client.options.autoResendUnfulfilledCommands, false)
  t.equal(connection.client.options.maxRetriesPerRequest, 0)
  connection.close()
  await t.rejects(connection.client.ping())

  const own = new Redis(redisUrl())
  t.teardown(() => { own.disconnect() })
  const given = await connectRedis(own, 'test')
  given.close()
  t.equal(await own.ping(), 'PONG')
  t.equal(queuesOffline(own), true)
})

test('an unreachable Redis is refused without telling its address', async (t) => {
  await t.rejects(connectRedis('redis://user:hidden@127.0.0.1:1', 'limits'), {
    message: 'no connection to Redis for limits within 5 s (ECONNREFUSED)',
    cause: undefined,
  })
  await t.rejects(connectRedis('redis://user:hidden@nowhere.invalid', 'limits'), {
    message: /^no connection to Redis for limits within 5 s \((ENOTFOUND|EAI_AGAIN)\)$/,
  })
  await t.rejects(connectRedis('redis:hidden', 'limits'), { message: 'not a Redis URL' })
  await t.rejects(connectRedis('redis://hidden/x', 'limits'), {
    message: 'not a Redis URL: its path is not the number of a database',
  })
})

test('a Redis that is silent is refused when the time is over', async (t) => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => {
    silent.close()
  })
  await t.rejects(connectRedis(`redis://127.0.0.1:${(silent.address() as AddressInfo).port}`, 'limits', 100), {
    message: 'no connection to Redis for limits within 0.1 s',
  })
})

test("a given client is waited for; one that never connects or is closed is refused, and stays the app's", async (t) => {
  const lazy = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false })
  t.teardown(() => { lazy.disconnect() })
  t.equal((await connectRedis(lazy, 'test')).client, lazy)
  t.equal(await lazy.ping(), 'PONG')

  const connecting = new Redis(redisUrl(), { enableOfflineQueue: false })
  t.teardown(() => { connecting.disconnect() })
  await connectRedis(connecting, 'test')
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
  await t.rejects(connectRedis(nowhere, 'test', 100), {
    message: 'the given Redis client is not ready for test within 0.1 s (ECONNREFUSED)',
  })
  await t.rejects(
    connectRedis(nowhere, 'test', 100),
    { message: /not ready for test within 0.1 s/ },
    'also while it tries again',
  )

  const closed = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false })
  closed.disconnect()
  await t.rejects(connectRedis(closed, 'test'), { message: /not ready/ })
})

test('a given Cluster client is waited for as well', async (t) => {
  const nowhere = new Cluster([{ host: '127.0.0.1', port: 1 }], { lazyConnect: true, enableOfflineQueue: false })
  t.teardown(() => { nowhere.disconnect() })
  nowhere.on('error', () => {})
  await t.rejects(connectRedis(nowhere, 'test', 100), {
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
  const { client, close } = await connectRedis(`redis://app:s3cr%3At%40%2F@${at}/3`, 'test')
  t.teardown(close)
  t.equal(await client.call('ACL', 'WHOAMI'), 'app')
  t.match(await client.client('INFO'), / db=3 .*name=bulwark-test|name=bulwark-test .*db=3 /)
  await t.rejects(connectRedis(`redis://app:hidden@${at}`, 'test'), {
    message: 'no connection to Redis for test within 5 s (WRONGPASS)',
    cause: undefined,
  })
  await node.admin.call('CONFIG', 'SET', 'requirepass', 'word')
  await t.rejects(connectRedis(`redis://${at}`, 'test'), {
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
  await t.rejects(connectRedis(`rediss://localhost:${port}`, 'test'), {
    message: /^no connection to Redis for test within 5 s \([A-Z_]*(CERT|ISSUER|SIGNATURE)[A-Z_]*\)$/,
  })
  await t.rejects(
    connectRedis(`redis://localhost:${port}`, 'test', 500),
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
  await connectRedis(given, 'test')
  t.equal(await given.ping(), 'PONG')

  const script = `const { connectRedis } = await import(${
    JSON.stringify(new URL('../../../lib/redis/connection.js', import.meta.url).href)
  })
    const { client, close } = await connectRedis('rediss://localhost:${port}', 'test')
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
