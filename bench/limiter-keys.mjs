// CPU ns of the key that a request counts under: ours against what @fastify/rate-limit makes of an address.
// `npm run build && node bench/limiter-keys.mjs [rounds] [keys a round]`. Each variant runs in a process of its own;
// the rounds take turns. The two controls are one variant run twice: what they differ by is noise. "seen" draws from
// 512 callers, which the memory of recent ones holds; "new" from 200,000, which it does not.
import { normalizeIP } from '@fastify/rate-limit'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { addressPrefix } from '../dist/lib/net/address.js'
import { compileKeys, deriveKeySecret } from '../dist/lib/rate-limit/keys.js'
import { resolvePolicies } from '../dist/lib/rate-limit/policies.js'

const SEEN = 512
const NEW = 200_000

const hex = (index, salt) => ((index * 2654435761 + salt) >>> 16 & 0xffff).toString(16)
const FAMILIES = {
  IPv4: (index) => `198.${18 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
  IPv6: (index) =>
    `2001:db8:${(index >> 16).toString(16)}:${(index & 0xffff).toString(16)}:${hex(index, 1)}:${hex(index, 2)}:${
      hex(index, 3)
    }:${hex(index, 4)}`,
  '::ffff:': (index) => `::ffff:198.${18 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
}

function keyOf (by) {
  const problems = []
  const [limit] = resolvePolicies({ bench: { limit: 10, window: '1m', by } }, 'policies', problems).get('bench')
  if (problems.length > 0) throw new Error(problems[0].message)
  const secret = deriveKeySecret('a key secret of more than thirty-two characters')
  return compileKeys(secret, [limit], 'x-api-key').get(limit)
}

const ourAddress = (family, size) => () => ({ run: keyOf('ip'), input: requests(family, size) })
const ourLogin = (family, size) => () => ({ run: keyOf(['ip', { body: 'email' }]), input: requests(family, size) })
const prefix = (family) => () => ({ run: ({ ip }) => addressPrefix(ip), input: requests(family, NEW) })
/** Its key is the address itself, not hidden: the hash is what ours does beside. */
const theirs = (family) => () => ({ run: ({ ip }) => normalizeIP(ip), input: requests(family, NEW) })

function requests (family, size) {
  return Array.from(
    { length: size },
    (_unused, index) => ({ ip: FAMILIES[family](index), headers: {}, body: { email: `Caller.${index}@Example.com` } }),
  )
}

const VARIANTS = {
  'control a: address key, IPv4, new': ourAddress('IPv4', NEW),
  'control b: address key, IPv4, new': ourAddress('IPv4', NEW),
}
for (const family of Object.keys(FAMILIES)) {
  VARIANTS[`address alone, ${family}`] = prefix(family)
  VARIANTS[`address key, ${family}, seen`] = ourAddress(family, SEEN)
  VARIANTS[`address key, ${family}, new`] = ourAddress(family, NEW)
  VARIANTS[`key of address and e-mail, ${family}`] = ourLogin(family, NEW)
  VARIANTS[`@fastify/rate-limit, ${family}`] = theirs(family)
}

/** Told to the parent, so that nothing can leave the work out. */
let length = 0

async function serve (name) {
  const { run, input } = VARIANTS[name]()
  let at = 0
  process.on('message', (count) => {
    const before = process.cpuUsage()
    for (let done = 0; done < count; done++) {
      at = at + 1 === input.length ? 0 : at + 1
      length += run(input[at]).length
    }
    const { user, system } = process.cpuUsage(before)
    process.send([(user + system) * 1000 / count, length])
  })
  process.on('disconnect', () => { process.exit() })
  process.send('ready')
}

const sorted = (values) => [...values].sort((a, b) => a - b)
const quantile = (values, share) => sorted(values)[Math.floor((values.length - 1) * share)]

async function compare (rounds, count) {
  const names = Object.keys(VARIANTS)
  const workers = {}
  for (const name of names) {
    workers[name] = fork(import.meta.filename, ['--variant', name], { stdio: 'inherit' })
    await once(workers[name], 'message')
  }
  const ask = async (name, times) => {
    workers[name].send(times)
    return (await once(workers[name], 'message'))[0][0]
  }
  const samples = Object.fromEntries(names.map((name) => [name, []]))
  for (const name of names) await ask(name, count)
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another variant, so that drift of the machine falls on all alike.
    for (let step = 0; step < names.length; step++) {
      const name = names[(round + step) % names.length]
      samples[name].push(await ask(name, count))
    }
  }
  for (const worker of Object.values(workers)) worker.disconnect()
  const line = (label, values, digits = 0) =>
    console.log(
      `${label.padEnd(44)} ${
        [0.5, 0.25, 0.75].map((share) => quantile(values, share).toFixed(digits).padStart(8)).join(' ')
      }`,
    )
  const ratio = (a, b) => samples[a].map((value, round) => value / samples[b][round])
  console.log(`${rounds} rounds of ${count} keys, node ${process.version}: CPU ns a key, median and quartiles`)
  for (const name of names) line(name, samples[name])
  console.log('ratios, round by round')
  line('control b : a (noise)', ratio('control b: address key, IPv4, new', 'control a: address key, IPv4, new'), 2)
  for (const family of Object.keys(FAMILIES))
    line(
      `@fastify/rate-limit : address alone, ${family}`,
      ratio(`@fastify/rate-limit, ${family}`, `address alone, ${family}`),
      2,
    )
  for (const family of Object.keys(FAMILIES))
    line(
      `@fastify/rate-limit : address key, ${family}, new`,
      ratio(`@fastify/rate-limit, ${family}`, `address key, ${family}, new`),
      2,
    )
}

if (process.argv[2] === '--variant') await serve(process.argv[3])
else await compare(Number(process.argv[2] ?? 21), Number(process.argv[3] ?? 20_000))
