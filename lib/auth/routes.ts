import { performance } from 'node:perf_hooks'
import { Type, type TObject, type TSchema } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { SecurityError, type ErrorCode } from '../response/errors.js'
import type { SecurityEvent } from '../events/catalogue.js'
import { whereLoaded } from '../policy/install.js'
import { tokenDocument, type AuthFlows } from './flows.js'
import { publicKeySet } from './keyring.js'
import type { Credentials, ResolvedAuthOptions } from './options.js'
import { publicRoute } from '../policy/public-route.js'
import { ID_PATTERN } from './rotation.js'
import type { SessionStore } from './session-store.js'

export interface RouteParts {
  readonly options: ResolvedAuthOptions
  readonly flows: AuthFlows
  readonly store: SessionStore
  readonly unauthorized: (code: ErrorCode) => SecurityError
  readonly emit: (event: SecurityEvent, request: FastifyRequest) => void
}

const CredentialsSchema = Type.Object({
  email: Type.String({ format: 'email', maxLength: 254 }),
  // No rule for its contents: those belong to where a password is chosen.
  password: Type.String({ minLength: 1, maxLength: 1024 }),
}, { additionalProperties: false })

/** RFC 6749, section 5.1. */
const TokenDocumentSchema = Type.Object({
  access_token: Type.String(),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer(),
  refresh_token: Type.String(),
  refresh_expires_in: Type.Integer(),
})

const SessionsSchema = Type.Object({
  sessions: Type.Array(Type.Object({
    id: Type.String(),
    current: Type.Boolean(),
    createdAt: Type.String(),
    refreshedAt: Type.String(),
    expiresAt: Type.String(),
    device: Type.String(),
    methods: Type.Array(Type.String()),
  })),
})

const SessionParams = Type.Object({ id: Type.String({ pattern: ID_PATTERN.source }) })
const RevokeQuery = Type.Object({ all: Type.Optional(Type.Boolean()) }, { additionalProperties: false })

/** The built-in routes: signing in with `authenticate` only, unless `routes: false` leaves them all to the app. */
export function authRoutes (parts: RouteParts): RouteOptions[] {
  const { options } = parts
  const keys = keySetRoute(parts)
  const always = keys === null ? [] : [keys]
  if (!options.routes) return always
  return [
    ...always,
    ...options.authenticate === null ? [] : signInRoutes(parts, options.authenticate),
    ...renewalRoutes(parts),
    ...sessionRoutes(parts),
  ]
}

function signInRoutes (
  parts: RouteParts,
  authenticate: NonNullable<ResolvedAuthOptions['authenticate']>,
): RouteOptions[] {
  const { options, flows, unauthorized, emit } = parts
  const { prefix, users, sources } = options
  const withCookies = sources.includes('cookie')
  const withBearer = sources.includes('bearer')

  const login: RouteOptions = {
    method: 'POST',
    url: `${prefix}/login`,
    security: SIGN_IN,
    schema: { body: CredentialsSchema, response: { 200: signedIn(users) } },
    handler: async function login (request, reply) {
      const { user, checkedAt } = await decide(request)
      return { user: await flows.login(request, reply, user, 'authenticate', { checkedAt }) }
    },
  }
  const token: RouteOptions = {
    method: 'POST',
    url: `${prefix}/token`,
    security: SIGN_IN,
    schema: { body: CredentialsSchema, response: { 200: TokenDocumentSchema } },
    handler: async function token (request, reply) {
      const { user, checkedAt } = await decide(request)
      return flows.issue(request, reply, user, 'authenticate', { checkedAt })
    },
  }
  return [...withCookies ? [login] : [], ...withBearer ? [token] : []]

  async function decide (request: FastifyRequest): Promise<{ user: unknown, checkedAt: number }> {
    const checkedAt = performance.now()
    const user = await failing(authenticate, request.body as Credentials, request)
    if (user === null || user === undefined) {
      emit({ name: 'authn_login_fail', reason: 'credentials' }, request)
      throw unauthorized('CREDENTIALS_INVALID')
    }
    return { user, checkedAt }
  }

  /** A login that could not be decided is no wrong password, but must be seen where logins are watched. */
  async function failing (
    decide: typeof authenticate,
    credentials: Credentials,
    request: FastifyRequest,
  ): Promise<unknown> {
    try {
      return await decide(credentials, request)
    } catch (error) {
      emit({ name: 'authn_login_fail', reason: 'error' }, request)
      throw error
    }
  }
}

