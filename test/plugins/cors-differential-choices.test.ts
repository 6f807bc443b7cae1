import type { FastifyInstance } from 'fastify'
import { spawnSync } from 'node:child_process'
import { test } from 'tap'
import { cors } from '../../plugins/cors.js'
import { headers } from '../../plugins/headers.js'
import { instance, official } from '../helpers/differential.js'
import { ROOT } from '../helpers/root.js'

const theirCors = official('@fastify/cors')

const APP = 'https://app.example.com'
const EVIL = 'https://evil.example'
const LISTED: object = { origin: [APP] }

async function service (app: FastifyInstance, plugin: typeof theirCors, options: object): Promise<FastifyInstance> {
  await app.register(plugin, options)
  app.get('/items', async () => 1)
  app.post('/items', async () => 1)
  app.delete('/items/:id', async () => 1)
  return app
}

interface Choice {
  /** What the suite decided otherwise. */
  readonly name: string
  readonly theirs: (app: FastifyInstance) => Promise<unknown>
  readonly expectTheirs: unknown
  readonly ours: (app: FastifyInstance) => Promise<unknown>
  readonly expectOurs: unknown
}

const CHOICES: readonly Choice[] = [
  {
    name: 'a preflight is decided by the policy of the route that it asks for',
    theirs: async (app) => {
      await app.register(theirCors, LISTED)
      app.route({ method: 'GET', url: '/', config: { cors: false }, handler: async () => 1 })
      return preflight(app, '/', 'GET')
    },
    expectTheirs: [204, APP],
    ours: async (app) => {
      await app.register(cors, LISTED)
      app.get('/', { security: { cors: false } }, async () => 1)
      return preflight(app, '/', 'GET')
    },
    expectOurs: [403, undefined],
  },
  {
    name: 'a preflight for an unknown path is a 404',
    theirs: async (app) => preflight(await service(app, theirCors, LISTED), '/nope', 'GET'),
    expectTheirs: [204, APP],
    ours: async (app) => preflight(await service(app, cors, LISTED), '/nope', 'GET'),
    expectOurs: [404, undefined],
  },
  {
    name: 'a preflight for a method that the path lacks is a 405',
    theirs: async (app) => preflight(await service(app, theirCors, LISTED), '/items', 'DELETE'),
    expectTheirs: [204, APP],
    ours: async (app) => preflight(await service(app, cors, LISTED), '/items', 'DELETE'),
    expectOurs: [405, undefined],
  },
  {
    name: 'a preflight needs no list of methods: the routes are the list',
    theirs: async (app) => {
      await preflight(await service(app, theirCors, LISTED), '/items/7', 'DELETE')
      return methods(app)
    },
    expectTheirs: 'GET,HEAD,POST',
    ours: async (app) => {
      await preflight(await service(app, cors, LISTED), '/items/7', 'DELETE')
      return methods(app)
    },
    expectOurs: 'DELETE',
  },
  {
    name: 'any origin together with credentials stops the boot',
    theirs: async (app) => all(await service(app, theirCors, { origin: '*', credentials: true }), EVIL),
    expectTheirs: { 'access-control-allow-origin': '*', 'access-control-allow-credentials': 'true' },
    ours: async (app) => code(app, { origin: '*', credentials: true }),
    expectOurs: 'BULWARK_CONFIG',
  },
  {
    name: 'an origin is never reflected: true is no list',
    theirs: async (app) => all(await service(app, theirCors, { origin: true, credentials: true }), 'null'),
    expectTheirs: { 'access-control-allow-origin': 'null', 'access-control-allow-credentials': 'true' },
    ours: async (app) => code(app, { origin: true, credentials: true }),
    expectOurs: 'BULWARK_CONFIG',
  },
  {
    name: 'a function that allows everybody stops the boot when credentials may come along',
    theirs: async (app) => all(await service(app, theirCors, { origin: async () => true, credentials: true }), 'null'),
    expectTheirs: { 'access-control-allow-origin': 'null', 'access-control-allow-credentials': 'true' },
    ours: async (app) => code(app, { origin: () => true, credentials: true }),
    expectOurs: 'BULWARK_CONFIG',
  },
  {
    name: 'an origin that is not allowed gets no CORS header',
    theirs: async (app) =>
      all(await service(app, theirCors, { origin: [APP], credentials: true, exposedHeaders: ['X-A'] }), EVIL),
    expectTheirs: { 'access-control-allow-credentials': 'true', 'access-control-expose-headers': 'X-A' },
    ours: async (app) =>
      all(await service(app, cors, { origin: [APP], credentials: true, exposedHeaders: ['X-A'] }), EVIL),
    expectOurs: {},
  },
  {
    name: 'nothing written allows nobody',
    theirs: async (app) => all(await service(app, theirCors, {}), EVIL),
    expectTheirs: { 'access-control-allow-origin': '*' },
    ours: async (app) => all(await service(app, cors, {}), EVIL),
    expectOurs: {},
  },
  {
    name: 'what a page needs to back off is exposed',
    theirs: async (app) => all(await service(app, theirCors, LISTED), APP),
    expectTheirs: { 'access-control-allow-origin': APP },
    ours: async (app) => all(await service(app, cors, LISTED), APP),
    expectOurs: {
      'access-control-allow-origin': APP,
      'access-control-expose-headers': 'Retry-After, RateLimit, RateLimit-Policy, X-Request-Id',
    },
  },
  {
    name: 'request headers are a list of their own, never an echo of the question',
    theirs: async (app) => preflight(await service(app, theirCors, LISTED), '/items', 'POST', 'x-evil'),
    expectTheirs: [204, APP],
    ours: async (app) => preflight(await service(app, cors, LISTED), '/items', 'POST', 'x-evil'),
    expectOurs: [403, undefined],
  },
  {
    name: 'a single origin varies and goes to nobody else',
    theirs: async (
      app,
    ) => [
      await all(await service(app, theirCors, { origin: APP }), EVIL),
      (await app.inject({ url: '/items', headers: { origin: APP } })).headers.vary,
    ],
    expectTheirs: [{ 'access-control-allow-origin': APP }, undefined],
    ours: async (
      app,
    ) => [
      await all(await service(app, cors, LISTED), EVIL),
      (await app.inject({ url: '/items', headers: { origin: APP } })).headers.vary,
    ],
    expectOurs: [{}, 'Origin'],
  },
  {
    name: 'a regular expression, which may match more than its writer means, stops the boot',
    theirs: async (app) =>
      all(await service(app, theirCors, { origin: /\.example\.com/ }), 'https://app.example.com.evil.example'),
    expectTheirs: { 'access-control-allow-origin': 'https://app.example.com.evil.example' },
    ours: async (app) => code(app, { origin: /\.example\.com/ }),
    expectOurs: 'BULWARK_CONFIG',
  },
  {
    name: 'a wildcard in a list stands for one label, where theirs is no wildcard at all',
    theirs: async (app) => all(await service(app, theirCors, { origin: ['https://*.example.com'] }), APP),
    expectTheirs: {},
    ours: async (app) => all(await service(app, cors, { origin: ['https://*.example.com'], exposedHeaders: [] }), APP),
    expectOurs: { 'access-control-allow-origin': APP },
  },
  {
    name: 'a preflight for a method that is not in `methods` is refused, also one that browsers always allow',
    theirs: async (app) =>
      preflight(await service(app, theirCors, { ...LISTED, methods: ['DELETE'] }), '/items', 'POST'),
    expectTheirs: [204, APP],
    ours: async (app) => preflight(await service(app, cors, { ...LISTED, methods: ['DELETE'] }), '/items', 'POST'),
    expectOurs: [403, undefined],
  },
  {
    name: 'a function that throws for an origin refuses the origin and serves the request',
    theirs: async (app) =>
      (await (await service(app, theirCors, {
        origin: async () => {
          throw new Error('x')
        },
      })).inject({ url: '/items', headers: { origin: EVIL } })).statusCode,
    expectTheirs: 500,
    ours: async (app) =>
      (await (await service(app, cors, {
        origin: (origin: string) => {
          if (origin === EVIL) throw new Error('x')
          return false
        },
      })).inject({ url: '/items', headers: { origin: EVIL } })).statusCode,
    expectOurs: 200,
  },
  {
    name: 'an OPTIONS request that is no preflight belongs to the app',
    theirs: async (app) => {
      await app.register(theirCors, LISTED)
      app.options('/mine', async () => 'mine')
      return (await app.inject({ method: 'OPTIONS', url: '/mine' })).statusCode
    },
    expectTheirs: 400,
    ours: async (app) => {
      await app.register(cors, LISTED)
      app.options('/mine', async () => 'mine')
      return (await app.inject({ method: 'OPTIONS', url: '/mine' })).statusCode
    },
    expectOurs: 200,
  },
  {
    name: 'no route is declared for every path: what is unknown stays a 404',
    theirs: async (app) =>
      (await (await service(app, theirCors, LISTED)).inject({ method: 'OPTIONS', url: '/nope' })).statusCode,
    expectTheirs: 400,
    ours: async (app) =>
      (await (await service(app, cors, LISTED)).inject({ method: 'OPTIONS', url: '/nope' })).statusCode,
    expectOurs: 404,
  },
  {
    name: 'beside the headers plugin, a hijacked reply keeps its grant',
    theirs: async (app) => { await app.register(theirCors, LISTED); hijacks(app); return all(app, APP, '/stream') },
    expectTheirs: {},
    ours: async (app) => {
      await app.register(headers)
      await app.register(cors, { origin: [APP], exposedHeaders: [] })
      hijacks(app)
      return all(app, APP, '/stream')
    },
    expectOurs: { 'access-control-allow-origin': APP },
  },
  {
    name: 'registered twice it refuses to start with a reason, instead of ending the process',
    theirs: async () => twice("createRequire(import.meta.url)('@fastify/cors')"),
    expectTheirs: { caught: false, exit: 1 },
    ours: async () => twice("(await import('./dist/plugins/cors.js')).cors"),
    expectOurs: { caught: true, exit: 0 },
  },
]

