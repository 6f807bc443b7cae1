const ZERO = 48
const NINE = 57
const LOWER_A = 97
const LOWER_F = 102
const COLON = 58
const DOT = 46
const PERCENT = 37

/** Reused from call to call, because this runs for each request of a new caller; nothing here waits. */
const groups = new Uint16Array(8)

/**
 * The part of an address that one subscriber cannot change at will: all of an IPv4 address, the first 64 bits of an
 * IPv6 one (RFC 6177: a site gets at least a /64). IPv4 written as IPv6 (`::ffff:192.0.2.1`, RFC 4291, section 2.5.5.2)
 * counts as IPv4, and a zone (`%eth0`) is dropped. Text that is no address stays as it is, so that it shares a bucket
 * only with itself.
 */
export function addressPrefix (address: string): string {
  if (!address.includes(':') || !parseGroups(address)) return address
  return isMapped() ? mappedIPv4() : `${hex(0)}:${hex(1)}:${hex(2)}:${hex(3)}::/64`
}

/** An IPv4 address out of its IPv6 form, and an IPv6 one without its zone; anything else as it is. */
export function unmappedAddress (address: string): string {
  if (!address.includes(':') || !parseGroups(address)) return address
  if (isMapped()) return mappedIPv4()
  const zone = address.indexOf('%')
  return zone === -1 ? address : address.slice(0, zone)
}

/**
 * No address is longer (a zone included); what a proxy forwards as one may be, and would swell the memory of recent
 * ones.
 */
export function isShort (address: string | undefined): address is string {
  return address !== undefined && address.length <= 64
}

function hex (index: number): string {
  return (groups[index] ?? 0).toString(16)
}

function isMapped (): boolean {
  return groups[5] === 0xffff && groups[0] === 0 && groups[1] === 0 && groups[2] === 0 && groups[3] === 0 &&
    groups[4] === 0
}

function mappedIPv4 (): string {
  const [high = 0, low = 0] = [groups[6], groups[7]]
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}

/** Fills `groups` with the eight groups of an IPv6 address; false when it is none. One pass, nothing allocated. */
function parseGroups (text: string): boolean {
  let count = 0
  let gap = -1
  let value = 0
  let digits = 0
  let start = 0
  for (let at = 0; ; at++) {
    const code = at < text.length ? text.charCodeAt(at) : PERCENT
    const digit = hexDigit(code)
    if (digit !== -1) {
      if (digits === 4) return false
      value = value * 16 + digit
      digits++
    } else if (code === COLON) {
      if (digits > 0) {
        if (count === 8) return false
        groups[count++] = value
        // A single colon at the end leaves a group open.
        if (at + 1 === text.length || text.charCodeAt(at + 1) === PERCENT) return false
      } else if (at === 0) {
        if (text.charCodeAt(1) !== COLON) return false
      } else if (gap === -1 && text.charCodeAt(at - 1) === COLON) {
        gap = count
      } else {
        return false
      }
      value = 0
      digits = 0
      start = at + 1
    } else if (code === DOT) {
      if (count > 6 || !parseIPv4(text, start, count)) return false
      count += 2
      break
    } else if (code === PERCENT) {
      if (digits > 0) {
        if (count === 8) return false
        groups[count++] = value
      }
      break
    } else {
      return false
    }
  }
  return gap === -1 ? count === 8 : count < 8 && spread(gap, count)
}

/** Moves the groups after the `::` to the end and fills the gap with zeros. */
function spread (gap: number, count: number): true {
  groups.copyWithin(8 - (count - gap), gap, count)
  groups.fill(0, gap, 8 - (count - gap))
  return true
}

function hexDigit (code: number): number {
  if (code >= ZERO && code <= NINE) return code - ZERO
  const lower = code | 32
  return lower >= LOWER_A && lower <= LOWER_F ? lower - LOWER_A + 10 : -1
}

/** Reads a dotted IPv4 tail, up to a zone or the end, into two groups. */
function parseIPv4 (text: string, from: number, into: number): boolean {
  let octets = 0
  let value = 0
  let digits = 0
  let pair = 0
  for (let at = from; ; at++) {
    const code = at < text.length ? text.charCodeAt(at) : PERCENT
    if (code >= ZERO && code <= NINE) {
      if (digits > 0 && value === 0) return false
      value = value * 10 + code - ZERO
      if (++digits > 3 || value > 255) return false
      continue
    }
    if (digits === 0 || octets === 4) return false
    pair = (pair << 8 | value) & 0xffff
    octets++
    if (octets % 2 === 0) groups[into + octets / 2 - 1] = pair
    if (code === PERCENT) return octets === 4
    if (code !== DOT) return false
    value = 0
    digits = 0
  }
}
