import { Writable } from 'node:stream'
import { createServer } from 'fastify-bulwark'
import { createPasswords } from 'fastify-bulwark/passwords'
import type { Test } from 'tap'
import type { App, Services } from '../../example-server/services.js'
import { createProjects } from '../../example-server/repositories/projects.js'
import { createResets } from '../../example-server/repositories/resets.js'
import { createUsers } from '../../example-server/repositories/users.js'
import { accountRoutes } from '../../example-server/routes/account.js'
import { openRoutes } from '../../example-server/routes/open.js'
import { pageRoutes } from '../../example-server/routes/pages.js'
import { projectRoutes } from '../../example-server/routes/projects.js'
import { recoveryRoutes } from '../../example-server/routes/recovery.js'
import { userRoutes } from '../../example-server/routes/users.js'
import { defineExampleSecurity, type ExampleSecurity } from '../../example-server/security.js'
import { member, PASSWORD, SECRETS, sharedDatabase, testConfig, workingDirectory } from '../example-server/helpers.js'

/** Stands in every password, token and cookie that is made up here, and so in no line, event or answer. */
export const CANARY = 'Zq7-canary'

export interface Hostile {
  readonly app: App
  /** Everything that was logged and every event so far, as text. */
  readonly said: string[]
  /** What must stand in none of it, beside the canary. */
  readonly secrets: Set<string>
  /** Cookies of somebody who is signed in. */
  readonly cookie: string
  readonly userId: string
  readonly projectId: string
}

/** So many that no limit hides what lies behind it. */
const ENDLESS = { limit: 100_000_000, window: '15m', by: 'ip', algorithm: 'sliding' } as const

/** The example server as `buildApp` makes it, with endless limits, and with everything that it says in one place. */
export async function startHostile (t: Test): Promise<Hostile> {
  const said: string[] = []
  const stream = new Writable({ write (chunk: Buffer, _encoding, done) { said.push(chunk.toString()); done() } })
  const database = await sharedDatabase(t)
  const config = testConfig({ MAIL_DIRECTORY: workingDirectory(t), LOG_LEVEL: 'trace' })
  const services: Services = {
    database,
    users: createUsers(database),
    projects: createProjects(database),
    resets: createResets(database),
    // Thousands ask at once here; none of them is to be refused for that.
    passwords: await createPasswords({ memoryKiB: 7168, passes: 5, queue: 10_000 }),
  }
  const definition = defineExampleSecurity(config, () => services)
  const policies = {
    global: ENDLESS,
    auth: ENDLESS,
    login: ENDLESS,
    reports: ENDLESS,
    files: ENDLESS,
    letters: ENDLESS,
    passwords: ENDLESS,
  }
  const relaxed: ExampleSecurity = { ...definition, rateLimit: { policies } }
  const app: App = await createServer(relaxed, { logger: { level: 'trace', stream } })
  accountRoutes(app, services)
  recoveryRoutes(app, services, config)
  userRoutes(app, services)
  projectRoutes(app, services)
  await openRoutes(app, services)
  await pageRoutes(app, config)
  app.security.events.on('*', (event) => { said.push(JSON.stringify(event)) })
  await app.ready()
  t.teardown(() => app.close())

  const visitor = await member(app, 'hostile@example.com')
  const project = await visitor.send('POST', '/projects', { body: { name: 'Engine' } })
  const me = await visitor.send('GET', '/me')
  const cookie = visitor.jar.header('/auth') ?? ''
  const tokens = cookie.split('; ').map((pair) => pair.slice(pair.indexOf('=') + 1))
  return {
    app,
    said,
    secrets: new Set([PASSWORD, ...Object.values(SECRETS), ...tokens]),
    cookie,
    userId: me.json<{ id: string }>().id,
    projectId: project.json<{ id: string }>().id,
  }
}

/** The first of the secrets that stands in the text, shortened; null when none does. */
export function findSecret (text: string, secrets: Iterable<string>): string | null {
  for (const secret of [CANARY, ...secrets]) {
    const at = text.indexOf(secret)
    if (at !== -1) return text.slice(Math.max(0, at - 200), at + 60)
  }
  return null
}
