// CPU µs a request, in process: the same Fastify app with and without the headers and cors plugins, and with a nonce read.
// No socket and no inject: the router's own entry with one request object and a response that only records.
// `npm run build && node bench/headers.mjs [rounds] [requests a round]`. Each variant runs in a process of its own, as a
// service does, so that none spoils another's compiled code; short rounds take turns, so that some of each run undisturbed by
// other work on the machine: those are the first column. The two controls are one app built twice: what they differ by is noise.
import Fastify from 'fastify'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { cors } from '../dist/plugins/cors.js'
import { headers } from '../dist/plugins/headers.js'
import { PreparedResponse } from '../dist/lib/prepared-headers.js'

const ORIGIN = 'https://app.example.com'

async function build (register, handler = async () => ({ ok: true }), Response = ServerResponse) {
  const app = Fastify({ http: { ServerResponse: Response } })
  await register(app)
  app.get('/', handler)
  await app.ready()
  return { app, Response }
}

const nothing = async () => {}
const both = async (app) => {
  await app.register(headers)
  await app.register(cors, { origins: [ORIGIN] })
}
const pages = (app) => app.register(headers, { profile: 'document' })

/** What the plugins send, set by a plain hook: what remains above it is the plugins' own work. */
const byHand = async (app) => {
  const { app: model } = await build(both)
  const { headers: sent } = await model.inject({ url: '/', headers: { host: 'api.example.com', origin: ORIGIN } })
  await model.close()
  for (const name of ['content-type', 'content-length', 'date', 'connection']) delete sent[name]
  app.addHook('onRequest', (_request, reply, done) => { reply.headers(sent); done() })
}

const VARIANTS = {
  'control a': () => build(nothing),
  'control b': () => build(nothing),
  'same headers by hand': () => build(byHand),
  'headers': () => build((app) => app.register(headers), undefined, PreparedResponse),
  'headers + cors': () => build(both, undefined, PreparedResponse),
  'headers + cors, plain response': () => build(both),
  'document, nonce unread': () => build(pages, undefined, PreparedResponse),
  'document, nonce read': () => build(pages, async (_request, reply) => ({ ok: reply.cspNonce !== '' }), PreparedResponse),
}

const socket = new Socket()

function dispatch ({ app, Response }) {
  return new Promise((resolve, reject) => {
    const request = new IncomingMessage(socket)
    Object.assign(request, { method: 'GET', url: '/', httpVersion: '1.1', httpVersionMajor: 1, httpVersionMinor: 1, complete: true })
    request.headers = { host: 'api.example.com', origin: ORIGIN }
    request.push(null)
    const response = new Response(request)
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

async function measure (variant, count) {
  const before = process.cpuUsage()
  for (let done = 0; done < count; done++) {
    await dispatch(variant)
    // A loop of promises alone would starve what streams put on the next tick, and keep every request in memory.
    if (done % 4 === 3) await turn()
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / count
}

async function serve (name) {
  const variant = await VARIANTS[name]()
  process.on('message', async (count) => { process.send(await measure(variant, count)) })
  process.on('disconnect', () => { process.exit() })
  process.send('ready')
}

const sorted = (values) => [...values].sort((a, b) => a - b)
const quantile = (values, share) => sorted(values)[Math.floor((values.length - 1) * share)]

async function compare (rounds, requests) {
  const names = Object.keys(VARIANTS)
  const workers = {}
  for (const name of names) {
    workers[name] = fork(import.meta.filename, ['--variant', name], { stdio: 'inherit' })
    await once(workers[name], 'message')
  }
  const ask = async (name, count) => {
    workers[name].send(count)
    return (await once(workers[name], 'message'))[0]
  }
  const samples = Object.fromEntries(names.map((name) => [name, []]))
  for (const name of names) await ask(name, 20_000)
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another variant, so that drift of the machine falls on all alike.
    for (let step = 0; step < names.length; step++) {
      const name = names[(round + step) % names.length]
      samples[name].push(await ask(name, requests))
    }
  }
  for (const worker of Object.values(workers)) worker.kill()

  const shares = [0.05, 0.25, 0.5]
  const line = (label, values) => console.log(`${label.padEnd(44)} ${values.map((value) => value.toFixed(2).padStart(8)).join(' ')}`)
  const at = (name) => shares.map((share) => quantile(samples[name], share))
  const difference = (a, b) => at(a).map((value, index) => value - at(b)[index])
  console.log(`${rounds} rounds of ${requests} requests, node ${process.version}: CPU µs a request in the quickest 5 %, the quickest quarter, the median`)
  for (const name of names) line(name, at(name))
  console.log('differences')
  line('control b - control a (noise)', difference('control b', 'control a'))
  line('same headers by hand - control a', difference('same headers by hand', 'control a'))
  line('headers - control a', difference('headers', 'control a'))
  line('headers + cors - control a', difference('headers + cors', 'control a'))
  line('headers + cors, plain response - control a', difference('headers + cors, plain response', 'control a'))
  line('nonce read - unread', difference('document, nonce read', 'document, nonce unread'))
}

if (process.argv[2] === '--variant') await serve(process.argv[3])
else await compare(Number(process.argv[2] ?? 150), Number(process.argv[3] ?? 600))
