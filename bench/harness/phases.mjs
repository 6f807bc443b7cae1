// The parts of a run. Each prints its tables and returns what goes into the results.
import { MANY, SCENARIOS, STACKS } from '../scenarios.mjs'
import { exchange } from './answers.mjs'
import { loadUntil } from './load.mjs'
import { pacedLoad } from './paced.mjs'
import { hasRedis, startRedis } from './redis.mjs'
import { evaluate, runRounds, startAll, stopAll } from './rounds.mjs'
import { startServer } from './servers.mjs'
import { quantile, summary } from './stats.mjs'
import { printLeastShare, printRatios, printServers, printTable } from './tables.mjs'

const progressOf = (label) => (round, rounds) => {
  if (process.stderr.isTTY)
    process.stderr.write(`\r${label}: round ${round} of ${rounds}${round === rounds ? '\n' : ''}`)
}

/** First: faster when above 1. */
export const PAIRS = [
  ['control', 'bare'],
  ...['headers', 'bulwark', 'wired', 'hono', 'express'].map((key) => [key, 'bare']),
  ...['headers', 'wired', 'hono', 'express'].map((key) => ['bulwark', key]),
]
const namesOf = (pairs) => pairs.map((pair) => pair.join('/'))

async function compare (variants, scenarios, pairs, options, label) {
  return await withServers(
    variants,
    scenarios,
    async (running) =>
      evaluate(await runRounds(running, scenarios, { ...options, progress: progressOf(label) }), pairs),
  )
}

export async function routes ({ scenarios, servers, rounds, seconds, quick }) {
  console.log(`## Routes: memory store, logging off; ${rounds} rounds of ${seconds} s, 64 connections\n`)
  const variants = Object.fromEntries(servers.map((key) => [key, STACKS[key]]))
  const results = await compare(
    variants,
    scenarios,
    PAIRS,
    { rounds, seconds, ...(quick && { warmUp: 4000 }) },
    'routes',
  )
  printServers(results)
  console.log(
    'How many times faster the first is than the second, by CPU per request: ' +
    'median of the rounds (quartiles) | least disturbed rounds.',
  )
  console.log(
    'The first line compares a server with itself: what it differs from 1 by is noise, ' +
    'and so is as much in every other line.\n',
  )
  printRatios(results, namesOf(PAIRS), 'cpu', 'CPU per request')
  printRatios(results, namesOf(PAIRS), 'throughput', 'throughput')
  printLeastShare(results)
  return results
}

/** Rounds of each part, of those asked for: the whole run should stay below twenty minutes. */
export const ROUNDS = {
  routes: (asked) => asked,
  redis: (asked) => Math.ceil(asked * 2 / 3),
  logging: (asked) => Math.ceil(asked * 2 / 3),
  latency: (asked) => Math.ceil(asked / 3),
  startup: (asked) => Math.ceil(asked * 2 / 3),
  memory: () => 1,
}

const variantsOf = (keys) => Object.fromEntries(keys.map((key) => [key, STACKS[key]]))

/** Servers for the time of `run`. */
async function withServers (variants, scenarios, run) {
  const running = await startAll(variants, scenarios)
  try {
    return await run(running)
  } finally {
    await stopAll(running)
  }
}

const STATEFUL = ['bulwark', 'wired', 'hono', 'express']
const chosenOf = (keys, servers) => keys.filter((key) => servers.includes(key))

