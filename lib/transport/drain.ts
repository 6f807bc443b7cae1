import type { FastifyInstance } from 'fastify'

/** How long requests in flight may go on after `close()`, and how often connections that fell idle are looked for. */
export const DRAIN_MS = 10_000
const IDLE_CHECK_MS = 100

/**
 * Ends idle connections while the server closes, and all of them when the drain is over. Tells whether it is closing.
 */
export function drainOnClose (app: FastifyInstance, drainMs = DRAIN_MS): () => boolean {
  let closing = false
  const timers: NodeJS.Timeout[] = []
  app.addHook('preClose', function startDrain (done) {
    closing = true
    // A keep-alive connection whose request was in flight falls idle afterwards, and Node does not end it.
    timers.push(setInterval(() => { app.server.closeIdleConnections() }, IDLE_CHECK_MS).unref())
    timers.push(setTimeout(() => { app.server.closeAllConnections() }, drainMs).unref())
    done()
  })
  app.addHook('onClose', function endDrain (_instance, done) {
    for (const timer of timers) clearInterval(timer)
    done()
  })
  return () => closing
}
