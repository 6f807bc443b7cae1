import type { IncomingMessage } from 'node:http'
import { rememberLast } from '../common/recent.js'

/**
 * A name or an address with an optional port (RFC 9112, section 3.2), and nothing that a URL would read as user, path
 * or query.
 */
const HOST = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{0,5})?$/i

/** Nearly all requests name the same one. */
const isHost = rememberLast((host) => HOST.test(host))

const SLASH = 47

/**
 * True when the request says in one way only which host it is for: at most one `Host`, well-formed, and a target that
 * names no other (RFC 9112, sections 3.2 and 3.2.2). Otherwise a proxy, the host list and the app could each read
 * another one.
 *
 * @param host what `request.host` says; a declared proxy's word where it is believed
 */
export function namesOneHost (request: IncomingMessage, host: string): boolean {
  // An HTTP/1.0 client may leave it out.
  if (host === '' ? request.httpVersion !== '1.0' : !isHost(host)) return false
  return hasOneHost(request.rawHeaders) && isTargetHere(request)
}

function hasOneHost (rawHeaders: readonly string[]): boolean {
  let count = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]
    if (name !== undefined && name.length === 4 && name.toLowerCase() === 'host') count += 1
  }
  return count <= 1
}

/** A path, `*` for OPTIONS, or an absolute URL of the host that `Host` names. */
function isTargetHere ({ url = '', method, headers }: IncomingMessage): boolean {
  if (url.charCodeAt(0) === SLASH) return true
  if (url === '*') return method === 'OPTIONS'
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) return false
  const target = new URL(url)
  const own = `${target.protocol}//${headers.host ?? ''}`
  return target.username === '' && target.password === '' && URL.canParse(own) && new URL(own).host === target.host
}
