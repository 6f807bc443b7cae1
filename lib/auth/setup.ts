import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { assertNoProblems, type Problem } from '../response/errors.js'
import type { SecurityEvent } from '../events/catalogue.js'
import { isLoopbackName } from '../net/host.js'
import { addSection, claimRegistration, publish, securityOf } from '../policy/install.js'
import type { SecurityScope } from '../policy/scope.js'
import { defineSection } from '../policy/section.js'
import { createRefusals } from './challenge.js'
import { createCredentialReader } from './credentials.js'
import { checkJwtNames, decorateJwt } from './compat.js'
import { loopbackCookies, secureCookies, type CookiePair } from './cookies.js'
import { createSessionsApi } from './sessions-api.js'
import { assertCookiesFit, createFlows, type AuthFlows, type LoginOptions, type TokenDocument } from './flows.js'
import { compileGuards, kAuth } from './guards.js'
import { createLivenessCheck } from './liveness.js'
import { openSessionStore, policyOf } from './open-store.js'
import { documentAuth } from './openapi.js'
import { resolveAuthOptions, type ResolvedAuthOptions } from './options.js'
import { keepParts } from './test-access.js'
import { baseAuthPolicy, resolveAuthPolicy, type AuthRouteOptions, type ResolvedAuthPolicy } from './policy.js'
import { authRoutes } from './routes.js'
import { createSessions } from './sessions.js'
import { createSocketGuard } from './sockets.js'

export interface AuthInternals {
  /** Epoch milliseconds; tests pass their own. Redis keeps its own clock. */
  readonly now: () => number
}

const kFlows: unique symbol = Symbol('bulwark.authFlows')

declare module 'fastify' {
  interface FastifyInstance { [kFlows]: AuthFlows }
}

/** The whole plugin: checks the options, opens the store, puts the guards in place and declares the built-in routes. */
export async function setUpAuth (app: FastifyInstance, input: unknown, internals: AuthInternals): Promise<void> {
  claimRegistration(app, 'auth')
  const problems: Problem[] = []
  const options = resolveAuthOptions(input, securityOf(app).root, problems)
  assertNoProblems(problems)
  if (options !== null) await installAuth(app, options, internals)
}

/** Opens the store, puts the guards in place and declares the built-in routes. */
export async function installAuth (
  app: FastifyInstance,
  options: ResolvedAuthOptions,
  { now }: AuthInternals,
): Promise<void> {
  const scope = securityOf(app)
  const { root } = scope
  const problems: Problem[] = []
  checkPlace(app, scope, problems)
  if (options.jwtDecorators) checkJwtNames(app, problems)
  assertNoProblems(problems)

  const emit = (event: SecurityEvent, request: FastifyRequest | null): void => { root.emit(event, request) }
  const policy = policyOf(options)
  const store = await openSessionStore(options, { policy, now, log: app.log, emit: (event) => { emit(event, null) } })
  const checkLiveness = createLivenessCheck(store, { delayMs: options.revocationDelayMs })
  const sockets = createSocketGuard({
    store,
    checkLiveness,
    delayMs: options.revocationDelayMs,
    now: () => store.now(),
  })
  app.addHook('onClose', async () => {
    sockets.close()
    store.close()
  })

  const path = `${app.prefix}${options.prefix}`
  const cookiesOf = cookieChooser(app, root.production, { profile: options.cookies, path, sameSite: options.sameSite })
  const refusals = createRefusals(options.sources, options.issuer)
  const { unauthorized } = refusals
  const secure = secureCookies({ profile: options.cookies, path, sameSite: options.sameSite })
  const { users } = options
  const sessions = createSessions({
    ...options,
    accessTtlSeconds: options.accessTtlMs / 1000,
    policy,
    store,
    assertFits: (access, refresh) => { assertCookiesFit(secure, access, refresh) },
  })
  const readCredential = createCredentialReader({ sources: options.sources, cookiesOf })
  const flows = createFlows({
    sessions,
    store,
    users,
    loadUser: options.loadUser,
    label: options.label,
    cookiesOf,
    readCredential,
    unauthorized,
    emit,
  })

  decorate(app, flows)
  publish(scope, 'sessions', createSessionsApi(store, flows))
  const guards = {
    access: sessions.access,
    readCredential,
    checkLiveness,
    refusals,
    sockets,
    emit,
    now: () => store.now(),
  }
  addSection(
    app,
    defineSection<AuthRouteOptions, ResolvedAuthPolicy>({
      key: 'auth',
      resolve: (base, written, where, found) => resolveAuthPolicy(users, base, written, where, found),
      compile: (policy, route) => compileGuards(guards, policy, route === null),
    }),
    baseAuthPolicy(options.revocation),
  )
  if (options.jwtDecorators) decorateJwt(app, guards, options)
  documentAuth(app, { sources: options.sources, cookieName: secure.access.name })
  keepParts(app, { sessions, users, sources: options.sources, cookies: secure, path })

  if (options.sources.includes('cookie')) root.readyChecks.push((found) => { checkCsrf(app, scope, found) })

  const has = (key: string): boolean => scope.isOn(key)
  if (options.authenticate !== null && !has('rateLimit')) {
    const urls = [
      ...options.sources.includes('cookie') ? [`${path}/login`] : [],
      ...options.sources.includes('bearer') ? [`${path}/token`] : [],
    ]
    app.log.warn(
      `${urls.join(' and ')} ${
        urls.length === 1 ? 'is' : 'are'
      } not throttled: register the rateLimit plugin before auth`,
    )
  }
  for (const route of authRoutes({ options, flows, store, unauthorized, emit, has })) app.route(route)
  warnOfEndedKeys(app, options, store.now())
}

