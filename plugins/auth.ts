/**
 * JWT cookie sessions: short access tokens, rotating refresh tokens, and a guard on every route that does not say
 * otherwise. A token that is not beyond doubt is a 401; a store that cannot tell is a 503, never an answer.
 */
import fastifyCookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import type { ContextConfigDefault, FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, FastifyTypeProvider,
  FastifyTypeProviderDefault, RawReplyDefaultExpression, RawRequestDefaultExpression,
  RawServerBase, RawServerDefault, RouteGenericInterface } from 'fastify'
import { createRefusals } from '../lib/auth/challenge.js'
import type { AuthContext, SecurityUser, SignInUser } from '../lib/auth/context.js'
import { assertCookiesFit, createCookieChooser, secureCookies } from '../lib/auth/cookies.js'
import { createCredentialReader } from '../lib/auth/credentials.js'
import { createFlows, type AuthFlows, type LoginOptions, type TokenDocument } from '../lib/auth/flows.js'
import { compileGuards, signedIn, type GuardParts } from '../lib/auth/guards.js'
import { appJwt, appRegistrations, checkJwtNames, hideRequestNamespace,
  sessionRegistration } from '../lib/auth/jwt-decorators.js'
import type { Jwt } from '../lib/auth/jwt-types.js'
import type { Keyring } from '../lib/auth/keyring.js'
import { createLivenessCheck } from '../lib/auth/liveness.js'
import { openSessionStore, policyOf } from '../lib/auth/open-store.js'
import { documentAuth } from '../lib/auth/openapi.js'
import { AuthOptionsSchema, type AuthOptions, type ResolvedAuthOptions } from '../lib/auth/options.js'
import { baseAuthPolicy, resolveAuthPolicy, type AuthRouteOptions,
  type ResolvedAuthPolicy } from '../lib/auth/policy.js'
import { resolveAuth } from '../lib/auth/resolve.js'
import { authRoutes } from '../lib/auth/routes.js'
import { createSessions } from '../lib/auth/sessions.js'
import { createSessionsApi, type SessionsApi } from '../lib/auth/sessions-api.js'
import { ACCESS_TYPE, REFRESH_TYPE } from '../lib/auth/session-tokens.js'
import { createSocketGuard } from '../lib/auth/sockets.js'
import { keepParts } from '../lib/auth/test-access.js'
import { keyRegistrations, tokenKeys, type TokenKeys } from '../lib/auth/token-keys.js'
import type { SecurityEvent } from '../lib/events/catalogue.js'
import { addSection, publish } from '../lib/policy/install.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import type { SecurityScope } from '../lib/policy/scope.js'
import { defineSection } from '../lib/policy/section.js'
import type { SecurityShape, ShapeOf } from '../lib/policy/types.js'
import { assertNoProblems, type Problem } from '../lib/response/errors.js'

export type { AuthContext, SecurityUser, SignInUser } from '../lib/auth/context.js'
export { AuthOptionsSchema, type AuthOptions, type AuthUser, type Credentials } from '../lib/auth/options.js'
export { PublicRoute, publicRoute } from '../lib/policy/public-route.js'
export type { AuthRequirements, AuthRouteOptions, ResolvedAuthPolicy } from '../lib/auth/policy.js'

export type { SessionsApi } from '../lib/auth/sessions-api.js'
export type { LoginOptions, TokenDocument } from '../lib/auth/flows.js'
export type { SessionInfo } from '../lib/auth/session-store.js'

declare module '../lib/policy/types.js' {
  interface RouteSecurityOptions<S extends SecurityShape> {
    /**
     * Who may call this route: `'required'` (default), `'optional'`, `publicRoute('why')`, or `{ roles, scopes, fresh,
     * revocation }`.
     */
    auth?: AuthRouteOptions<S>
  }
  interface ResolvedRouteSecurity { readonly auth?: ResolvedAuthPolicy }
  interface SecurityApi { readonly sessions: SessionsApi }
}

const kFlows: unique symbol = Symbol('bulwark.authFlows')

/**
 * `request.user`, inherited and not declared: @fastify/jwt declares it too, and where its types are in a program
 * (`reply.jwtSign` tells) they decide, through its `FastifyJWT.user`.
 */
export interface SignedInRequest<TypeProvider> {
  /** Who is signed in. Throws when no user is: read `auth` on optional and public routes. */
  readonly user: 'jwtSign' extends keyof FastifyReply ? unknown : SecurityUser<ShapeOf<TypeProvider>>
}

declare module 'fastify' {
  interface FastifyInstance { [kFlows]: AuthFlows }
  interface FastifyRequest<
    RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    SchemaCompiler extends FastifySchema = FastifySchema,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  > extends SignedInRequest<TypeProvider> {
    /** What the access token of this request said; null when no user is signed in, and always null on public routes. */
    readonly auth: AuthContext<ShapeOf<TypeProvider>> | null
  }
  interface FastifyReply<
    RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
    ContextConfig = ContextConfigDefault,
    SchemaCompiler extends FastifySchema = FastifySchema,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  > {
    /** Opens a session for the user, ends the one that the request presents, and sets both cookies. */
    login (user: SignInUser<ShapeOf<TypeProvider>>, options?: LoginOptions): Promise<void>
    /** The same for a client that keeps no cookies: the tokens, to be sent as the answer. */
    issueTokens (user: SignInUser<ShapeOf<TypeProvider>>, options?: LoginOptions): Promise<TokenDocument>
    /** Ends the session that the request presents, and expires both cookies. */
    logout (): Promise<void>
  }
}

