// The example server as the browser tests visit it: over TLS, on a database of its own.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { t as root } from 'tap'
import { buildApp } from '../../example-server/app.js'
import type { App } from '../../example-server/services.js'
import { openDatabase } from '../../example-server/database/database.js'
import { emptyData, testConfig } from '../example-server/helpers.js'
import { listen, type Exchange } from '../helpers/browser.js'
import type { Certificate } from '../helpers/certificates.js'

export const HOST = 'projects.bulwark.test'

export interface Example {
  readonly app: App
  readonly origin: string
  readonly exchanges: readonly Exchange[]
  readonly directory: string
}

/** @param variables of the environment, given the test's own directory */
export async function startExample (
  { key, cert }: Certificate,
  variables: (directory: string) => Record<string, string> = () => ({}),
): Promise<Example> {
  const directory = mkdtempSync(join(tmpdir(), 'bulwark-example-'))
  const database = await openDatabase({ directory: await emptyData(join(directory, 'pglite')) })
  root.teardown(async () => {
    await database.close()
    rmSync(directory, { recursive: true, force: true })
  })
  const app = await buildApp(testConfig(variables(directory)), database, { logger: false, https: { key, cert } })
  const { at, exchanges } = await listen(app)
  return { app, origin: at(HOST), exchanges, directory }
}
