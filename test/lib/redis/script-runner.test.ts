import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { createScript } from '../../../lib/redis/script.js'
import { integerOf, ScriptRunner, textOf, type ScriptClient } from '../../../lib/redis/script-runner.js'
import { redisUrl, uniquePrefix } from '../../helpers/redis.js'

const COUNT = createScript("return answer('counted', redis.call('INCR', KEYS[1]), ARGV[4])", { expires: true })
const FORGET = createScript("redis.call('DEL', KEYS[1]) return answer('forgotten')")
const DAY_MS = 86_400_000

type Answer = (validUntil: number) => unknown

/** A client whose Redis has a clock, and a mind, of the test's own; the last answer repeats. */
function scripted (...answers: Answer[]): { readonly client: ScriptClient, readonly validUntil: string[] } {
  const validUntil: string[] = []
  const answer = async (_script: string, _keys: number, ...args: unknown[]): Promise<unknown> => {
    validUntil.push(String(args[2] ?? ''))
    return (answers[validUntil.length - 1] ?? answers.at(-1))?.(Number(validUntil.at(-1)))
  }
  return { client: { evalsha: answer, eval: answer }, validUntil }
}

async function connected (t: Test): Promise<{ readonly client: Redis, readonly key: string }> {
  const client = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false })
  const key = `${uniquePrefix()}{k}`
  await client.connect()
  t.teardown(async () => {
    await client.del(key)
    client.disconnect()
  })
  return { client, key }
}

test('a script answers with its word and parts, on Redis\' own clock', async (t) => {
  const { client, key } = await connected(t)
  const runner = new ScriptRunner(client, { deadlineMs: 1000 })
  t.same(await runner.run(COUNT, [key], ['more']), ['counted', 1, 'more'])
  const [seconds, micros] = await client.time()
  t.ok(Math.abs(runner.now(key) - Number(seconds) * 1000 - Number(micros) / 1000) < 50)
})

test('before the first answer it tells the time of this host', (t) => {
  const { client } = scripted()
  t.ok(Math.abs(new ScriptRunner(client, { deadlineMs: 1000 }).now('k') - Date.now()) < 1000)
  t.equal(new ScriptRunner(client, { deadlineMs: 1000, now: () => 5 }).now('k'), 5)
  t.end()
})

test('a script that came too late changes nothing; one that forgets runs late rather than never', async (t) => {
  const { client, key } = await connected(t)
  await client.set(key, 5)
  const now = Date.now()
  t.match(await client.eval(COUNT.lua, 1, key, '', now - 60_000, '', ''), [Number, 'stale'])
  t.equal(await client.get(key), '5')
  t.match(await client.eval(COUNT.lua, 1, key, '', now + 60_000, '', ''), [Number, 'counted', 6])
  const { client: asked, validUntil } = scripted(() => [Date.now(), 'forgotten'])
  await new ScriptRunner(asked, { deadlineMs: 1000 }).run(FORGET, [key], [])
  t.same(validUntil, [''])
})

test('a node is asked for its clock before the first script that expires, and only then', async (t) => {
  const { client, validUntil } = scripted(() => [Date.now(), 'done'])
  const runner = new ScriptRunner(client, { deadlineMs: 1000, nodeOf: (key) => key })
  const asked = async (key: string): Promise<number> => {
    validUntil.length = 0
    await runner.run(COUNT, [key], [])
    return validUntil.length
  }
  t.same([await asked('a'), await asked('a'), await asked('b'), await asked('a')], [2, 1, 2, 1])
  const until = Number(validUntil[0])
  validUntil.length = 0
  await Promise.all(Array.from({ length: 5 }, () => runner.run(COUNT, ['c'], [])))
  t.equal(validUntil.length, 6, 'once for the first five')
  t.ok(until >= Date.now() + 900 && until < Date.now() + 1100, 'valid until its deadline and a little more')
  const virtual = new ScriptRunner(client, { deadlineMs: 1000, now: () => 5 })
  validUntil.length = 0
  await virtual.run(COUNT, ['a'], [])
  t.same(validUntil, [''], 'never on a clock of the test')
})

test('after a failover to a Redis whose clock is ahead, a fresh script is asked again and runs once', async (t) => {
  const yesterday = (): unknown => [Date.now() - DAY_MS, 'done']
  const { client, validUntil } = scripted(yesterday, yesterday, (until) =>
    Date.now() > until ? [Date.now(), 'stale'] : [Date.now(), 'done'])
  const runner = new ScriptRunner(client, { deadlineMs: 1000 })
  t.same(await runner.run(COUNT, ['k'], []), ['done'])
  t.same(await runner.run(COUNT, ['k'], []), ['done'])
  t.equal(validUntil.length, 4, 'the stale answer corrected the clock')
  t.same(await runner.run(COUNT, ['k'], []), ['done'])
  t.equal(validUntil.length, 5)
})

test('a script that is too late by a clock that did not change is not asked again', async (t) => {
  const { client, validUntil } = scripted(() => [Date.now(), 'clock'], () => [Date.now(), 'stale'])
  const runner = new ScriptRunner(client, { deadlineMs: 1000 })
  await t.rejects(runner.run(COUNT, ['k'], []), { name: 'DeadlineExceeded' })
  t.equal(validUntil.length, 2)
})

test('a Redis that is silent is given up at the deadline', async (t) => {
  const silent = async (): Promise<never> => await new Promise<never>(() => {})
  const runner = new ScriptRunner({ evalsha: silent, eval: silent }, { deadlineMs: 20 })
  await t.rejects(runner.run(FORGET, ['k'], []), { name: 'DeadlineExceeded', message: 'not done within 20 ms' })
})

test('only NOSCRIPT is sent again', async (t) => {
  const cases = [
    ['NOSCRIPT No matching script', 2],
    ["READONLY You can't write against a read only replica.", 1],
    ['ERR timeout', 1],
  ] as const
  for (const [message, calls] of cases) {
    let called = 0
    const fail = async (): Promise<never> => { called++; throw new Error(message) }
    const runner = new ScriptRunner({ evalsha: fail, eval: fail }, { deadlineMs: 1000 })
    await t.rejects(runner.run(FORGET, ['k'], []), { message })
    t.equal(called, calls, message)
  }
})

test('an answer of an unknown shape is an error', async (t) => {
  for (const answer of [null, 'OK', 1, [], [null], ['x', 'done'], [1.5, 'done'], [{}, 'done']]) {
    const runner = new ScriptRunner(scripted(() => answer).client, { deadlineMs: 1000 })
    await t.rejects(runner.run(FORGET, ['k'], []), TypeError, JSON.stringify(answer))
  }
})

test('numbers are read from texts too, because a client may be told to give them so', (t) => {
  t.same(['-1', '0', '1700000000000', 7].map(integerOf), [-1, 0, 1_700_000_000_000, 7])
  for (const part of [null, undefined, '', ' 1', '1 ', '1.5', '1e3', '0x1', '--1', '99999999999999999999', 1.5, NaN, []]) {
    t.throws(() => integerOf(part), TypeError, String(part))
  }
  t.equal(textOf('x'), 'x')
  t.throws(() => textOf(5), TypeError)
  t.end()
})
