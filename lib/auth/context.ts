import type { FastifyRequest } from 'fastify'
import type { LooseShape, ScopeOf, SecurityShape } from '../policy/types.js'

/** `request.user`: who is signed in, with the app's own claims beside id and roles. */
export type SecurityUser<S extends SecurityShape = LooseShape> = {
  readonly id: string
  readonly roles: readonly S['roles'][]
} & ScopesMember<S> & S['claims']

/** Only where scopes are declared. */
type ScopesMember<S extends SecurityShape> = [ScopeOf<S>] extends [never] ? unknown
  : string extends ScopeOf<S> ? { readonly scopes?: readonly string[] }
    : { readonly scopes: readonly ScopeOf<S>[] }

/** What `reply.login` takes: a user may leave the scopes out and then has none. */
export type SignInUser<S extends SecurityShape = LooseShape> = {
  readonly id: string
  readonly roles: readonly S['roles'][]
  readonly scopes?: readonly ScopeOf<S>[]
} & S['claims']

/** `request.auth`: what the access token said. Frozen; the same object for every request with the same token. */
export interface AuthContext<S extends SecurityShape = LooseShape> {
  readonly userId: string
  readonly sessionId: string
  readonly roles: readonly S['roles'][]
  /** What the caller may do beside its roles; empty where the service declares no scopes. */
  readonly scopes: readonly ScopeOf<S>[]
  /** How the user signed in (RFC 8176), for example `['pwd']`. */
  readonly methods: readonly string[]
  /** When the user signed in, in epoch seconds; refreshing does not change it. */
  readonly authTime: number
  /** When the access token ends, in epoch seconds. */
  readonly expiresAt: number
  /** Which version of the user's data the token was made from; `sessions.outdate` raises it. */
  readonly tokenVersion: number
  readonly user: SecurityUser<S>
}

const kAuth: unique symbol = Symbol('bulwark.auth')

declare module 'fastify' {
  interface FastifyRequest { [kAuth]?: AuthContext | null }
}

/**
 * Who is signed in on a request; null for nobody. The one answer to that question: guards, `request.auth` and whoever
 * reads it go by this. A request that nobody signed in has no such member at all, so nothing has to be decorated.
 */
export function signedIn (request: FastifyRequest): AuthContext | null {
  return request[kAuth] ?? null
}

/** Signs a request in, or with null out. */
export function setSignedIn (request: FastifyRequest, context: AuthContext | null): void {
  request[kAuth] = context
}
