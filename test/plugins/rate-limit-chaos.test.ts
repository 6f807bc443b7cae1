import { once } from 'node:events'
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import type { SecurityEvent } from '../../lib/events/catalogue.js'
import type { RateLimitOptions } from '../../plugins/rate-limit.js'
import { redisUrl, uniquePrefix } from '../helpers/redis.js'
import { addLogin, build } from '../lib/rate-limit/app.js'
import { startRedis, type OwnRedis } from '../lib/rate-limit/redis-server.js'

/**
 * Commands of one caller that waited in the socket of a stopped Redis and count when it wakes up: the probes.
 * 0 once every command says until when it is valid.
 */
const LATE_COUNTS = 0

const keySecret = 'the secret of the test, thirty-two characters or more'
const DEADLINE_MS = 50
/** What a busy test machine may add. The true figures are what `bench/limiter-chaos.mjs` prints. */
const NOISE_MS = 400
const LIMIT = 20
const WORKERS = 8

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly ms: number
  readonly key: string
}

interface Service { readonly get: (key: string) => Promise<Answer>, readonly events: readonly SecurityEvent[] }

function client (
  t: Test,
  origin: string,
): (path: string, headers: Record<string, string>, body?: string) => Promise<Omit<Answer, 'key'>> {
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => { agent.destroy() })
  return async function send (path, headers, body) {
    const start = performance.now()
    const sent = httpRequest(`${origin}${path}`, { agent, method: body === undefined ? 'GET' : 'POST', headers })
    sent.end(body)
    const [answer] = await once(sent, 'response') as [
      NodeJS.ReadableStream & { statusCode: number, headers: IncomingHttpHeaders },
    ]
    let text = ''
    for await (const chunk of answer) text += String(chunk)
    return { status: answer.statusCode, headers: answer.headers, body: text, ms: performance.now() - start }
  }
}

/** A service on a real socket that tells callers apart by a header, because they all come from one address. */
async function serve (t: Test, redis: string, options: RateLimitOptions = {}): Promise<Service> {
  const { app, events } = await build(t, {
    redis,
    keySecret,
    deadline: `${DEADLINE_MS}ms`,
    policies: { chaos: { limit: LIMIT, window: '1h', by: { header: 'x-key' } } },
    ...options,
  })
  app.get('/', { security: { rateLimit: { only: ['chaos'] } } }, async () => 'ok')
  const send = client(t, await app.listen({ host: '127.0.0.1', port: 0 }))
  return { get: async (key) => ({ ...await send('/', { 'x-key': key }), key }), events }
}

/** Requests of one attacker, and of others who come once each. */
async function load ({ get }: Service, durationMs: number): Promise<Answer[]> {
  const answers: Answer[] = []
  const end = performance.now() + durationMs
  let sent = 0
  await Promise.all(Array.from({ length: WORKERS }, async () => {
    while (performance.now() < end) {
      sent++
      answers.push(await get(sent % 2 === 0 ? 'attacker' : `other ${sent}`))
      await wait(2)
    }
  }))
  return answers
}

const quantile = (answers: readonly Answer[], share: number): number =>
  answers.map(({ ms }) => ms).sort((a, b) => a - b)[Math.floor((answers.length - 1) * share)] ?? NaN
const admitted = (answers: readonly Answer[], key: string): number =>
  answers.filter((answer) => answer.key === key && answer.status === 200).length
const storeEvents = ({ events }: Service): string[] =>
  events.map(({ name }) => name).filter((name) => name.startsWith('store'))

/** Only 200 and 429, nobody but the attacker refused, and no text of Redis or ioredis in an answer. */
function isClean (t: Test, answers: readonly Answer[]): void {
  t.same(answers.filter(({ status }) => status !== 200 && status !== 429), [])
  t.same(
    new Set(answers.filter(({ status }) => status === 429).map(({ key }) => key)),
    new Set(answers.some(({ status }) => status === 429) ? ['attacker'] : []),
  )
  t.notOk(answers.some(({ body }) => /redis|stream|econn|script|offline|deadline/i.test(body)))
}

/** Milliseconds until the service says that the store is back. */
async function recovery (service: Service): Promise<number> {
  const start = performance.now()
  while (!storeEvents(service).includes('store_recovered') && performance.now() - start < 8000) {
    await service.get('poke')
    await wait(10)
  }
  return performance.now() - start
}

