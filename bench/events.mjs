// What security events and the access log cost. `npm run build && node bench/events.mjs [rounds]`; peers: a bare line
// of pino, and Fastify's own two lines. The log is written to a stream that throws it away. The first column is the
// quickest round, undisturbed by other work on the machine; the second the median.
import Fastify from 'fastify'
import { randomBytes } from 'node:crypto'
import { Socket } from 'node:net'
import { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import { pino } from 'pino'
import { EventRecorder } from '../dist/lib/events/recorder.js'
import { loggerOptions } from '../dist/lib/logging/options.js'
import { watchSecretValues, withoutSecrets } from '../dist/lib/logging/secrets.js'
import { events } from '../dist/plugins/events.js'

const rounds = Number(process.argv[2] ?? 30)
const nowhere = { write () {} }

function show (label, samples) {
  const sorted = [...samples].sort((a, b) => a - b)
  console.log(
    `${label.padEnd(66)} ${sorted[0].toFixed(2).padStart(8)} ${sorted[sorted.length >> 1].toFixed(2).padStart(8)}`,
  )
}

function time (label, run, count = 20_000) {
  const samples = []
  for (let round = 0; round < rounds + 3; round++) {
    const before = process.cpuUsage()
    for (let step = 0; step < count; step++) run(step)
    const { user, system } = process.cpuUsage(before)
    if (round >= 3) samples.push((user + system) / count)
  }
  show(label, samples)
}

console.log(`node ${process.version}, CPU µs each: quickest and median of ${rounds} rounds`)
const log = pino({}, nowhere)
const child = log.child({ reqId: 'req-1' })
const FAILED = { name: 'authn_login_fail', reason: 'credentials' }
const request = (ip) => ({ ip, id: 'req-1', method: 'POST', log: child, routeOptions: { url: '/login' } })
const one = request('192.0.2.1')
const v6 = request('2001:db8:1:2::3')
const many = Array.from({ length: 10_000 }, (_, index) => request(`10.0.${index >> 8}.${index & 255}`))
const recorder = (limits) => new EventRecorder({ limits, log, now: Date.now })

time('pino: a bare info line', () => {
  child.info({ event: 'authn_login_fail', reason: 'credentials', ip: '192.0.2.1', route: '/login' }, 'authn_login_fail')
})
const silent = recorder({ total: 100, caller: 20 })
time('an event beyond the limit, no listener, one caller', () => { silent.record(FAILED, one) })
time('an event beyond the limit, no listener, one caller (IPv6)', () => { silent.record(FAILED, v6) })
time('an event beyond the limit, no listener, 10,000 callers', (step) => { silent.record(FAILED, many[step % 10_000]) })
time('an event beyond the limit, no request', () => { silent.record(FAILED, null) })
const loud = recorder({ total: 1e9, caller: 1e9 })
time('an event that is logged', () => { loud.record(FAILED, one) })
const heard = recorder({ total: 0, caller: 0 })
heard.events.on('*', () => {})
time('an event beyond the limit, one listener', () => { heard.record(FAILED, one) })
for (const timer of [silent, loud, heard]) timer.close()

const LINE = JSON.stringify({
  level: 30,
  time: 1_700_000_000_000,
  pid: 4711,
  hostname: 'web-1',
  reqId: randomBytes(16).toString('hex'),
  method: 'GET',
  route: '/users/:id',
  status: 200,
  ms: 1.2,
  ip: '192.0.2.1',
  userId: 'u-17',
  bytes: 120,
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36',
  msg: 'request',
})
const lines = Array.from({ length: 64 }, (_, index) => LINE.replace('4711', String(4000 + index)))
for (const count of [0, 8, 64]) {
  const values = Array.from({ length: count }, () => randomBytes(32).toString('base64url'))
  const stop = watchSecretValues(() => values)
  time(`a line of ${LINE.length} characters searched for ${count} secrets`, (step) => {
    withoutSecrets(lines[step % 64])
  })
  stop()
}

// A whole request, in process: the variants take turns.
const socket = new Socket()
Object.defineProperty(socket, 'remoteAddress', { value: '192.0.2.1' })
const headers = {
  host: 'api.example.com',
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36',
}

function dispatch (app) {
  return new Promise((resolve) => {
    const raw = new IncomingMessage(socket)
    Object.assign(raw, {
      method: 'GET',
      url: '/users/7',
      httpVersion: '1.1',
      httpVersionMajor: 1,
      httpVersionMinor: 1,
      complete: true,
      headers,
    })
    raw.push(null)
    const response = new ServerResponse(raw)
    response._send = response._writeRaw = () => true
    response.end = function end () { this.finished = true; this.emit('finish'); resolve() }
    app.routing(raw, response)
  })
}

async function build (options, own) {
  const app = Fastify(options)
  if (own !== null) await app.register(events, own)
  app.get('/users/:id', async () => ({ ok: true }))
  await app.ready()
  return app
}

const logger = { level: 'info', stream: nowhere }
const values = Array.from({ length: 8 }, () => randomBytes(32).toString('base64url'))
const variants = {
  'no log': await build({ logger: false }, null),
  'Fastify\'s own two lines': await build({ logger }, null),
  'the access line': await build(loggerOptions({ logger }, true), {}),
  'the access line, eight secrets': await build(loggerOptions({ logger }, true), {}),
}
const samples = Object.fromEntries(Object.keys(variants).map((name) => [name, []]))
const COUNT = 2000
for (let round = 0; round < rounds + 5; round++) {
  for (const [name, app] of Object.entries(variants)) {
    const stop = name.endsWith('secrets') ? watchSecretValues(() => values) : () => {}
    const before = process.cpuUsage()
    for (let step = 0; step < COUNT; step++) {
      await dispatch(app)
      if (step % 4 === 3) await turn()
    }
    const { user, system } = process.cpuUsage(before)
    stop()
    if (round >= 5) samples[name].push((user + system) / COUNT)
  }
}
for (const [name, own] of Object.entries(samples)) show(`a request, ${name}`, own)
for (const app of Object.values(variants)) await app.close()
