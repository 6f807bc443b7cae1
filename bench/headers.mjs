// CPU µs a request, in process: the same Fastify app with and without the headers and cors plugins, and with a nonce read.
// No socket and no inject: the router's own entry with one request object and a response that only records.
// `npm run build && node bench/headers.mjs [rounds] [requests a round]`. The two controls are one app built twice: what
// they differ by is noise.
import Fastify from 'fastify'
import { cors } from '../dist/plugins/cors.js'
import { headers } from '../dist/plugins/headers.js'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'

const rounds = Number(process.argv[2] ?? 31)
const requests = Number(process.argv[3] ?? 10_000)
const ORIGIN = 'https://app.example.com'

async function build (register, handler = async () => ({ ok: true })) {
  const app = Fastify()
  await register(app)
  app.get('/', handler)
  await app.ready()
  return app
}

const nothing = async () => {}
const both = async (app) => {
  await app.register(headers)
  await app.register(cors, { origins: [ORIGIN] })
}
const pages = (app) => app.register(headers, { profile: 'document' })

/** What the plugins send, set by a plain hook: what remains above it is the plugins' own work. */
const byHand = async (app) => {
  const model = await build(both)
  const { headers: sent } = await model.inject({ url: '/', headers: { host: 'api.example.com', origin: ORIGIN } })
  await model.close()
  for (const name of ['content-type', 'content-length', 'date', 'connection']) delete sent[name]
  app.addHook('onRequest', (_request, reply, done) => { reply.headers(sent); done() })
}

const variants = {
  'control a': await build(nothing),
  'control b': await build(nothing),
  'same headers by hand': await build(byHand),
  'headers': await build((app) => app.register(headers)),
  'headers + cors': await build(both),
  'document, nonce unread': await build(pages, async () => ({ ok: true })),
  'document, nonce read': await build(pages, async (_request, reply) => ({ ok: reply.cspNonce !== '' })),
}

const socket = new Socket()

function dispatch (app) {
  return new Promise((resolve, reject) => {
    const request = new IncomingMessage(socket)
    Object.assign(request, { method: 'GET', url: '/', httpVersion: '1.1', httpVersionMajor: 1, httpVersionMinor: 1, complete: true })
    request.headers = { host: 'api.example.com', origin: ORIGIN }
    request.push(null)
    const response = new ServerResponse(request)
    // Rendering the head is part of the cost that headers have; where it would go to the socket, it ends.
    response._send = response._writeRaw = () => true
    response.end = function end (chunk) {
      this._header ?? this.writeHead(this.statusCode)
      this.finished = true
      if (this.statusCode !== 200 || chunk !== '{"ok":true}') reject(new Error(`unexpected answer ${this.statusCode} ${String(chunk)}`))
      this.emit('finish')
      resolve()
    }
    app.routing(request, response)
  })
}

async function measure (app, count) {
  const before = process.cpuUsage()
  for (let done = 0; done < count; done++) {
    await dispatch(app)
    // A loop of promises alone would starve what streams put on the next tick, and keep every request in memory.
    if (done % 4 === 3) await turn()
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / count
}

function median (values) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

const names = Object.keys(variants)
const samples = Object.fromEntries(names.map((name) => [name, []]))
for (const name of names) await measure(variants[name], requests)
for (let round = 0; round < rounds; round++) {
  // Interleaved, and each round begins with another variant, so that drift of the machine falls on all alike.
  for (let step = 0; step < names.length; step++) {
    const name = names[(round + step) % names.length]
    samples[name].push(await measure(variants[name], requests))
  }
}

const difference = (a, b) => median(samples[a].map((value, round) => value - samples[b][round]))
const line = (label, value) => console.log(`${label.padEnd(44)} ${value.toFixed(2).padStart(8)} µs`)
console.log(`${rounds} rounds of ${requests} requests, node ${process.version}, median CPU a request`)
for (const name of names) line(name, median(samples[name]))
console.log('median of the differences, round by round')
line('control b - control a (noise)', difference('control b', 'control a'))
line('headers - control a', difference('headers', 'control a'))
line('headers + cors - control a', difference('headers + cors', 'control a'))
line('headers + cors - same headers by hand', difference('headers + cors', 'same headers by hand'))
line('nonce read - unread', difference('document, nonce read', 'document, nonce unread'))
for (const name of names) await variants[name].close()
