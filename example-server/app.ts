import { createServer, type serverOptions } from 'fastify-bulwark'
import type { Database } from './database/database.js'
import type { Config } from './env.js'
import { accountRoutes } from './routes/account.js'
import { openRoutes } from './routes/open.js'
import { pageRoutes } from './routes/pages.js'
import { projectRoutes } from './routes/projects.js'
import { recoveryRoutes } from './routes/recovery.js'
import { userRoutes } from './routes/users.js'
import { defineExampleSecurity } from './security.js'
import { createServices, type App } from './services.js'

/**
 * The service, ready to listen. The database stays the caller's to close.
 * @param options further Fastify options, for tests
 * @throws BulwarkConfigError that lists everything wrong with the configuration
 */
export async function buildApp (
  config: Config,
  database: Database,
  options: Parameters<typeof serverOptions>[1] = {},
): Promise<App> {
  const services = await createServices(database)
  const app = await createServer(defineExampleSecurity(config, () => services), {
    logger: { level: config.LOG_LEVEL },
    ...options,
  })
  accountRoutes(app, services)
  recoveryRoutes(app, services, config)
  userRoutes(app, services)
  projectRoutes(app, services)
  await openRoutes(app, services)
  await pageRoutes(app, config)
  return app
}
