import { test } from 'tap'
import { connectRedis } from '../../../lib/redis/connection.js'
import { DeadlineExceeded, withDeadline } from '../../../lib/redis/deadline.js'
import { redisUrl, sourceOf } from '../../helpers/redis.js'

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
  const connection = await connectRedis(sourceOf(redisUrl()), 'test')
  t.teardown(() => { connection.close() })
  const answer = withDeadline(connection.client.ping(), 20)
  await new Promise(setImmediate)
  const until = performance.now() + 60
  while (performance.now() < until);
  t.equal(await answer, 'PONG')
})
