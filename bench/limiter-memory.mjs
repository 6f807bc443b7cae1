// Time and memory of the memory store beside rate-limiter-flexible's RateLimiterMemory, in one run, and what a flood of
// foreign keys frees. `npm run build && node --expose-gc bench/limiter-memory.mjs [rounds] [checks a round] [callers]`
// Each store runs in a process of its own, so that neither spoils the other's heap; short rounds take turns, and what
// is printed are medians. The peer answers with promises and keeps a timer for each key, which is its design; its
// checks are awaited one after the other, as a request would.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { createQuota } from '../dist/lib/rate-limit/quota.js'
import { MemoryStore } from '../dist/lib/rate-limit/stores/memory.js'

const WINDOW_SECONDS = 900
const LIMIT = 100
const ALGORITHMS = ['exact', 'sliding', 'gcra', 'fixed']
const PEER = 'rate-limiter-flexible'

/** As long as the real keys, and made of parts, so that each is a text of its own. */
const keyOf = (number) => Buffer.from(`{${String(number * 2654435761 % 2 ** 32).padStart(22, '_')}}0sp0`).toString()

function openOurs (algorithm, capacity) {
  const quotas = [createQuota(algorithm, LIMIT, WINDOW_SECONDS * 1000, false)]
  const store = new MemoryStore({ capacity })
  return (key) => store.consume(quotas, [key])
}

function openPeer () {
  const peer = new RateLimiterMemory({ points: LIMIT, duration: WINDOW_SECONDS })
  return (key) => peer.consume(key).catch(() => {})
}

function heap () {
  globalThis.gc?.()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

async function serve (name, callers) {
  const before = heap()
  // Twice as many, because a generation holds half of them.
  const check = name === PEER ? openPeer() : openOurs(name, 2 * callers)
  for (let number = 0; number < callers; number++) await check(keyOf(number))
  const bytes = (heap() - before) / callers
  let seed = 1
  const draw = () => (seed = Math.imul(seed, 1664525) + 1013904223 >>> 0) % callers
  process.on('message', async (checks) => {
    const keys = Array.from({ length: checks }, () => keyOf(draw()))
    // CPU time, user and system: a busy neighbour takes the wall's time, not this.
    const start = process.cpuUsage()
    if (name === PEER) for (const key of keys) await check(key)
    else for (const key of keys) check(key)
    const { user, system } = process.cpuUsage(start)
    process.send((user + system) / checks)
  })
  process.on('disconnect', () => { process.exit() })
  process.send(bytes)
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1]

async function compare (rounds, checks, callers) {
  console.log(`${callers} callers, limit ${LIMIT} in ${WINDOW_SECONDS} s, node ${process.version}; ${rounds} rounds of`)
  console.log(`${checks} checks of known callers, CPU time, medians`)
  const names = [...ALGORITHMS, PEER]
  const workers = new Map()
  for (const name of names) {
    const worker = fork(import.meta.filename, ['--store', name, String(callers)], { execArgv: ['--expose-gc'] })
    const [bytes] = await once(worker, 'message')
    workers.set(name, { worker, bytes, samples: [] })
  }
  for (let round = -1; round < rounds; round++) {
    for (let step = 0; step < names.length; step++) {
      const { worker, samples } = workers.get(names[(round + 1 + step) % names.length])
      worker.send(checks)
      const [time] = await once(worker, 'message')
      if (round >= 0) samples.push(time)
    }
  }
  for (const [name, { worker, bytes, samples }] of workers) {
    console.log(`${name.padEnd(22)} ${median(samples).toFixed(2)} µs a check, ${bytes.toFixed(0)} bytes a caller`)
    worker.disconnect()
  }
}

function flood (blocked, foreign) {
  const store = new MemoryStore()
  const quotas = [createQuota('exact', 5, WINDOW_SECONDS * 1000, false)]
  for (let number = 0; number < blocked; number++) while (store.consume(quotas, [`blocked ${number}`]).admitted);
  for (let number = 0; number < foreign; number++) store.consume(quotas, [keyOf(number)])
  const freed = Array.from({ length: blocked }, (_unused, number) => store.peek(quotas, [`blocked ${number}`])[0].room)
  console.log(`${foreign} foreign keys free ${freed.filter(Boolean).length} of ${blocked} blocked callers`)
}

if (process.argv[2] === '--store') {
  await serve(process.argv[3], Number(process.argv[4]))
} else {
  const [rounds = '41', checks = '5000', callers = '100000'] = process.argv.slice(2)
  await compare(Number(rounds), Number(checks), Number(callers))
  flood(500, 400_000)
}
