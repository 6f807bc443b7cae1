import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { assertNoProblems, BulwarkConfigError, SecurityError, type ErrorCode, type Problem } from '../errors.js'
import type { SecurityEvent } from '../events/catalogue.js'
import { isLoopbackName } from '../host.js'
import { addSection, claimRegistration, publish, securityOf } from '../policy/install.js'
import type { SecurityScope } from '../policy/scope.js'
import { defineSection } from '../policy/section.js'
import { connectRedis, withDeadline, type RedisClient, type RedisConnection } from '../redis.js'
import { createCredentialReader } from './credentials.js'
import { loopbackCookies, secureCookies, type CookiePair } from './cookies.js'
import { createSessionsApi } from './api.js'
import { assertCookiesFit, createFlows, type AuthFlows, type LoginOptions, type TokenDocument } from './flows.js'
import { compileGuards, kAuth } from './guards.js'
import { createLivenessCheck } from './liveness.js'
import { MemorySessionStore } from './memory-store.js'
import { resolveAuthOptions, type ResolvedAuthOptions } from './options.js'
import { baseAuthPolicy, resolveAuthPolicy, type AuthRouteOptions, type ResolvedAuthPolicy } from './policy.js'
import { REDIS_DEADLINE_MS, RedisSessionStore } from './redis-store.js'
import { authRoutes } from './routes.js'
import { createSessions } from './sessions.js'
import type { SessionPolicy, SessionStore } from './session-store.js'
import { CLOCK_TOLERANCE_SECONDS } from './tokens.js'

export interface AuthInternals {
  /** Epoch milliseconds; tests pass their own. Redis keeps its own clock. */
  readonly now: () => number
}

const kFlows: unique symbol = Symbol('bulwark.authFlows')

declare module 'fastify' {
  interface FastifyInstance { [kFlows]: AuthFlows }
}

/** The whole plugin: checks the options, opens the store, puts the guards in place and declares the built-in routes. */
export async function setUpAuth (app: FastifyInstance, input: unknown, { now }: AuthInternals): Promise<void> {
  claimRegistration(app, 'auth')
  const scope = securityOf(app)
  const { root } = scope
  const problems: Problem[] = []
  checkPlace(app, scope, problems)
  const options = resolveAuthOptions(input, root, problems)
  assertNoProblems(problems)
  if (options === null) return

  const emit = (event: SecurityEvent, request: FastifyRequest | null): void => { root.emit(event, request) }
  const store = await openStore(app, options, now, (event) => { emit(event, null) })
  const checkLiveness = createLivenessCheck(store, { delayMs: options.revocationDelayMs })
  app.addHook('onClose', async () => { store.close() })

  const path = `${app.prefix}${options.prefix}`
  const cookiesOf = cookieChooser(app, root.production, { profile: options.cookies, path, sameSite: options.sameSite })
  // RFC 9110, section 11.6.1: a 401 must name a challenge. Browsers ask nobody for a scheme that they do not know.
  const challenge = Object.freeze({ 'www-authenticate': `Cookie realm="${options.issuer}"` })
  const unauthorized = (code: ErrorCode): SecurityError => new SecurityError(code, { headers: challenge })
  const secure = secureCookies({ profile: options.cookies, path, sameSite: options.sameSite })
  const { users } = options
  const sessions = createSessions({
    ...options,
    accessTtlSeconds: options.accessTtlMs / 1000,
    policy: policyOf(options),
    store,
    assertFits: (access, refresh) => { assertCookiesFit(secure, access, refresh) },
  })
  const readCredential = createCredentialReader({ sources: options.sources, cookiesOf })
  const flows = createFlows({ sessions, store, users, loadUser: options.loadUser, label: options.label, cookiesOf, readCredential, unauthorized, emit })

  decorate(app, flows)
  publish(scope, 'sessions', createSessionsApi(store, flows))
  const guards = { access: sessions.access, readCredential, checkLiveness, unauthorized, emit, now: () => store.now() }
  addSection(app, defineSection<AuthRouteOptions, ResolvedAuthPolicy>({
    key: 'auth',
    resolve: (base, written, where, found) => resolveAuthPolicy(users.roles, base, written, where, found),
    compile: (policy, route) => compileGuards(guards, policy, route === null),
  }), baseAuthPolicy(options.revocation))

  const has = (key: string): boolean => scope.isOn(key)
  if (options.authenticate !== null && !has('rateLimit')) app.log.warn(`${path}/login is not throttled: register the rateLimit plugin before auth`)
  for (const route of authRoutes({ options, flows, store, unauthorized, emit, has })) app.route(route)
}