async function ownRedis (t: Test): Promise<OwnRedis> {
  const server = await startRedis()
  t.teardown(() => server.stop())
  return server
}

async function statistic (t: Test, url: string): Promise<(section: string, pattern: RegExp) => Promise<number>> {
  const redis = new Redis(url)
  t.teardown(() => { redis.disconnect() })
  return async (section, pattern) => Number(pattern.exec(await redis.info(section))?.[1] ?? 0)
}

const SCRIPT_CALLS = /cmdstat_evalsha:calls=(\d+)/

test('a Redis that stops under load costs a deadline at most, then nothing; it is seen again soon, and counts nothing twice', async (t) => {
  const server = await ownRedis(t)
  const service = await serve(t, server.url)
  const info = await statistic(t, server.url)
  isClean(t, (await load(service, 100)).filter(({ key }) => key !== 'attacker'))
  for (let count = 0; count < 5; count++) await service.get('quiet')
  const callsBefore = await info('commandstats', SCRIPT_CALLS)
  const heapBefore = process.memoryUsage().heapUsed

  server.pause()
  const first = await load(service, 300)
  const open = await load(service, 1000)
  const quiet: Answer[] = []
  for (let count = 0; count < 10; count++) quiet.push(await service.get('quiet'))
  server.resume()
  isClean(t, [...first, ...open, ...quiet])
  t.ok(admitted([...first, ...open], 'attacker') <= LIMIT, 'the attacker is held to the local limit')
  t.comment(
    `first 300 ms: p99 ${quantile(first, 0.99).toFixed(1)} ms; open: p50 ${quantile(open, 0.5).toFixed(2)} ms, p99 ${
      quantile(open, 0.99).toFixed(1)
    } ms of ${open.length}`,
  )
  t.ok(quantile([...first, ...open], 0.99) < DEADLINE_MS + NOISE_MS)
  t.ok(quantile(open, 0.5) < NOISE_MS, 'open, most wait for nobody')
  t.ok(process.memoryUsage().heapUsed - heapBefore < 60_000_000)

  await wait(100)
  const late = await info('commandstats', SCRIPT_CALLS) - callsBefore
  t.ok(late <= WORKERS + 5 + 6, `${late} commands woke up: those in flight when it opened, and the probes`)
  const recoveredMs = await recovery(service)
  t.comment(`recovered after ${recoveredMs.toFixed(0)} ms`)
  t.ok(recoveredMs < 2000 + NOISE_MS)
  t.same(storeEvents(service), ['store_unavailable', 'store_recovered'])
  const remaining = Number(/r=(\d+)/.exec(String((await service.get('quiet')).headers['ratelimit']))?.[1])
  const twice = LIMIT - remaining - 6
  t.ok(twice >= 0 && twice <= LATE_COUNTS, `${twice} of the outage counted in Redis too`)
})

test('a Redis that is killed under load and comes back empty: no 500, recovery within two seconds, one event each way', async (t) => {
  const server = await ownRedis(t)
  const service = await serve(t, server.url)
  const loading = load(service, 1200)
  await wait(200)
  await server.kill()
  await wait(400)
  await server.start()
  const recoveredMs = await recovery(service)
  t.comment(`recovered after ${recoveredMs.toFixed(0)} ms`)
  t.ok(recoveredMs < 2000 + NOISE_MS)
  const answers = await loading
  isClean(t, answers)
  t.ok(admitted(answers, 'attacker') <= 3 * LIMIT, 'the lost counts, the local ones, the new ones')
  t.ok(quantile(answers, 0.99) < DEADLINE_MS + NOISE_MS)
  t.same(storeEvents(service), ['store_unavailable', 'store_recovered'])
})

test('scripts that are flushed in mid-traffic cost nobody a count', async (t) => {
  const server = await ownRedis(t)
  const service = await serve(t, server.url, { deadline: '5s' })
  const redis = new Redis(server.url)
  t.teardown(() => { redis.disconnect() })
  const answers: Answer[] = []
  await Promise.all(Array.from({ length: WORKERS }, async () => {
    for (let count = 0; count < 15; count++) {
      await redis.script('FLUSH')
      answers.push(await service.get('attacker'))
    }
  }))
  isClean(t, answers)
  t.equal(admitted(answers, 'attacker'), LIMIT)
  t.same(storeEvents(service), [])
})

