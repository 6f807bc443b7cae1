import { SecurityError } from 'fastify-bulwark'

/** A row as the driver gives it; the repositories check each column as they read it (rows.ts). */
export type Row = Readonly<Record<string, unknown>>

/** What PGlite and Postgres have in common. */
export interface Database {
  /**
   * Runs one statement. `text` is always a constant of this repository: every value travels in `params`.
   * @throws SecurityError CONFLICT for a unique constraint, STORE_UNAVAILABLE when the database cannot answer in time
   */
  query (text: string, params?: readonly unknown[]): Promise<readonly Row[]>
  close (): Promise<void>
}

/**
 * Opens the database and brings its schema up to date: Postgres by URL, else PGlite (Postgres in WebAssembly) in a
 * directory, or in memory when `directory` is null. Drivers are imported here, so that only the one in use is loaded.
 */
export async function openDatabase (options: { url?: string | undefined, directory?: string | null }): Promise<Database> {
  if (options.url !== undefined) {
    const { openPostgres } = await import('./postgres.js')
    return openPostgres(options.url)
  }
  const { openPglite } = await import('./pglite.js')
  return openPglite(options.directory ?? null)
}

/** PostgreSQL error codes, appendix A of its manual. */
const UNIQUE_VIOLATION = '23505'
const QUERY_CANCELED = '57014'
/** Connection exceptions, insufficient resources, and shutdowns. */
const UNAVAILABLE_CLASS = /^(08|53|57P)/
const NETWORK_ERRORS: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'ETIMEDOUT', 'EPIPE', 'EHOSTUNREACH', 'EAI_AGAIN'])

/** Gives a driver's error a safe meaning; the driver's own words stay in `cause`, for the log. */
export function mapDatabaseError (error: unknown): unknown {
  const code = codeOf(error)
  if (code === UNIQUE_VIOLATION) return new SecurityError('CONFLICT', { cause: error })
  if (code === QUERY_CANCELED || UNAVAILABLE_CLASS.test(code) || NETWORK_ERRORS.has(code)) return unavailable(error)
  return error
}

export function unavailable (cause: unknown): SecurityError {
  return new SecurityError('STORE_UNAVAILABLE', { headers: { 'retry-after': '5' }, cause })
}

function codeOf (error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : ''
}