function renewalRoutes ({ options, flows }: RouteParts): RouteOptions[] {
  const { prefix, users, sources } = options
  const renewed: TSchema = !sources.includes('bearer')
    ? signedIn(users)
    : sources.includes('cookie')
    ? Type.Union([signedIn(users), TokenDocumentSchema])
    : TokenDocumentSchema
  const refresh: RouteOptions = {
    method: 'POST',
    url: `${prefix}/refresh`,
    security: whereLoaded({ auth: publicRoute('The refresh token is checked by the route itself.'), csrf: 'always' }),
    schema: { response: { 200: renewed } },
    handler: async function refresh (request, reply) {
      const { user, source, tokens } = await flows.refresh(request, reply)
      return source === 'cookie' ? { user } : tokenDocument(tokens)
    },
  }
  const logout: RouteOptions = {
    method: 'POST',
    url: `${prefix}/logout`,
    security: whereLoaded({
      auth: publicRoute('Signing out works with an expired or missing token too.'),
      csrf: 'always',
    }),
    schema: { response: { 204: Type.Null() } },
    handler: async function logout (request: FastifyRequest, reply: FastifyReply) {
      await flows.logout(request, reply)
      return reply.code(204).send()
    },
  }
  return [refresh, logout]
}

/** The caller's own sessions: listed, and ended one by one or together. */
function sessionRoutes ({ options: { prefix }, flows, store }: RouteParts): RouteOptions[] {
  // A user who decides about sessions must have one at this moment, in every revocation mode of the service.
  const security = whereLoaded({ auth: { revocation: 'strict' } })
  return [
    {
      method: 'GET',
      url: `${prefix}/sessions`,
      security,
      schema: { response: { 200: SessionsSchema } },
      handler: async function listSessions (request) {
        const { userId, sessionId } = ownSession(request)
        const found = await store.list(userId)
        return {
          sessions: found.map((session) => ({
            id: session.sessionId,
            current: session.sessionId === sessionId,
            createdAt: new Date(session.createdAt).toISOString(),
            refreshedAt: new Date(session.refreshedAt).toISOString(),
            expiresAt: new Date(session.idleAt).toISOString(),
            device: session.label,
            methods: session.methods,
          })),
        }
      },
    },
    {
      method: 'DELETE',
      url: `${prefix}/sessions/:id`,
      security,
      schema: { params: SessionParams, response: { 204: Type.Null() } },
      handler: async function endSession (request, reply) {
        const { userId, sessionId } = ownSession(request)
        const { id } = request.params as { id: string }
        if (id === sessionId) await flows.logout(request, reply)
        else if (!await flows.revoke(userId, id, request)) throw new SecurityError('NOT_FOUND')
        return reply.code(204).send()
      },
    },
    {
      method: 'DELETE',
      url: `${prefix}/sessions`,
      security,
      schema: { querystring: RevokeQuery, response: { 204: Type.Null() } },
      handler: async function endSessions (request, reply) {
        const { userId, sessionId } = ownSession(request)
        const { all } = request.query as { all?: boolean }
        await flows.revokeAll(userId, all === true ? null : sessionId, request)
        if (all === true) await flows.logout(request, reply)
        return reply.code(204).send()
      },
    },
  ]
}

/** The guard has run, so this holds; an app that overrides `defaults` cannot open these routes. */
function ownSession (request: FastifyRequest): { userId: string, sessionId: string } {
  if (request.auth === null) throw new SecurityError('TOKEN_MISSING')
  return request.auth
}

/** `GET /.well-known/jwks.json` (RFC 7517): how others verify access tokens; null where a secret signs them. */
function keySetRoute ({ options: { accessKeys }, store }: RouteParts): RouteOptions | null {
  if (publicKeySet(accessKeys).keys.length === 0) return null
  // Made anew only when a key ends.
  let text = ''
  let until = -Infinity
  const textAt = (now: number): string => {
    if (now >= until) {
      text = JSON.stringify(publicKeySet(accessKeys, now))
      until = Math.min(...accessKeys.verifyOnly.map((key) => key.until).filter((end) => end > now))
    }
    return text
  }
  return {
    method: 'GET',
    url: '/.well-known/jwks.json',
    security: whereLoaded({ auth: publicRoute('Public keys are public.'), csrf: 'always' }),
    handler: async function keys (_request, reply) {
      // As long as a new key should be known before it signs.
      return reply.header('cache-control', 'public, max-age=300').type('application/jwk-set+json').send(
        textAt(store.now() / 1000),
      )
    },
  }
}

/**
 * Signing in needs no cookie, yet another site must not sign a visitor in (login CSRF). Elsewhere the cookie decides.
 */
const SIGN_IN = whereLoaded({
  auth: publicRoute('Signing in is how one gets credentials.'),
  rateLimit: ['login'],
  csrf: 'always',
})

function signedIn ({ schema, roles, scopes }: ResolvedAuthOptions['users']): TObject {
  const names = (known: ReadonlySet<string>): TSchema => Type.Array(Type.String({ enum: [...known] }))
  const user = Type.Object({
    id: Type.String(),
    roles: names(roles),
    ...scopes.size === 0 ? {} : { scopes: names(scopes) },
    ...schema?.properties,
  }, { additionalProperties: false })
  return Type.Object({ user })
}
