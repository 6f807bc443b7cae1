// CPU µs a request of the same Fastify app with and without the headers and cors plugins, and with a nonce read
// (in-process.mjs).
// `npm run build && node bench/headers.mjs [rounds] [requests a round]`. The two controls are one app built twice: what
// they differ by is noise.
import Fastify from 'fastify'
import { ServerResponse } from 'node:http'
import { cors } from '../dist/plugins/cors.js'
import { headers } from '../dist/plugins/headers.js'
import { PreparedResponse } from '../dist/lib/response/response.js'
import { compare } from './in-process.mjs'

const ORIGIN = 'https://app.example.com'

async function build (register, handler = async () => ({ ok: true }), Response = ServerResponse) {
  const app = Fastify({ http: { ServerResponse: Response } })
  await register(app)
  app.get('/', handler)
  await app.ready()
  return {
    app,
    Response,
    headers: () => ({ host: 'api.example.com', origin: ORIGIN }),
    body: (text) => text === '{"ok":true}',
  }
}

const nothing = async () => {}
const both = async (app) => {
  await app.register(headers)
  await app.register(cors, { origin: [ORIGIN] })
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
  'document, nonce read': () =>
    build(pages, async (_request, reply) => ({ ok: reply.cspNonce !== '' }), PreparedResponse),
}

await compare({
  file: import.meta.filename,
  variants: VARIANTS,
  rounds: Number(process.argv[2] ?? 150),
  requests: Number(process.argv[3] ?? 600),
  report ({ difference }) {
    console.log('differences; the first is noise')
    difference('control b', 'control a')
    difference('same headers by hand', 'control a')
    difference('headers', 'control a')
    difference('headers + cors', 'control a')
    difference('headers + cors, plain response', 'control a')
    difference('document, nonce read', 'document, nonce unread')
  },
})
