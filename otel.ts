/**
 * Security events for OpenTelemetry through @opentelemetry/api, an optional peer: a counter by event name, an event on
 * the span that is active when it happens, and what the limiter did. Without an SDK all of it does nothing. Requests
 * are measured by OpenTelemetry's own instrumentation of HTTP.
 */
import { metrics, trace, type Attributes, type Meter, type ObservableResult } from '@opentelemetry/api'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { LIMIT_OUTCOMES, observedSecurity } from './lib/events/observe.js'
import type { SecurityEventRecord } from './plugins/events.js'
import type { LimitCounters } from './plugins/rate-limit.js'

export interface OtelOptions {
  /** Default: the meter `fastify-bulwark` of the global provider. */
  readonly meter?: Meter
}

const plugin: FastifyPluginAsync<OtelOptions> = async (app, { meter = metrics.getMeter('fastify-bulwark') }) => {
  const security = observedSecurity(app, 'otel')
  let stopObserving = (): void => {}
  const counter = meter.createCounter('bulwark.security.events', { description: 'Security events by name.' })
  security.events.on('*', (event) => {
    counter.add(1, { 'event.name': event.name })
    trace.getActiveSpan()?.addEvent(event.name, attributesOf(event))
  })
  // The limiter may be loaded later, or not at all.
  app.addHook('onReady', function observeLimiter (done) {
    if ('limits' in security) stopObserving = observeLimits(meter, () => security.limits.counters())
    done()
  })
  app.addHook('onClose', function endObserving (_app, done) {
    stopObserving()
    done()
  })
}

/** Without the fields that are null. */
function attributesOf (event: SecurityEventRecord): Attributes {
  const attributes: Attributes = {}
  for (const [name, value] of Object.entries(event)) {
    if (name === 'name' || name === 'time' || value === null) continue
    // The recorder lets texts, numbers, booleans and lists of texts through, and nothing else.
    attributes[`bulwark.${name}`] = value as string | number | boolean | string[]
  }
  return attributes
}

/** The limiter counts by itself; its numbers are read when they are collected. */
function observeLimits (meter: Meter, read: () => LimitCounters): () => void {
  const requests = meter.createObservableCounter('bulwark.rate_limit.requests', {
    description: 'What happened to the requests that a policy applied to.',
  })
  const open = meter.createObservableGauge('bulwark.rate_limit.store.open', {
    description: '1 while the shared store is not asked, because it does not answer.',
  })
  const observeRequests = (result: ObservableResult): void => {
    for (const [policy, counts] of Object.entries(read().policies)) {
      for (const outcome of LIMIT_OUTCOMES) result.observe(counts[outcome], { policy, outcome })
    }
  }
  const observeStore = (result: ObservableResult): void => { result.observe(read().store.breaker === 'closed' ? 0 : 1) }
  requests.addCallback(observeRequests)
  open.addCallback(observeStore)
  return () => {
    requests.removeCallback(observeRequests)
    open.removeCallback(observeStore)
  }
}

export const otel = fp(plugin, { name: 'bulwark-otel', fastify: '5.x' })
export default otel