test('a slow way to Redis is no outage below the deadline, and one above it', async (t) => {
  const server = await ownRedis(t)
  const proxy = await slowProxy(t, new URL(server.url))
  proxy.delayMs = 60
  const patient = await serve(t, proxy.url, { deadline: '5s', keyPrefix: 'patient:' })
  const slow = await Promise.all(Array.from({ length: 30 }, () => patient.get('attacker')))
  isClean(t, slow)
  t.equal(admitted(slow, 'attacker'), LIMIT)
  t.same(storeEvents(patient), [])

  proxy.delayMs = 0
  const hasty = await serve(t, proxy.url)
  await hasty.get('poke')
  proxy.delayMs = 300
  const answers = await load(hasty, 900)
  isClean(t, answers)
  t.comment(
    `p50 ${quantile(answers, 0.5).toFixed(2)} ms, p99 ${quantile(answers, 0.99).toFixed(1)} ms of ${answers.length}`,
  )
  t.ok(quantile(answers, 0.99) < DEADLINE_MS + NOISE_MS)
  t.ok(admitted(answers, 'attacker') <= 2 * LIMIT)
  t.same(storeEvents(hasty), ['store_unavailable'])
  proxy.delayMs = 0
  t.ok(await recovery(hasty) < 2000 + NOISE_MS)
})

test('a blocked flood costs Redis no command, and is told how long to wait', async (t) => {
  const server = await ownRedis(t)
  const service = await serve(t, server.url, {
    deadline: '5s',
    policies: { chaos: { limit: 3, window: '1h', by: { header: 'x-key' } } },
  })
  const info = await statistic(t, server.url)
  for (let count = 0; count < 4; count++) await service.get('attacker')
  const before = await info('commandstats', SCRIPT_CALLS)
  const answers = await load(service, 400)
  const calls = await info('commandstats', SCRIPT_CALLS) - before
  const [others, flood] = [
    answers.filter(({ key }) => key !== 'attacker').length,
    answers.filter(({ key }) => key === 'attacker'),
  ]
  t.ok(flood.length > 20)
  t.ok(calls > 0 && calls <= others, `${calls} commands for ${others} others and ${flood.length} of the flood`)
  t.same(new Set(flood.map(({ status }) => status)), new Set([429]))
  for (const { headers, body } of flood.slice(0, 3)) {
    const [, seconds] = /^"chaos";r=0;t=(3600|359\d)$/.exec(String(headers['ratelimit'])) ?? []
    t.equal(headers['retry-after'], seconds)
    t.equal(headers['ratelimit-policy'], '"chaos";q=3;w=3600')
    t.match(JSON.parse(body), { code: 'RATE_LIMITED' })
  }
})

for (const instances of [1, 4]) {
  test(`200 parallel wrong passwords over sockets run at most five checks on ${instances} instance(s) of one Redis`, async (t) => {
    const options: RateLimitOptions = { redis: redisUrl(), keySecret, keyPrefix: uniquePrefix(), deadline: '10s' }
    const services = await Promise.all(Array.from({ length: instances }, async () => {
      const { app } = await build(t, options)
      return { seen: addLogin(app), send: client(t, await app.listen({ host: '127.0.0.1', port: 0 })) }
    }))
    const body = JSON.stringify({ email: 'victim@example.com', password: 'wrong' })
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, index) =>
        await services[index % instances]?.send('/login', { 'content-type': 'application/json' }, body)),
    )
    const checks = services.reduce((sum, { seen }) => sum + seen.guesses, 0)
    t.comment(`${checks} checks`)
    t.ok(checks > 0 && checks <= 5)
    t.equal(answers.filter((answer) => answer?.status === 401).length, checks)
    t.equal(answers.filter((answer) => answer?.status === 429).length, 200 - checks)
  })
}

/** Passes bytes on to Redis, each as late as the test says. */
async function slowProxy (t: Test, target: URL): Promise<{ readonly url: string, delayMs: number }> {
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname)
    for (const [from, to] of [[near, far], [far, near]] as const) {
      sockets.add(from)
      let free = 0
      from.on('data', (chunk: Buffer) => {
        // Never overtakes what came before, also when the delay shrinks.
        free = Math.max(free, performance.now() + proxy.delayMs)
        setTimeout(() => { if (!to.destroyed) to.write(chunk) }, free - performance.now())
      })
      from.on('error', () => { to.destroy() })
      from.on('close', () => { to.destroy() })
    }
  }).listen(0, '127.0.0.1')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await once(server, 'listening')
  const proxy = { url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`, delayMs: 0 }
  return proxy
}
