/**
 * Rate limits: named policies of one or more limits each, counted in memory or in Redis. All limits of a phase are
 * decided in one step, all or nothing; none admits more than its number in any window. 404s, malformed bodies,
 * preflights and failed sign-ins count. While Redis cannot be asked, a local engine decides; a limit declared `closed`
 * answers 503. It also registers @fastify/rate-limit on the same store, for `config.rateLimit`, `app.rateLimit()` and
 * `app.createRateLimit()`.
 */
import fastifyRateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifySchema, FastifyTypeProvider, FastifyTypeProviderDefault,
  RawRequestDefaultExpression, RawServerBase, RawServerDefault, RouteGenericInterface } from 'fastify'
import { assertNoProblems, BulwarkConfigError, type Problem } from '../lib/response/errors.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import type { SecurityRoot, SecurityScope } from '../lib/policy/scope.js'
import type { SecurityShape, ShapeOf } from '../lib/policy/types.js'
import { isAllowed } from '../lib/rate-limit/address-lists.js'
import { rateLimited } from '../lib/rate-limit/answers.js'
import { createStoreClass, FASTIFY_POLICY } from '../lib/rate-limit/fastify-store.js'
import { installLimiter } from '../lib/rate-limit/install.js'
import { RateLimitOptionsSchema, type RateLimitOptions, type RateLimitRouteOptions } from '../lib/rate-limit/options.js'
import type { RequestLimiter } from '../lib/rate-limit/request-limiter.js'
import { resolveRateLimit, type ResolvedRateLimitPolicy } from '../lib/rate-limit/resolve.js'
import type { LimiterContext } from '../lib/rate-limit/steps.js'
import { openStore } from '../lib/rate-limit/stores/open.js'

export { RateLimitOptionsSchema }
export { createRateLimitStore } from '../lib/rate-limit/standalone-store.js'
export type { RateLimitStore, RateLimitStoreClass, RateLimitStoreOptions } from '../lib/rate-limit/standalone-store.js'
export type { Caller, LimitCounters, LimitsApi, LimitState } from '../lib/rate-limit/control.js'
export type { KeyPart, Limit, OnOutage, RateLimitOptions, RateLimitRouteOptions,
  Skip } from '../lib/rate-limit/options.js'
export type { BuiltInPolicy } from '../lib/rate-limit/policies.js'
export type { Consumed, ConsumeOptions, RequestLimiter } from '../lib/rate-limit/request-limiter.js'

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

async function installRateLimit (
  app: FastifyInstance,
  policy: ResolvedRateLimitPolicy,
  { root }: SecurityScope,
): Promise<void> {
  assertNoProblems(conflictsOf(app, root))
  const opened = await openStore(policy).catch((error: unknown): never => {
    throw new BulwarkConfigError([{
      path: 'rateLimit.redis',
      message: `${error instanceof Error ? error.message : 'no connection to Redis'}.`,
      fix: 'Start Redis, correct the URL, or write redis: false to count in memory.',
    }])
  })
  await registerFastifyRateLimit(app, policy, installLimiter(app, policy, opened), root)
}

function conflictsOf (app: FastifyInstance, root: SecurityRoot): Problem[] {
  if ('limits' in root.api) {
    return [{
      path: 'rateLimit',
      message: 'The limiter is registered already, and one server has one.',
      fix: 'Choose policies with the `rateLimit` key of a route or of app.secureScope.',
    }]
  }
  if (!app.hasDecorator('createRateLimit') && !app.hasDecorator('rateLimit')) return []
  return [{
    path: 'rateLimit',
    message: '@fastify/rate-limit is registered already.',
    fix: 'Remove that registration: this plugin registers it on its own store. Limits for all routes become policies.',
  }]
}

/** With `global: false` it adds nothing to routes that do not ask for it. */
async function registerFastifyRateLimit (
  app: FastifyInstance,
  { policies, keySecret }: ResolvedRateLimitPolicy,
  { engine, lists, emit }: LimiterContext,
  root: SecurityRoot,
): Promise<void> {
  let report = (problems: readonly Problem[]): void => { root.problems.push(...problems) }
  root.readyChecks.push(function endBoot () { report = assertNoProblems })
  await app.register(fastifyRateLimit, {
    global: false,
    store: createStoreClass({
      engine,
      keySecret,
      // Where Redis cannot be asked, these limits do what the service chose for its base policy.
      onOutage: policies.get('global')?.[0]?.onOutage ?? 'local',
      report: (problems) => { report(problems) },
    }),
    allowList: (request) => isAllowed(lists, request),
    // The suite's own fields are `RateLimit` and `RateLimit-Policy`.
    addHeaders: { ...NO_HEADERS, 'retry-after': true },
    addHeadersOnExceeding: NO_HEADERS,
    errorResponseBuilder: (_request, { ttl }) => rateLimited(ttl, [FASTIFY_POLICY]),
    onExceeded: (request) => { emit({ name: 'excess_rate_limit_exceeded', policies: [FASTIFY_POLICY] }, request) },
  })
}

const NO_HEADERS = { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false }

export const rateLimit = defineSecurityPlugin<typeof RateLimitOptionsSchema, ResolvedRateLimitPolicy, RateLimitOptions>(
  {
    key: 'rateLimit',
    options: RateLimitOptionsSchema,
    resolve: (options, { boot, where, problems }) => resolveRateLimit(options, boot, where, problems),
    install: installRateLimit,
  },
)
export default rateLimit
