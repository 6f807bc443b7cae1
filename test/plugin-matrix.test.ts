import Fastify, { type FastifyInstance, type InjectOptions, type RouteOptions } from 'fastify'
import { test, type Test } from 'tap'
import { Type } from '@sinclair/typebox'
import { auth } from '../plugins/auth.js'
import { cors } from '../plugins/cors.js'
import { csrf } from '../plugins/csrf.js'
import { errors } from '../plugins/errors.js'
import { headers } from '../plugins/headers.js'
import { rateLimit } from '../plugins/rate-limit.js'
import { transport } from '../plugins/transport.js'
import { validation } from '../plugins/validation.js'

const APP = 'https://app.example.com'

type Answers = (request: InjectOptions) => Promise<{ status: number, headers: Record<string, unknown>, body: string }>
type Check = (ask: Answers) => Promise<unknown>

/** A plugin alone: what shows that it holds on a route, without and with its key on that route. */
interface Case {
  readonly register: (app: FastifyInstance) => PromiseLike<unknown>
  readonly method?: 'POST'
  readonly schema?: RouteOptions['schema']
  readonly holds: Check
  readonly key: Readonly<Record<string, unknown>>
  readonly keyHolds: Check
  /** A key that must stop the boot wherever the route stands. */
  readonly wrongKey: Readonly<Record<string, unknown>>
}

const LIMITS = { global: { limit: 3, window: '1m', by: 'ip' }, pair: { limit: 2, window: '1m', by: 'ip' } } as const

async function statusesOf (ask: Answers, count: number): Promise<number[]> {
  const statuses: number[] = []
  for (let at = 0; at < count; at++) statuses.push((await ask({})).status)
  return statuses
}

const CASES: Readonly<Record<string, Case>> = {
  headers: {
    register: (app) => app.register(headers),
    holds: async (ask) => (await ask({})).headers['x-frame-options'] === 'DENY',
    key: { headers: { xFrameOptions: { action: 'sameorigin' } } },
    keyHolds: async (ask) => (await ask({})).headers['x-frame-options'] === 'SAMEORIGIN',
    wrongKey: { headers: { xFrameOption: false } },
  },
  cors: {
    register: (app) => app.register(cors, { origin: [APP] }),
    holds: async (ask) => (await ask({ headers: { origin: APP } })).headers['access-control-allow-origin'] === APP,
    key: { cors: false },
    keyHolds: async (ask) =>
      (await ask({ headers: { origin: APP } })).headers['access-control-allow-origin'] === undefined,
    wrongKey: { cors: { orgin: [APP] } },
  },
  csrf: {
    register: (app) => app.register(csrf),
    method: 'POST',
    holds: async (ask) =>
      (await ask({ headers: { cookie: 'a=b', 'sec-fetch-site': 'cross-site' } })).status === 403 &&
      (await ask({ headers: { 'sec-fetch-site': 'cross-site' } })).status === 200,
    key: { csrf: 'always' },
    keyHolds: async (ask) => (await ask({ headers: { 'sec-fetch-site': 'cross-site' } })).status === 403,
    wrongKey: { csrf: 'sometimes' },
  },
  transport: {
    register: (app) => app.register(transport, { hosts: ['api.example.com'] }),
    holds: async (ask) =>
      (await ask({ headers: { host: 'evil.example' } })).status === 421 &&
      (await ask({ headers: { host: 'api.example.com' } })).status === 200,
    key: { transport: { hosts: 'any' } },
    keyHolds: async (ask) => (await ask({ headers: { host: 'evil.example' } })).status === 200,
    wrongKey: { transport: { host: 'any' } },
  },
  rateLimit: {
    register: (app) => app.register(rateLimit, { policies: LIMITS }),
    holds: async (ask) => String(await statusesOf(ask, 4)) === '200,200,200,429',
    key: { rateLimit: ['pair'] },
    keyHolds: async (ask) => String(await statusesOf(ask, 3)) === '200,200,429',
    wrongKey: { rateLimit: ['nope'] },
  },
  validation: {
    register: (app) => app.register(validation),
    method: 'POST',
    schema: { body: Type.Object({ name: Type.Optional(Type.String()) }) },
    holds: async (ask) => (await ask({ payload: { name: 'a', isAdmin: true } })).status === 400,
    key: { validation: { unknown: 'strip' } },
    keyHolds: async (ask) => (await ask({ payload: { name: 'a', isAdmin: true } })).body === '{"name":"a"}',
    wrongKey: { validation: { unknwon: 'strip' } },
  },
  auth: {
    register: (app) => app.register(auth, {
      roles: ['user', 'admin'],
      sources: ['bearer'],
      accessSecret: 'kT3vX9qLr2Wn8ZbY5mHs7JdF1gPc4QeA6uRx',
      refreshSecret: 'pD8yNc2VtB5wKz9hGj4RfM7sXq1LaE3uYbTo',
      authenticate: async () => ({ id: 'u1', roles: ['user'] }),
      loadUser: async (id) => ({ id, roles: ['user'] }),
    }),
    holds: async (ask) =>
      (await ask({})).status === 401 && (await ask({ headers: { authorization: await bearer(ask) } })).status === 200,
    key: { auth: { roles: ['admin'] } },
    keyHolds: async (ask) => (await ask({ headers: { authorization: await bearer(ask) } })).status === 403,
    wrongKey: { auth: { roles: ['root'] } },
  },
}

