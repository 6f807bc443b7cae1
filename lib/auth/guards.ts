import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ErrorCode, SecurityError } from '../response/errors.js'
import type { SecurityEvent } from '../events/catalogue.js'
import type { PlacedStep, Verdict } from '../policy/section.js'
import type { Refusals } from './challenge.js'
import type { AuthContext } from './context.js'
import type { ReadCredential } from './credentials.js'
import type { CheckLiveness } from './liveness.js'
import type { ResolvedAuthPolicy } from './policy.js'
import type { Liveness } from './session-store.js'
import type { AccessToken } from './session-tokens.js'
import { isWebSocketUpgrade } from '../net/websocket.js'
import type { SocketGuard } from './sockets.js'
import type { TokenCodec } from './tokens.js'

const kAuth: unique symbol = Symbol('bulwark.auth')

declare module 'fastify' {
  interface FastifyRequest { [kAuth]?: AuthContext | null }
}

/**
 * The user who is signed in on a request; null when there is none. The one answer to that question: guards,
 * `request.auth` and its readers go by this. A request without a user has no such member at all, so nothing has to be
 * decorated.
 */
export function signedIn (request: FastifyRequest): AuthContext | null {
  return request[kAuth] ?? null
}

/** Signs a request in, or with null out. */
export function setSignedIn (request: FastifyRequest, context: AuthContext | null): void {
  request[kAuth] = context
}

export interface GuardParts {
  readonly access: TokenCodec<AccessToken>
  readonly readCredential: ReadCredential
  readonly checkLiveness: CheckLiveness
  readonly refusals: Refusals
  readonly sockets: SocketGuard
  readonly emit: (event: SecurityEvent, request: FastifyRequest) => void
  /** Epoch milliseconds on the clock that all instances share. */
  readonly now: () => number
}

/** The steps of one route's policy. A public route has none: its cookies are not even read. */
export function compileGuards (
  parts: GuardParts,
  policy: ResolvedAuthPolicy,
  isFallback: boolean,
): readonly PlacedStep[] {
  if (policy.access === 'public') return []
  const authenticate = authenticateStep(parts, policy)
  const authorize = policy.access === 'required' ? authorizeStep(parts, policy) : null
  if (isFallback) {
    // The scope's fallback serves 404s, where there is nothing to protect, but also routes that were declared before
    // the plugin was loaded: those must not escape.
    return placed(
      (request, reply) => request.is404 ? undefined : authenticate(request, reply),
      authorize === null ? null : (request, reply) => request.is404 ? undefined : authorize(request, reply),
    )
  }
  return placed(authenticate, authorize)
}

/** The reply is null where a handler asks, not the route's policy. */
export type Guard = (request: FastifyRequest, reply: FastifyReply | null) => Verdict | Promise<Verdict>

function placed (authenticate: Guard, authorize: Guard | null): readonly PlacedStep[] {
  const first: PlacedStep = { hook: 'onRequest', phase: 'authenticate', run: authenticate }
  return authorize === null ? [first] : [first, { hook: 'onRequest', phase: 'authorize', run: authorize }]
}

/** Verifies the token that a request presents, if any, and signs the request in. */
export function authenticateStep (
  { access, readCredential, checkLiveness, refusals, sockets, emit, now }: GuardParts,
  { revocation }: ResolvedAuthPolicy,
): Guard {
  const reject = (request: FastifyRequest, code: ErrorCode): SecurityError => {
    // An expired token is everyday life. One whose session has ended is a tab that was left open or a thief: worth a
    // line.
    if (code !== 'TOKEN_EXPIRED') emit({ name: 'authn_token_invalid', kind: 'access', code }, request)
    return refusals.unauthorized(code)
  }
  const accept = (request: FastifyRequest, reply: FastifyReply | null, context: AuthContext): Verdict => {
    setSignedIn(request, context)
    if (reply !== null && isWebSocketUpgrade(request.raw)) sockets.watch(request.raw, reply.raw, context, revocation)
    return undefined
  }

  return function authenticate (request, reply) {
    const credential = readCredential(request, 'access')
    if (credential === 'missing') return undefined
    if (credential === 'ambiguous') return reject(request, 'TOKEN_INVALID')
    const verified = access.verify(credential.token, Math.floor(now() / 1000))
    if (typeof verified === 'string') return reject(request, verified)
    const { context } = verified
    if (revocation === 'stateless') return accept(request, reply, context)
    const settle = (liveness: Liveness): Verdict => {
      if (liveness === 'alive') return accept(request, reply, context)
      return reject(request, liveness === 'outdated' ? 'TOKEN_EXPIRED' : 'SESSION_REVOKED')
    }
    const liveness = checkLiveness(revocation, context)
    // A store that cannot tell rejects with STORE_UNAVAILABLE: the request is refused, not let through.
    return typeof liveness === 'string' ? settle(liveness) : liveness.then(settle)
  }
}

function authorizeStep (
  { refusals, emit, now }: GuardParts,
  { roles, scopes, freshSeconds }: ResolvedAuthPolicy,
): Guard {
  const allowed: ReadonlySet<string> = new Set(roles)
  const insufficientRole = refusals.forbidden('INSUFFICIENT_ROLE')
  const insufficientScope = refusals.forbidden('INSUFFICIENT_SCOPE', { scope: scopes.join(' ') })
  const staleSignIn = refusals.prepare(
    'FRESH_AUTH_REQUIRED',
    freshSeconds === null ? {} : { max_age: String(freshSeconds) },
  )

  return function authorize (request) {
    const auth = signedIn(request)
    if (auth === null) return refusals.unauthorized('TOKEN_MISSING')
    if (allowed.size > 0 && !auth.roles.some((role) => allowed.has(role))) {
      emit({ name: 'authz_fail', userId: auth.userId, reason: 'INSUFFICIENT_ROLE' }, request)
      return insufficientRole()
    }
    if (!scopes.every((scope) => auth.scopes.includes(scope))) {
      emit({ name: 'authz_fail', userId: auth.userId, reason: 'INSUFFICIENT_SCOPE' }, request)
      return insufficientScope()
    }
    if (freshSeconds !== null && Math.floor(now() / 1000) - auth.authTime > freshSeconds) return staleSignIn()
    return undefined
  }
}
