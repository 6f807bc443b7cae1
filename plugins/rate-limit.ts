/**
 * Rate limits: named policies of one or more limits each, counted in memory or in Redis. All limits of a phase are
 * decided in one step, all or nothing; none admits more than its number in any window. 404s, malformed bodies, preflights and failed
 * sign-ins count. While Redis cannot be asked, a local engine decides; a limit declared `closed` answers 503.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { Redis } from 'ioredis'
import { DURATION_PATTERN, type Duration } from '../lib/duration.js'
import { assertNoProblems, BulwarkConfigError, type Problem } from '../lib/errors.js'
import { checkOptions, readableOptions } from '../lib/options.js'
import { addSection, claimRegistration, publish, securityOf } from '../lib/policy/install.js'
import type { SecurityRoot } from '../lib/policy/scope.js'
import { defineSection } from '../lib/policy/section.js'
import type { SecurityShape } from '../lib/policy/types.js'
import { LimitEngine } from '../lib/rate-limit/engine.js'
import { compileKey, deriveKeySecret, type RequestKey } from '../lib/rate-limit/keys.js'
import type { Limit, Policies, ResolvedLimit } from '../lib/rate-limit/limits.js'
import { planRoute, resolveNames, type RouteInput } from '../lib/rate-limit/plan.js'
import { resolveSettings, type BootContext, type RateLimitSettings } from '../lib/rate-limit/settings.js'
import { kLimits, limitSteps } from '../lib/rate-limit/steps.js'
import { MemoryStore } from '../lib/rate-limit/stores/memory.js'
import { openStore } from '../lib/rate-limit/stores/open.js'

export type { BuiltInPolicy, KeyPart, Limit, OnOutage } from '../lib/rate-limit/limits.js'

export const RateLimitOptionsSchema = Type.Object({
  policies: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'Write { name: { limit, window, by } } or { name: [limit, limit] }. The names global, auth and login replace the built-in policies.' })),
  redis: Type.Optional(Type.Unsafe<string | Redis | false>(Type.Unknown({ description: 'A redis:// or rediss:// URL, an ioredis client without offline queue, or false to count in memory. Default: app.config.REDIS_URL, else memory.' }))),
  allowMemoryStore: Type.Optional(Type.Boolean({ description: 'true lets production count in memory: right when exactly one process serves.' })),
  keySecret: Type.Optional(Type.String({ minLength: 32, description: 'Hides who is counted: at least 32 characters, the same in all instances. Default: derived from app.config.JWT_ACCESS_SECRET.' })),
  keyPrefix: Type.Optional(Type.String({ pattern: '^[!-~]{1,64}$', description: 'Begins every Redis key: 1 to 64 printable ASCII characters without spaces. Default: \'bulwark:rl:\'.' })),
  deadline: Type.Optional(Type.Unsafe<Duration>(Type.String({ pattern: DURATION_PATTERN, description: 'How long a request waits for Redis, with a unit: \'50ms\' (default).' }))),
  failureStatuses: Type.Optional(Type.Array(Type.Integer({ minimum: 200, maximum: 599 }), { minItems: 1, description: 'Statuses that limits with count \'failures\' count: a list of whole numbers from 200 to 599. Default: 400, 401, 403, 422. Server errors always count.' })),
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
  interface ResolvedRouteSecurity { readonly rateLimit?: readonly string[] }
  interface SecurityApi {
    /** The limiter: which policies exist, and where it counts. */
    readonly limits: { readonly policies: readonly string[], readonly store: 'memory' | 'redis' }
  }
}

/** The policies of every route that says nothing else. */
const BASE: readonly string[] = Object.freeze(['global'])

/** Adds a problem for everything wrong with the options; opens nothing. */
export function checkRateLimit (options: unknown, boot: BootContext, problems: Problem[]): void {
  resolveRateLimitOptions(options, boot, problems)
}

