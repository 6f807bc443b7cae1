import type { FastifyInstance } from 'fastify'
import type { IncomingMessage } from 'node:http'
import type { CidrSet } from '../net/cidr.js'

/** Fastify's `rewriteUrl`: its only hook that runs before routing, for every request, and that no scope can replace. */
export type RewriteUrl = (this: FastifyInstance, request: IncomingMessage) => string

/**
 * Takes away what Fastify would believe of a declared proxy and must not. `X-Forwarded-Host`, unless `forwardedHost`
 * says that the proxies set it: nginx and others pass on what the client wrote. A scheme that is none of HTTP's,
 * because `request.protocol` would be that text. And ports behind addresses, as Azure writes them: with its port each
 * connection would be a client of its own, and no limit would ever be reached. What other addresses send is left to the
 * tripwire; Fastify believes none of it.
 */
export function createForwardedFilter (proxies: CidrSet, forwardedHost: boolean): (request: IncomingMessage) => void {
  return function filterForwarded ({ headers, socket }) {
    const proto = headers['x-forwarded-proto']
    const dropsHost = !forwardedHost && headers['x-forwarded-host'] !== undefined
    const fixesProto = proto !== undefined && proto !== 'https' && proto !== 'http'
    const addresses = headers['x-forwarded-for']
    const fixesFor = typeof addresses === 'string' && HAS_PORT.test(addresses)
    if ((!dropsHost && !fixesProto && !fixesFor) || !proxies.has(socket.remoteAddress)) return
    if (dropsHost) delete headers['x-forwarded-host']
    if (fixesFor) headers['x-forwarded-for'] = addresses.split(',').map(withoutPort).join(',')
    if (!fixesProto) return
    const scheme = schemeOf(String(proto))
    if (scheme === null) delete headers['x-forwarded-proto']
    else headers['x-forwarded-proto'] = scheme
  }
}

const HAS_PORT = /\]|\.\d{1,3}:/
const WITH_PORT = /^(?:(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}|\[([0-9a-f:.]+)\](?::\d{1,5})?)$/i

function withoutPort (element: string): string {
  const match = WITH_PORT.exec(element.trim())
  return match?.[1] ?? match?.[2] ?? element
}

/**
 * The last proxy's word, as in X-Forwarded-For. Some say `wss` for a WebSocket that came over TLS; schemes have no
 * case.
 */
function schemeOf (header: string): 'https' | 'http' | null {
  const last = header.slice(header.lastIndexOf(',') + 1).trim().toLowerCase()
  if (last === 'https' || last === 'wss') return 'https'
  return last === 'http' || last === 'ws' ? 'http' : null
}

/** The suite's filter before the app's own `rewriteUrl`, which then sees what the hooks will see. */
export function filteredRewrite (filter: (request: IncomingMessage) => void, own: RewriteUrl | undefined): RewriteUrl {
  return function rewriteFiltered (request) {
    filter(request)
    return own === undefined ? request.url ?? '/' : own.call(this, request)
  }
}
