import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import type { AuthOptions } from '../../plugins/auth.js'
import { ownKeys, redisUrl } from '../helpers/redis.js'
import { build, codeOf, jarOf, setCookies, type Jar, type World } from '../lib/auth/support.js'

/**
 * Four instances of one service on one Redis. Whatever one says counts at once, or in a minute: a test that waits less
 * sees the push.
 */
async function buildFour (t: Test, options: Partial<AuthOptions> = {}): Promise<readonly [World, ...World[]]> {
  const { keyPrefix } = ownKeys(t)
  const shared = { redis: redisUrl(), keyPrefix, revocationDelay: '60s', ...options } as const
  const first = await build(t, { options: shared })
  return [first, ...await Promise.all([1, 2, 3].map(async () => build(t, { options: shared, like: first })))]
}

const pick = (worlds: readonly World[], index: number): World => worlds[index % worlds.length] ?? worlds[0] as World
const eventsOf = (worlds: readonly World[], name: string): number =>
  worlds.flatMap((world) => world.names()).filter((one) => one === name).length

async function statusOnAll (worlds: readonly World[], jar: Jar): Promise<string[]> {
  return Promise.all(worlds.map(async (world) => {
    const response = await world.call('GET', '/me', jar)
    return response.statusCode === 200 ? '200' : codeOf(response)
  }))
}

/** What all instances say once they agree; pushes take milliseconds, the cache would take a minute. */
async function agreed (worlds: readonly World[], jar: Jar): Promise<string[]> {
  let said: string[] = []
  for (let tries = 0; tries < 200; tries++) {
    said = [...new Set(await statusOnAll(worlds, jar))]
    if (said.length === 1 && said[0] !== '200') return said
    await sleep(10)
  }
  return said
}

test('2 to 200 parallel refreshes over four instances make one rotation and one successor', async (t) => {
  const worlds = await buildFour(t)
  for (const count of [2, 3, 20, 200]) {
    const before = eventsOf(worlds, 'session_renewed')
    const jar = await worlds[0].login()
    const answers = await Promise.all(
      Array.from({ length: count }, async (_, index) => pick(worlds, index).call('POST', '/auth/refresh', jar)),
    )
    t.same([...new Set(answers.map(({ statusCode }) => statusCode))], [200], `${count}: every answer is 200`)
    t.ok(answers.every((answer) => setCookies(answer).length === 2), `${count}: every answer sets both cookies`)
    t.equal(new Set(answers.map((answer) => jarOf(answer)['__Secure-refresh'])).size, 1, `${count}: one successor`)
    t.equal(eventsOf(worlds, 'session_renewed') - before, 1, `${count}: one rotation`)
    const [answer] = answers
    if (answer !== undefined) t.same(await statusOnAll(worlds, jarOf(answer)), ['200', '200', '200', '200'])
  }
})

test('a token that is reused after the grace ends the session on all instances at once', async (t) => {
  const worlds = await buildFour(t, { grace: '200ms' })
  const stolen = await worlds[0].login()
  const owner = jarOf(await worlds[1]?.call('POST', '/auth/refresh', stolen) as Awaited<ReturnType<World['call']>>)
  t.same(await statusOnAll(worlds, owner), ['200', '200', '200', '200'], 'and all of them remember it')
  await sleep(250)
  t.equal(codeOf(await pick(worlds, 2).call('POST', '/auth/refresh', stolen)), '401 REFRESH_REUSED')
  t.same(await agreed(worlds, owner), ['401 SESSION_REVOKED'])
  t.equal(
    codeOf(await pick(worlds, 3).call('POST', '/auth/refresh', owner)),
    '401 REFRESH_REUSED',
    'the owner learns why',
  )
  t.equal(eventsOf(worlds, 'authn_token_reuse'), 1)
})

test('a refresh and a logout on other instances, in either order and at once, leave nothing alive', async (t) => {
  const worlds = await buildFour(t)
  const orders: readonly ((jar: Jar) => Promise<Awaited<ReturnType<World['call']>>>)[] = [
    async (jar) => {
      const answer = await pick(worlds, 1).call('POST', '/auth/refresh', jar)
      await pick(worlds, 2).call('POST', '/auth/logout', jar)
      return answer
    },
    async (jar) => {
      await pick(worlds, 2).call('POST', '/auth/logout', jar)
      return pick(worlds, 1).call('POST', '/auth/refresh', jar)
    },
    ...Array.from({ length: 20 }, (_, index) => async (jar: Jar) => {
      const calls = [
        async () => pick(worlds, index).call('POST', '/auth/refresh', jar),
        async () => pick(worlds, index + 1).call('POST', '/auth/logout', jar),
      ]
      const answers = await Promise.all((index % 2 === 0 ? calls : calls.reverse()).map(async (call) => call()))
      return answers[index % 2 === 0 ? 0 : 1] as Awaited<ReturnType<World['call']>>
    }),
  ]
  for (const [index, play] of orders.entries()) {
    const jar = await worlds[0].login()
    const after = { ...jar, ...jarOf(await play(jar)) }
    t.same(await agreed(worlds, after), ['401 SESSION_REVOKED'], `order ${index}`)
    t.match(codeOf(await worlds[0].call('POST', '/auth/refresh', after)), '401', `order ${index}`)
  }
})

test('the clocks of the instances\' hosts may be ten minutes apart', async (t) => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  // Worse than four clocks that differ: each time anybody asks, the host is somewhere else.
  let asked = 0
  Date.now = () => now() + (asked++ % 2 === 0 ? 600_000 : -600_000)
  const worlds = await buildFour(t, { grace: '200ms' })
  let jar = await worlds[0].login()
  for (let round = 0; round < 5; round++) {
    t.same(await statusOnAll(worlds, jar), ['200', '200', '200', '200'])
    const answers = await Promise.all(worlds.map(async (world) => world.call('POST', '/auth/refresh', jar)))
    t.same([...new Set(answers.map(({ statusCode }) => statusCode))], [200])
    t.equal(new Set(answers.map((answer) => jarOf(answer)['__Secure-refresh'])).size, 1)
    jar = jarOf(answers[round % 4] ?? answers[0] as Awaited<ReturnType<World['call']>>)
    await sleep(220)
  }
  t.equal((await pick(worlds, 2).call('GET', '/fresh', jar)).statusCode, 200, 'a sign-in of now is fresh')
  const [listed] =
    (await pick(worlds, 3).call('GET', '/auth/sessions', jar)).json<{ sessions: { createdAt: string }[] }>().sessions
  t.ok(Math.abs(Date.parse(listed?.createdAt ?? '') - now()) < 60_000)
  t.ok(asked > 0)
})
