import { performance } from 'node:perf_hooks'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { SecurityError, type ErrorCode } from '../response/errors.js'
import type { SecurityEvent } from '../events/catalogue.js'
import { looseBearer } from '../net/bearer.js'
import { setSignedIn, signedIn } from './guards.js'
import { cookieValues, expireSessionCookies, setSessionCookies, type CookiePair } from './cookies.js'
import type { CredentialSource, ReadCredential } from './credentials.js'
import { assertMethods, deviceLabel } from './sign-in.js'
import { hashContext } from './rotation.js'
import { revoked, type IssuedTokens, type Sessions } from './sessions.js'
import type { EndReason, SessionStore } from './session-store.js'
import type { KnownUser, UserModel } from './users.js'

export interface FlowParts {
  readonly sessions: Sessions
  readonly store: SessionStore
  readonly users: UserModel
  readonly loadUser: (userId: string) => Promise<unknown>
  /** What the user is shown of the device; null: its user agent. */
  readonly label: ((request: FastifyRequest) => string) | null
  readonly cookiesOf: (request: FastifyRequest) => CookiePair
  readonly readCredential: ReadCredential
  readonly unauthorized: (code: ErrorCode) => SecurityError
  readonly emit: (event: SecurityEvent, request: FastifyRequest | null) => void
}

/** What is known of a sign-in beside the user. */
export interface LoginOptions {
  /** How the user proved who they are (RFC 8176), up to four; default `['pwd']`. */
  readonly methods?: readonly string[]
  /** What the user is shown of the device; default the option `label`, else the user agent. */
  readonly label?: string
  /**
   * When the credentials were checked, as `performance.now()` told: a user who was revoked since then gets no session.
   * Default: now.
   */
  readonly checkedAt?: number
}

/** The OAuth 2.0 token response (RFC 6749, section 5.1), for clients that keep no cookies. Lives in seconds. */
export interface TokenDocument {
  readonly access_token: string
  readonly token_type: 'Bearer'
  readonly expires_in: number
  readonly refresh_token: string
  readonly refresh_expires_in: number
}

export interface Renewed { readonly user: KnownUser, readonly source: CredentialSource, readonly tokens: IssuedTokens }

