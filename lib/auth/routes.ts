import { Type, type TObject } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { ErrorCode, SecurityError } from '../errors.js'
import type { SecurityEvent } from '../events/catalogue.js'
import type { RouteSecurityOptions } from '../policy/types.js'
import type { AuthFlows } from './flows.js'
import type { Credentials, ResolvedAuthOptions } from './options.js'
import { publicRoute } from './policy.js'

export interface RouteParts {
  readonly options: ResolvedAuthOptions
  readonly flows: AuthFlows
  readonly unauthorized: (code: ErrorCode) => SecurityError
  readonly emit: (event: SecurityEvent, request: FastifyRequest) => void
  /** Whether the plugin that owns this key of `security` is loaded. */
  readonly has: (key: string) => boolean
}

const CredentialsSchema = Type.Object({
  email: Type.String({ format: 'email', maxLength: 254 }),
  // No rule for its contents: those belong to where a password is chosen.
  password: Type.String({ minLength: 1, maxLength: 1024 }),
}, { additionalProperties: false })

/** The built-in routes under the prefix: login, refresh and logout. */
export function authRoutes (parts: RouteParts, authenticate: NonNullable<ResolvedAuthOptions['authenticate']>): RouteOptions[] {
  const { options, flows, unauthorized, emit, has } = parts
  const { prefix, users } = options
  const answer = Type.Object({ user: userSchema(users.schema, [...users.roles]) })
  return [
    {
      method: 'POST',
      url: `${prefix}/login`,
      security: securityOf(has, 'Signing in is how one gets credentials.', { rateLimit: ['login'] }),
      schema: { body: CredentialsSchema, response: { 200: answer } },
      handler: async function login (request, reply) {
        const credentials = request.body as Credentials
        const user = await failing(authenticate, credentials, request)
        if (user === null || user === undefined) {
          emit({ name: 'authn_login_fail', reason: 'credentials' }, request)
          throw unauthorized('CREDENTIALS_INVALID')
        }
        return { user: await flows.login(request, reply, user, 'authenticate') }
      },
    },
    {
      method: 'POST',
      url: `${prefix}/refresh`,
      security: securityOf(has, 'The refresh token is checked by the route itself.', {}),
      schema: { response: { 200: answer } },
      handler: async function refresh (request, reply) {
        return { user: await flows.refresh(request, reply) }
      },
    },
    {
      method: 'POST',
      url: `${prefix}/logout`,
      security: securityOf(has, 'Signing out works with an expired or missing token too.', {}),
      schema: { response: { 204: Type.Null() } },
      handler: async function logout (request: FastifyRequest, reply: FastifyReply) {
        await flows.logout(request, reply)
        return reply.code(204).send()
      },
    },
  ]

  /** A login that could not be decided is no wrong password, but whoever watches the logins must see it. */
  async function failing (decide: typeof authenticate, credentials: Credentials, request: FastifyRequest): Promise<unknown> {
    try {
      return await decide(credentials, request)
    } catch (error) {
      emit({ name: 'authn_login_fail', reason: 'error' }, request)
      throw error
    }
  }
}

/**
 * Only the keys whose plugins are loaded, because a key without an owner stops the boot. Their types come from plugins
 * that this one must not import, hence the record; their sections check the values at boot.
 */
function securityOf (has: RouteParts['has'], why: string, rateLimit: { readonly rateLimit?: readonly string[] }): RouteSecurityOptions {
  const written: Record<string, unknown> = { auth: publicRoute(why) }
  if (has('rateLimit')) Object.assign(written, rateLimit)
  if (has('csrf')) written['csrf'] = 'always'
  return written
}

function userSchema (claims: TObject | null, roles: readonly string[]): TObject {
  return Type.Object({ id: Type.String(), roles: Type.Array(Type.String({ enum: roles })), ...claims?.properties }, { additionalProperties: false })
}
