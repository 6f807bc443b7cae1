import { ServerNotes } from '../options/server-notes.js'

const SILENT = new ServerNotes<true>()

/** Notes that the server with these options has no logger, so that log lines are lost. */
export function markSilent (options: object): void {
  SILENT.set(options, true)
}

/**
 * Whether this server was built by `serverOptions()` without a logger. Fastify's own empty logger cannot be told from
 * an app's.
 */
export function isSilent (app: object): boolean {
  return SILENT.get(app) === true
}
