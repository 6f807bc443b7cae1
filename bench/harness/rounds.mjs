// Starts the servers of a comparison, checks their answers against the suite's, and measures them in turns.
import { MANY, SCENARIOS } from '../scenarios.mjs'
import { blockOf, differences, exchange } from './answers.mjs'
import { loadUntil, measure, writeRequests } from './load.mjs'
import { startServer, tokensOf } from './servers.mjs'
import { compareRounds, summary } from './stats.mjs'

/** For each route; a service spends its life warm. */
const WARM_UP_REQUESTS = 6000

/** What each scenario gets as its answer, by a server's own tokens. */
async function answersOf (server, scenarios) {
  const answers = {}
  for (const name of scenarios) {
    const { make, before = 0 } = SCENARIOS[name]
    const [request] = make(server.tokens)
    for (let step = 0; step < before; step++) await exchange(server.port, request)
    answers[name] = await exchange(server.port, request)
  }
  return answers
}

/** Only servers that answer alike are compared. */
function assertAlike (variant, model, answers) {
  const found = Object.keys(answers).flatMap((name) =>
    differences(name, model[name], answers[name], {
      headers: variant.module !== 'bare' || variant.sendsHeaders === true,
    }).map((text) => `${name}: ${text}`)
  )
  if (found.length === 0) return
  const text = `${variant.title} does not answer as the suite does, so a comparison would mean nothing:\n  ${
    found.join('\n  ')
  }`
  if (variant.mayDiffer !== true) throw new Error(text)
  console.log(`${text}\n`)
}

/**
 * @param variants by key: { title, module, options, sendsHeaders, file: another server.mjs, mayDiffer: differences are
 * only printed }; `bulwark` among them is the model of the answers
 */
export async function startAll (variants, scenarios) {
  const servers = {}
  let model
  for (const key of Object.keys(variants).sort((a, b) => Number(b === 'bulwark') - Number(a === 'bulwark'))) {
    const { module, options = {}, sendsHeaders, file } = variants[key]
    const headers = sendsHeaders
      ? Object.fromEntries(scenarios.map((name) => [SCENARIOS[name].path, blockOf(model[name])]))
      : null
    const server = await startServer(module, { log: false, ...options, headers }, { file })
    server.tokens = await tokensOf(server, MANY)
    const answers = await answersOf(server, scenarios)
    model ??= answers
    assertAlike(variants[key], model, answers)
    server.files = Object.fromEntries(
      scenarios.map((name) => [name, writeRequests(SCENARIOS[name].make(server.tokens))]),
    )
    servers[key] = server
  }
  return Object.fromEntries(Object.keys(variants).map((key) => [key, servers[key]]))
}

export async function stopAll (servers) {
  await Promise.all(Object.values(servers).map((server) => server.stop()))
}

/** @returns samples[scenario][variant], one a round */
export async function runRounds (
  servers,
  scenarios,
  { rounds, seconds, warmUp = WARM_UP_REQUESTS, progress = () => {} },
) {
  const keys = Object.keys(servers)
  const samples = Object.fromEntries(scenarios.map((name) => [name, Object.fromEntries(keys.map((key) => [key, []]))]))
  for (const name of scenarios)
    for (const key of keys) await loadUntil(servers[key], servers[key].files[name], SCENARIOS[name].status, warmUp)
  for (let round = 0; round < rounds; round++) {
    for (const [index, name] of scenarios.entries()) {
      // Each round begins with another server, so that drift of the machine falls on all alike.
      for (let step = 0; step < keys.length; step++) {
        const key = keys[(round + index + step) % keys.length]
        samples[name][key].push(await measure(servers[key], servers[key].files[name], SCENARIOS[name].status, seconds))
      }
    }
    progress(round + 1, rounds)
  }
  return samples
}

const cpu = ({ cpu: value }) => value
const slowness = ({ perSecond }) => 1 / perSecond

/** Ratios above 1 say that the first of the pair is faster. */
export function evaluate (samples, pairs) {
  return Object.fromEntries(Object.entries(samples).map(([scenario, byKey]) => [scenario, {
    servers: Object.fromEntries(Object.entries(byKey).map(([key, rounds]) => [key, {
      cpuUs: summary(rounds.map(cpu)),
      requestsPerSecond: summary(rounds.map(({ perSecond }) => perSecond)),
      shareOfCore: summary(rounds.map(({ share }) => share)),
    }])),
    ratios: Object.fromEntries(pairs.filter(([a, b]) => byKey[a] && byKey[b]).map(([a, b]) => [`${a}/${b}`, {
      cpu: compareRounds(byKey[a], byKey[b], cpu),
      throughput: compareRounds(byKey[a], byKey[b], slowness),
    }])),
  }]))
}
