// Node's CPU µs for one decision on Redis, 64 in flight: three limits in one step of ours, one of ours, one check of
// @fastify/rate-limit, and a RateLimiterUnion of three RateLimiterRedis.
// `npm run build && node bench/limiter-redis.mjs [rounds] [decisions a round]`, on REDIS_URL or a redis-server of its
// own.
// Each variant runs in a process of its own; the rounds take turns. The two controls are one variant run twice: what
// they differ by is noise. Callers are many and each is admitted, so every decision writes.
// `node bench/limiter-redis.mjs --profile 'ours, three limits'` prints where the time of one variant goes.
import rateLimitPlugin from '@fastify/rate-limit'
import FastifyRedisStore from '@fastify/rate-limit/store/RedisStore.js'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { fork, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Session } from 'node:inspector/promises'
import { createServer } from 'node:net'
import { RateLimiterRedis, RateLimiterUnion } from 'rate-limiter-flexible'
import { createQuota } from '../dist/lib/rate-limit/quota.js'
import { RedisStore } from '../dist/lib/rate-limit/stores/redis.js'

const IN_FLIGHT = 64
const CALLERS = 50_000
const WINDOW_MS = 60_000
const PREFIX = `bench:${randomBytes(6).toString('hex')}:`

const connect = async () => {
  const client = new Redis(process.env.REDIS_URL, { lazyConnect: true, enableOfflineQueue: false })
  await client.connect()
  return client
}

/** Made beforehand: what a key costs is measured in limiter-keys.mjs. */
const ADDRESSES = Array.from(
  { length: CALLERS },
  (_unused, index) => `198.${18 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
)
const KEYS = Array.from({ length: CALLERS }, () => randomBytes(16).toString('base64url'))

async function ours (limits) {
  const store = new RedisStore(await connect(), { prefix: PREFIX, deadlineMs: 5000 })
  const quotas = limits.map(([algorithm, limit]) => createQuota(algorithm, limit, WINDOW_MS, false))
  const keys = KEYS.map((key) => limits.map((_limit, index) => `{${key}}${index}`))
  return async (caller) => {
    const { admitted } = await store.consume(quotas, keys[caller])
    if (!admitted) throw new Error('a caller was refused')
  }
}

async function pluginCheck () {
  const app = Fastify()
  await app.register(rateLimitPlugin, {
    global: false,
    redis: await connect(),
    nameSpace: PREFIX,
    max: 1000,
    timeWindow: WINDOW_MS,
  })
  const check = app.createRateLimit()
  const requests = ADDRESSES.map((ip) => ({ ip, routeOptions: { config: {} } }))
  return async (caller) => {
    const { isExceeded } = await check(requests[caller])
    if (isExceeded !== false) throw new Error('a caller was refused')
  }
}

async function pluginStore () {
  const store = new FastifyRedisStore(false, false, await connect(), PREFIX)
  return (caller) =>
    new Promise((resolve, reject) => {
      store.incr(
        ADDRESSES[caller],
        (error, result) => {
          if (error || result.current > 1000) reject(error)
          else resolve()
        },
        WINDOW_MS,
        1000,
      )
    })
}

async function union () {
  const storeClient = await connect()
  const limiters = [1000, 1001, 1002].map((points) =>
    new RateLimiterRedis({ storeClient, points, duration: WINDOW_MS / 1000, keyPrefix: `${PREFIX}${points}` })
  )
  const all = new RateLimiterUnion(...limiters)
  return (caller) => all.consume(ADDRESSES[caller])
}

const VARIANTS = {
  'plugin check a': pluginCheck,
  'plugin check b': pluginCheck,
  'plugin store alone': pluginStore,
  'union of three': union,
  'ours, one limit': () => ours([['sliding', 1000]]),
  'ours, three limits': () => ours([['exact', 40], ['exact', 50], ['sliding', 1000]]),
}

let next = 0

async function decide (check, count) {
  let left = count
  const lane = async () => {
    while (left-- > 0) {
      next = (next + 1) % CALLERS
      await check(next)
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane))
}

async function measure (check, count) {
  const before = process.cpuUsage()
  await decide(check, count)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / count
}

async function serve (name) {
  const check = await VARIANTS[name]()
  process.on('message', async (count) => { process.send(await measure(check, count)) })
  process.on('disconnect', () => { process.exit() })
  process.send('ready')
}

async function profile (name) {
  const check = await VARIANTS[name]()
  await decide(check, 20_000)
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.setSamplingInterval', { interval: 200 })
  await session.post('Profiler.start')
  const cost = await measure(check, 40_000)
  const { profile: { nodes, samples, timeDeltas } } = await session.post('Profiler.stop')
  const byId = new Map(nodes.map((node) => [node.id, node.callFrame]))
  const [byFunction, byFile] = [new Map(), new Map()]
  let total = 0
  for (const [index, id] of samples.entries()) {
    const { functionName, url } = byId.get(id)
    if (functionName === '(idle)' || functionName === '(program)') continue
    const file = url.replace(/^.*\/(node_modules|dist)\//, '') || '(native)'
    total += timeDeltas[index]
    for (const [table, key] of [[byFunction, `${functionName || '(anonymous)'}  ${file}`], [byFile, file]])
      table.set(key, (table.get(key) ?? 0) + timeDeltas[index])
  }
  console.log(`${name}: ${cost.toFixed(1)} CPU µs a decision while profiled; share of the JavaScript thread's time`)
  for (const table of [byFile, byFunction]) {
    for (const [key, time] of [...table].sort((a, b) => b[1] - a[1]).slice(0, 18))
      console.log(`${(100 * time / total).toFixed(1).padStart(6)} %  ${key}`)
    console.log()
  }
  process.exit()
}

