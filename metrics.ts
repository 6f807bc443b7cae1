/**
 * Prometheus metrics of the suite through prom-client, an optional peer: security events by name, requests by route,
 * method and class of status, what the limiter did, and whether its store answers. Every label has a bounded set of
 * values.
 */
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { LIMIT_OUTCOMES, observedSecurity } from './lib/events/observe.js'
import type { SecurityApi } from './lib/policy/types.js'
import type { LimitCounters } from './plugins/rate-limit.js'
import type {} from './plugins/events.js'

export interface MetricsOptions {
  /**
   * Where the metrics are registered. Default: a registry of their own, so that two servers in a process do not meet.
   */
  readonly register?: Registry
  /** Begins every name. Default: `bulwark_`. */
  readonly prefix?: string
  /** Upper bounds in seconds of the durations' buckets. */
  readonly buckets?: readonly number[]
}

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Metrics for the service's own `/metrics` route: `reply.type(register.contentType).send(await
     * register.metrics())`.
     */
    readonly metrics: { readonly register: Registry }
  }
}

const BUCKETS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** Any other is chosen by a client: as a label it would make a time series of its own. */
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

const plugin: FastifyPluginAsync<MetricsOptions> = async (
  app,
  { register = new Registry(), prefix = 'bulwark_', buckets = BUCKETS },
) => {
  const security = observedSecurity(app, 'metrics')
  app.decorate('metrics', Object.freeze({ register }))
  countEvents(security, register, prefix)
  observeRequests(app, register, prefix, buckets)
  // The limiter may be loaded later, or not at all.
  app.addHook('onReady', function observeLimiter (done) {
    if ('limits' in security) countLimits(() => security.limits.counters(), register, prefix)
    done()
  })
}

function countEvents (security: SecurityApi, register: Registry, prefix: string): void {
  const events = new Counter({
    name: `${prefix}security_events_total`,
    help: 'Security events by name.',
    labelNames: ['event'],
    registers: [register],
  })
  security.events.on('*', ({ name }) => {
    events.inc({ event: name })
  })
}

function observeRequests (app: FastifyInstance, register: Registry, prefix: string, buckets: readonly number[]): void {
  const labelNames = ['route', 'method', 'status'] as const
  const durations = new Histogram({
    name: `${prefix}http_request_duration_seconds`,
    help: 'Answered requests by route pattern, method and class of status.',
    labelNames,
    buckets: [...buckets],
    registers: [register],
  })
  const aborted = new Counter({
    name: `${prefix}http_requests_aborted_total`,
    help: 'Requests whose client was gone before it was answered.',
    labelNames: ['route', 'method'],
    registers: [register],
  })
  app.addHook('onResponse', function observeRequest (request: FastifyRequest, reply: FastifyReply, done) {
    durations.observe(
      { ...routeLabels(request), status: `${Math.floor(reply.statusCode / 100)}xx` },
      reply.elapsedTime / 1000,
    )
    done()
  })
  app.addHook('onRequestAbort', function countAborted (request, done) {
    aborted.inc(routeLabels(request))
    done()
  })
}

function routeLabels (request: FastifyRequest): { route: string, method: string } {
  return { route: request.routeOptions.url ?? 'none', method: METHODS.has(request.method) ? request.method : 'other' }
}

const STATES = ['closed', 'half-open', 'open'] as const

/** The limiter counts by itself; its numbers are read when they are asked for. */
function countLimits (read: () => LimitCounters, register: Registry, prefix: string): void {
  const registers = [register]
  new Counter({
    name: `${prefix}rate_limit_requests_total`,
    help: 'What happened to the requests that a policy applied to.',
    labelNames: ['policy', 'outcome'] as const,
    registers,
    collect () {
      this.reset()
      for (const [policy, counts] of Object.entries(read().policies)) {
        for (const outcome of LIMIT_OUTCOMES) this.inc({ policy, outcome }, counts[outcome])
      }
    },
  })
  new Gauge({
    name: `${prefix}rate_limit_store_breaker`,
    help: 'The state of the breaker before the shared store: 1 for the state it is in.',
    labelNames: ['state'] as const,
    registers,
    collect () {
      const { breaker } = read().store
      for (const state of STATES) this.set({ state }, state === breaker ? 1 : 0)
    },
  })
  new Counter({
    name: `${prefix}rate_limit_store_failures_total`,
    help: 'Questions to the shared store without an answer.',
    registers,
    collect () {
      this.reset()
      this.inc(read().store.failures)
    },
  })
}

export const metrics = fp(plugin, { name: 'bulwark-metrics', fastify: '5.x' })
export default metrics
