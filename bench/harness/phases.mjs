// The parts of a run. Each prints its tables and returns what goes into the results.
import { STACKS } from '../scenarios.mjs'
import { evaluate, runRounds, startAll, stopAll } from './rounds.mjs'
import { printLeastShare, printRatios, printServers } from './tables.mjs'

const progressOf = (label) => (round, rounds) => { if (process.stderr.isTTY) process.stderr.write(`\r${label}: round ${round} of ${rounds}${round === rounds ? '\n' : ''}`) }

/** First: faster when above 1. */
export const PAIRS = [
  ['control', 'bare'],
  ...['headers', 'bulwark', 'wired', 'hono', 'express'].map((key) => [key, 'bare']),
  ...['headers', 'wired', 'hono', 'express'].map((key) => ['bulwark', key]),
]
const namesOf = (pairs) => pairs.map((pair) => pair.join('/'))

async function compare (variants, scenarios, pairs, options, label) {
  const servers = await startAll(variants, scenarios)
  try {
    return evaluate(await runRounds(servers, scenarios, { ...options, progress: progressOf(label) }), pairs)
  } finally {
    await stopAll(servers)
  }
}

export async function routes ({ scenarios, servers, rounds, seconds, quick }) {
  console.log(`## Routes: memory store, logging off; ${rounds} rounds of ${seconds} s, 64 connections\n`)
  const variants = Object.fromEntries(servers.map((key) => [key, STACKS[key]]))
  const results = await compare(variants, scenarios, PAIRS, { rounds, seconds, ...(quick && { warmUp: 4000 }) }, 'routes')
  printServers(results)
  console.log('How many times faster the first is than the second, by CPU per request: median of the rounds (quartiles) | least disturbed rounds.')
  console.log('The first line compares a server with itself: what it differs from 1 by is noise, and so is as much in every other line.\n')
  printRatios(results, namesOf(PAIRS), 'cpu', 'CPU per request')
  printRatios(results, namesOf(PAIRS), 'throughput', 'throughput')
  printLeastShare(results)
  return results
}