function checkPlace (app: FastifyInstance, scope: SecurityScope, problems: Problem[]): void {
  if (scope.sections.has('auth')) {
    problems.push({ path: 'auth', message: 'Registered a second time, in a child scope.', mend: 'One service has one kind of session: override in the scope (app.secureScope) or on a route (its `security.auth` key).' })
  } else if (app.hasRequestDecorator('user') || app.hasRequestDecorator('auth')) {
    problems.push({ path: 'auth', message: 'Another plugin has decorated request.user or request.auth already.', mend: 'Remove the other one (for example @fastify/jwt), or let it use other names.' })
  }
}

function policyOf ({ accessTtlMs, refreshIdleMs, refreshAbsoluteMs, graceMs, maxSessions, whenFull, onReuse }: ResolvedAuthOptions): SessionPolicy {
  return Object.freeze({ idleMs: refreshIdleMs, absoluteMs: refreshAbsoluteMs, graceMs, maxSessions, whenFull, onReuse, tombstoneMs: accessTtlMs + CLOCK_TOLERANCE_SECONDS * 1000 })
}

async function openStore (app: FastifyInstance, options: ResolvedAuthOptions, now: () => number, emit: (event: SecurityEvent) => void): Promise<SessionStore> {
  const policy = policyOf(options)
  if (options.redis === null) return new MemorySessionStore(policy, now)
  const connection = await connect(app, options.redis)
  return new RedisSessionStore({
    connection,
    keyPrefix: options.keyPrefix,
    policy,
    onHealth (cause) {
      if (cause === null) emit({ name: 'store_recovered', store: 'sessions' })
      else emit({ name: 'store_unavailable', store: 'sessions', fallback: 'refuse' })
    },
  })
}

async function connect (app: FastifyInstance, source: NonNullable<ResolvedAuthOptions['redis']>): Promise<RedisConnection<RedisClient>> {
  try {
    const connection = await connectRedis(source, 'auth')
    await warnOfSkew(app, connection)
    return connection
  } catch (cause) {
    app.log.error({ err: cause }, 'auth: Redis cannot be reached')
    throw new BulwarkConfigError([{ path: 'auth.redis', message: 'Redis cannot be reached.', mend: 'Check the URL and that the server accepts this client; the log has the cause.' }])
  }
}

/** Refresh tokens carry Redis' time and are read by this host's clock. */
async function warnOfSkew (app: FastifyInstance, { client }: RedisConnection<RedisClient>): Promise<void> {
  const [seconds] = await withDeadline(client.time(), REDIS_DEADLINE_MS)
  const skew = Number(seconds) - Date.now() / 1000
  if (Math.abs(skew) > CLOCK_TOLERANCE_SECONDS) app.log.warn({ skewSeconds: Math.round(skew) }, 'auth: the clocks of Redis and of this host differ by more than tokens tolerate; synchronise them')
}

/** Which cookies a request has: those without Secure only outside production, over plain HTTP, on a loopback name. */
function cookieChooser (app: FastifyInstance, production: boolean, settings: Parameters<typeof secureCookies>[0]): (request: FastifyRequest) => CookiePair {
  const secure = secureCookies(settings)
  if (production) return () => secure
  const loopback = loopbackCookies(settings)
  let warned = false
  return (request) => {
    if (request.protocol !== 'http' || !isLoopbackName(request.hostname)) return secure
    if (!warned) {
      warned = true
      app.log.warn('auth: plain HTTP on a loopback name, so cookies go without Secure and without their prefix; never in production')
    }
    return loopback
  }
}

function decorate (app: FastifyInstance, flows: AuthFlows): void {
  app.decorate(kFlows, flows)
  app.decorateRequest(kAuth, null)
  app.decorateRequest('auth', { getter: readAuth })
  app.decorateRequest('user', { getter: readUser })
  app.decorateReply('login', loginReply)
  app.decorateReply('issueTokens', issueReply)
  app.decorateReply('logout', logoutReply)
}

function readAuth (this: FastifyRequest): FastifyRequest['auth'] {
  return this[kAuth]
}

function readUser (this: FastifyRequest): FastifyRequest['user'] {
  const auth = this[kAuth]
  if (auth === null) throw new Error('request.user: nobody is signed in on this request. Read request.auth on routes whose policy is \'optional\' or public.')
  return auth.user
}

async function loginReply (this: FastifyReply, user: unknown, options?: LoginOptions): Promise<void> {
  await this.server[kFlows].login(this.request, this, user, 'reply.login', options)
}

async function issueReply (this: FastifyReply, user: unknown, options?: LoginOptions): Promise<TokenDocument> {
  return this.server[kFlows].issue(this.request, this, user, 'reply.issueTokens', options)
}

async function logoutReply (this: FastifyReply): Promise<void> {
  await this.server[kFlows].logout(this.request, this)
}
