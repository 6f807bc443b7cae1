/** Types of the decorators that the auth option `jwtDecorators` turns on. Import it once, where they are used. */
import type { ContextConfigDefault, FastifyBaseLogger, FastifySchema, FastifyTypeProvider, FastifyTypeProviderDefault,
  RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerBase, RawServerDefault,
  RouteGenericInterface } from 'fastify'
import type { JwtApi, JwtDecode, JwtSign, JwtVerify } from './lib/auth/jwt-types.js'
import type { ShapeOf } from './lib/policy/types.js'

export type { AccessPayload, JwtApi, JwtCallback, JwtDecode, JwtDecodeOptions, JwtSign, JwtSignOptions, JwtSignPayload,
  JwtVerify, JwtVerifyOptions } from './lib/auth/jwt-types.js'

declare module 'fastify' {
  interface FastifyInstance<
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
    Logger extends FastifyBaseLogger = FastifyBaseLogger,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  > {
    readonly jwt: JwtApi
  }
  interface FastifyRequest<
    RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    SchemaCompiler extends FastifySchema = FastifySchema,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  > {
    /**
     * Verifies the access token of this request as the guards do, signs the request in, and gives the token's payload.
     */
    readonly jwtVerify: JwtVerify<ShapeOf<TypeProvider>>
    /** The payload of this request's access token, also when it has expired or its session has ended. */
    readonly jwtDecode: JwtDecode<ShapeOf<TypeProvider>>
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
    /** Signs a token of the app's own; it opens nothing here. */
    readonly jwtSign: JwtSign
  }
}