/** Resolves untrusted options; null when they cannot be read at all. */
export function resolveRateLimitOptions (options: unknown, boot: BootContext, problems: Problem[]): RateLimitSettings | null {
  const input = options ?? {}
  const checked = checkOptions(RateLimitOptionsSchema, input, 'rateLimit', problems)
  const settings = resolveSettings(checked ?? readableOptions(input, 'rateLimit', problems), boot, 'rateLimit', problems)
  return checked === null ? null : settings
}

const rateLimitPlugin: FastifyPluginAsync<RateLimitOptions> = async (app, options) => {
  claimRegistration(app, 'rateLimit')
  const { root } = securityOf(app)
  const problems: Problem[] = []
  if ('limits' in root.api) {
    problems.push({ path: 'rateLimit', message: 'The limiter is registered already, and one server has one.', mend: 'Choose policies with the `rateLimit` key of a route or of app.secureScope.' })
  }
  const settings = resolveRateLimitOptions(options, root, problems)
  assertNoProblems(problems)
  if (settings === null) return

  const engine = await openEngine(app, settings, root)
  const { policies } = settings
  const keyOf = compileKeys(settings)
  app.decorateRequest(kLimits, null)
  addSection(app, defineSection<RouteInput, readonly string[]>({
    key: 'rateLimit',
    hooks: ['preValidation', 'onResponse', 'onRequestAbort'],
    resolve: (base, input, where, found) => resolveNames(policies, base, input, where, found),
    compile (names, route, found) {
      const plan = planRoute(names.flatMap((name) => policies.get(name) ?? []), keyOf, route, found)
      return limitSteps(plan, { engine, failureStatuses: settings.failureStatuses, emit: (event, request) => { root.emit(event, request) } })
    },
  }), BASE)
  publish(securityOf(app), 'limits', Object.freeze({ policies: Object.freeze([...policies.keys()]), store: settings.redis === null ? 'memory' : 'redis' }))
  // Only when ready is it known whether an auth plugin was loaded.
  root.readyChecks.push((found) => { if (!app.hasRequestDecorator('auth')) found.push(...problemsWithoutAuth(policies)) })
}

async function openEngine (app: FastifyInstance, settings: RateLimitSettings, root: SecurityRoot): Promise<LimitEngine> {
  const fallbacks = [...new Set([...settings.policies.values()].flat().map(({ onOutage }) => onOutage))].sort().join(', ')
  const opened = await openStore(settings).catch((error: unknown): never => {
    throw new BulwarkConfigError([{
      path: 'rateLimit.redis',
      message: `${error instanceof Error ? error.message : 'no connection to Redis'}.`,
      mend: 'Start Redis, correct the URL, or write redis: false to count in memory.',
    }])
  })
  const engine = new LimitEngine(opened.store, new MemoryStore(), function reportTransition (available) {
    root.emit(available ? { name: 'store_recovered', store: 'rate-limit' } : { name: 'store_unavailable', store: 'rate-limit', fallback: fallbacks }, null)
  })
  app.addHook('onClose', function closeLimiter (_instance, done) {
    engine.close()
    opened.close()
    done()
  })
  return engine
}

/** One key function a limit, whatever the number of routes. */
function compileKeys (settings: RateLimitSettings): (limit: ResolvedLimit) => RequestKey {
  const secret = deriveKeySecret(settings.keySecret)
  const compiled = new Map<ResolvedLimit, RequestKey>()
  return function keyOf (limit) {
    const key = compiled.get(limit) ?? compileKey(secret, limit)
    compiled.set(limit, key)
    return key
  }
}

function problemsWithoutAuth (policies: Policies): Problem[] {
  const limits = [...policies.values()].flat().filter(({ parts }) => parts.includes('user'))
  return limits.map(({ policy }) => ({
    path: `rateLimit.policies.${policy}`,
    message: 'It counts by user, and no auth plugin says who the user is.',
    mend: 'Register the auth plugin, or count by \'ip\' or { header }.',
  }))
}

export const rateLimit = fp(rateLimitPlugin, { name: 'bulwark-rate-limit', fastify: '5.x' })
export default rateLimit
