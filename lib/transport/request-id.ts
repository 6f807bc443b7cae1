import type { IncomingMessage } from 'node:http'
import { createRandomSource } from '../common/random.js'
import type { CidrSet } from '../net/cidr.js'

/** 128 random bits in hexadecimal. */
export const createRequestId = createRandomSource('hex')

/** Strict, because the id goes into logs, headers and problem documents as it is. */
const FOREIGN_ID = /^[0-9A-Za-z][0-9A-Za-z._-]{7,63}$/

/** Takes `X-Request-Id` only from a declared proxy and only in a strict pattern; otherwise makes a new id. */
export function createRequestIdGenerator (proxies: CidrSet | null): (request: IncomingMessage) => string {
  // A function of its own each time: serverOptions() recognizes its instances by it.
  if (proxies === null) return () => createRequestId()
  return (request) => {
    const foreign = request.headers['x-request-id']
    if (
      typeof foreign === 'string' && FOREIGN_ID.test(foreign) && proxies.has(request.socket.remoteAddress)
    ) return foreign
    return createRequestId()
  }
}
