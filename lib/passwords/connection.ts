import type { Socket } from 'node:net'

/** What is needed of a FastifyRequest. */
export interface Connected {
  readonly raw: { readonly socket: Pick<Socket, 'destroyed' | 'once' | 'off'> }
}

/**
 * Runs the work with a signal that aborts when the client's connection closes. Fastify's `request.signal` is of no use
 * for a POST: it aborts as soon as the body is read.
 */
export async function whileConnected<T> (request: Connected, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { socket } = request.raw
  const controller = new AbortController()
  const abort = (): void => { controller.abort() }
  if (socket.destroyed) abort()
  socket.once('close', abort)
  try {
    return await work(controller.signal)
  } finally {
    // A connection that is kept alive brings many requests.
    socket.off('close', abort)
  }
}
