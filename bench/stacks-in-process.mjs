// The stacks of `npm run bench` without sockets: CPU µs a request from the router's entry to the rendered head
// (in-process.mjs). What Node's HTTP parser and the kernel cost is left out, so that the stacks differ more than over
// sockets, and noise is less.
// `npm run build && node bench/stacks-in-process.mjs [rounds] [requests a round]`, after `npm run bench` has installed
// the peers.
import { compare } from './in-process.mjs'
import { STACKS } from './scenarios.mjs'
import { ORIGIN, TIGHT_LIMIT } from './stacks/service.mjs'

process.env.NODE_ENV = 'production'
const TOKENS = 500
const SHOWN = ['bare', 'control', 'bulwark', 'wired', 'express']
const base = { host: 'api.example.com', origin: ORIGIN, 'user-agent': 'bench', accept: '*/*' }
/** A header's text as Node's parser makes it: new, and of one piece. */
const fresh = (text) => Buffer.from(text, 'latin1').latin1Slice()

const ROUTES = {
  public: () => ({ url: '/public', status: 200, headers: () => ({ ...base }) }),
  auth: (tokens) => ({
    url: '/me',
    status: 200,
    headers: (step) => ({ ...base, authorization: fresh(`Bearer ${tokens[step % TOKENS]}`) }),
  }),
  refused: (tokens) => ({
    url: '/refused',
    status: 401,
    headers: (step) => ({ ...base, authorization: fresh(`Bearer ${tokens[step % TOKENS].slice(0, -8)}AAAAAAAA`) }),
  }),
  limited: () => ({ url: '/limited', status: 429, headers: () => ({ ...base }) }),
  missing: () => ({ url: '/nowhere', status: 404, headers: () => ({ ...base }) }),
}

async function build (key, route) {
  const { build: buildStack } = await import(`./stacks/${STACKS[key].module}.mjs`)
  const made = await buildStack({ log: false })
  await made.app.ready()
  const variant = { ...made, ...ROUTES[route](await made.mint(TOKENS)) }
  // The first few pass; the bare server refuses at once.
  if (route === 'limited' && STACKS[key].module !== 'bare') await exhaust(variant)
  return variant
}

async function exhaust (variant) {
  const { measure } = await import('./in-process.mjs')
  await measure({ ...variant, status: 200 }, TIGHT_LIMIT, 0)
}

const label = (key, route) => `${route}: ${STACKS[key].title}`

await compare({
  file: import.meta.filename,
  variants: Object.fromEntries(
    Object.keys(ROUTES).flatMap((route) => SHOWN.map((key) => [label(key, route), () => build(key, route)])),
  ),
  rounds: Number(process.argv[2] ?? 40),
  requests: Number(process.argv[3] ?? 400),
  warmUp: 8000,
  report ({ ratio }) {
    console.log('how many times as long as the suite takes; the first line of each is noise against bare Fastify')
    for (const route of Object.keys(ROUTES)) {
      ratio(label('control', route), label('bare', route))
      for (const key of SHOWN.filter((other) => other !== 'control' && other !== 'bulwark'))
        ratio(label(key, route), label('bulwark', route))
    }
  },
})
process.exit()
