import { BlockList, isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { refusal, type Problem, type SecurityError } from '../response/errors.js'
import { isShort, unmappedAddress } from '../net/address.js'
import { rememberRecent } from '../common/recent.js'

export type Standing = 'allowed' | 'denied' | 'limited'

/** Tells how an address stands to the two lists; an address in both is denied. */
export type Networks = (address: string | undefined) => Standing

const RECENT_ADDRESSES = 2048
export const CIDR_FIX = 'Write an IP address or a CIDR range: 10.0.0.0/8, 2001:db8::/32.'

/** Compiles both lists; null when they are empty, so that nobody pays for them. */
export function resolveNetworks (
  allow: readonly string[],
  deny: readonly string[],
  path: string,
  problems: Problem[],
): Networks | null {
  const allowed = new BlockList()
  const denied = new BlockList()
  const seen = new Map<string, string>()
  for (const [list, entries, name] of [[allowed, allow, 'allow'], [denied, deny, 'deny']] as const) {
    for (const [index, entry] of entries.entries())
      {addRange(list, entry, name, `${path}.${name}[${index}]`, seen, problems)}
  }
  if (allow.length + deny.length === 0) return null
  const judge = (address: string): Standing => {
    const plain = unmappedAddress(address)
    const version = isIP(plain)
    if (version === 0) return 'limited'
    const family = version === 6 ? 'ipv6' : 'ipv4'
    if (denied.check(plain, family)) return 'denied'
    return allowed.check(plain, family) ? 'allowed' : 'limited'
  }
  const recall = rememberRecent(judge, RECENT_ADDRESSES)
  return (address) => isShort(address) ? recall(address) : 'limited'
}

function addRange (
  list: BlockList,
  entry: string,
  name: 'allow' | 'deny',
  where: string,
  seen: Map<string, string>,
  problems: Problem[],
): void {
  const range = parseRange(entry)
  if (range === null) {
    problems.push({ path: where, message: 'Not an address range.', fix: CIDR_FIX })
    return
  }
  if (name === 'allow' && range.bits === 0) {
    problems.push({
      path: where,
      message: 'This lets every caller past all limits.',
      fix: 'List the ranges of your own machines, or turn the limiter off with rateLimit: false.',
    })
    return
  }
  const text = `${range.address}/${range.bits}`
  const earlier = seen.get(text)
  if (earlier !== undefined) {
    problems.push({
      path: where,
      message: `The same range stands at ${earlier}.`,
      fix: 'Write it once, in one of the two lists.',
    })
    return
  }
  seen.set(text, where)
  list.addSubnet(range.address, range.bits, range.family)
}

interface Range { readonly address: string, readonly bits: number, readonly family: 'ipv4' | 'ipv6' }

/** A range with a zone is refused: a zone names an interface of one machine. */
function parseRange (entry: string): Range | null {
  const [address = '', prefix, ...rest] = entry.split('/')
  const version = isIP(address)
  if (version === 0 || address.includes('%') || rest.length > 0) return null
  const size = version === 6 ? 128 : 32
  const bits = prefix === undefined ? size : /^(0|[1-9]\d{0,2})$/.test(prefix) ? Number(prefix) : NaN
  if (!(bits <= size)) return null
  const plain = unmappedAddress(address)
  if (version === 6 && !plain.includes(':')) {
    // `::ffff:10.0.0.0/104` are IPv4 addresses; a shorter prefix would reach beyond them.
    return bits < 96 ? null : { address: plain, bits: bits - 96, family: 'ipv4' }
  }
  return { address: plain, bits, family: version === 6 ? 'ipv6' : 'ipv4' }
}

/**
 * True when the address speaks for somebody else whom this server does not believe: a proxy that `trustProxy` does not
 * know. To let its address past the limits would let all its clients past them.
 */
export function isUndeclaredProxy (
  { ip, headers, socket }: Pick<FastifyRequest, 'ip' | 'headers' | 'socket'>,
): boolean {
  return (headers['x-forwarded-for'] !== undefined || headers.forwarded !== undefined) && ip === socket.remoteAddress
}

/** 403, the same for every denied caller. */
export function addressDenied (): SecurityError {
  return refusal('FORBIDDEN', { headers: { 'cache-control': 'no-store' } })
}
