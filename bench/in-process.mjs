// CPU µs a request, in process: no socket and no inject, but the router's own entry with one request object and a
// response that only records. Each variant runs in a process of its own, as a service does, so that none spoils
// another's compiled code; short rounds take turns, so that some of each run undisturbed by other work on the machine:
// those are the first column.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'

const socket = new Socket()
Object.defineProperty(socket, 'remoteAddress', { value: '127.0.0.1' })

/**
 * One request through an app.
 * @param variant { app, Response?, url?, headers(n), status?, body?(text): boolean }
 */
function dispatch ({ app, Response = ServerResponse, method = 'GET', url = '/', headers, status = 200, body }, count) {
  return new Promise((resolve, reject) => {
    const request = new IncomingMessage(socket)
    Object.assign(request, {
      method,
      url,
      httpVersion: '1.1',
      httpVersionMajor: 1,
      httpVersionMinor: 1,
      complete: true,
    })
    request.headers = headers(count)
    request.push(null)
    const response = new Response(request)
    // Rendering the head is part of the cost that headers have; where it would go to the socket, it ends.
    response._send = response._writeRaw = () => true
    response.end = function end (chunk) {
      this._header ?? this.writeHead(this.statusCode)
      this.finished = true
      if (this.statusCode !== status || (body !== undefined && !body(String(chunk))))
        reject(new Error(`unexpected answer ${this.statusCode} ${String(chunk)}`))
      this.emit('finish')
      resolve()
    }
    app.routing(request, response)
  })
}

export async function measure (variant, count, done) {
  const before = process.cpuUsage()
  for (let step = 0; step < count; step++) {
    await dispatch(variant, done + step)
    // A loop of promises alone would starve what streams put on the next tick, and keep every request in memory.
    if (step % 4 === 3) await turn()
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / count
}

async function serve (build) {
  const variant = await build()
  let done = 0
  process.on('message', async (count) => {
    const cost = await measure(variant, count, done)
    done += count
    process.send(cost)
  })
  process.on('disconnect', () => { process.exit() })
  process.send('ready')
}

const sorted = (values) => [...values].sort((a, b) => a - b)
const quantile = (values, share) => sorted(values)[Math.floor((values.length - 1) * share)]
const SHARES = [0.05, 0.25, 0.5]

/**
 * @param file the bench's own `import.meta.filename`, which is run again for each variant
 * @param variants name → what builds it
 * @param report prints differences: ({ line, at }) => void
 * @returns the CPU µs a request of each round, by variant; never, in a process that is a variant
 */
export async function compare ({ file, variants, rounds, requests, warmUp = 20_000, report }) {
  if (process.argv[2] === '--variant') {
    await serve(variants[process.argv[3]])
    return new Promise(() => {})
  }
  const names = Object.keys(variants)
  const workers = {}
  for (const name of names) {
    workers[name] = fork(file, ['--variant', name], { stdio: 'inherit' })
    await once(workers[name], 'message')
  }
  const ask = async (name, count) => {
    workers[name].send(count)
    return (await once(workers[name], 'message'))[0]
  }
  const samples = Object.fromEntries(names.map((name) => [name, []]))
  for (const name of names) await ask(name, warmUp)
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another variant, so that drift of the machine falls on all alike.
    for (let step = 0; step < names.length; step++) {
      const name = names[(round + step) % names.length]
      samples[name].push(await ask(name, requests))
    }
  }
  for (const worker of Object.values(workers)) worker.kill()

  const line = (label, values) =>
    console.log(`${label.padEnd(48)} ${values.map((value) => value.toFixed(2).padStart(8)).join(' ')}`)
  const at = (name) => SHARES.map((share) => quantile(samples[name], share))
  console.log(
    `${rounds} rounds of ${requests} requests, node ${process.version}: ` +
    'CPU µs a request in the quickest 5 %, the quickest quarter, the median',
  )
  for (const name of names) line(name, at(name))
  report({
    line,
    at,
    difference: (a, b) => { line(`${a} - ${b}`, at(a).map((value, index) => value - at(b)[index])) },
    ratio: (a, b) => { line(`${a} / ${b}`, at(a).map((value, index) => value / at(b)[index])) },
  })
  return samples
}
