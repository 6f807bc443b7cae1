import { existsSync } from 'node:fs'
import { buildApp } from './app.js'
import { readCheckedConfig } from './check.js'
import { openDatabase, type Database } from './database/database.js'
import { dataDirectory } from './env.js'
import type { App } from './services.js'
import { run } from './terminal.js'

async function main (): Promise<void> {
  const config = readCheckedConfig()
  const directory = dataDirectory(config)
  if (config.DATABASE_URL === undefined && directory !== null && !existsSync(directory)) {
    process.stdout.write(`making a database in ${directory} (about 5 s, the first time only)\n`)
  }
  const database = await openDatabase({ url: config.DATABASE_URL, directory })
  try {
    const app = await buildApp(config, database)
    const address = await app.listen({
      host: config.HOST,
      port: config.PORT,
      listenTextResolver: () => 'accepting connections',
    })
    stopOnSignal(app, database)
    process.stdout.write(`fastify-bulwark example listening on ${address}\n`)
  } catch (error) {
    await database.close()
    throw error
  }
}

/** The suite gives requests in flight ten seconds; a second signal does not wait for them. */
function stopOnSignal (app: App, database: Database): void {
  let stopping = false
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(1)
    stopping = true
    app.log.info({ signal }, 'stopping')
    run(async () => {
      await app.close()
      await database.close()
      process.exit(0)
    })
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

run(main)
