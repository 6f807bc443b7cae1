import type { FastifyRequest } from 'fastify'
import { CIDR_FIX, CidrSet, parseCidr, type CidrRange } from '../net/cidr.js'
import { refusal, type Problem, type SecurityError } from '../response/errors.js'

export type Standing = 'allowed' | 'denied' | 'limited'

/** Tells how an address stands to the two lists; an address in both is denied. */
export type AddressLists = (address: string | undefined) => Standing

/** Compiles both lists; null when they are empty. */
export function resolveAddressLists (
  allow: readonly string[],
  deny: readonly string[],
  path: string,
  problems: Problem[],
): AddressLists | null {
  const seen = new Map<string, string>()
  const allowed = new CidrSet(resolveRanges(allow, `${path}.allow`, true, seen, problems))
  const denied = new CidrSet(resolveRanges(deny, `${path}.deny`, false, seen, problems))
  if (allow.length + deny.length === 0) return null
  return function standingOf (address) {
    if (denied.has(address)) return 'denied'
    return allowed.has(address) ? 'allowed' : 'limited'
  }
}

function resolveRanges (
  entries: readonly string[],
  path: string,
  isAllowList: boolean,
  seen: Map<string, string>,
  problems: Problem[],
): CidrRange[] {
  return entries.flatMap((entry, index) => {
    const where = `${path}[${index}]`
    const range = parseCidr(entry)
    const problem = range === null
      ? { message: 'Not an address range.', fix: CIDR_FIX }
      : problemOf(range, isAllowList, seen.get(textOf(range)))
    if (problem !== null) problems.push({ path: where, ...problem })
    if (range === null || problem !== null) return []
    seen.set(textOf(range), where)
    return [range]
  })
}

function problemOf (
  { bits }: CidrRange,
  isAllowList: boolean,
  earlier: string | undefined,
): Omit<Problem, 'path'> | null {
  if (isAllowList && bits === 0) {
    return {
      message: 'This lets every caller past all limits.',
      fix: 'List the ranges of your own machines, or turn the limiter off with rateLimit: false.',
    }
  }
  if (earlier === undefined) return null
  return { message: `The same range stands at ${earlier}.`, fix: 'Write it once, in one of the two lists.' }
}

function textOf ({ address, bits }: CidrRange): string {
  return `${address}/${bits}`
}

/** Whether no limit holds this request's caller. */
export function isAllowed (lists: AddressLists | null, request: FastifyRequest): boolean {
  return lists !== null && lists(request.ip) === 'allowed' && !isUndeclaredProxy(request)
}

/**
 * True when the address forwards for callers of its own and `trustProxy` does not know it. To let its address past the
 * limits would let all its clients past them.
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
