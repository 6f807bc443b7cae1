import type { IncomingMessage } from 'node:http'
import type { CidrSet } from '../net/cidr.js'

/** The headers by which a proxy speaks for a client. */
export type ProxyHeader = 'x-forwarded-for' | 'x-forwarded-proto' | 'x-forwarded-host' | 'forwarded'

/** A client can send many such headers; one notice a minute says enough. */
const QUIET_MS = 60_000

/**
 * Notices headers of a proxy from an address that is no declared proxy: a client lies, or a proxy was not declared and
 * every client behind it shares one address. Returns the header's name at most once a minute, else null.
 *
 * @param now monotonic milliseconds
 */
export function createProxyTripwire (
  proxies: CidrSet | null,
  now: () => number = () => performance.now(),
): (request: IncomingMessage) => ProxyHeader | null {
  let quietUntil = -Infinity
  return function noticeProxyHeader ({ headers, socket }) {
    const header = headers['x-forwarded-for'] !== undefined
      ? 'x-forwarded-for'
      : headers['x-forwarded-proto'] !== undefined
      ? 'x-forwarded-proto'
      : headers['x-forwarded-host'] !== undefined
      ? 'x-forwarded-host'
      : headers.forwarded !== undefined
      ? 'forwarded'
      : null
    if (header === null) return null
    const time = now()
    if (time < quietUntil || (proxies !== null && proxies.has(socket.remoteAddress))) return null
    quietUntil = time + QUIET_MS
    return header
  }
}
