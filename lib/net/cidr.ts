import { BlockList, isIP } from 'node:net'
import { unmappedAddress } from './address.js'

export const CIDR_FIX = 'Write an IP address or a CIDR range: 10.0.0.0/8, 2001:db8::/32.'

/** All addresses that share the first `bits` bits with `address`. */
export interface CidrRange {
  readonly address: string
  readonly bits: number
  readonly family: 'ipv4' | 'ipv6'
}

/**
 * Reads an address or a range; null for anything else. IPv4 written as IPv6 (`::ffff:10.0.0.0/104`) becomes IPv4. A
 * range with a zone is refused, because a zone names an interface of one machine.
 */
export function parseCidr (text: string): CidrRange | null {
  const [address = '', prefix, ...rest] = text.split('/')
  const version = isIP(address)
  if (version === 0 || address.includes('%') || rest.length > 0) return null
  const size = version === 6 ? 128 : 32
  const bits = prefix === undefined ? size : /^(0|[1-9]\d{0,2})$/.test(prefix) ? Number(prefix) : NaN
  if (!(bits <= size)) return null
  const plain = unmappedAddress(address)
  const isMapped = version === 6 && !plain.includes(':')
  if (!isMapped) return { address: plain, bits, family: version === 6 ? 'ipv6' : 'ipv4' }
  // A shorter prefix reaches beyond the IPv4 addresses.
  return bits < 96 ? null : { address: plain, bits: bits - 96, family: 'ipv4' }
}

/** A set of ranges. IPv4 written as IPv6 (RFC 4291, section 2.5.5.2) is looked up as IPv4. */
export class CidrSet {
  readonly #list = new BlockList()

  constructor (ranges: readonly CidrRange[]) {
    for (const { address, bits, family } of ranges) this.#list.addSubnet(address, bits, family)
  }

  /** False for text that is no address. */
  has (address: string | undefined): boolean {
    if (address === undefined) return false
    const plain = unmappedAddress(address)
    const version = isIP(plain)
    return version !== 0 && this.#list.check(plain, version === 6 ? 'ipv6' : 'ipv4')
  }
}
