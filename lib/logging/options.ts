import fastify, { type FastifyReply, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import { isPlainObject } from '../options/check-options.js'
import { withoutSecrets } from './secrets.js'
import { logSerializers } from './serializers.js'

/** Fastify's own lines without what a client wrote, and without the two that the access log makes needless. */
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
    // An error of the stream stands in no other line.
    if (!this.#accessLog || (error !== null && error !== undefined)) super.requestCompleted(error, request, reply)
  }

  /** Fastify's own line holds the URL with its query. */
  override routeNotFound (request: FastifyRequest): void {
    if (!this.#accessLog) request.log.info({ req: request }, 'route not found')
  }
}

/**
 * Logging is on unless it is turned off: a service without a log cannot tell that it is under attack. A logger instance
 * stays as it was made; its lines are the app's to clean (`logSerializers`, `logHooks`).
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

/** The app's own hook first, so that nothing it adds escapes. */
function withRedaction (hooks: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { streamWrite } = hooks
  if (typeof streamWrite !== 'function') return { ...hooks, streamWrite: withoutSecrets }
  return {
    ...hooks,
    streamWrite: (line: string) => withoutSecrets(String((streamWrite as (line: string) => unknown)(line))),
  }
}
