/** The host name of a Host header for comparison: lower-case, without port and without the root's trailing dot. */
export function hostName (host: string): string {
  const end = host.startsWith('[') ? host.indexOf(']') + 1 : host.indexOf(':')
  const name = (end <= 0 ? host : host.slice(0, end)).toLowerCase()
  return name.endsWith('.') ? name.slice(0, -1) : name
}

/** True for names that only this machine answers to (RFC 6761, section 6.3 for `localhost`). */
export function isLoopbackName (hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '127.0.0.1' || hostname === '[::1]'
}
