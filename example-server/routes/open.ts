import { publicRoute } from 'fastify-bulwark'
import type { App, Services } from '../app.js'
import { readStats } from '../repositories/stats.js'
import { Health, StatsView } from '../schemas.js'

/** What needs no account. */
export async function openRoutes (app: App, { database }: Services): Promise<void> {
  // Alive means that this process answers. It does not ask the database: an outage there must not make the
  // orchestrator restart every process here. Not limited, because a refused probe would end a healthy process, and
  // probed by address over plain HTTP, hence neither host nor scheme are checked.
  app.get('/healthz', {
    schema: { response: { 200: Health } },
    security: { auth: publicRoute('liveness probe'), rateLimit: false, transport: { hosts: 'any', https: 'off' } },
  }, async () => ({ status: 'ok' as const }))

  // Any page may read this, and none may send cookies along.
  await app.secureScope({ prefix: '/open', cors: { origins: '*' }, auth: publicRoute('open data') }, (scope) => {
    scope.get('/stats', { schema: { response: { 200: StatsView } } }, async () => readStats(database))
  })
}
