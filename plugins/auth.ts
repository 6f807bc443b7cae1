/**
 * JWT cookie sessions: short access tokens, rotating refresh tokens, and a guard on every route that does not say
 * otherwise. A token that is not beyond doubt is a 401; a store that cannot tell is a 503, never an answer.
 */
import { Type, type TObject } from '@sinclair/typebox'
import type { ContextConfigDefault, FastifySchema, FastifyTypeProvider, FastifyTypeProviderDefault,
  RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerBase, RawServerDefault,
  RouteGenericInterface } from 'fastify'
import type { SessionsApi } from '../lib/auth/sessions-api.js'
import type { AuthContext, SecurityUser, SignInUser } from '../lib/auth/context.js'
import type { LoginOptions, TokenDocument } from '../lib/auth/flows.js'
import { resolveAuthOptions, type AuthOptions, type ResolvedAuthOptions } from '../lib/auth/options.js'
import type { AuthRouteOptions, ResolvedAuthPolicy } from '../lib/auth/policy.js'
import { installAuth } from '../lib/auth/setup.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import type { SecurityShape, ShapeOf } from '../lib/policy/types.js'

export type { AuthContext, SecurityUser, SignInUser } from '../lib/auth/context.js'
export { AuthOptionsSchema, checkAuth, type AuthBoot, type AuthOptions, type AuthUser,
  type Credentials } from '../lib/auth/options.js'
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

declare module 'fastify' {
  interface FastifyRequest<
    RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    SchemaCompiler extends FastifySchema = FastifySchema,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  > {
    /** What the access token of this request said; null when nobody is signed in, and always null on public routes. */
    readonly auth: AuthContext<ShapeOf<TypeProvider>> | null
    /** Who is signed in. Throws when nobody is: read `auth` on optional and public routes. */
    readonly user: SecurityUser<ShapeOf<TypeProvider>>
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

export const auth = defineSecurityPlugin<TObject, ResolvedAuthOptions | null, AuthOptions>({
  key: 'auth',
  options: Type.Object({}),
  resolve: (options, { boot, problems }) => resolveAuthOptions(options, boot, problems),
  async install (app, options) { if (options !== null) await installAuth(app, options, { now: Date.now }) },
})
export default auth
