// Time and memory of the memory store beside rate-limiter-flexible's RateLimiterMemory, in one run.
// `npm run build && node --expose-gc bench/limiter-memory.mjs [rounds] [checks a round] [keys …]`
// Each store runs in a process of its own, as in a service, so that neither spoils the other's heap; short rounds take
// turns, and what is printed are medians and the ratio round by round. The peer answers with promises and keeps a timer
// for each key, which is its design; its checks are awaited one after the other, as a request would.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { createQuota } from '../dist/lib/rate-limit/quota.js'
import { MemoryStore } from '../dist/lib/rate-limit/stores/memory.js'

const WINDOW_SECONDS = 900
const LIMIT = 100

/** 22 characters, as the real keys have; made beforehand, so that no round pays for them. */
const keyOf = (number) =>
  `${(number * 2654435761 % 2 ** 32).toString(36).padStart(8, '_')}${String(number).padStart(14, '-')}`

function ours (algorithm) {
  return function open (capacity) {
    const quotas = [createQuota(algorithm, LIMIT, WINDOW_SECONDS * 1000, false)]
    const store = new MemoryStore({ capacity })
    return { quotas, store, extra: () => `${store.size} slots, ${store.evictions} evictions` }
  }
}

const STORES = {
  'bulwark exact': ours('exact'),
  'bulwark sliding': ours('sliding'),
  'bulwark gcra': ours('gcra'),
  'bulwark fixed': ours('fixed'),
  'rate-limiter-flexible': () => ({
    peer: new RateLimiterMemory({ points: LIMIT, duration: WINDOW_SECONDS }),
    extra: () => '',
  }),
}

function memory () {
  globalThis.gc?.()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

async function serve (name, count) {
  const before = memory()
  const opened = STORES[name](Math.max(count, 1000))
  const { store, quotas, peer } = opened
  const one = ['']
  const check = (key) => {
    one[0] = key
    store.consume(quotas, one)
  }
  // Held only while they are needed: the store must not be charged for them, except where it keeps them itself.
  for (let number = 0; number < count; number++)
    store === undefined
      ? await peer.consume(keyOf(number)).catch(() => {})
      : check(keyOf(number))
  const bytes = (memory() - before) / count
  let seed = 1
  const draw = () => (seed = Math.imul(seed, 1664525) + 1013904223 >>> 0) / 2 ** 32
  let fresh = count
  process.on('message', async ({ checks, flood }) => {
    const keys = Array.from({ length: checks }, () => flood ? keyOf(fresh++) : keyOf(Math.floor(draw() * count)))
    for (const key of keys) key.charCodeAt(0)
    // CPU time, user and system: a busy neighbour takes the wall's time, not this.
    const start = process.cpuUsage()
    if (store === undefined) for (const key of keys) await peer.consume(key).catch(() => {})
    else for (const key of keys) check(key)
    const { user, system } = process.cpuUsage(start)
    process.send((user + system) * 1000 / checks)
  })
  process.on('disconnect', () => { process.exit() })
  process.send({ bytes, extra: opened.extra() })
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1]

async function compare (rounds, checks, counts) {
  const names = Object.keys(STORES)
  const peer = names.at(-1)
  console.log(
    `${rounds} rounds of ${checks} checks, limit ${LIMIT} in ${WINDOW_SECONDS} s, node ${process.version}; CPU time, medians, and the peer's over ours`,
  )
  for (const count of counts) {
    console.log(
      `${count} keys`.padEnd(24),
      'hits ns'.padStart(10),
      'peer/ours'.padStart(10),
      'flood ns'.padStart(10),
      'peer/ours'.padStart(10),
      'bytes/key'.padStart(10),
    )
    const workers = {}
    const built = {}
    const samples = {}
    for (const name of names) {
      workers[name] = fork(import.meta.filename, ['--store', name, String(count)], {
        stdio: 'inherit',
        execArgv: ['--expose-gc'],
      })
      built[name] = (await once(workers[name], 'message'))[0]
      samples[name] = { hits: [], flood: [] }
    }
    for (const kind of ['hits', 'flood']) {
      for (let round = -1; round < rounds; round++) {
        for (let step = 0; step < names.length; step++) {
          const name = names[(round + 1 + step) % names.length]
          workers[name].send({ checks, flood: kind === 'flood' })
          const [time] = await once(workers[name], 'message')
          if (round >= 0) samples[name][kind].push(time)
        }
      }
    }
    for (const name of names) {
      const cells = ['hits', 'flood'].flatMap((kind) => {
        const ratios = samples[name][kind].map((time, round) => samples[peer][kind][round] / time)
        return [median(samples[name][kind]).toFixed(0), median(ratios).toFixed(2)]
      })
      console.log(
        name.padEnd(24),
        ...cells.map((cell) => cell.padStart(10)),
        built[name].bytes.toFixed(1).padStart(10),
        built[name].extra,
      )
      workers[name].disconnect()
    }
  }
}

if (process.argv[2] === '--store') await serve(process.argv[3], Number(process.argv[4]))
else await compare(
    Number(process.argv[2] ?? 15),
    Number(process.argv[3] ?? 50_000),
    process.argv.length > 4 ? process.argv.slice(4).map(Number) : [1, 1000, 100_000, 1_000_000],
  )