/** What tests replace. */
export interface AuthInternals {
  /** Epoch milliseconds. Redis keeps its own clock. */
  readonly now: () => number
}

/** Opens the store, puts the guards in place and declares the built-in routes. */
export async function installAuth (
  app: FastifyInstance,
  options: ResolvedAuthOptions,
  scope: SecurityScope,
  { now }: AuthInternals,
): Promise<void> {
  const { root } = scope
  assertPlace(app, scope, options)
  await bringCookies(app, scope)
  const accessKeys = await registerKeys(app, ACCESS_TYPE, options.accessKeys)
  const refreshKeys = await registerKeys(app, REFRESH_TYPE, options.refreshKeys)

  const emit = (event: SecurityEvent, request: FastifyRequest | null): void => { root.emit(event, request) }
  const policy = policyOf(options)
  const store = await openSessionStore(options, { policy, now, log: app.log, emit: (event) => { emit(event, null) } })
  const clock = (): number => store.now()
  const delayMs = options.revocationDelayMs
  const checkLiveness = createLivenessCheck(store, { delayMs })
  const sockets = createSocketGuard({ store, checkLiveness, delayMs, now: clock })
  app.addHook('onClose', async function closeSessions () {
    sockets.close()
    store.close()
  })

  const path = `${app.prefix}${options.prefix}`
  const cookies = { profile: options.cookies, path, sameSite: options.sameSite }
  const cookiesOf = createCookieChooser(cookies, root.production, (message) => { app.log.warn(message) })
  const secure = secureCookies(cookies)
  const refusals = createRefusals(options.sources, options.issuer)
  const { unauthorized } = refusals
  const { users, sources } = options
  const sessions = createSessions({
    ...options,
    accessKeys,
    refreshKeys,
    accessTtlSeconds: options.accessTtlMs / 1000,
    policy,
    store,
    assertFits: (access, refresh) => { assertCookiesFit(app, secure, access, refresh) },
  })
  const readCredential = createCredentialReader({ sources, cookiesOf })
  const { loadUser, label } = options
  const flows = createFlows({ sessions, store, users, loadUser, label, cookiesOf, readCredential, unauthorized, emit })
  const guards = { access: sessions.access, readCredential, checkLiveness, refusals, sockets, emit, now: clock }

  decorate(app, flows)
  publish(scope, 'sessions', createSessionsApi(store, flows))
  addSection(
    app,
    defineSection<AuthRouteOptions, ResolvedAuthPolicy>({
      key: 'auth',
      resolve: (base, written, where, found) => resolveAuthPolicy(users, base, written, where, found),
      compile: (compiled, route) => compileGuards(guards, compiled, route === null),
    }),
    baseAuthPolicy(options.revocation),
  )
  if (options.jwtDecorators) await decorateJwt(app, guards, accessKeys, options)
  documentAuth(app, { sources, cookieName: secure.access.name })
  keepParts(app, { sessions, users, sources, cookies: secure, path })

  if (sources.includes('cookie')) root.readyChecks.push((found) => { checkCsrf(app, scope, found) })
  // Only when every plugin is loaded is it known whether one of them limits the sign-in.
  root.readyChecks.push(() => { if (!scope.isOn('rateLimit')) warnOfUnthrottledLogin(app, options, path) })
  warnOfEndedKeys(app, options, store.now())
  for (const route of authRoutes({ options, flows, store, unauthorized, emit })) app.route(route)
}

/** Session cookies are set by @fastify/cookie: the suite's, the app's own, or one that is registered here. */
async function bringCookies (app: FastifyInstance, { sections, root }: SecurityScope): Promise<void> {
  if (app.hasReplyDecorator('setCookie')) return
  if (sections.get('cookies')?.section.off !== true) {
    await app.register(fastifyCookie)
    return
  }
  root.readyChecks.push(function cookiesAreThere (problems) {
    if (app.hasReplyDecorator('setCookie')) return
    problems.push({
      path: 'cookies',
      message: 'Turned off, and the app has not registered @fastify/cookie, which sets the cookies of sessions.',
      fix: 'Register @fastify/cookie, or leave `cookies` out.',
    })
  })
}

/**
 * The keys of one kind of token in namespaces of @fastify/jwt. In a scope of their own: the app gets no decorator of
 * them, and no way to sign a session's token.
 */
export async function registerKeys (app: FastifyInstance, typ: string, keyring: Keyring): Promise<TokenKeys> {
  const registered: Record<string, Jwt> = {}
  await app.register(async function sessionKeys (scope) {
    scope.decorate('jwt', registered as unknown as Jwt)
    for (const registration of keyRegistrations(typ, keyring)) await scope.register(fastifyJwt, registration)
  })
  return tokenKeys(typ, keyring, registered)
}

