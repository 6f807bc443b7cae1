import { errorCodes, type FastifyInstance, type FastifyReply } from 'fastify'
import type { ServerResponse } from 'node:http'
import { rootOf } from '../policy/instance.js'
import { PreparedResponse } from './response.js'
import { ServerNotes } from '../options/server-notes.js'

const LIMITS = new ServerNotes<number>()
/** Root instances that have their limit. */
const INSTALLED = new WeakSet<FastifyInstance>()

/** Notes how long a handler of the server which gets these options has, in milliseconds; 0 is no limit. */
export function limitHandlers (options: object, limitMs: number): void {
  LIMITS.set(options, limitMs)
}

/**
 * Puts the limit of the server in place, for all its routes.
 * @returns what the suite's first hook has to tell of each request; null where a hook of its own does, or where there
 * is no limit: the server was not built by `serverOptions()`, or with a `handlerTimeout` of 0
 */
export function installHandlerTimeouts (app: FastifyInstance): HandlerTimeouts | null {
  const limitMs = LIMITS.get(app) ?? 0
  const root = rootOf(app)
  // Once for each server: the suite may be loaded in several scopes.
  if (limitMs === 0 || INSTALLED.has(root)) return null
  INSTALLED.add(root)
  const timeouts = new HandlerTimeouts(limitMs)
  root.addHook('onClose', function stopHandlerTimeouts (_app, done) {
    timeouts.close()
    done()
  })
  if (root === app) return timeouts
  // The hooks of the suite run in its own scope only.
  root.addHook('onRequest', function watchHandler (request, reply, done) {
    if (request.routeOptions.handlerTimeout === 0) timeouts.watch(reply)
    done()
  })
  return null
}

/** How much later than its time a handler may be given up, as a share of that time, and at most in milliseconds. */
const PERIODS = 20
const LONGEST_PERIOD_MS = 500
const SHORTEST_PERIOD_MS = 5

/**
 * Gives up handlers that have not answered in time: 503, or the end of the connection where an answer has begun. It
 * does what Fastify's `handlerTimeout` does, with one timer for all requests: Fastify's own timer, AbortController and
 * listeners a request make a small one half as dear again (bench/handler-timeouts.mjs).
 *
 * A handler is never given up early, and up to a twentieth of the time late.
 */
export class HandlerTimeouts {
  readonly #limitMs: number
  readonly #periodMs: number
  /** One place for each request in progress; those that are free are taken again. */
  readonly #replies: (FastifyReply | null)[] = []
  readonly #begun: number[] = []
  readonly #free: number[] = []
  #timer: NodeJS.Timeout | null = null
  /** Those of them that did not come over a socket of this server. */
  #injected = 0
  /** Whether any began since the last look. */
  #busy = false

  /** @param limitMs milliseconds from the suite's first hook to the end of the answer */
  constructor (limitMs: number) {
    this.#limitMs = limitMs
    this.#periodMs = Math.min(LONGEST_PERIOD_MS, Math.max(SHORTEST_PERIOD_MS, Math.ceil(limitMs / PERIODS)))
  }

  /** Requests in progress. */
  get size (): number {
    return this.#replies.length - this.#free.length
  }

  /** From now on the answer is waited for. */
  watch (reply: FastifyReply): void {
    const place = this.#free.pop() ?? this.#replies.length
    this.#replies[place] = reply
    this.#begun[place] = performance.now()
    this.#busy = true
    this.#timer ??= setInterval(() => { this.#look() }, this.#periodMs).unref()
    const { raw } = reply
    if (raw instanceof PreparedResponse) {
      raw.holdPlace(this, place)
      return
    }
    // No socket keeps the process alive for a request that was injected.
    this.#injected++
    this.#timer.ref()
    raw.once('close', () => {
      this.release(place, raw)
      if (--this.#injected === 0) this.#timer?.unref()
    })
  }

  /** The answer is sent, or nobody is there to read it. Does nothing once the place belongs to another response. */
  release (place: number, response: ServerResponse): void {
    if (this.#replies[place]?.raw !== response) return
    this.#replies[place] = null
    this.#free.push(place)
  }

  close (): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  #look (): void {
    const now = performance.now()
    for (let place = 0; place < this.#replies.length; place++) {
      const reply = this.#replies[place] ?? null
      if (reply === null || now - (this.#begun[place] as number) < this.#limitMs) continue
      // Not only when the response is over: Node never says so of one that waits behind others on a connection that is
      // gone.
      this.release(place, reply.raw)
      giveUp(reply, this.#limitMs)
    }
    // An idle server wakes up for nothing.
    if (!this.#busy && this.size === 0) this.close()
    this.#busy = false
  }
}

function giveUp (reply: FastifyReply, limitMs: number): void {
  // Hijacked, or about to be over.
  if (reply.sent) return
  const error = new errorCodes.FST_ERR_HANDLER_TIMEOUT(String(limitMs), reply.request.routeOptions.url ?? '')
  if (reply.raw.headersSent) reply.raw.destroy(error)
  else reply.send(error)
}
