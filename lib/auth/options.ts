import { Type, type Static, type TObject } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import type { RedisOption, RedisSource } from '../redis/connection.js'
import { durationOption, oneOf } from '../options/option-schema.js'
import { SECRET_FIX } from '../options/secret-strength.js'
import type { CredentialSource } from './credentials.js'
import type { Keyring, KeyringOption } from './keyring.js'
import type { CookieProfile } from './cookies.js'
import type { UserModel } from './users.js'

/** RFC 6749, section 3.3: printable without space, quote and backslash. */
const SCOPE_PATTERN = '^[\\x21\\x23-\\x5b\\x5d-\\x7e]{1,64}$'

/** Text that may stand in a token and in a quoted string of a header. */
const NAME_PATTERN = '^[\\x21\\x23-\\x5b\\x5d-\\x7e]{1,128}$'

export const RevocationSchema = oneOf(
  'strict: each authenticated request looks its session up, so that a logout counts at once everywhere. ' +
  'cached: at most once in revocationDelay for each session. stateless: an access token holds until it expires.',
  'strict',
  'cached',
  'stateless',
)

/** How soon an access token ends after its session did. */
export type Revocation = Static<typeof RevocationSchema>

export const AuthOptionsSchema = Type.Object({
  roles: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
    minItems: 1,
    uniqueItems: true,
    description: 'The names of all roles, at least one, each once.',
  }),
  claims: Type.Optional(
    Type.Unknown({ description: "A TypeBox object: the app's own claims in access tokens and in request.user." }),
  ),
  authenticate: Type.Optional(
    Type.Function([], Type.Unknown(), {
      description:
        'A function of ({ email, password }, request) that resolves to the user or null. ' +
        'It turns on the built-in login route.',
    }),
  ),
  loadUser: Type.Function([], Type.Unknown(), {
    description:
      'A function of the user id that resolves to the user, or to null when ' +
      'there is none or it is disabled. Asked at every refresh.',
  }),
  accessSecret: Type.Optional(
    Type.String({ description: `Signs access tokens; default config.JWT_ACCESS_SECRET. ${SECRET_FIX}` }),
  ),
  refreshSecret: Type.Optional(
    Type.String({ description: `Signs refresh tokens; default config.JWT_REFRESH_SECRET. ${SECRET_FIX}` }),
  ),
  issuer: Type.Optional(
    Type.String({
      pattern: NAME_PATTERN,
      description: 'The `iss` of all tokens, printable without spaces and quotes; default bulwark.',
    }),
  ),
  audience: Type.Optional(
    Type.String({
      pattern: NAME_PATTERN,
      description: 'The `aud` of access tokens, printable without spaces and quotes; default bulwark-api.',
    }),
  ),
  accessTtl: Type.Optional(durationOption('How long an access token holds, in whole seconds; default 15m.')),
  refreshIdle: Type.Optional(
    durationOption('A session that is not refreshed for this long ends, in whole seconds; default 7d.'),
  ),
  refreshAbsolute: Type.Optional(
    durationOption('A session ends this long after its login, in whole seconds; default 30d.'),
  ),
  grace: Type.Optional(
    durationOption(
      'How long a refresh token that was just replaced still gets its successor ' +
      '(several tabs, a lost answer), at most 60s; default 10s.',
    ),
  ),
  cookies: Type.Optional(
    oneOf(
      'scoped (default): the refresh cookie is sent to the auth routes only. ' +
      'host: both cookies have the __Host- prefix and are sent everywhere.',
      'scoped',
      'host',
    ),
  ),
  sameSite: Type.Optional(
    oneOf('SameSite of the access cookie; default strict. The refresh cookie is always strict.', 'strict', 'lax'),
  ),
  prefix: Type.Optional(Type.String({
    pattern: '^(/[A-Za-z0-9._~-]+)+$',
    maxLength: 200,
    description:
      'Where the built-in routes stand and the refresh cookie is sent, without a slash at the end; default /auth.',
    fix:
      'Write a path such as /auth or /api/v1/auth: letters, digits and ._~- after each slash, and no slash at the end.',
  })),
  routes: Type.Optional(
    Type.Boolean({
      description: 'false: the app writes all routes itself, those that sign in included. Default: true.',
    }),
  ),
  redis: Type.Optional(
    Type.Unsafe<RedisOption | false>(
      Type.Union([Type.String({ minLength: 1 }), Type.Literal(false), Type.Object({})], {
        description:
          'A redis:// or rediss:// URL, { sentinels, name }, { cluster }, an ioredis client, ' +
          "or false for this process' memory; default config.REDIS_URL.",
      }),
    ),
  ),
  allowMemoryStore: Type.Optional(
    Type.Boolean({
      description: 'true allows sessions in memory in production: one process only, and a restart signs everybody out.',
    }),
  ),
  keyPrefix: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9._:/-]{1,100}$',
      description: 'What all Redis keys begin with, without braces; default bulwark:auth:.',
      fix: 'Write 1 to 100 letters, digits and ._:/- without braces; default bulwark:auth:.',
    }),
  ),
  revocation: Type.Optional(RevocationSchema),
  revocationDelay: Type.Optional(
    durationOption(
      'With cached revocation: how long after its session an access token may still hold ' +
      'where Redis could not tell at once, at most 60s; default 5s.',
    ),
  ),
  scopes: Type.Optional(
    Type.Array(Type.String({ pattern: SCOPE_PATTERN, maxLength: 64 }), {
      minItems: 1,
      uniqueItems: true,
      description: 'The names of all scopes that users may have (RFC 6749, section 3.3), each once.',
    }),
  ),
  sources: Type.Optional(
    Type.Unsafe<readonly CredentialSource[]>(
      Type.Array(Type.Union([Type.Literal('cookie'), Type.Literal('bearer')]), {
        minItems: 1,
        uniqueItems: true,
        description: "Where tokens may come in: cookie, bearer or both; default ['cookie'].",
      }),
    ),
  ),
  accessKeys: Type.Optional(
    Type.Unsafe<KeyringOption>(
      Type.Object({}, {
        description:
          'Instead of accessSecret: { current, verifyOnly }, to rotate keys or to sign with ES256, EdDSA or RS256.',
      }),
    ),
  ),
  refreshKeys: Type.Optional(
    Type.Unsafe<KeyringOption>(
      Type.Object({}, { description: 'Instead of refreshSecret: { current, verifyOnly }, HS256 only.' }),
    ),
  ),
  label: Type.Optional(
    Type.Function([], Type.Unknown(), {
      description:
        'A function of the request that gives the text by which users know a ' +
        'device in their list of sessions; default its User-Agent.',
    }),
  ),
  maxSessions: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1000,
      description: 'Live sessions that one user may have, 1 to 1000; default 100.',
    }),
  ),
  whenFull: Type.Optional(
    oneOf(
      'What a login beyond maxSessions does. evict (default): the session that was ' +
      'refreshed longest ago ends. refuse: the login is refused.',
      'evict',
      'refuse',
    ),
  ),
  onReuse: Type.Optional(
    oneOf('What a reused refresh token ends: its session (default), or all sessions of its user.', 'session', 'user'),
  ),
  jwtDecorators: Type.Optional(
    Type.Boolean({
      description:
        'true decorates request.jwtVerify, request.jwtDecode, reply.jwtSign and app.jwt, ' +
        'for code that was written for @fastify/jwt.',
    }),
  ),
}, { additionalProperties: false, fix: 'Write an object, { roles, loadUser } at least.' })

