import { publicRoute } from 'fastify-bulwark'
import { readStats } from '../repositories/stats.js'
import { Health, StatsView } from '../schemas.js'
import type { App, Services } from '../services.js'

/**
 * However many ask at once, it runs once: the probe is not limited, and must not become a way to keep the database
 * busy.
 */
function shared (operation: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null
  return () => {
    running ??= operation().finally(() => { running = null })
    return running
  }
}

/** What needs no account. */
export async function openRoutes (app: App, { database }: Services): Promise<void> {
  // Alive means that this process answers. It does not ask the database: an outage there must not make the
  // orchestrator restart every process here. Not limited, because a refused probe would end a healthy process, and
  // probed by address over plain HTTP, hence neither host nor scheme are checked.
  app.get('/healthz', {
    schema: { response: { 200: Health } },
    security: { auth: publicRoute('liveness probe'), rateLimit: false, transport: { hosts: 'any', https: 'off' } },
  }, async () => ({ status: 'ok' as const }))

  // Ready means that requests can be served: the balancer sends none here while the database does not answer.
  const ask = shared(async () => { await database.query('select 1') })
  app.get('/readyz', {
    schema: { response: { 200: Health } },
    security: { auth: publicRoute('readiness probe'), rateLimit: false, transport: { hosts: 'any', https: 'off' } },
  }, async () => {
    await ask()
    return { status: 'ok' as const }
  })

  // Any page may read this, and none may send cookies along.
  await app.secureScope({ prefix: '/open', cors: { origin: '*' }, auth: publicRoute('open data') }, (scope) => {
    scope.get('/stats', { schema: { response: { 200: StatsView } } }, async () => readStats(database))
  })
}
