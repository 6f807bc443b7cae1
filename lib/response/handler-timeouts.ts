import { errorCodes, type FastifyInstance, type FastifyReply } from 'fastify'
import { whenOver } from './response.js'
import { ServerNotes } from '../options/server-notes.js'

const LIMITS = new ServerNotes<number>()
/** Notes how long a handler of the server with these options has, in milliseconds; 0 is no limit. */
export function limitHandlers (options: object, limitMs: number): void {
  LIMITS.set(options, limitMs)
}

/**
 * Made once for each server, for the suite's first hook.
 * @returns null without a limit: the server was not built by `serverOptions()`, or with a `handlerTimeout` of 0
 */
export function createHandlerTimeouts (app: FastifyInstance): HandlerTimeouts | null {
  const limitMs = LIMITS.get(app) ?? 0
  if (limitMs === 0) return null
  const timeouts = new HandlerTimeouts(limitMs)
  app.addHook('onClose', function stopHandlerTimeouts (_app, done) {
    timeouts.close()
    done()
  })
  return timeouts
}

/** A handler is given up at most this share of its time late, and at most so many milliseconds. */
const SWEEPS_PER_LIMIT = 20
const LONGEST_PERIOD_MS = 500
const SHORTEST_PERIOD_MS = 5

/**
 * Gives up handlers that have not answered in time: 503, or the end of the connection where an answer has begun. It
 * does what Fastify's `handlerTimeout` does, with one timer for all requests: Fastify's own timer, AbortController and
 * listeners for each request add a third to the cost of a small request (bench/handler-timeouts.mjs).
 *
 * A handler is never given up early, and up to a twentieth of the time late.
 */
export class HandlerTimeouts {
  readonly #limitMs: number
  readonly #periodMs: number
  /** When each request in progress began; all have the same limit, so the first in the map is the first to be late. */
  readonly #begun = new Map<FastifyReply, number>()
  #timer: NodeJS.Timeout | null = null

  /** @param limitMs milliseconds from the suite's first hook to the end of the answer */
  constructor (limitMs: number) {
    this.#limitMs = limitMs
    this.#periodMs = Math.min(LONGEST_PERIOD_MS, Math.max(SHORTEST_PERIOD_MS, Math.ceil(limitMs / SWEEPS_PER_LIMIT)))
  }

  /** Requests in progress. */
  get size (): number {
    return this.#begun.size
  }

  /** From now on the time of this reply runs, until its response is over. */
  watch (reply: FastifyReply): void {
    this.#begun.set(reply, performance.now())
    this.#timer ??= setInterval(() => { this.#sweep() }, this.#periodMs)
    whenOver(reply.raw, () => { this.#begun.delete(reply) })
  }

  close (): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  #sweep (): void {
    const now = performance.now()
    for (const [reply, begun] of this.#begun) {
      if (now - begun < this.#limitMs) break
      // Also because Node never reports the end of a response that waits behind others on a connection that is gone.
      this.#begun.delete(reply)
      giveUp(reply, this.#limitMs)
    }
    // An idle server has no timer; the next request starts it.
    if (this.#begun.size === 0) this.close()
  }
}

function giveUp (reply: FastifyReply, limitMs: number): void {
  // A hijacked reply belongs to the app.
  if (reply.sent) return
  const error = new errorCodes.FST_ERR_HANDLER_TIMEOUT(String(limitMs), reply.request.routeOptions.url ?? '')
  if (reply.raw.headersSent) reply.raw.destroy(error)
  else reply.send(error)
}
