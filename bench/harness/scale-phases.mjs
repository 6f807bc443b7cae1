// The parts of `--scale` that need processes of their own.
import { MANY, SCENARIOS } from '../scenarios.mjs'
import { exchange } from './answers.mjs'
import { loadUntil, measure, writeRequests } from './load.mjs'
import { hasRedis, startRedis } from './redis.mjs'
import { startServer, tokensOf } from './servers.mjs'
import { median, summary } from './stats.mjs'
import { printTable } from './tables.mjs'

export async function manyRoutes (rounds) {
  const samples = { fastify: { wallMs: [], cpuMs: [] }, suite: { wallMs: [], cpuMs: [] } }
  for (let round = 0; round < rounds; round++) {
    for (const key of round % 2 === 0 ? ['fastify', 'suite'] : ['suite', 'fastify']) {
      const startedAt = performance.now()
      const server = await startServer('many-routes', { suite: key === 'suite' })
      await exchange(server.port, SCENARIOS.public.make([])[0])
      samples[key].wallMs.push(performance.now() - startedAt)
      samples[key].cpuMs.push((await server.ask('mark')).cpu / 1000)
      await server.stop()
    }
  }
  const ratio = (kind) => summary(samples.suite[kind].map((value, round) => value / samples.fastify[kind][round]))
  const results = {
    fastifyCpuMs: summary(samples.fastify.cpuMs),
    suiteCpuMs: summary(samples.suite.cpuMs),
    cpuRatio: ratio('cpuMs'),
    wallRatio: ratio('wallMs'),
  }
  printTable(
    ['500 routes with schemas', 'CPU ms', 'ms'],
    ['fastify', 'suite'].map((
      key,
    ) => [key, median(samples[key].cpuMs).toFixed(0), median(samples[key].wallMs).toFixed(0)]),
  )
  console.log(
    `suite : Fastify alone, CPU ${results.cpuRatio.median.toFixed(2)}, time ${results.wallRatio.median.toFixed(2)}\n`,
  )
  return results
}

/** Others cannot be told from those that the scripts run, which Redis counts alike. */
const COUNTED = ['evalsha', 'eval']

/** CPU µs that Redis used so far, and its calls and their µs by command. */
async function readRedis (client) {
  const info = `${await client.info('cpu')}\n${await client.info('commandstats')}`
  const cpu =
    ['user', 'sys'].reduce((sum, kind) => sum + Number(new RegExp(`used_cpu_${kind}:([\\d.]+)`).exec(info)[1]), 0) * 1e6
  const commands = Object.fromEntries(
    [...info.matchAll(/cmdstat_([\w|]+):calls=(\d+),usec=(\d+)/g)].map((
      [, name, calls, usec],
    ) => [name, { calls: Number(calls), usec: Number(usec) }]),
  )
  return { cpu, commands }
}

/** One, two and four instances on one Redis, loaded together: what Redis pays for a request, and how many there are. */
export async function instances (rounds) {
  if (!hasRedis()) {
    console.log('left out, there is no redis-server (Debian: apt-get install redis-server)\n')
    return null
  }
  const { Redis } = await import('ioredis')
  const store = await startRedis()
  const client = new Redis(store.url)
  const servers = []
  const results = []
  try {
    for (let index = 0; index < 4; index++) {
      const server = await startServer('bulwark', { log: false, redisUrl: store.url, keyPrefix: 'bulwark:bench:' })
      server.tokens = await tokensOf(server, MANY)
      server.files = Object.fromEntries(
        ['public', 'tokens'].map((name) => [name, writeRequests(SCENARIOS[name].make(server.tokens))]),
      )
      for (const name of ['public', 'tokens']) await loadUntil(server, server.files[name], 200, 6000)
      servers.push(server)
    }
    for (const name of ['public', 'tokens']) {
      for (const count of [1, 2, 4]) {
        const samples = []
        for (let round = 0; round < rounds; round++) {
          const before = await readRedis(client)
          const marks = await Promise.all(servers.slice(0, count).map((server) => server.ask('mark')))
          const measured = await Promise.all(
            servers.slice(0, count).map((server) => measure(server, server.files[name], 200, 1, 64 / count)),
          )
          const after = await readRedis(client)
          const requests = (await Promise.all(servers.slice(0, count).map((server) => server.ask('mark')))).reduce(
            (sum, { requests: total }, index) => sum + total - marks[index].requests,
            0,
          )
          const scripts = COUNTED.reduce(
            (sum, command) => sum + (after.commands[command]?.calls ?? 0) - (before.commands[command]?.calls ?? 0),
            0,
          )
          samples.push({
            redisUs: (after.cpu - before.cpu) / requests,
            callsPerRequest: scripts / requests,
            perSecond: measured.reduce((sum, { perSecond }) => sum + perSecond, 0),
            nodeUs: median(measured.map(({ cpu }) => cpu)),
          })
        }
        const field = (key) => summary(samples.map((sample) => sample[key]))
        results.push({
          scenario: name,
          instances: count,
          redisUsPerRequest: field('redisUs'),
          callsPerRequest: field('callsPerRequest'),
          requestsPerSecond: field('perSecond'),
          nodeUsPerRequest: field('nodeUs'),
        })
      }
    }
  } finally {
    client.disconnect()
    for (const server of servers) await server.stop()
    store.stop()
  }
  printTable(
    [
      'route, instances',
      'Redis CPU µs a request',
      'scripts a request',
      'Node CPU µs a request',
      'requests a second, all',
    ],
    results.map((
      { scenario, instances: count, redisUsPerRequest, callsPerRequest, requestsPerSecond, nodeUsPerRequest },
    ) => [
      `${scenario}, ${count}`,
      redisUsPerRequest.median.toFixed(1),
      callsPerRequest.median.toFixed(3),
      nodeUsPerRequest.median.toFixed(1),
      Math.round(requestsPerSecond.median).toLocaleString('en'),
    ]),
  )
  return results
}
