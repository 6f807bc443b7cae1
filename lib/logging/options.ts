import fastify, { type FastifyReply, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import { isPlainObject } from '../options/check-options.js'
import { withoutSecrets } from './secrets.js'
import { logSerializers } from './serializers.js'

/** Fastify's own lines without the client's text, and without the two that the access log replaces. */
export class SafeLogController extends fastify.LogController {
  readonly #accessLog: boolean

  constructor (accessLog: boolean) {
    super()
    this.#accessLog = accessLog
  }

  override incomingRequest (request: FastifyRequest, reply: FastifyReply): void {
    if (!this.#accessLog) super.incomingRequest(request, reply)
  }

  override requestCompleted (error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply): void {
    // No other line has an error of the stream.
    if (!this.#accessLog || (error !== null && error !== undefined)) super.requestCompleted(error, request, reply)
  }

  /** Fastify's own line holds the URL with its query. */
  override routeNotFound (request: FastifyRequest): void {
    if (!this.#accessLog) request.log.info({ req: request }, 'route not found')
  }
}

/**
 * Logging is on unless it is turned off: a service without a log does not show an attack. A logger instance stays as
 * it was made; the app gives it `logSerializers` and `logHooks`.
 */
export function loggerOptions (
  { logger, loggerInstance, logController }: FastifyServerOptions,
  accessLog: boolean,
): Pick<FastifyServerOptions, 'logger' | 'logController'> {
  const controller = logController === undefined ? { logController: new SafeLogController(accessLog) } : {}
  if (loggerInstance !== undefined || logger === false) return controller
  const own = typeof logger === 'object' ? logger : {}
  // Pino's, which Fastify's types of its options leave out.
  const hooks = (own as { readonly hooks?: unknown }).hooks
  const made = {
    level: 'info',
    ...own,
    serializers: { ...logSerializers, ...own.serializers },
    hooks: withRedaction(isPlainObject(hooks) ? hooks : {}),
  }
  return { ...controller, logger: made }
}

/** The app's own hook runs first, so that what it adds is redacted, too. */
function withRedaction (hooks: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { streamWrite } = hooks
  if (typeof streamWrite !== 'function') return { ...hooks, streamWrite: withoutSecrets }
  return {
    ...hooks,
    streamWrite: (line: string) => withoutSecrets(String((streamWrite as (line: string) => unknown)(line))),
  }
}
