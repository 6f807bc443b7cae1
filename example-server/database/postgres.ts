import { Pool } from 'pg'
import { mapDatabaseError, unavailable, type Database } from './database.js'
import { LOCKED_SCHEMA } from './migrations.js'

/** A statement that takes longer is cancelled by the server; a connection that takes longer is given up. */
const STATEMENT_TIMEOUT_MS = 5000
const CONNECT_TIMEOUT_MS = 5000

/**
 * @param statementTimeoutMs after which a statement is cancelled and the caller gets a 503
 * @throws Error without the URL when the first connection or the schema fails
 */
export async function openPostgres (url: string, statementTimeoutMs = STATEMENT_TIMEOUT_MS): Promise<Database> {
  const pool = new Pool({
    connectionString: url,
    max: 10,
    application_name: 'fastify-bulwark-example',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: statementTimeoutMs,
    // The server's own deadline does not help when the server is gone: this one is the client's.
    query_timeout: statementTimeoutMs + 1000,
  })
  // An idle connection that breaks would end the process without a listener; the pool replaces it by itself.
  pool.on('error', () => {})
  try {
    await migrate(pool)
  } catch (cause) {
    await pool.end()
    throw new Error('The database behind DATABASE_URL cannot be used.', { cause })
  }
  return {
    async query (text, params = []) {
      try {
        const { rows } = await pool.query<Record<string, unknown>>(text, [...params])
        return rows
      } catch (error) {
        throw isDriverTimeout(error) ? unavailable(error) : mapDatabaseError(error, text)
      }
    },
    close: () => pool.end(),
  }
}

async function migrate (pool: Pool): Promise<void> {
  const client = await pool.connect()
  let failed = true
  try {
    await client.query(LOCKED_SCHEMA)
    failed = false
  } finally {
    // A failed script leaves its transaction open: such a connection must not go back to the pool.
    client.release(failed)
  }
}

/** The driver's own timeouts and lost connections have a message but no code. */
function isDriverTimeout (error: unknown): boolean {
  return error instanceof Error &&
    /^(Query read timeout|timeout exceeded when trying to connect|Connection terminated)/.test(error.message)
}
