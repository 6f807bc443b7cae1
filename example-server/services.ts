import type { SecureInstance, ShapeOfDefinition } from 'fastify-bulwark'
import { createPasswords, type Passwords } from 'fastify-bulwark/passwords'
import type { Database } from './database/database.js'
import { createProjects, type Projects } from './repositories/projects.js'
import { createResets, type Resets } from './repositories/resets.js'
import { createUsers, type Users } from './repositories/users.js'
import type { ExampleSecurity } from './security.js'

/** The instance with this service's own role and policy names known to the compiler. */
export type App = SecureInstance<ShapeOfDefinition<ExampleSecurity>>

/** What the routes work with. */
export interface Services {
  readonly database: Database
  readonly users: Users
  readonly projects: Projects
  readonly resets: Resets
  readonly passwords: Passwords
}

export async function createServices (database: Database): Promise<Services> {
  return {
    database,
    users: createUsers(database),
    projects: createProjects(database),
    resets: createResets(database),
    passwords: await createPasswords(),
  }
}
