// What the limiter adds to a request while Redis is healthy, stopped (SIGSTOP), back, killed and back empty; and what
// its parts cost. `npm run build && node bench/limiter-chaos.mjs [milliseconds a phase]`. It starts a Redis of its own.
// "added" is the time from the first hook of a request to its handler (or to its refusal), in the server: what a client
// sees besides is HTTP. The deadline is 50 ms. A busy machine adds its own delays: "control" is the same app without a
// limiter.
import Fastify from 'fastify'
import { Agent, request } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { startRedis } from '../dist/test/lib/rate-limit/redis-server.js'
import { CircuitBreaker } from '../dist/lib/rate-limit/breaker.js'
import { DenyCache } from '../dist/lib/rate-limit/deny-cache.js'
import { LimitEngine } from '../dist/lib/rate-limit/engine.js'
import { createQuota } from '../dist/lib/rate-limit/quota.js'
import { MemoryStore } from '../dist/lib/rate-limit/stores/memory.js'
import { rateLimit } from '../dist/plugins/rate-limit.js'
import { securityOf } from '../dist/lib/policy/install.js'

const phaseMs = Number(process.argv[2] ?? 1500)
const WORKERS = 16
const LIMIT = 50

async function build (redis) {
  const app = Fastify()
  const added = []
  const events = []
  const starts = new WeakMap()
  app.addHook('onRequest', (incoming, _reply, done) => { starts.set(incoming.raw, performance.now()); done() })
  if (redis !== null) {
    await app.register(rateLimit, {
      redis,
      keySecret: 'x'.repeat(40),
      policies: { global: { limit: LIMIT, window: '1h', by: { header: 'x-key' } } },
    })
    securityOf(app).root.emit = (event) => {
      if (event.name.startsWith('store')) events.push({ name: event.name, at: performance.now() })
    }
  }
  const note = (incoming) => { added.push(performance.now() - starts.get(incoming.raw)) }
  app.addHook('onError', (incoming, _reply, _error, done) => { note(incoming); done() })
  app.get('/', (incoming) => { note(incoming); return 'ok' })
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, added, events, origin }
}

const agent = new Agent({ keepAlive: true })

function get (origin, key) {
  return new Promise((resolve, reject) => {
    const sent = request(origin, { agent, headers: { 'x-key': key } }, (answer) => {
      answer.resume().on('end', () => {
        resolve(answer.statusCode)
      })
    })
    sent.on('error', reject).end()
  })
}

let caller = 0
let phase = 0

async function load ({ origin, added }, milliseconds = phaseMs) {
  added.length = 0
  // A new one each time, because the last one is still remembered as refused.
  const name = `attacker ${++phase}`
  const statuses = {}
  let attacker = 0
  const end = performance.now() + milliseconds
  await Promise.all(Array.from({ length: WORKERS }, async () => {
    while (performance.now() < end) {
      const key = ++caller % 4 === 0 ? name : `caller ${caller}`
      const status = await get(origin, key)
      statuses[status] = (statuses[status] ?? 0) + 1
      if (key === name && status === 200) attacker++
      // Breathes, so that what is measured is the limiter and not a full queue of the event loop.
      await wait(4)
    }
  }))
  return { times: added.slice().sort((a, b) => a - b), statuses, attacker }
}

function print (name, { times, statuses, attacker }) {
  const at = (share) => (times[Math.floor((times.length - 1) * share)] ?? NaN).toFixed(2).padStart(7)
  console.log(
    `${name.padEnd(26)} added ms p50 ${at(0.5)}  p99 ${at(0.99)}  max ${at(1)}   ${
      JSON.stringify(statuses)
    }, attacker admitted ${attacker}`,
  )
}

async function returned ({ origin, events }) {
  const start = performance.now()
  while (events.at(-1)?.name !== 'store_recovered' && performance.now() - start < 10_000) {
    await get(origin, `caller ${++caller}`)
    await wait(5)
  }
  console.log(
    `${''.padEnd(26)} return seen after ${(performance.now() - start).toFixed(0)} ms; events: ${
      events.map(({ name }) => name).join(', ')
    }`,
  )
}

function perCall (name, count, run) {
  for (let warm = 0; warm < count / 4; warm++) run(warm)
  const start = performance.now()
  for (let done = 0; done < count; done++) run(done)
  console.log(`${name.padEnd(26)} ${((performance.now() - start) / count * 1000).toFixed(3)} µs`)
}

const server = await startRedis()
const control = await build(null)
const service = await build(server.url)
try {
  await load(control, 300)
  print('control', await load(control))
  await load(service, 300)
  print('Redis healthy', await load(service))
  server.pause()
  print('stopped, first 300 ms', await load(service, 300))
  print('stopped, breaker open', await load(service))
  server.resume()
  await returned(service)
  await server.kill()
  print('killed', await load(service))
  await server.start()
  await returned(service)
  print('healthy again', await load(service))
} finally {
  agent.destroy()
  await Promise.all([control.app.close(), service.app.close()])
  await server.stop()
}

const quota = createQuota('exact', 5, 900_000, false)
const keys = Array.from({ length: 5000 }, (_, index) => `key${index}`.padEnd(22, 'x'))
const denied = new DenyCache()
for (const key of keys)
  denied.remember(quota, key, { room: false, used: 5, waitMs: 900_000, mark: -1 }, performance.now(), false)
perCall('deny cache, hit', 1_000_000, (turn) => denied.find(quota, keys[turn % 5000]))
perCall('deny cache, miss', 1_000_000, (turn) => denied.find(quota, `other${turn % 5000}`))
const set = { quotas: [quota, createQuota('sliding', 100, 900_000, false)], onOutage: ['local', 'local'] }
const silent = { kind: 'redis', consume: async () => { throw new Error('not asked') }, close () {} }
const engine = new LimitEngine(silent, new MemoryStore(), () => {}, { denyCache: denied })
const pairs = keys.map((key) => [key, `${key}2`])
perCall('decide, out of the cache', 1_000_000, (turn) => engine.decide(set, pairs[turn % 5000]))
const local = new LimitEngine(new MemoryStore(), new MemoryStore(), () => {})
perCall('decide, in memory', 300_000, (turn) => local.decide(set, pairs[turn % 5000]))
const breaker = new CircuitBreaker()
perCall('breaker, closed', 1_000_000, () => breaker.succeeded(breaker.enter()))
for (let count = 0; count < 5; count++) breaker.failed(breaker.enter(), false)
perCall('breaker, open', 1_000_000, () => breaker.enter())
