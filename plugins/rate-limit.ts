/**
 * Rate limits: named policies of one or more limits each, counted in memory or in Redis. All limits of a phase are
 * decided in one step, all or nothing; none admits more than its number in any window. 404s, malformed bodies,
 * preflights and failed sign-ins count. While Redis cannot be asked, a local engine decides; a limit declared `closed`
 * answers 503.
 */
import { Type, type Static, type TObject } from '@sinclair/typebox'
import type { FastifyInstance, FastifySchema, FastifyTypeProvider, FastifyTypeProviderDefault,
  RawRequestDefaultExpression, RawServerBase, RawServerDefault, RouteGenericInterface } from 'fastify'
import { durationOption } from '../lib/options/option-schema.js'
import { assertNoProblems, type Problem } from '../lib/response/errors.js'
import { checkOptions, readableOptions } from '../lib/options/check-options.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import type { SecurityScope } from '../lib/policy/scope.js'
import type { SecurityShape, ShapeOf } from '../lib/policy/types.js'
import type { Limit } from '../lib/rate-limit/limits.js'
import type { RequestLimiter } from '../lib/rate-limit/request-limiter.js'
import { CIDR_FIX } from '../lib/rate-limit/networks.js'
import { resolveSettings, type BootContext, type RateLimitSettings } from '../lib/rate-limit/settings.js'
import { setUpRateLimit } from '../lib/rate-limit/setup.js'
import type { RedisOption } from '../lib/redis/connection.js'

export { createRateLimitStore } from '../lib/rate-limit/adapter.js'
export type { RateLimitStore, RateLimitStoreClass, RateLimitStoreOptions } from '../lib/rate-limit/adapter.js'
export type { Caller, LimitCounters, LimitsApi, LimitState } from '../lib/rate-limit/control.js'
export type { BuiltInPolicy, KeyPart, Limit, OnOutage, Skip } from '../lib/rate-limit/limits.js'
export type { Consumed, ConsumeOptions, RequestLimiter } from '../lib/rate-limit/request-limiter.js'

export const RateLimitOptionsSchema = Type.Object({
  policies: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), {
      description:
        'Write { name: { limit, window, by } } or { name: [limit, limit] }. The names global, auth, login and reports replace the built-in policies.',
    }),
  ),
  redis: Type.Optional(
    Type.Unsafe<RedisOption | false>(
      Type.Unknown({
        description:
          'A redis:// or rediss:// URL, { sentinels, name }, { cluster }, an ioredis client without offline queue, or false to count in memory. Default: app.config.REDIS_URL, else memory.',
      }),
    ),
  ),
  allowMemoryStore: Type.Optional(
    Type.Boolean({ description: 'true lets production count in memory: right when exactly one process serves.' }),
  ),
  keySecret: Type.Optional(
    Type.String({
      minLength: 32,
      description:
        'Hides who is counted: at least 32 characters, the same in all instances. Default: derived from app.config.JWT_ACCESS_SECRET.',
    }),
  ),
  keyPrefix: Type.Optional(
    Type.String({
      pattern: '^[!-~]{1,64}$',
      description: "Begins every Redis key: 1 to 64 printable ASCII characters without spaces. Default: 'bulwark:rl:'.",
    }),
  ),
  deadline: Type.Optional(
    durationOption("How long a request waits for Redis. Default: '50ms'."),
  ),
  failureStatuses: Type.Optional(
    Type.Array(Type.Integer({ minimum: 200, maximum: 599, description: 'Write a whole number from 200 to 599.' }), {
      minItems: 1,
      description:
        "Statuses that limits with count 'failures' count: a list of whole numbers from 200 to 599. Default: 400, 401, 403, 422. Server errors always count.",
    }),
  ),
  apiKeyHeader: Type.Optional(
    Type.String({ description: "The header that limits by 'apiKey' read. Default: 'x-api-key'." }),
  ),
  allow: Type.Optional(
    Type.Array(Type.String({ description: CIDR_FIX }), {
      description: "Addresses that no limit holds: a list of CIDR ranges such as '10.0.0.0/8'.",
    }),
  ),
  deny: Type.Optional(
    Type.Array(Type.String({ description: CIDR_FIX }), {
      description: "Addresses that every route refuses (403): a list of CIDR ranges such as '192.0.2.0/24'.",
    }),
  ),
}, { additionalProperties: false })

/** Options of the rate-limit plugin; `P` are the names of the service's own policies. */
export type RateLimitOptions<P extends string = string> = Omit<Static<typeof RateLimitOptionsSchema>, 'policies'> & {
  policies?: Readonly<Record<P, Limit | readonly Limit[]>>
}

/** What the `rateLimit` key of a route or a scope takes; `N` are the known policy names. */
export type RateLimitRouteOptions<N extends string = string> = readonly N[] | { readonly only: readonly N[] } | false

declare module '../lib/policy/types.js' {
  interface RouteSecurityOptions<S extends SecurityShape> {
    /** Policies added to the scope's; `{ only }` replaces the scope's, `false` turns all limits off. */
    rateLimit?: RateLimitRouteOptions<S['policies']>
  }
}

declare module 'fastify' {
  interface FastifyRequest<
    RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    SchemaCompiler extends FastifySchema = FastifySchema,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  > {
    /** Limits for decisions that a route declaration cannot make: `consume`, `reward`, `penalize`. */
    readonly rateLimit: RequestLimiter<ShapeOf<TypeProvider>['policies']>
  }
}

/** Resolves untrusted options; null when they cannot be read at all. */
export function resolveRateLimitOptions (
  options: unknown,
  boot: BootContext,
  problems: Problem[],
): RateLimitSettings | null {
  const input = options ?? {}
  const checked = checkOptions(RateLimitOptionsSchema, input, 'rateLimit', problems)
  const settings = resolveSettings(
    checked ?? readableOptions(input, 'rateLimit', problems),
    boot,
    'rateLimit',
    problems,
  )
  return checked === null ? null : settings
}

async function installRateLimit (
  app: FastifyInstance,
  settings: RateLimitSettings | null,
  { root }: SecurityScope,
): Promise<void> {
  if ('limits' in root.api) {
    assertNoProblems([{
      path: 'rateLimit',
      message: 'The limiter is registered already, and one server has one.',
      fix: 'Choose policies with the `rateLimit` key of a route or of app.secureScope.',
    }])
  }
  if (settings !== null) await setUpRateLimit(app, settings)
}

export const rateLimit = defineSecurityPlugin<TObject, RateLimitSettings | null, RateLimitOptions>({
  key: 'rateLimit',
  options: Type.Object({}),
  resolve: (options, { boot, problems }) => resolveRateLimitOptions(options, boot, problems),
  install: installRateLimit,
})
export default rateLimit