/** Sessions in terms of requests and replies: what `reply.login`, `reply.logout` and the built-in routes do. */
export interface AuthFlows {
  /**
   * Opens a new session for the user in place of any that the request presents (session fixation), and sets both
   * cookies.
   */
  login (
    request: FastifyRequest,
    reply: FastifyReply,
    user: unknown,
    source: string,
    options?: LoginOptions,
  ): Promise<KnownUser>
  /** The same for a client without cookies. */
  issue (
    request: FastifyRequest,
    reply: FastifyReply,
    user: unknown,
    source: string,
    options?: LoginOptions,
  ): Promise<TokenDocument>
  /**
   * Rotates the refresh token; a cookie's successor is set. @throws SecurityError, 401; the cookies then stay as they
   * are.
   */
  refresh (request: FastifyRequest, reply: FastifyReply): Promise<Renewed>
  /** Ends the session that the request presents, if any, and expires both cookies. */
  logout (request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** Ends one session of a user; false when it is none of theirs, or has ended. */
  revoke (userId: string, sessionId: string, request: FastifyRequest | null): Promise<boolean>
  /** Ends all sessions of a user but one, if named; how many. */
  revokeAll (userId: string, except: string | null, request: FastifyRequest | null): Promise<number>
}

export function createFlows (parts: FlowParts): AuthFlows {
  const { sessions, store, users, cookiesOf, unauthorized, emit } = parts

  /**
   * Whose sessions a request presents. An expired token still names its session: its signature proves that it was
   * theirs.
   */
  function presented (request: FastifyRequest): Map<string, string> {
    const { headers } = request.raw
    const cookies = cookiesOf(request)
    const owners = new Map<string, string>()
    for (
      const token of [
        ...cookieValues(headers.cookie, cookies.access.name),
        ...cookieValues(headers.cookie, cookies.refresh.name),
        looseBearer(request.raw) ?? '',
      ]
    ) {
      const owner = sessions.ownerOf(token)
      if (owner !== null) owners.set(owner.sessionId, owner.userId)
    }
    // A session that this very request opened counts as presented too.
    const auth = signedIn(request)
    if (auth !== null) owners.set(auth.sessionId, auth.userId)
    return owners
  }

  async function end (request: FastifyRequest, owners: Iterable<[string, string]>, reason: EndReason): Promise<void> {
    for (const [sessionId, userId] of owners) {
      if (await store.end(userId, sessionId, reason)) emit(revoked(userId, sessionId, reason), request)
    }
  }

  async function open (
    request: FastifyRequest,
    given: unknown,
    source: string,
    { methods = PASSWORD, label, checkedAt }: LoginOptions,
  ): Promise<IssuedTokens> {
    const user = users.fromApp(given, source)
    assertMethods(methods)
    assertCheckedAt(checkedAt)
    const owners = [...presented(request)]
    const opened = await sessions.open(user, {
      clientContext: hashContext(request.headers['user-agent']),
      label: deviceLabel(label ?? parts.label?.(request) ?? request.headers['user-agent']),
      methods,
      ageMs: checkedAt === undefined ? 0 : Math.max(0, Math.ceil(performance.now() - checkedAt)),
      replaces: owners.filter(([, userId]) => userId === user.id).map(([sessionId]) => sessionId),
    })
    if ('refused' in opened) {
      emit({ name: 'authn_login_fail', reason: opened.refused }, request)
      throw opened.refused === 'full' ? new SecurityError('SESSION_LIMIT_REACHED') : unauthorized('SESSION_REVOKED')
    }
    const { tokens, ended } = opened
    const { userId, sessionId } = tokens.context
    for (const one of ended) emit(revoked(userId, one.sessionId, one.reason), request)
    await end(request, owners.filter(([, owner]) => owner !== user.id), 'login')
    setSignedIn(request, tokens.context)
    emit({ name: 'authn_login_success', userId }, request)
    emit({ name: 'session_created', userId, sessionId }, request)
    emit({ name: 'authn_token_created', userId, sessionId }, request)
    return tokens
  }

  return Object.freeze<AuthFlows>({
    async login (request, reply, given, source, options = {}) {
      const tokens = await open(request, given, source, options)
      setSessionCookies(reply, cookiesOf(request), tokens)
      return tokens.context.user
    },

    async issue (request, reply, given, source, options = {}) {
      const tokens = await open(request, given, source, options)
      reply.header('cache-control', 'no-store')
      return tokenDocument(tokens)
    },

    async refresh (request, reply) {
      const credential = parts.readCredential(request, 'refresh')
      if (credential === 'missing') throw unauthorized('TOKEN_MISSING')
      if (credential === 'ambiguous') {
        emit({ name: 'authn_token_invalid', kind: 'refresh', code: 'TOKEN_INVALID' }, request)
        throw unauthorized('TOKEN_INVALID')
      }
      const outcome = await sessions.renew(credential.token, hashContext(request.headers['user-agent']), parts.loadUser)
      for (const event of outcome.events) emit(event, request)
      // The cookies are left alone: this answer may arrive after that of a new login in another tab, and would undo it.
      if ('refused' in outcome) throw unauthorized(outcome.refused)
      const { tokens } = outcome
      setSignedIn(request, tokens.context)
      if (credential.source === 'cookie') setSessionCookies(reply, cookiesOf(request), tokens)
      else reply.header('cache-control', 'no-store')
      return { user: tokens.context.user, source: credential.source, tokens }
    },

    async logout (request, reply) {
      await end(request, presented(request), 'logout')
      setSignedIn(request, null)
      expireSessionCookies(reply, cookiesOf(request))
      // Not "cookies": it would sign the user out of everything on this domain; not "cache": browsers take seconds for
      // it.
      reply.header('clear-site-data', '"storage"')
    },

    async revoke (userId, sessionId, request) {
      const ended = await store.end(userId, sessionId, 'revoked')
      if (ended) emit(revoked(userId, sessionId, 'revoked'), request)
      return ended
    },

    async revokeAll (userId, except, request) {
      const ended = await store.endAll(userId, 'revoked', except ?? undefined)
      for (const sessionId of ended) emit(revoked(userId, sessionId, 'revoked'), request)
      return ended.length
    },
  })
}

/**
 * @throws TypeError for a time of another clock (Date.now() lies decades ahead), which would take the protection away
 * in silence.
 */
function assertCheckedAt (checkedAt: number | undefined): void {
  if (checkedAt === undefined || (checkedAt >= 0 && checkedAt <= performance.now())) return
  throw new TypeError('auth: checkedAt is what performance.now() told before the credentials were checked')
}

const PASSWORD: readonly string[] = Object.freeze(['pwd'])

/** What a client without cookies is answered with. */
export function tokenDocument ({ access, refresh, expiresIn, maxAge }: IssuedTokens): TokenDocument {
  return {
    access_token: access,
    token_type: 'Bearer',
    expires_in: expiresIn,
    refresh_token: refresh,
    refresh_expires_in: maxAge,
  }
}