async function withRedis (run) {
  if (process.env.REDIS_URL) return await run(null)
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  const server = spawn('redis-server', [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
  ], { stdio: ['ignore', 'pipe', 'ignore'] })
  for await (const chunk of server.stdout) if (String(chunk).includes('Ready to accept connections')) break
  process.env.REDIS_URL = `redis://127.0.0.1:${port}`
  const client = await connect()
  try {
    await run(async () => {
      const info = await client.info('cpu')
      return ['user', 'sys'].reduce(
        (sum, kind) => sum + Number(new RegExp(`used_cpu_${kind}:([0-9.]+)`).exec(info)[1]),
        0,
      ) * 1e6
    })
  } finally {
    client.disconnect()
    server.kill()
  }
}

const sorted = (values) => [...values].sort((a, b) => a - b)
const quantile = (values, share) => sorted(values)[Math.floor((values.length - 1) * share)]

/** `redisCpu` tells the µs that a Redis of our own used so far. */
async function compare (rounds, count, redisCpu) {
  const names = Object.keys(VARIANTS)
  const workers = {}
  for (const name of names) {
    workers[name] = fork(import.meta.filename, ['--variant', name], { stdio: 'inherit' })
    await once(workers[name], 'message')
  }
  const ask = async (name, times) => {
    workers[name].send(times)
    return (await once(workers[name], 'message'))[0]
  }
  const samples = Object.fromEntries(names.map((name) => [name, []]))
  const redis = Object.fromEntries(names.map((name) => [name, []]))
  for (const name of names) await ask(name, 10_000)
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another variant, so that drift of the machine falls on all alike.
    for (let step = 0; step < names.length; step++) {
      const name = names[(round + step) % names.length]
      const before = await redisCpu?.()
      samples[name].push(await ask(name, count))
      if (redisCpu !== null) redis[name].push((await redisCpu() - before) / count)
    }
  }
  for (const worker of Object.values(workers)) worker.disconnect()

  const line = (label, values) =>
    console.log(
      `${label.padEnd(44)} ${
        [0.5, 0.25, 0.75].map((share) => quantile(values, share).toFixed(2).padStart(8)).join(' ')
      }`,
    )
  const ratio = (a, b) => samples[a].map((value, round) => value / samples[b][round])
  console.log(
    `${rounds} rounds of ${count} decisions, ${IN_FLIGHT} in flight, node ${process.version}: ` +
    'CPU µs of Node a decision, median and quartiles',
  )
  for (const name of names) line(name, samples[name])
  if (redisCpu !== null) {
    console.log('CPU µs of Redis a decision')
    for (const name of names) line(name, redis[name])
  }
  console.log('ratios, round by round')
  line('plugin check b : a (noise)', ratio('plugin check b', 'plugin check a'))
  line('ours, three limits : plugin check a', ratio('ours, three limits', 'plugin check a'))
  line('ours, three limits : plugin store alone', ratio('ours, three limits', 'plugin store alone'))
  line('ours, one limit : plugin check a', ratio('ours, one limit', 'plugin check a'))
  line('union of three : ours, three limits', ratio('union of three', 'ours, three limits'))
}

const [mode, second] = process.argv.slice(2)
if (mode === '--variant') await serve(second)
else if (mode === '--profile') await withRedis(() => profile(second ?? 'ours, three limits'))
else await withRedis((redisCpu) => compare(Number(mode ?? 31), Number(second ?? 4_000), redisCpu))