/** The same routes with the counts, and the suite's sessions, in Redis. */
export async function redis ({ servers, rounds: all, seconds }) {
  const rounds = ROUNDS.redis(all)
  if (!hasRedis()) {
    console.log('## Redis: left out, there is no redis-server (Debian: apt-get install redis-server)\n')
    return null
  }
  console.log(`## Redis, on the core of the load; ${rounds} rounds of ${seconds} s, 64 connections\n`)
  const store = await startRedis()
  try {
    const stacks = chosenOf(STATEFUL, servers)
    const variants = Object.fromEntries([
      ...stacks.map((key) => [key, STACKS[key]]),
      ...stacks.map((
        key,
      ) => [`${key} redis`, {
        ...STACKS[key],
        title: `${STACKS[key].title}, Redis`,
        options: { redisUrl: store.url },
      }]),
    ])
    const pairs = [
      ...stacks.map((key) => [`${key} redis`, key]),
      ...stacks.filter((key) => key !== 'bulwark').map((key) => ['bulwark redis', `${key} redis`]),
    ]
    const results = await compare(variants, ['public', 'auth', 'tokens'], pairs, { rounds, seconds }, 'redis')
    printServers(results, (key) => variants[key].title)
    printRatios(results, namesOf(pairs), 'cpu', 'CPU per request of Node')
    printRatios(results, namesOf(pairs), 'throughput', 'throughput')
    return results
  } finally {
    store.stop()
  }
}

/** One line a request by pino at level info, into /dev/null. */
export async function logging ({ servers, rounds: all, seconds }) {
  const rounds = ROUNDS.logging(all)
  console.log(`## Logging: one line a request; ${rounds} rounds of ${seconds} s\n`)
  const stacks = chosenOf(['bare', ...STATEFUL], servers)
  const variants = Object.fromEntries([
    ...chosenOf(['bare', 'bulwark'], servers).map((key) => [key, STACKS[key]]),
    ...stacks.map((
      key,
    ) => [`${key} log`, { ...STACKS[key], title: `${STACKS[key].title}, logging`, options: { log: true } }]),
  ])
  const pairs = [
    ['bulwark', 'bare'],
    ...stacks.filter((key) => key !== 'bulwark').map((key) => ['bulwark log', `${key} log`]),
    ['bare log', 'bare'],
    ['bulwark log', 'bulwark'],
  ]
  const results = await compare(variants, ['public', 'auth'], pairs, { rounds, seconds }, 'logging')
  printServers(results, (key) => variants[key].title)
  printRatios(results, namesOf(pairs), 'cpu', 'CPU per request')
  return results
}

const RATE = 1000
const LATENCY_SECONDS = 2

/** p50 and p99 at one moderate rate for all, from the time when a request was due. */
export async function latency ({ servers, rounds }) {
  const turns = ROUNDS.latency(rounds)
  console.log(
    `## Latency at ${RATE} requests a second; ${turns} rounds of ${LATENCY_SECONDS} s, ` +
    'ms from the time when the request was due\n',
  )
  const keys = servers.filter((key) => key !== 'headers')
  const scenarios = ['public', 'tokens']
  const results = {}
  await withServers(variantsOf(keys), scenarios, async (running) => {
    for (const name of scenarios) {
      const requests = Object.fromEntries(keys.map((key) => [key, SCENARIOS[name].make(running[key].tokens)]))
      const samples = Object.fromEntries(keys.map((key) => [key, { p50: [], p99: [] }]))
      for (const key of keys) await loadUntil(running[key], running[key].files[name], 200, 6000)
      for (let round = 0; round < turns; round++) {
        for (let step = 0; step < keys.length; step++) {
          const key = keys[(round + step) % keys.length]
          const taken = await pacedLoad(running[key].port, requests[key], {
            status: 200,
            perSecond: RATE,
            seconds: LATENCY_SECONDS,
          })
          samples[key].p50.push(quantile(taken, 0.5))
          samples[key].p99.push(quantile(taken, 0.99))
        }
      }
      results[name] = Object.fromEntries(
        keys.map((
          key,
        ) => [key, {
          p50Ms: summary(samples[key].p50),
          p99Ms: summary(samples[key].p99),
          bestP99Ms: Math.min(...samples[key].p99),
        }]),
      )
    }
  })
  for (const name of scenarios) {
    printTable(
      [SCENARIOS[name].title, 'p50', 'p99 (quartiles)', 'p99, best round'],
      keys.map((key) => {
        const { p50Ms, p99Ms, bestP99Ms } = results[name][key]
        return [
          STACKS[key].title,
          p50Ms.median.toFixed(2),
          `${p99Ms.median.toFixed(2)} (${p99Ms.q1.toFixed(2)}-${p99Ms.q3.toFixed(2)})`,
          bestP99Ms.toFixed(2),
        ]
      }),
    )
  }
  return { perSecond: RATE, ...results }
}