export type WrittenOptions = Static<typeof AuthOptionsSchema>

/**
 * What `authenticate`, `loadUser` and `reply.login` deal in; without `scopes` a user has none. Members beyond these
 * never leave the app.
 */
export type AuthUser<R extends string = string, C extends TObject = TObject, N extends string = string> =
  { readonly id: string, readonly roles: readonly R[], readonly scopes?: readonly N[] } & Static<C>

/** The body of the built-in login route. */
export interface Credentials { readonly email: string, readonly password: string }

/** Options of the auth plugin; `AuthOptionsSchema` describes each. */
export type AuthOptions<R extends string = string, C extends TObject = TObject, N extends string = string> = Omit<
  WrittenOptions,
  'roles' | 'scopes' | 'claims' | 'authenticate' | 'loadUser' | 'label'
> & {
  roles: readonly R[]
  scopes?: readonly N[]
  claims?: C
  authenticate?: (
    credentials: Credentials,
    request: FastifyRequest,
  ) => Promise<AuthUser<NoInfer<R>, NoInfer<C>, NoInfer<N>> | null>
  loadUser: (userId: string) => Promise<AuthUser<NoInfer<R>, NoInfer<C>, NoInfer<N>> | null>
  label?: (request: FastifyRequest) => string
}

/** Checked, complete and frozen. */
export interface ResolvedAuthOptions {
  readonly users: UserModel
  readonly authenticate: ((credentials: Credentials, request: FastifyRequest) => Promise<unknown>) | null
  readonly loadUser: (userId: string) => Promise<unknown>
  readonly label: ((request: FastifyRequest) => string) | null
  readonly accessKeys: Keyring
  readonly refreshKeys: Keyring
  readonly scopes: readonly string[]
  readonly sources: readonly CredentialSource[]
  readonly issuer: string
  readonly audience: string
  readonly accessTtlMs: number
  readonly refreshIdleMs: number
  readonly refreshAbsoluteMs: number
  readonly graceMs: number
  readonly cookies: CookieProfile
  readonly sameSite: 'strict' | 'lax'
  readonly prefix: string
  readonly routes: boolean
  /** null: this process' memory. */
  readonly redis: RedisSource | null
  readonly keyPrefix: string
  readonly revocation: Revocation
  readonly revocationDelayMs: number
  readonly maxSessions: number
  readonly whenFull: 'evict' | 'refuse'
  readonly onReuse: 'session' | 'user'
  readonly jwtDecorators: boolean
}
