import { randomFillSync } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { BlockList } from 'node:net'

const ID_BYTES = 16
const pool = Buffer.allocUnsafeSlow(ID_BYTES * 256)
let used = pool.length

/** 128 random bits in hexadecimal. */
export function createRequestId (): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const id = pool.toString('hex', used, used + ID_BYTES)
  used += ID_BYTES
  return id
}

/** Strict, because the id goes into logs, headers and problem documents as it is. */
const FOREIGN_ID = /^[0-9A-Za-z][0-9A-Za-z._-]{7,63}$/

/** Takes `X-Request-Id` only from a declared proxy and only in a strict pattern; otherwise makes a new id. */
export function createRequestIdGenerator (proxies: BlockList | null): (request: IncomingMessage) => string {
  if (proxies === null) return () => createRequestId()
  return (request) => {
    const foreign = request.headers['x-request-id']
    if (typeof foreign === 'string' && FOREIGN_ID.test(foreign) && isTrustedAddress(proxies, request.socket.remoteAddress)) return foreign
    return createRequestId()
  }
}

export function isTrustedAddress (proxies: BlockList, address: string | undefined): boolean {
  if (address === undefined) return false
  const mapped = address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address
  return mapped.includes(':') ? proxies.check(mapped, 'ipv6') : proxies.check(mapped, 'ipv4')
}
