// `--beside DIR`: this checkout and another one of it, such as the commit before, as two servers of one run.
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { evaluate, runRounds, startAll, stopAll } from './rounds.mjs'
import { printRatios, printServers } from './tables.mjs'

const PAIRS = [['bulwark', 'again'], ['bulwark', 'beside']]

function serverOf (folder) {
  const needed = ['dist/bundle/index.js', 'bench/server.mjs']
  const missing = needed.filter((file) => !existsSync(join(folder, file)))
  if (missing.length > 0) {
    throw new Error(`--beside ${folder}: has no ${missing.join(', ')}; run npm ci && npm run build there`)
  }
  return resolve(folder, 'bench', 'server.mjs')
}

/** The other checkout runs its own bench/stacks/bulwark.mjs: its options may have other names. */
export async function runBeside ({ beside, scenarios, rounds, seconds }) {
  const variants = {
    bulwark: { title: 'this checkout', module: 'bulwark' },
    again: { title: 'this checkout, again', module: 'bulwark' },
    beside: { title: beside, module: 'bulwark', file: serverOf(beside), mayDiffer: true },
  }
  console.log(`## This checkout beside ${beside}; ${rounds} rounds of ${seconds} s, 64 connections\n`)
  const servers = await startAll(variants, scenarios)
  try {
    const results = evaluate(await runRounds(servers, scenarios, { rounds, seconds }), PAIRS)
    printServers(results, (key) => variants[key].title)
    console.log(
      'How many times faster the first is, by CPU per request: median of the rounds (quartiles) | least disturbed',
    )
    console.log('rounds. bulwark/again compares this checkout with itself: what it differs from 1 by is noise.\n')
    printRatios(results, PAIRS.map((pair) => pair.join('/')), 'cpu', 'CPU per request')
    return results
  } finally {
    await stopAll(servers)
  }
}
