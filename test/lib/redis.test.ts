import { Redis } from 'ioredis'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { connectRedis, DeadlineExceeded, queuesOffline, withDeadline } from '../../lib/redis.js'
import { redisUrl } from '../helpers/redis.js'

test('an operation that is done in time gives its result or its own error', async (t) => {
  t.equal(await withDeadline(Promise.resolve(5), 1000), 5)
  await t.rejects(withDeadline(Promise.reject(new TypeError('own')), 1000), { name: 'TypeError' })
})

test('an operation that is late is given up, and its late failure hurts nobody', async (t) => {
  const late = sleep(40).then(() => { throw new Error('late') })
  await t.rejects(withDeadline(late, 5), { name: 'DeadlineExceeded' })
  await sleep(60)
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
  await t.rejects(connectRedis('redis://user:hidden@127.0.0.1:1', 'limits'), { message: 'no connection to Redis for limits within 5 s' })
})
