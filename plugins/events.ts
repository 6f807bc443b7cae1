/**
 * Security events by the names of the OWASP Logging Vocabulary: every one goes to `app.security.events` and to Node's
 * diagnostics channel, and a bounded number to the log. None carries a password, a token, a cookie, an e-mail address
 * or a value of a request. Beside them, one access-log line for each request.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ACCESS_MESSAGE, accessLine, type AccessLogSettings } from '../lib/events/access-log.js'
import type { SecurityEvents } from '../lib/events/emitter.js'
import { EventsOptionsSchema, resolveEvents, type EventsOptions,
  type ResolvedEventsPolicy } from '../lib/events/options.js'
import { CHANNEL_NAME, EventRecorder } from '../lib/events/recorder.js'
import { warnOfUnwatched } from '../lib/logging/secrets.js'
import { isSilent } from '../lib/logging/silent.js'
import { publish } from '../lib/policy/install.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import type { SecurityRoot, SecurityScope } from '../lib/policy/scope.js'

export { CHANNEL_NAME, EventsOptionsSchema }
export type { EventsOptions, ResolvedEventsPolicy }
export type { EventFields, EventLevel, EventName, SecurityEvent } from '../lib/events/catalogue.js'
export type { AccessLine } from '../lib/events/access-log.js'
export type { Listenable, SecurityEventListener, SecurityEventRecord, SecurityEvents } from '../lib/events/emitter.js'
export { watchSecretValues } from '../lib/logging/secrets.js'
export { logHooks, logSerializers } from '../lib/logging/serializers.js'

declare module '../lib/policy/types.js' {
  interface SecurityApi {
    /** Listen to security events: `on('authn_token_reuse', listener)`, or `'*'` for all; `emit` the app's own. */
    readonly events: SecurityEvents
  }
}

const kAccessLogged: unique symbol = Symbol('bulwark.accessLogged')

declare module 'fastify' {
  interface FastifyRequest { [kAccessLogged]: number }
}

function installEvents (
  app: FastifyInstance,
  { limits, accessLog }: ResolvedEventsPolicy,
  scope: SecurityScope,
): void {
  const recorder = new EventRecorder({ limits, log: app.log, now: Date.now })
  scope.root.emit = (event, request) => { recorder.record(event, request) }
  publish(scope, 'events', recorder.events)
  reportLifetime(app, scope.root)
  app.addHook('onReady', function warnOfUnwatchedSecrets (done) {
    warnOfUnwatched(scope.root, app.log)
    done()
  })
  app.addHook('onClose', function reportSuppressed (_app, done) {
    recorder.close()
    done()
  })
  // A server without a logger would lose the lines.
  if (accessLog !== null && !isSilent(app)) addAccessLog(app, accessLog)
}

/** Only for a server that listens: an app that is only injected into has no start. */
function reportLifetime (app: FastifyInstance, root: SecurityRoot): void {
  let startedAt: number | null = null
  app.addHook('onListen', function reportStartup (done) {
    startedAt = performance.now()
    root.emit({ name: 'sys_startup', production: root.production }, null)
    done()
  })
  app.addHook('preClose', function reportShutdown (done) {
    if (startedAt !== null) {
      root.emit({ name: 'sys_shutdown', uptimeSeconds: Math.round((performance.now() - startedAt) / 1000) }, null)
    }
    done()
  })
}

/** Written already, or never to be. */
const LOGGED = -1

/** Node keeps the address once it was read; a closed socket has none. */
function learnAddress ({ socket }: FastifyRequest): string | undefined {
  return socket.remoteAddress
}

/** Hooks of its own, so that a request that an earlier hook of the app answered has its line, too. */
function addAccessLog (app: FastifyInstance, settings: AccessLogSettings): void {
  app.decorateRequest(kAccessLogged, 0)
  app.addHook('onRequest', function startAccessLine (request, _reply, done) {
    request[kAccessLogged] = performance.now()
    learnAddress(request)
    done()
  })
  app.addHook('onResponse', function writeAccessLine (request, reply, done) {
    if (request[kAccessLogged] !== LOGGED) {
      request[kAccessLogged] = LOGGED
      request.log.info(accessLine(request, reply, reply.elapsedTime, settings), ACCESS_MESSAGE)
    }
    done()
  })
  app.addHook('onRequestAbort', function writeAbortedLine (request, done) {
    const startedAt = request[kAccessLogged]
    if (startedAt !== LOGGED) {
      request[kAccessLogged] = LOGGED
      request.log.info(accessLine(request, null, performance.now() - startedAt, settings), ACCESS_MESSAGE)
    }
    done()
  })
}

export const events = defineSecurityPlugin<typeof EventsOptionsSchema, ResolvedEventsPolicy>({
  key: 'events',
  options: EventsOptionsSchema,
  rootOnly: true,
  resolve: resolveEvents,
  install: installEvents,
})
export default events
