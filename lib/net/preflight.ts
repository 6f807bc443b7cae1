import type { IncomingMessage } from 'node:http'

/** A CORS preflight (Fetch, section 4.8): OPTIONS with both headers. Any other OPTIONS request belongs to the app. */
export function isPreflight ({ method, headers }: IncomingMessage): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined
}
