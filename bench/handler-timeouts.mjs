// CPU µs a request of a bare Fastify app without a time limit for handlers, with Fastify's `handlerTimeout`, and with
// the suite's own limit (in-process.mjs). `npm run build && node bench/handler-timeouts.mjs [rounds] [requests a
// round]`. The two controls are one app built twice: what they differ by is noise.
import Fastify from 'fastify'
import { ServerResponse } from 'node:http'
import { HandlerTimeouts } from '../dist/lib/response/handler-timeouts.js'
import { PreparedResponse } from '../dist/lib/response/response.js'
import { compare } from './in-process.mjs'

const LIMIT_MS = 10_000

async function build ({ handlerTimeout = 0, hook = null, Response = ServerResponse }) {
  const app = Fastify({ handlerTimeout, http: { ServerResponse: Response } })
  if (hook !== null) app.addHook('onRequest', hook)
  app.get('/', async () => ({ ok: true }))
  await app.ready()
  return { app, Response, headers: () => ({ host: 'api.example.com' }) }
}

const noop = (_request, _reply, done) => { done() }
const timeouts = new HandlerTimeouts(LIMIT_MS)
const watch = (_request, reply, done) => {
  timeouts.watch(reply)
  done()
}

await compare({
  file: import.meta.filename,
  variants: {
    'control a': () => build({ hook: noop, Response: PreparedResponse }),
    'control b': () => build({ hook: noop, Response: PreparedResponse }),
    'handlerTimeout of Fastify': () => build({ hook: noop, Response: PreparedResponse, handlerTimeout: LIMIT_MS }),
    'the suite\'s limit': () => build({ hook: watch, Response: PreparedResponse }),
  },
  rounds: Number(process.argv[2] ?? 100),
  requests: Number(process.argv[3] ?? 600),
  report ({ difference, ratio }) {
    console.log('differences and ratios; the first of each is noise')
    for (const name of ['control b', 'handlerTimeout of Fastify', 'the suite\'s limit']) difference(name, 'control a')
    for (const name of ['control b', 'handlerTimeout of Fastify', 'the suite\'s limit']) ratio(name, 'control a')
  },
})
process.exit()