/** From the start of the process to the first answer, and what CPU time that took. */
export async function startup ({ servers, rounds: all }) {
  const rounds = ROUNDS.startup(all)
  console.log(`## Start-up: process start to the first answer; ${rounds} rounds\n`)
  const keys = servers.filter((key) => key !== 'headers')
  const samples = Object.fromEntries(keys.map((key) => [key, { wallMs: [], cpuMs: [] }]))
  for (let round = 0; round < rounds; round++) {
    for (let step = 0; step < keys.length; step++) {
      const key = keys[(round + step) % keys.length]
      const startedAt = performance.now()
      const server = await startServer(STACKS[key].module, { log: false })
      await exchange(server.port, SCENARIOS.public.make([])[0])
      samples[key].wallMs.push(performance.now() - startedAt)
      samples[key].cpuMs.push((await server.ask('mark')).cpu / 1000)
      await server.stop()
    }
  }
  const results = Object.fromEntries(
    keys.map((
      key,
    ) => [key, {
      wallMs: summary(samples[key].wallMs),
      cpuMs: { ...summary(samples[key].cpuMs), best: Math.min(...samples[key].cpuMs) },
    }]),
  )
  if (results.wired)
    results.ratioToWired = {
      wall: compareTimes(samples.bulwark.wallMs, samples.wired.wallMs),
      cpu: compareTimes(samples.bulwark.cpuMs, samples.wired.cpuMs),
    }
  const show = ({ median, q1, q3 }) => `${median.toFixed(0)} (${q1.toFixed(0)}-${q3.toFixed(0)})`
  printTable(
    ['start-up', 'ms', 'CPU ms', 'CPU ms, best'],
    keys.map((
      key,
    ) => [STACKS[key].title, show(results[key].wallMs), show(results[key].cpuMs), results[key].cpuMs.best.toFixed(0)]),
  )
  if (results.ratioToWired)
    console.log(
      `the suite takes ${
        results.ratioToWired.wall.median.toFixed(2)
      } times as long as the official plugins by hand, and ${
        results.ratioToWired.cpu.median.toFixed(2)
      } times the CPU\n`,
    )
  return results
}

const compareTimes = (ours, theirs) => summary(ours.map((value, round) => value / theirs[round]))

const MEMORY_REQUESTS = 40_000

/** After so many requests, half of them with tokens that take turns, and a full collection. */
export async function memory ({ servers }) {
  console.log(
    `## Memory after ${MEMORY_REQUESTS.toLocaleString('en')} requests with ${
      MANY.toLocaleString('en')
    } tokens in turn\n`,
  )
  const keys = servers.filter((key) => key !== 'headers')
  const scenarios = ['public', 'tokens']
  const results = {}
  await withServers(variantsOf(keys), scenarios, async (running) => {
    for (const key of keys) {
      const before = await running[key].ask('memory')
      for (const name of scenarios)
        await loadUntil(running[key], running[key].files[name], 200, MEMORY_REQUESTS / scenarios.length)
      const { rss, heapUsed, external } = await running[key].ask('memory')
      results[key] = {
        rssMB: rss / 2 ** 20,
        heapUsedMB: heapUsed / 2 ** 20,
        externalMB: external / 2 ** 20,
        heapBeforeMB: before.heapUsed / 2 ** 20,
      }
    }
  })
  printTable(
    ['MB', 'RSS', 'heap used', 'outside the heap', 'heap used before'],
    keys.map((key) => [
      STACKS[key].title,
      ...['rssMB', 'heapUsedMB', 'externalMB', 'heapBeforeMB'].map((field) => results[key][field].toFixed(1)),
    ]),
  )
  return results
}