/** Not refused: a service that restarts on the day after must come up. Nothing is verified with such a key. */
function warnOfEndedKeys (
  app: FastifyInstance,
  { accessKeys, refreshKeys }: Pick<ResolvedAuthOptions, 'accessKeys' | 'refreshKeys'>,
  now: number,
): void {
  for (const { kid, until } of [...accessKeys.verifyOnly, ...refreshKeys.verifyOnly]) {
    if (until * 1000 <= now) app.log.warn({ kid }, 'auth: this verifyOnly key has ended; remove it')
  }
}

function checkPlace (app: FastifyInstance, scope: SecurityScope, problems: Problem[]): void {
  if (scope.sections.has('auth')) {
    problems.push({
      path: 'auth',
      message: 'Registered a second time, in a child scope.',
      fix:
        'One service has one kind of session: override in the scope (app.secureScope) or on a route (its `security.auth` key).',
    })
  } else if (app.hasRequestDecorator('user') || app.hasRequestDecorator('auth')) {
    problems.push({
      path: 'auth',
      message: 'Another plugin has decorated request.user or request.auth already.',
      fix:
        'Remove the other one; code that was written for @fastify/jwt goes on with jwtDecorators: true. Or let it use other names: @fastify/jwt with a namespace and a decoratorName of its own.',
    })
  }
}

/**
 * Asked when everything is loaded: the csrf plugin may come after this one. Browsers send cookies along whoever made
 * the request.
 */
function checkCsrf (app: FastifyInstance, scope: SecurityScope, problems: Problem[]): void {
  if (scope.isOn('csrf')) return
  const message = 'Sessions come in cookies, and nothing refuses requests that other sites make with them.'
  const fix = 'Turn the csrf plugin on (`csrf` in the definition), or take Bearer tokens only: sources: [\'bearer\'].'
  if (scope.root.production) problems.push({ path: 'auth.sources', message, fix })
  else app.log.warn(`auth: ${message} ${fix} Production refuses to start so.`)
}

/** Which cookies a request has: those without Secure only outside production, over plain HTTP, on a loopback name. */
function cookieChooser (
  app: FastifyInstance,
  production: boolean,
  settings: Parameters<typeof secureCookies>[0],
): (request: FastifyRequest) => CookiePair {
  const secure = secureCookies(settings)
  if (production) return () => secure
  const loopback = loopbackCookies(settings)
  let warned = false
  return (request) => {
    if (request.protocol !== 'http' || !isLoopbackName(request.hostname)) return secure
    if (!warned) {
      warned = true
      app.log.warn(
        'auth: plain HTTP on a loopback name, so cookies go without Secure and without their prefix; never in production',
      )
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
  if (auth === null)
    {throw new Error(
      "request.user: nobody is signed in on this request. Read request.auth on routes whose policy is 'optional' or public.",
    )}
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
