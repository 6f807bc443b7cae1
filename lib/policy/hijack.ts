import type { FastifyInstance, FastifyReply } from 'fastify'

/** They describe a body that is not sent any more. */
const OF_THE_BODY: ReadonlySet<string> = new Set([
  'content-type',
  'content-length',
  'content-encoding',
  'transfer-encoding',
  'trailer',
])

/**
 * Makes `reply.hijack()` hand the reply's headers to the raw response first: what takes over (SSE, a page framework)
 * writes there, and Fastify runs no hook for it. Costs nothing for other replies.
 *
 * @param prepare sets what the reply has to carry
 */
export function carryHeadersOnHijack (app: FastifyInstance, prepare: (reply: FastifyReply) => void): void {
  app.decorateReply('hijack', hijack)

  function hijack (this: FastifyReply): FastifyReply {
    if (!this.raw.headersSent) {
      prepare(this)
      for (const [name, value] of Object.entries(this.getHeaders())) {
        if (value !== undefined && !OF_THE_BODY.has(name)) this.raw.setHeader(name, value)
      }
    }
    return above(this).hijack.call(this)
  }

  /** The prototype with Fastify's own method, which the decoration shadows on this instance's replies. */
  function above (reply: FastifyReply): FastifyReply {
    let at = reply
    while (!Object.hasOwn(at, 'hijack') || at.hijack !== hijack) at = Object.getPrototypeOf(at) as FastifyReply
    return Object.getPrototypeOf(at) as FastifyReply
  }
}
