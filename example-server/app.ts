import { createServer, type SecureInstance, type serverOptions, type ShapeOfDefinition } from 'fastify-bulwark'
import { createPasswords, type Passwords } from 'fastify-bulwark/passwords'
import type { Database } from './database/database.js'
import type { Config } from './env.js'
import { createProjects, type Projects } from './repositories/projects.js'
import { createResets, type Resets } from './repositories/resets.js'
import { createUsers, type Users } from './repositories/users.js'
import { accountRoutes } from './routes/account.js'
import { openRoutes } from './routes/open.js'
import { pageRoutes } from './routes/pages.js'
import { projectRoutes } from './routes/projects.js'
import { recoveryRoutes } from './routes/recovery.js'
import { userRoutes } from './routes/users.js'
import { defineExampleSecurity, type ExampleSecurity } from './security.js'

/** What the routes work with. */
export interface Services {
  readonly database: Database
  readonly users: Users
  readonly projects: Projects
  readonly resets: Resets
  readonly passwords: Passwords
}

/** The instance with this service's own role and policy names known to the compiler. */
export type App = SecureInstance<ShapeOfDefinition<ExampleSecurity>>

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
  const services: Services = {
    database,
    users: createUsers(database),
    projects: createProjects(database),
    resets: createResets(database),
    passwords: await createPasswords(),
  }
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
