import { isIPv6 } from 'node:net'

/**
 * The part of an address that one subscriber cannot change at will: all of an IPv4 address, the first 64 bits of an
 * IPv6 one (RFC 6177: a site gets at least a /64). IPv4 written as IPv6 (`::ffff:192.0.2.1`, RFC 4291, section 2.5.5.2)
 * counts as IPv4, and a zone (`%eth0`) is dropped. Text that is no address stays as it is, so that it shares a bucket
 * only with itself.
 */
export function addressPrefix (address: string): string {
  const groups = groupsOf(address)
  if (groups === null) return address
  return mappedIPv4(groups) ?? `${groups.slice(0, 4).join(':')}::/64`
}

/** An IPv4 address out of its IPv6 form, and an IPv6 one without its zone; anything else as it is. */
export function unmappedAddress (address: string): string {
  const groups = groupsOf(address)
  if (groups === null) return address
  return mappedIPv4(groups) ?? withoutZone(address)
}

/** No address is longer, zone included. A proxy may forward longer texts, which must not be remembered. */
export function isShort (address: string | undefined): address is string {
  return address !== undefined && address.length <= 64
}

/** The eight groups of an IPv6 address in hexadecimal, without leading zeros; null for anything else. */
function groupsOf (address: string): readonly string[] | null {
  if (!isIPv6(address)) return null
  // The URL parser writes each address in one way, and IPv4 at its end in hexadecimal.
  const [head = '', tail] = new URL(`http://[${withoutZone(address)}]`).hostname.slice(1, -1).split('::')
  const [first, last] = [head, tail ?? ''].map((part) => part === '' ? [] : part.split(':')) as [string[], string[]]
  return [...first, ...new Array<string>(8 - first.length - last.length).fill('0'), ...last]
}

function mappedIPv4 (groups: readonly string[]): string | null {
  if (groups.slice(0, 6).join(':') !== '0:0:0:0:0:ffff') return null
  return groups.slice(6).map((group) => parseInt(group, 16)).map((value) => `${value >> 8}.${value & 255}`).join('.')
}

function withoutZone (address: string): string {
  return address.split('%', 1)[0] ?? address
}
