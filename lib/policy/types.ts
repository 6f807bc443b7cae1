import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { ContextConfigDefault, FastifyBaseLogger, FastifyInstance, FastifySchema, FastifyTypeProvider,
  FastifyTypeProviderDefault, RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerBase, RawServerDefault,
  RouteGenericInterface } from 'fastify'

/** The vocabulary of one service: which names exist and what its values look like. It rides on the type provider. */
export interface SecurityShape {
  /** Union of the role names. */
  roles: string
  /** Union of the scope names; absent or never: the service declares none. */
  scopes?: string
  /** Union of the rate-limit policy names, built-in ones included. */
  policies: string
  /** Type of `app.config`. */
  env: unknown
  /** Type of the app's own claims, spread into `request.user`. */
  claims: unknown
}

/** What a plain `FastifyInstance` falls back to: names are strings, checked at boot instead of by the compiler. */
export interface LooseShape extends SecurityShape {
  scopes: string
  env: Readonly<Record<string, unknown>>
  claims: Readonly<Record<string, unknown>>
}

/** The scope names of a vocabulary; `never` where none are declared. */
export type ScopeOf<S extends SecurityShape> = S extends { readonly scopes: infer N extends string } ? N : never

/**
 * The `security` key of a route, and what `secureScope` takes. Each plugin adds its one key by module augmentation,
 * so a service that uses one plugin alone sees only that plugin's key.
 */
export interface RouteSecurityOptions<S extends SecurityShape = LooseShape> {}

/** The resolved, frozen policy of a route under `request.routeOptions.config.security`; one key a plugin. */
export interface ResolvedRouteSecurity {}

/** `app.security`. Each plugin adds its own members by module augmentation. */
export interface SecurityApi {}

/** A TypeBox type provider that also carries the service's vocabulary. */
export interface SecurityTypeProvider<S extends SecurityShape> extends TypeBoxTypeProvider { readonly security?: S }

/** The vocabulary that a type provider carries; `LooseShape` for any other provider. */
export type ShapeOf<TypeProvider> = TypeProvider extends { readonly security?: infer S }
  ? NonNullable<S> extends SecurityShape ? NonNullable<S> : LooseShape
  : LooseShape

/** A Fastify instance that checks the names of its own roles, policies, env and claims. */
export type SecureInstance<S extends SecurityShape> = FastifyInstance<
  RawServerDefault, RawRequestDefaultExpression, RawReplyDefaultExpression, FastifyBaseLogger, SecurityTypeProvider<S>
>

/** What `app.secureScope` takes: a prefix, and the same keys as a route's `security`. */
export type SecureScopeOptions<S extends SecurityShape> = { readonly prefix?: string } & RouteSecurityOptions<S>

declare module 'fastify' {
  interface RouteShorthandOptions<
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
    RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
    ContextConfig = ContextConfigDefault,
    SchemaCompiler extends FastifySchema = FastifySchema,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  > {
    /** The route's security policy: what it changes of its scope's policy. */
    security?: RouteSecurityOptions<ShapeOf<TypeProvider>>
  }
  interface FastifyContextConfig {
    /** The resolved policy, set by the suite. Write the `security` key of the route instead. */
    security?: ResolvedRouteSecurity
  }
  interface FastifyInstance<
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
    Logger extends FastifyBaseLogger = FastifyBaseLogger,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  > {
    security: SecurityApi
    /**
     * Opens a child scope whose routes share the given overrides, with the type provider kept at any depth
     * (Fastify's own `register` drops it).
     */
    secureScope (
      options: SecureScopeOptions<ShapeOf<TypeProvider>>,
      routes: (scope: FastifyInstance<RawServer, RawRequest, RawReply, Logger, TypeProvider>) => void | Promise<void>,
    ): PromiseLike<void>
  }
}
