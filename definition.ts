import type { Static, TObject } from '@sinclair/typebox'
import type { AuthOptions } from './plugins/auth.js'
import type { CookiesOptions } from './plugins/cookies.js'
import type { CorsOptions } from './plugins/cors.js'
import type { CsrfOptions } from './plugins/csrf.js'
import type { EnvInput, EnvOf } from './plugins/env.js'
import type { ErrorsOptions } from './plugins/errors.js'
import type { EventsOptions } from './plugins/events.js'
import type { HeadersOptions } from './plugins/headers.js'
import type { BuiltInPolicy, RateLimitOptions } from './plugins/rate-limit.js'
import type { TransportOptions } from './plugins/transport.js'
import type { ValidationOptions } from './plugins/validation.js'
import type { Profile } from './lib/headers/table.js'
import type { RouteSecurityOptions, SecurityShape } from './lib/policy/types.js'

/** The vocabulary that a definition spells out. */
export interface ShapeFrom<R extends string, P extends string, E, C extends TObject, N extends string = never>
  extends SecurityShape {
  roles: R
  scopes: N
  policies: P | BuiltInPolicy
  env: EnvOf<E>
  claims: Static<C>
}

/**
 * A service's security in one object: one key a plugin, `false` turns a plugin off, an absent key means its safe
 * defaults. Role, scope and policy names that are written here are the ones that routes may use.
 */
export interface SecurityConfig<R extends string = string, P extends string = string, E = unknown,
  C extends TObject = TObject, N extends string = string> {
  /** `'api'` (default): JSON only. `'document'`: HTML pages under a CSP with nonces. */
  profile?: Profile
  /** A TypeBox object schema, `{ schema, ... }`, or what `loadEnv` returned; gives the typed, frozen `app.config`. */
  env?: E
  /** Options of @fastify/cookie; `false`: the app registers it itself, before the suite. */
  cookies?: CookiesOptions | false
  transport?: TransportOptions
  headers?: Omit<HeadersOptions, 'profile'> | false
  cors?: CorsOptions | false
  csrf?: CsrfOptions | false
  rateLimit?: RateLimitOptions<P> | false
  /** Who may call. Production wants a decision: options, or `false` for a service without callers' identities. */
  auth?: AuthOptions<R, C, N> | false
  validation?: ValidationOptions | false
  errors?: ErrorsOptions | false
  events?: EventsOptions | false
  /** The policy of every route that does not say otherwise; same keys as a route's `security`. */
  defaults?: RouteSecurityOptions<ShapeFrom<NoInfer<R>, NoInfer<P>, NoInfer<E>, NoInfer<C>, NoInfer<N>>>
}

/** A definition that carries its vocabulary for the compiler. */
export type SecurityDefinition<S extends SecurityShape = SecurityShape> = Readonly<
  Omit<SecurityConfig<never, never>, 'defaults' | 'auth' | 'rateLimit'>
> & {
  readonly auth?: unknown
  readonly rateLimit?: unknown
  readonly defaults?: unknown
  readonly '~shape'?: S
}

/**
 * The vocabulary of a definition: `app.withTypeProvider<SecurityTypeProvider<ShapeOfDefinition<typeof security>>>()`.
 */
export type ShapeOfDefinition<D> = D extends SecurityDefinition<infer S> ? S : never

/** What a definition without variables or claims of its own has. */
type NoProperties = TObject<Record<never, never>>

/**
 * Gives a definition its types. It changes and checks nothing: `createServer`, `serverOptions` and `register` check it
 * and report everything wrong at once.
 */
export function defineSecurity<
  const R extends string = never,
  const P extends string = never,
  E extends EnvInput = NoProperties,
  C extends TObject = NoProperties,
  const N extends string = never,
> (config: SecurityConfig<R, P, E, C, N>): SecurityDefinition<ShapeFrom<R, P, E, C, N>> {
  return Object.freeze({ ...config })
}
