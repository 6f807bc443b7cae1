/**
 * A code such as ECONNREFUSED, of the error or of what caused it, else the name of its class. Safe to show where the
 * error's message may quote a value: both are letters, digits and underscores.
 */
export function errorCode (error: unknown): string {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if ('code' in at && typeof at.code === 'string' && /^[A-Z][A-Z0-9_]{1,60}$/.test(at.code)) return at.code
  }
  return error instanceof Error && /^[A-Za-z]{1,60}$/.test(error.name) ? error.name : 'unknown error'
}
