/** Id generators of servers that log nothing: the one constructor option that an instance shows again. */
const SILENT = new WeakSet<object>()

/** Notes that the server which gets these options has no logger, so that whatever is logged is lost. */
export function markSilent ({ genReqId }: { readonly genReqId?: unknown }): void {
  if (typeof genReqId === 'function') SILENT.add(genReqId)
}

/** Whether this server was built by `serverOptions()` without a logger. Fastify's own empty logger cannot be told from an app's. */
export function isSilent (app: object): boolean {
  // Fastify has this getter, its types do not.
  const { genReqId } = app as { readonly genReqId?: unknown }
  return typeof genReqId === 'function' && SILENT.has(genReqId)
}
