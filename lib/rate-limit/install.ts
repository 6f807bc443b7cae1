import type { FastifyInstance, FastifyRequest } from 'fastify'
import { addSection, publish, securityOf } from '../policy/install.js'
import { defineSection } from '../policy/section.js'
import type { Problem } from '../response/errors.js'
import { createControl, type LimitsApi } from './control.js'
import { LimitEngine } from './engine.js'
import { deriveKeySecret } from './keys.js'
import type { RateLimitRouteOptions } from './options.js'
import { Planner } from './plan.js'
import type { Policies } from './policies.js'
import { RequestLimiter } from './request-limiter.js'
import type { ResolvedRateLimitPolicy } from './resolve.js'
import { resolveNames } from './route-names.js'
import { compileLimits, kLimits, type LimiterContext } from './steps.js'
import { MemoryStore } from './stores/memory.js'
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

/** Puts the limiter in place on this store, which it closes with the app. */
export function installLimiter (
  app: FastifyInstance,
  policy: ResolvedRateLimitPolicy,
  { store, close }: { readonly store: LimitStore, readonly close: () => void },
): LimiterContext {
  const scope = securityOf(app)
  const { root } = scope
  const { policies, lists, failureStatuses, allow } = policy
  if (allow.length > 0) app.log.warn({ ranges: allow }, 'no rate limit holds these address ranges')
  const fallback = [...new Set([...policies.values()].flat().map(({ onOutage }) => onOutage))].sort().join(', ')
  const engine = new LimitEngine(store, new MemoryStore(), function reportTransition (available) {
    root.emit(
      available
        ? { name: 'store_recovered', store: 'rate-limit' }
        : { name: 'store_unavailable', store: 'rate-limit', fallback },
      null,
    )
  })
  const planner = new Planner(policies, deriveKeySecret(policy.keySecret), policy.apiKeyHeader)
  const emit: LimiterContext['emit'] = (event, request) => { root.emit(event, request) }
  const context: LimiterContext = { engine, planner, lists, failureStatuses, emit }
  app.addHook('onClose', function closeLimiter (_instance, done) {
    engine.close()
    close()
    done()
  })
  app.decorateRequest(kLimits, null)
  app.decorateRequest(kLimiter, null)
  app.decorateRequest('rateLimit', {
    getter (this: FastifyRequest) { return this[kLimiter] ??= new RequestLimiter(this, context) },
  })
  addSection(app, defineSection<RateLimitRouteOptions, readonly string[]>({
    key: 'rateLimit',
    hooks: ['preValidation'],
    resolve: (base, input, where, problems) => resolveNames(policies, base, input, where, problems),
    compile: (names, route, problems) => compileLimits(names, route, context, problems),
  }), BASE)
  publish(scope, 'limits', createControl(planner, engine))
  // Only when ready is it known whether an auth plugin was loaded.
  root.readyChecks.push(function checkUsers (problems) {
    if (!app.hasRequestDecorator('auth')) problems.push(...problemsWithoutAuth(policies))
  })
  return context
}

function problemsWithoutAuth (policies: Policies): Problem[] {
  const limits = [...policies.values()].flat().filter(({ parts }) => parts.includes('user'))
  return limits.map(({ policy }) => ({
    path: `rateLimit.policies.${policy}`,
    message: 'It counts by user, and no auth plugin says who the user is.',
    fix: 'Register the auth plugin, or count by \'ip\' or { header }.',
  }))
}