async function bearer (ask: Answers): Promise<string> {
  const answer = await ask({ method: 'POST', url: '/auth/token', payload: { email: 'ada@example.com', password: 'x' } })
  return `Bearer ${String((JSON.parse(answer.body) as Record<string, unknown>)['access_token'])}`
}

type Declare = (instance: FastifyInstance) => void

/** Where a route stands, and whether the suite can know what it wrote; where it cannot, the boot stops. */
const PLACES: Readonly<Record<string, (app: FastifyInstance, plugin: Case, declare: Declare) => Promise<void>>> = {
  async before (app, plugin, declare) {
    declare(app)
    await plugin.register(app)
  },
  async unawaited (app, plugin, declare) {
    void plugin.register(app)
    declare(app)
  },
  async 'in an earlier child' (app, plugin, declare) {
    await app.register(async (child) => { declare(child) })
    await plugin.register(app)
  },
  async 'in an earlier grandchild' (app, plugin, declare) {
    await app.register(async (child) => { await child.register(async (grandchild) => { declare(grandchild) }) })
    await plugin.register(app)
  },
  async after (app, plugin, declare) {
    await plugin.register(app)
    declare(app)
  },
  async 'in a later child' (app, plugin, declare) {
    await plugin.register(app)
    await app.register(async (child) => { declare(child) })
  },
}

const LATER: readonly string[] = ['after', 'in a later child']

async function boot (t: Test, plugin: Case, place: string, seen: boolean, key?: object): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  if (seen) await app.register(errors)
  await PLACES[place]?.(app, plugin, (instance) => {
    instance.route({
      method: plugin.method ?? 'GET',
      url: '/y',
      ...(plugin.schema !== undefined && { schema: plugin.schema }),
      ...(key !== undefined && { security: key }),
      handler: async (request) => request.body ?? { ok: true },
    })
  })
  await app.ready()
  return app
}

function asks (app: FastifyInstance, { method = 'GET' as never }: Case): Answers {
  return async (request) => {
    const answer = await app.inject({ method, url: '/y', ...request })
    return { status: answer.statusCode, headers: answer.headers, body: answer.body }
  }
}

for (const [name, plugin] of Object.entries(CASES)) {
  for (const place of Object.keys(PLACES)) {
    // Another plugin of the suite, loaded first, has seen the route: then it must hold, whenever its own plugin comes.
    for (const seen of [true, false]) {
      test(`${name} alone, route ${place}${seen ? ', seen by the suite' : ''}: what is written holds`, async (t) => {
        if (!seen && !LATER.includes(place)) {
          for (const key of [undefined, plugin.key, plugin.wrongKey]) {
            await t.rejects(boot(t, plugin, place, seen, key), { code: 'BULWARK_CONFIG' })
          }
          return
        }
        t.ok(await plugin.holds(asks(await boot(t, plugin, place, seen), plugin)), 'without its key')
        t.ok(await plugin.keyHolds(asks(await boot(t, plugin, place, seen, plugin.key), plugin)), 'with its key')
        await t.rejects(boot(t, plugin, place, seen, plugin.wrongKey), { code: 'BULWARK_CONFIG' }, 'a wrong key')
      })
    }
  }
}