/** `request.jwtVerify`, `request.jwtDecode`, `reply.jwtSign` and `app.jwt` of @fastify/jwt. */
async function decorateJwt (
  app: FastifyInstance,
  guards: GuardParts,
  accessKeys: TokenKeys,
  options: ResolvedAuthOptions,
): Promise<void> {
  const { refreshKeys } = options
  const registrations = appRegistrations(refreshKeys, options)
  const registered: Record<string, Jwt> = {}
  await app.register(async function appKeys (scope) {
    scope.decorate('jwt', registered as unknown as Jwt)
    for (const registration of registrations) await scope.register(fastifyJwt, registration)
  })
  const signers = registrations.map(({ namespace }) => registered[namespace] as Jwt)
  const until = [Infinity, ...refreshKeys.verifyOnly.map((key) => key.until)]
  app.decorate('jwt', appJwt(signers, until, guards.now, guards.refusals.unauthorized))
  app.decorateRequest('jwtPayload', null)
  await app.register(fastifyJwt, sessionRegistration(guards, accessKeys, options))
  hideRequestNamespace(app.jwt)
}

/** @throws BulwarkConfigError where the plugin cannot be at home. */
function assertPlace (app: FastifyInstance, scope: SecurityScope, { jwtDecorators }: ResolvedAuthOptions): void {
  const problems: Problem[] = []
  if (scope.sections.has('auth')) {
    problems.push({
      path: 'auth',
      message: 'Registered a second time, in a child scope.',
      fix:
        'One service has one kind of session: override in the scope ' +
        '(app.secureScope) or on a route (its `security.auth` key).',
    })
  } else if (app.hasRequestDecorator('user') || app.hasRequestDecorator('auth')) {
    problems.push({
      path: 'auth',
      message: 'Another plugin has decorated request.user or request.auth already.',
      fix:
        'Remove the other one; code that was written for @fastify/jwt goes on with jwtDecorators: true. ' +
        'Or let it use other names: @fastify/jwt with a namespace and a decoratorName of its own.',
    })
  }
  if (problems.length === 0 && jwtDecorators) checkJwtNames(app, problems)
  assertNoProblems(problems)
}

/** Browsers send cookies with every request. Asked when everything is loaded: the csrf plugin may come after this. */
function checkCsrf (app: FastifyInstance, scope: SecurityScope, problems: Problem[]): void {
  if (scope.isOn('csrf')) return
  const message = 'Sessions come in cookies, and nothing refuses requests that other sites make with them.'
  const fix = 'Turn the csrf plugin on (`csrf` in the definition), or take Bearer tokens only: sources: [\'bearer\'].'
  if (scope.root.production) problems.push({ path: 'auth.sources', message, fix })
  else app.log.warn(`auth: ${message} ${fix} Production refuses to start so.`)
}

function warnOfUnthrottledLogin (
  app: FastifyInstance,
  { authenticate, sources }: ResolvedAuthOptions,
  path: string,
): void {
  if (authenticate === null) return
  const urls = sources.map((source) => `${path}/${source === 'cookie' ? 'login' : 'token'}`).sort()
  const verb = urls.length === 1 ? 'is' : 'are'
  app.log.warn(`${urls.join(' and ')} ${verb} not throttled: register the rateLimit plugin`)
}

/** Not refused: a service that restarts on the day after must come up. Nothing is verified with such a key. */
function warnOfEndedKeys (app: FastifyInstance, { accessKeys, refreshKeys }: ResolvedAuthOptions, now: number): void {
  for (const { kid, until } of [...accessKeys.verifyOnly, ...refreshKeys.verifyOnly]) {
    if (until * 1000 <= now) app.log.warn({ kid }, 'auth: this verifyOnly key has ended; remove it')
  }
}

function decorate (app: FastifyInstance, flows: AuthFlows): void {
  app.decorate(kFlows, flows)
  app.decorateRequest('auth', { getter: readAuth })
  app.decorateRequest('user', { getter: readUser })
  app.decorateReply('login', loginReply)
  app.decorateReply('issueTokens', issueReply)
  app.decorateReply('logout', logoutReply)
}

function readAuth (this: FastifyRequest): FastifyRequest['auth'] {
  return signedIn(this)
}

function readUser (this: FastifyRequest): FastifyRequest['user'] {
  const auth = signedIn(this)
  if (auth !== null) return auth.user
  throw new Error(
    'request.user: no user is signed in on this request. ' +
    "Read request.auth on routes whose policy is 'optional' or public.",
  )
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

export const auth = defineSecurityPlugin<typeof AuthOptionsSchema, ResolvedAuthOptions | null, AuthOptions>({
  key: 'auth',
  options: AuthOptionsSchema,
  resolve: resolveAuth,
  async install (app, options, scope) {
    if (options !== null) await installAuth(app, options, scope, { now: Date.now })
  },
})
export default auth
