/** True for a serialized http(s) origin (RFC 6454, section 6.1), exactly as a browser writes it. */
export function isOrigin (text: string): boolean {
  // A star is a legal character of a host name to the URL parser, and a pattern to whoever writes it.
  if (text.includes('*') || !URL.canParse(text)) return false
  const url = new URL(text)
  return (url.protocol === 'https:' || url.protocol === 'http:') && url.origin === text
}
