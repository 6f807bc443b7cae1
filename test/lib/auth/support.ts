import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions,
  type LightMyRequestResponse } from 'fastify'
import fp from 'fastify-plugin'
import type { Test } from 'tap'
import type { AuthOptions } from '../../../plugins/auth.js'
import { auth, installAuth, publicRoute } from '../../../plugins/auth.js'
import type { SecurityEvent } from '../../../lib/events/catalogue.js'
import { claimRegistration, securityOf } from '../../../lib/policy/install.js'
import { assertNoProblems, type Problem } from '../../../lib/response/errors.js'

export const secret = (): string => randomBytes(32).toString('base64url')

/** A clock that only moves when told to. It starts at the real time, because Redis' expiries are real. */
export class Clock {
  #now = Date.now()
  readonly now = (): number => this.#now
  get seconds (): number { return Math.floor(this.#now / 1000) }
  advance (milliseconds: number): void { this.#now += milliseconds }
}

export interface TestUser { id: string, roles: string[], tenant: string }

export interface World {
  readonly app: FastifyInstance
  readonly clock: Clock
  readonly events: SecurityEvent[]
  /** What loadUser and authenticate find; the password is always "right". */
  readonly users: Map<string, TestUser>
  readonly accessSecret: string
  readonly refreshSecret: string
  /** Injects with cookies, as a browser on https://api.example.com would. */
  readonly call: (
    method: 'GET' | 'POST' | 'DELETE',
    url: string,
    jar?: Jar | string,
    options?: InjectOptions,
  ) => Promise<LightMyRequestResponse>
  readonly login: (jar?: Jar) => Promise<Jar>
  readonly names: () => string[]
}

export type Jar = Record<string, string>

export interface WorldSettings {
  readonly options?: Partial<AuthOptions>
  readonly clock?: Clock
  readonly server?: FastifyServerOptions
  readonly before?: (app: FastifyInstance) => void | Promise<void>
  readonly routes?: (app: FastifyInstance) => void | Promise<void>
  /** To share keys and users with another instance. */
  readonly like?: World
}

/** An app with the auth plugin on a virtual clock, with a few routes; closed when the test ends. */
export async function build (t: Test, settings: WorldSettings = {}): Promise<World> {
  const { like } = settings
  const clock = settings.clock ?? like?.clock ?? new Clock()
  const users = like?.users ??
    new Map([['ada', { id: 'ada', roles: ['user'], tenant: 'acme' }], ['root', {
      id: 'root',
      roles: ['user', 'admin'],
      tenant: 'acme',
    }]])
  const accessSecret = like?.accessSecret ?? secret()
  const refreshSecret = like?.refreshSecret ?? secret()
  const events: SecurityEvent[] = []
  const app = Fastify(settings.server ?? {})
  t.teardown(() => app.close())
  await settings.before?.(app)
  securityOf(app).root.emit = (event) => { events.push(event) }
  await app.register(fp(async (instance) => {
    claimRegistration(instance, 'auth')
    const scope = securityOf(instance)
    const problems: Problem[] = []
    const options = auth.resolve({
      roles: ['user', 'admin'],
      redis: false,
      accessSecret,
      refreshSecret,
      authenticate: async ({ email, password }: { email: string, password: string }) =>
        password === 'right' ? users.get(email.split('@')[0] ?? '') ?? null : null,
      loadUser: async (id: string) => users.get(id) ?? null,
      ...settings.options,
    }, { problems, boot: scope.root, definition: {}, inherited: undefined })
    assertNoProblems(problems)
    if (options !== null) await installAuth(instance, options, scope, { now: clock.now })
  }))
  app.get('/me', async (request) => ({ user: request.user, auth: request.auth }))
  app.get('/admin', { security: { auth: { roles: ['admin'] } } }, async () => 'admin')
  app.get('/fresh', { security: { auth: { fresh: '5m' } } }, async () => 'fresh')
  app.get('/maybe', { security: { auth: 'optional' } }, async (request) => request.auth?.userId ?? 'nobody')
  app.get('/stateless', { security: { auth: { revocation: 'stateless' } } }, async (request) => request.auth?.userId)
  app.get('/open', { security: { auth: publicRoute('for all') } }, async (request) => request.auth?.userId ?? 'nobody')
  await settings.routes?.(app)
  await app.ready()

  const world: World = {
    app,
    clock,
    events,
    users,
    accessSecret,
    refreshSecret,
    async call (method, url, jar, options = {}) {
      const cookie = typeof jar === 'string' ? jar : cookieHeader(jar ?? {})
      return await app.inject({
        ...options,
        method,
        url,
        headers: {
          host: 'api.example.com',
          'user-agent': 'Browser/1',
          ...(cookie === '' ? {} : { cookie }),
          ...options.headers,
        },
      })
    },
    async login (jar) {
      const response = await world.call('POST', '/auth/login', jar, {
        payload: { email: 'ada@example.com', password: 'right' },
      })
      if (response.statusCode !== 200) throw new Error(`login failed: ${response.body}`)
      return { ...jar, ...jarOf(response) }
    },
    names: () => events.map(({ name }) => name),
  }
  return world
}

export function cookieHeader (jar: Jar): string {
  return Object.entries(jar).map(([name, value]) => `${name}=${value}`).join('; ')
}

/** The cookies that an answer sets. */
export function jarOf (response: LightMyRequestResponse): Jar {
  return Object.fromEntries(setCookies(response).map((line) => {
    const [pair = ''] = line.split(';')
    const at = pair.indexOf('=')
    return [pair.slice(0, at), pair.slice(at + 1)]
  }))
}

export function setCookies (response: LightMyRequestResponse): string[] {
  const header = response.headers['set-cookie']
  return header === undefined ? [] : Array.isArray(header) ? header : [header]
}

export function codeOf (response: LightMyRequestResponse): string {
  return `${response.statusCode} ${String((response.json<{ code?: string }>()).code)}`
}
