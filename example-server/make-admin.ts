import { openDatabase } from './database/database.js'
import { dataDirectory, readConfig } from './env.js'
import { createUsers } from './repositories/users.js'
import { run, UsageError } from './terminal.js'

/** `npm run --silent make-admin -- user@example.com`: for development. No route can do this. */
async function makeAdmin (): Promise<void> {
  const [email, ...rest] = process.argv.slice(2)
  if (email === undefined || rest.length > 0) {
    throw new UsageError('Usage: npm run --silent make-admin -- user@example.com')
  }
  const config = readConfig()
  if (config.NODE_ENV === 'production')
    { throw new UsageError('Refused in production: there an administrator is made in the database.') }
  const directory = dataDirectory(config)
  if (config.DATABASE_URL === undefined && directory === null)
    { throw new UsageError('The database is in memory (NODE_ENV=test), so it has no users. Set DATABASE_URL.') }
  const database = await openDatabase({ url: config.DATABASE_URL, directory })
  try {
    if (!await createUsers(database).makeAdmin(email)) throw new UsageError('No user has this address. Register first.')
  } finally {
    await database.close()
  }
  process.stdout.write('The user is an administrator now. The next sign-in or refresh brings the role.\n')
}

run(makeAdmin)
