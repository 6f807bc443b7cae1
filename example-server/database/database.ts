import { SecurityError, type ErrorCode } from 'fastify-bulwark'

/** A row as the driver gives it; the repositories check each column as they read it (rows.ts). */
export type Row = Readonly<Record<string, unknown>>

/** What PGlite and Postgres have in common. */
export interface Database {
  /**
   * Runs one statement. `text` is always a constant of this repository (a lint rule holds it to that): every value
   * travels in `params`.
   * @throws SecurityError as `mapDatabaseError` says
   */
  query (text: string, params?: readonly unknown[]): Promise<readonly Row[]>
  close (): Promise<void>
}

/**
 * Opens the database and brings its schema up to date: Postgres by URL, else PGlite (Postgres in WebAssembly) in a
 * directory, or in memory when `directory` is null. Drivers are imported here, so that only the one in use is loaded.
 */
export async function openDatabase (
  options: { url?: string | undefined, directory?: string | null, statementTimeoutMs?: number },
): Promise<Database> {
  if (options.url !== undefined) {
    const { openPostgres } = await import('./postgres.js')
    return openPostgres(options.url, options.statementTimeoutMs)
  }
  const { openPglite } = await import('./pglite.js')
  return openPglite(options.directory ?? null)
}

/** PostgreSQL error codes, appendix A of its manual. */
const FOREIGN_KEY_VIOLATION = '23503'
const MEANINGS: ReadonlyMap<string, ErrorCode> = new Map<string, ErrorCode>([
  ['23505', 'CONFLICT'], // unique_violation
  ['23P01', 'CONFLICT'], // exclusion_violation
  ['23001', 'CONFLICT'], // restrict_violation
  ['23502', 'UNPROCESSABLE'], // not_null_violation
  ['23514', 'UNPROCESSABLE'], // check_violation
])
/** The same statement works when it is sent again: serialization_failure, deadlock_detected, lock_not_available. */
const TRANSIENT: ReadonlySet<string> = new Set(['40001', '40P01', '55P03'])
const QUERY_CANCELED = '57014'
/** Connection exceptions, insufficient resources, and shutdowns. */
const UNAVAILABLE_CLASS = /^(08|53|57P)/
const NETWORK_ERRORS: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'ETIMEDOUT',
  'EPIPE',
  'EHOSTUNREACH',
  'EAI_AGAIN',
])

/**
 * Gives a driver's error a safe meaning; the driver's own words, which quote values, stay in `cause`, for the log. What
 * a schema should have refused (a malformed UUID, a NUL) has none: that is a defect here, and a 500.
 *
 * @param text the statement that failed
 */
export function mapDatabaseError (error: unknown, text: string): unknown {
  const code = codeOf(error)
  const meaning = MEANINGS.get(code)
  if (meaning !== undefined) return new SecurityError(meaning, { cause: error })
  // Either what is referred to does not exist, or what is to go is still referred to: both are one code in Postgres.
  if (code === FOREIGN_KEY_VIOLATION) {
    return new SecurityError(/^\s*delete\b/i.test(text) ? 'CONFLICT' : 'NOT_FOUND', { cause: error })
  }
  if (TRANSIENT.has(code)) return unavailable(error, 1)
  if (code === QUERY_CANCELED || UNAVAILABLE_CLASS.test(code) || NETWORK_ERRORS.has(code)) return unavailable(error)
  return error
}

export function unavailable (cause: unknown, retryAfterSeconds = 5): SecurityError {
  return new SecurityError('STORE_UNAVAILABLE', { headers: { 'retry-after': String(retryAfterSeconds) }, cause })
}

function codeOf (error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : ''
}
