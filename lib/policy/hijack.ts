import type { FastifyInstance, FastifyReply } from 'fastify'
import { wrapReplyMethod } from '../reply-methods.js'

/** They describe a body that is not sent any more. */
const OF_THE_BODY: ReadonlySet<string> = new Set(['content-type', 'content-length', 'content-encoding', 'transfer-encoding', 'trailer'])

/**
 * Makes `reply.hijack()` hand the reply's headers to the raw response first: what takes over (SSE, a page framework)
 * writes there, and Fastify runs no hook for it. Costs nothing for other replies.
 *
 * @param finish sets what is decided last on the reply
 */
export function carryHeadersOnHijack (app: FastifyInstance, finish: (reply: FastifyReply) => void): void {
  wrapReplyMethod(app, 'hijack', (reply, _args, goOn) => {
    if (!reply.raw.headersSent) {
      finish(reply)
      for (const [name, value] of Object.entries(reply.getHeaders())) {
        if (value !== undefined && !OF_THE_BODY.has(name)) reply.raw.setHeader(name, value)
      }
    }
    return goOn()
  })
}
