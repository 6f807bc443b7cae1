/**
 * Security events by the names of the OWASP Logging Vocabulary: every one goes to `app.security.events` and to Node's
 * diagnostics channel, and a bounded number to the log. None carries a password, a token, a cookie, an e-mail address
 * or a value of a request.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { assertNoProblems, type Problem } from '../lib/errors.js'
import type { SecurityEvents } from '../lib/events/emitter.js'
import { CHANNEL_NAME, EventRecorder } from '../lib/events/recorder.js'
import { checkOptions } from '../lib/options.js'
import { isRootInstance } from '../lib/policy/early-routes.js'
import { claimRegistration, publish, securityOf } from '../lib/policy/install.js'

export { CHANNEL_NAME }
export type { EventFields, EventLevel, EventName, SecurityEvent } from '../lib/events/catalogue.js'
export type { Listenable, SecurityEventListener, SecurityEventRecord, SecurityEvents } from '../lib/events/emitter.js'

export const EventsOptionsSchema = Type.Object({
  logLimit: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000, description: 'How many log lines one event may have in ten seconds, 0 to 100000; the rest is counted in one line. Default: 20.' })),
}, { additionalProperties: false })

/** Options of the events plugin. */
export type EventsOptions = Static<typeof EventsOptionsSchema>

export type ResolvedEventsOptions = Readonly<Required<EventsOptions>>

const DEFAULTS: ResolvedEventsOptions = Object.freeze({ logLimit: 20 })

declare module '../lib/policy/types.js' {
  interface SecurityApi {
    /** Listen to security events: `on('authn_token_reuse', listener)`, or `'*'` for all. */
    readonly events: SecurityEvents
  }
}

/** Reports what is wrong with the options. */
export function checkEvents (options: unknown, problems: Problem[]): void {
  resolveEventsOptions(options, problems)
}

/** Resolves untrusted options; the result is complete and frozen. */
export function resolveEventsOptions (options: unknown, problems: Problem[]): ResolvedEventsOptions {
  return Object.freeze({ ...DEFAULTS, ...checkOptions(EventsOptionsSchema, options, 'events', problems) })
}

const eventsPlugin: FastifyPluginAsync<EventsOptions> = async (app, options) => {
  claimRegistration(app, 'events')
  const problems: Problem[] = []
  if (!isRootInstance(app)) problems.push({ path: 'events', message: 'Registered in a child scope.', mend: 'Register it on the instance that fastify() returned: all scopes share it.' })
  const { logLimit } = resolveEventsOptions(options, problems)
  assertNoProblems(problems)

  const scope = securityOf(app)
  const recorder = new EventRecorder({ logLimit, log: app.log, now: Date.now })
  scope.root.emit = (event, request) => { recorder.record(event, request) }
  publish(scope, 'events', recorder.events)
  app.addHook('onClose', function reportSuppressed (_app, done) {
    recorder.close()
    done()
  })
}

export const events = fp(eventsPlugin, { name: 'bulwark-events', fastify: '5.x' })
export default events
