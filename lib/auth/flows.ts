import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ErrorCode, SecurityError } from '../errors.js'
import type { SecurityEvent } from '../events/catalogue.js'
import { cookieValues, MAX_COOKIE_BYTES, renderCookie, renderExpiredCookie, type CookiePair } from './cookies.js'
import { kAuth } from './guards.js'
import { hashContext } from './rotation.js'
import { revoked, type IssuedTokens, type Sessions } from './sessions.js'
import type { EndReason, SessionStore } from './session-store.js'
import type { KnownUser, UserModel } from './users.js'

export interface FlowParts {
  readonly sessions: Sessions
  readonly store: SessionStore
  readonly users: UserModel
  readonly loadUser: (userId: string) => Promise<unknown>
  readonly cookiesOf: (request: FastifyRequest) => CookiePair
  readonly unauthorized: (code: ErrorCode) => SecurityError
  readonly emit: (event: SecurityEvent, request: FastifyRequest | null) => void
}

/** Sessions in terms of requests and replies: what `reply.login`, `reply.logout` and the built-in routes do. */
export interface AuthFlows {
  /** Opens a new session for the user, after ending any that the request presents (session fixation). */
  login (request: FastifyRequest, reply: FastifyReply, user: unknown, source: string): Promise<KnownUser>
  /** Rotates the refresh token. @throws SecurityError, 401; the cookies then stay as they are. */
  refresh (request: FastifyRequest, reply: FastifyReply): Promise<KnownUser>
  /** Ends whatever session the request presents and expires both cookies. */
  logout (request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** Ends all sessions of a user. */
  revokeUser (userId: string): Promise<void>
}

export function createFlows (parts: FlowParts): AuthFlows {
  const { sessions, store, users, cookiesOf, unauthorized, emit } = parts

  /** An expired access token still names its session, and so does a refresh token: both prove that it was theirs. */
  async function endPresented (request: FastifyRequest, reason: EndReason): Promise<void> {
    const cookies = cookiesOf(request)
    const header = request.raw.headers.cookie
    const owners = new Map<string, string>()
    for (const token of [...cookieValues(header, cookies.access.name), ...cookieValues(header, cookies.refresh.name)]) {
      const owner = sessions.ownerOf(token)
      if (owner !== null) owners.set(owner.sessionId, owner.userId)
    }
    // A session that this very request opened counts as presented too.
    const auth = request[kAuth]
    if (auth !== null) owners.set(auth.sessionId, auth.userId)
    for (const [sessionId, userId] of owners) {
      if (await store.end(userId, sessionId, reason)) emit(revoked(userId, sessionId, reason), request)
    }
    request[kAuth] = null
  }

  function send (request: FastifyRequest, reply: FastifyReply, tokens: IssuedTokens): void {
    const { access, refresh } = cookiesOf(request)
    replaceCookies(reply, cookiesOf(request), [
      renderCookie(access, tokens.access, tokens.maxAge),
      renderCookie(refresh, tokens.refresh, tokens.maxAge),
    ])
    request[kAuth] = tokens.context
  }

  return Object.freeze<AuthFlows>({
    async login (request, reply, given, source) {
      const user = users.fromApp(given, source)
      const opened = await sessions.open(user, { clientContext: hashContext(request.headers['user-agent']), label: '', methods: ['pwd'], ageMs: 0, replaces: [] })
      if ('refused' in opened) throw unauthorized('SESSION_REVOKED')
      const { tokens } = opened
      await endPresented(request, 'login')
      send(request, reply, tokens)
      const { userId, sessionId } = tokens.context
      emit({ name: 'authn_login_success', userId }, request)
      emit({ name: 'session_created', userId, sessionId }, request)
      emit({ name: 'authn_token_created', userId, sessionId }, request)
      return user
    },

    async refresh (request, reply) {
      const values = cookieValues(request.raw.headers.cookie, cookiesOf(request).refresh.name)
      const [token] = values
      if (token === undefined) throw unauthorized('TOKEN_MISSING')
      if (values.length > 1) {
        emit({ name: 'authn_token_invalid', kind: 'refresh', code: 'TOKEN_INVALID' }, request)
        throw unauthorized('TOKEN_INVALID')
      }
      const outcome = await sessions.renew(token, hashContext(request.headers['user-agent']), parts.loadUser)
      for (const event of outcome.events) emit(event, request)
      // The cookies are left alone: this answer may arrive after that of a new login in another tab, and would undo it.
      if ('refused' in outcome) throw unauthorized(outcome.refused)
      send(request, reply, outcome.tokens)
      return outcome.tokens.context.user
    },

    async logout (request, reply) {
      await endPresented(request, 'logout')
      const cookies = cookiesOf(request)
      replaceCookies(reply, cookies, [renderExpiredCookie(cookies.access), renderExpiredCookie(cookies.refresh)])
      // Not "cookies": it would sign the user out of everything on this domain; not "cache": browsers take seconds for it.
      reply.header('clear-site-data', '"storage"')
    },

    async revokeUser (userId) {
      for (const sessionId of await store.endAll(userId, 'revoked')) emit(revoked(userId, sessionId, 'revoked'), null)
    },
  })
}

/** @throws Error that says which cookie is too large; browsers would drop it without a word. */
export function assertCookiesFit (cookies: CookiePair, access: string, refresh: string): void {
  for (const [spec, value] of [[cookies.access, access], [cookies.refresh, refresh]] as const) {
    const bytes = renderCookie(spec, value, 0x7fff_ffff).length
    if (bytes > MAX_COOKIE_BYTES) throw new Error(`auth: the cookie ${spec.name} would take ${bytes} bytes and browsers keep ${MAX_COOKIE_BYTES}: shorten the user's claims, roles or id`)
  }
}

/** Sets our two cookies once, whatever was set before in this reply, and leaves those of the app. */
function replaceCookies (reply: FastifyReply, cookies: CookiePair, values: readonly string[]): void {
  const header = reply.getHeader('set-cookie')
  const before = header === undefined ? [] : Array.isArray(header) ? header : [String(header)]
  const others = before.filter((value) => !value.startsWith(`${cookies.access.name}=`) && !value.startsWith(`${cookies.refresh.name}=`))
  reply.removeHeader('set-cookie')
  reply.header('set-cookie', [...others, ...values])
  reply.header('cache-control', 'no-store')
}