async function preflight (app: FastifyInstance, url: string, method: string, names?: string): Promise<unknown> {
  const { statusCode, headers: sent } = await app.inject({
    method: 'OPTIONS',
    url,
    headers: {
      origin: APP,
      'access-control-request-method': method,
      ...(names !== undefined && { 'access-control-request-headers': names }),
    },
  })
  return [statusCode, sent['access-control-allow-origin']]
}

async function methods (app: FastifyInstance): Promise<unknown> {
  const { headers: sent } = await app.inject({
    method: 'OPTIONS',
    url: '/items/7',
    headers: { origin: APP, 'access-control-request-method': 'DELETE' },
  })
  return sent['access-control-allow-methods']
}

/** Every CORS header of a simple request. */
async function all (app: FastifyInstance, origin: string, url = '/items'): Promise<unknown> {
  const { headers: sent } = await app.inject({ url, headers: { origin } })
  return Object.fromEntries(Object.entries(sent).filter(([name]) => name.startsWith('access-control-')))
}

async function code (app: FastifyInstance, options: object): Promise<unknown> {
  return app.register(cors, options).then(() => 'started', (error: unknown) => (error as { code?: unknown }).code)
}

function hijacks (app: FastifyInstance): void {
  app.get('/stream', (_request, reply) => {
    reply.hijack()
    reply.raw.end('x')
  })
}

/** In a process of its own: one of the two does not survive it. */
function twice (plugin: string): { caught: boolean, exit: number | null } {
  const script = `
    import { createRequire } from 'node:module'
    import Fastify from 'fastify'
    const plugin = ${plugin}
    const app = Fastify()
    try { await app.register(plugin, {}); await app.register(plugin, {}) } catch { console.log('caught') }`
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  return { caught: stdout.includes('caught'), exit: status }
}

for (const { name, theirs, expectTheirs, ours, expectOurs } of CHOICES) {
  test(name, async (t) => {
    t.strictSame(await theirs(instance(t)), expectTheirs, '@fastify/cors')
    t.strictSame(await ours(instance(t)), expectOurs, 'ours')
  })
}
