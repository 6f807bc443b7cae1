const ZERO = 48
const UPPER_A = 65
const LOWER_A = 97

/**
 * The part of an address that one subscriber cannot change at will: all of an IPv4 address, the first 64 bits of an IPv6
 * one (RFC 6177: a site gets at least a /64). IPv4 written as IPv6 (`::ffff:192.0.2.1`, RFC 4291, section 2.5.5.2) counts as IPv4, and a
 * zone (`%eth0`) is dropped. Text that is no address stays as it is, so that it shares a bucket only with itself.
 */
export function addressPrefix (address: string): string {
  if (!address.includes(':')) return address
  const groups = parseGroups(address)
  if (groups === null) return address
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = groups
  if (a === 0 && b === 0 && c === 0 && d === 0 && e === 0 && f === 0xffff) return `${g >> 8}.${g & 255}.${h >> 8}.${h & 255}`
  return `${a.toString(16)}:${b.toString(16)}:${c.toString(16)}:${d.toString(16)}::/64`
}

/** The eight groups of an IPv6 address, or null. No regular expression: this runs for each new caller. */
function parseGroups (address: string): number[] | null {
  const zone = address.indexOf('%')
  const text = zone === -1 ? address : address.slice(0, zone)
  const groups: number[] = []
  let gap = -1
  let at = 0
  if (text.startsWith('::')) {
    gap = 0
    at = 2
  }
  while (at < text.length) {
    const end = endOfGroup(text, at)
    if (end < text.length && text[end] === '.') {
      const pair = parseIPv4(text.slice(at))
      if (pair === null) return null
      groups.push(...pair)
      at = text.length
      break
    }
    const group = parseHex(text, at, end)
    if (group === null) return null
    groups.push(group)
    at = end
    if (at === text.length) break
    at += 1
    if (at === text.length) return null
    if (text[at] === ':') {
      if (gap !== -1) return null
      gap = groups.length
      at += 1
    }
  }
  if (gap === -1) return groups.length === 8 ? groups : null
  if (groups.length > 7) return null
  groups.splice(gap, 0, ...new Array<number>(8 - groups.length).fill(0))
  return groups
}

/** The place of the next `:` or `.`, or the end. */
function endOfGroup (text: string, from: number): number {
  let at = from
  while (at < text.length && text[at] !== ':' && text[at] !== '.') at++
  return at
}

function parseHex (text: string, from: number, to: number): number | null {
  if (to === from || to - from > 4) return null
  let value = 0
  for (let at = from; at < to; at++) {
    const digit = hexDigit(text.charCodeAt(at))
    if (digit === -1) return null
    value = value * 16 + digit
  }
  return value
}

function hexDigit (code: number): number {
  if (code >= ZERO && code < ZERO + 10) return code - ZERO
  if (code >= LOWER_A && code < LOWER_A + 6) return code - LOWER_A + 10
  if (code >= UPPER_A && code < UPPER_A + 6) return code - UPPER_A + 10
  return -1
}

/** The two groups that a dotted IPv4 tail stands for. */
function parseIPv4 (text: string): [number, number] | null {
  const octets = text.split('.')
  if (octets.length !== 4) return null
  const values = octets.map((octet) => /^(0|[1-9][0-9]{0,2})$/.test(octet) ? Number(octet) : 256)
  const [a = 256, b = 256, c = 256, d = 256] = values
  return Math.max(a, b, c, d) > 255 ? null : [a * 256 + b, c * 256 + d]
}
