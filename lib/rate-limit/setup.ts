import type { FastifyInstance, FastifyRequest } from 'fastify'
import { BulwarkConfigError, type Problem } from '../response/errors.js'
import { addSection, publish, securityOf } from '../policy/install.js'
import type { SecurityRoot } from '../policy/scope.js'
import { defineSection } from '../policy/section.js'
import { createControl, type LimitsApi } from './control.js'
import { LimitEngine } from './engine.js'
import { deriveKeySecret } from './keys.js'
import type { Policies } from './limits.js'
import { LivePolicies } from './live.js'
import { resolveNames, type RouteInput } from './plan.js'
import { RequestLimiter, type RequestLimiterContext } from './request-limiter.js'
import { routeSteps } from './route-steps.js'
import type { RateLimitSettings } from './settings.js'
import { kLimits } from './steps.js'
import { MemoryStore } from './stores/memory.js'
import { openStore } from './stores/open.js'
import type { LimitStore } from './stores/store.js'

declare module '../policy/types.js' {
  interface ResolvedRouteSecurity { readonly rateLimit?: readonly string[] }
  interface SecurityApi { readonly limits: LimitsApi }
}

const kLimiter: unique symbol = Symbol('bulwark.requestLimiter')

declare module 'fastify' {
  interface FastifyRequest { [kLimiter]: RequestLimiter | null }
}

/** The policies of every route that says nothing else. */
const BASE: readonly string[] = Object.freeze(['global'])

type OpenStore = (settings: RateLimitSettings) => Promise<{ readonly store: LimitStore, close (): void }>

/** Puts the limiter in place; `open` is another one in tests, which bring their own clock. */
export async function setUpRateLimit (
  app: FastifyInstance,
  settings: RateLimitSettings,
  open: OpenStore = openStore,
): Promise<void> {
  const { root } = securityOf(app)
  const { networks, failureStatuses, allow } = settings
  if (allow.length > 0) app.log.warn({ ranges: allow }, 'no rate limit holds these address ranges')
  const engine = await openEngine(app, settings, root, open)
  const live = new LivePolicies(settings.policies, deriveKeySecret(settings.keySecret), settings.apiKeyHeader)
  const emit: RequestLimiterContext['emit'] = (event, request) => { root.emit(event, request) }
  const context = { live, networks, steps: { engine, failureStatuses, emit } }
  app.decorateRequest(kLimits, null)
  addSection(app, defineSection<RouteInput, readonly string[]>({
    key: 'rateLimit',
    hooks: ['preValidation'],
    resolve: (base, input, where, found) => {
      const names = resolveNames(live.policies, base, input, where, found)
      live.use(names)
      return names
    },
    compile: (names, route, found) => routeSteps(names, route, context, found),
  }), BASE)
  // Whoever was refused under the old limits asks the store again.
  live.onReplace(() => () => { engine.denyCache.clear() })
  decorateRequests(app, { live, port: engine, networks, emit })
  const check = (policies: Policies): readonly Problem[] =>
    app.hasRequestDecorator('auth') ? [] : problemsWithoutAuth(policies)
  publish(
    securityOf(app),
    'limits',
    createControl({ live, port: engine, store: settings.redis === null ? 'memory' : 'redis', check }),
  )
  // Only when ready is it known whether an auth plugin was loaded.
  root.readyChecks.push((found) => { found.push(...check(live.policies)) })
}

async function openEngine (
  app: FastifyInstance,
  settings: RateLimitSettings,
  root: SecurityRoot,
  open: OpenStore,
): Promise<LimitEngine> {
  const fallbacks = [...new Set([...settings.policies.values()].flat().map(({ onOutage }) => onOutage))].sort().join(
    ', ',
  )
  const opened = await open(settings).catch((error: unknown): never => {
    throw new BulwarkConfigError([{
      path: 'rateLimit.redis',
      message: `${error instanceof Error ? error.message : 'no connection to Redis'}.`,
      fix: 'Start Redis, correct the URL, or write redis: false to count in memory.',
    }])
  })
  const engine = new LimitEngine(opened.store, new MemoryStore(), function reportTransition (available) {
    root.emit(
      available
        ? { name: 'store_recovered', store: 'rate-limit' }
        : { name: 'store_unavailable', store: 'rate-limit', fallback: fallbacks },
      null,
    )
  })
  app.addHook('onClose', function closeLimiter (_instance, done) {
    engine.close()
    opened.close()
    done()
  })
  return engine
}

function decorateRequests (app: FastifyInstance, context: RequestLimiterContext): void {
  app.decorateRequest(kLimiter, null)
  app.decorateRequest('rateLimit', {
    getter (this: FastifyRequest) { return this[kLimiter] ??= new RequestLimiter(this, context) },
  })
}

function problemsWithoutAuth (policies: Policies): Problem[] {
  const limits = [...policies.values()].flat().filter(({ parts }) => parts.includes('user'))
  return limits.map(({ policy }) => ({
    path: `rateLimit.policies.${policy}`,
    message: 'It counts by user, and no auth plugin says who the user is.',
    fix: 'Register the auth plugin, or count by \'ip\' or { header }.',
  }))
}
