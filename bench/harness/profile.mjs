// Where a server's time goes under load, by file and by function.
import { SCENARIOS, STACKS } from '../scenarios.mjs'
import { loadUntil } from './load.mjs'
import { startAll, stopAll } from './rounds.mjs'

const WARM_UP_REQUESTS = 10_000
const REQUESTS = 30_000
const SHOWN = 25

function shares ({ nodes, samples, timeDeltas }) {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  const [byFunction, byFile] = [new Map(), new Map()]
  let total = 0
  for (const [index, id] of samples.entries()) {
    const { functionName, url, lineNumber } = frames.get(id)
    if (functionName === '(idle)') continue
    const file = url.replace(/^.*\/(node_modules|dist|bench)\//, '$1/') || '(native)'
    total += timeDeltas[index]
    for (
      const [table, key] of [[byFunction, `${functionName || '(anonymous)'}  ${file}:${lineNumber + 1}`], [
        byFile,
        file,
      ]]
    ) table.set(key, (table.get(key) ?? 0) + timeDeltas[index])
  }
  return [byFile, byFunction].map((table) =>
    [...table].map(([name, time]) => [name, time / total]).sort((a, b) => b[1] - a[1])
  )
}

export async function printProfiles ({ profile: key, scenarios }) {
  process.env.BENCH_MODULES = 'true'
  const servers = await startAll({ bulwark: STACKS.bulwark, [key]: STACKS[key] }, scenarios)
  const server = servers[key]
  for (const name of scenarios) {
    const load = (requests) => loadUntil(server, server.files[name], SCENARIOS[name].status, requests)
    await load(WARM_UP_REQUESTS)
    await server.ask('startProfile')
    await load(REQUESTS)
    const tables = shares(await server.ask('stopProfile'))
    console.log(`## ${STACKS[key].title}: ${SCENARIOS[name].title}; share of the JavaScript thread's time`)
    for (const table of tables) {
      for (const [label, share] of table.slice(0, SHOWN))
        console.log(`${(100 * share).toFixed(1).padStart(6)} %  ${label}`)
      console.log()
    }
  }
  await stopAll(servers)
}
