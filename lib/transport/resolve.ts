import { BlockList } from 'node:net'
import { CIDR_FIX, CidrSet, parseCidr, type CidrRange } from '../net/cidr.js'
import type { Problem } from '../response/errors.js'
import { isOrigin } from '../net/origin.js'
import { resolveMethods } from './methods.js'

/** The shape that `TransportOptions` (plugins/transport.ts) has after its schema check. */
export interface TransportInput {
  readonly proxies?: 'none' | readonly string[]
  readonly hosts?: readonly string[]
  readonly https?: HttpsMode
  readonly forwardedHost?: boolean
  readonly publicOrigin?: string
  readonly methods?: readonly string[]
  readonly redirects?: readonly string[]
}

/**
 * `require` refuses plain HTTP; `redirect` sends safe requests of documents to the public origin and refuses the rest.
 */
export type HttpsMode = 'require' | 'redirect' | 'off'

/** Resolved transport policy of a scope or a route. */
export interface ResolvedTransportPolicy {
  /** Allowed host names, lower-case, without port; null allows any. */
  readonly hosts: ReadonlySet<string> | null
  readonly https: HttpsMode
  readonly publicOrigin: string | null
  /** True when the declared proxies' `X-Forwarded-Host` is believed; of the server, the same on every route. */
  readonly forwardedHost: boolean
  /** Origins that `reply.safeRedirect` may leave for, the public one included. */
  readonly redirects: ReadonlySet<string>
}

export interface ResolvedTransport {
  readonly policy: ResolvedTransportPolicy
  /** What Fastify's `trustProxy` gets: false, or the declared list. */
  readonly trustProxy: false | string[]
  /** The same list for own checks, or null for none. */
  readonly proxies: CidrSet | null
  /** Methods that are served; any other is answered 405. */
  readonly methods: ReadonlySet<string>
}

/** Resolves the transport options; production must say which proxies stand in front, which has no safe default. */
export function resolveTransport (input: TransportInput, production: boolean, problems: Problem[]): ResolvedTransport {
  const https = input.https ?? (production ? 'require' : 'off')
  // What was written but could not be read is reported already.
  if (input.proxies === undefined && production && !problems.some(({ path }) => path.startsWith('transport.proxies'))) {
    problems.push({
      path: 'transport.proxies',
      message: 'Not declared.',
      fix: "Write the CIDR ranges of the proxies in front of this service, or 'none' when clients connect directly.",
    })
  }
  if (https === 'redirect' && input.publicOrigin === undefined) {
    problems.push({
      path: 'transport.publicOrigin',
      message: 'A redirect needs a configured target.',
      fix: 'Write the https:// origin that browsers should use; the Host header is never trusted for it.',
    })
  }
  if (input.publicOrigin !== undefined) checkPublicOrigin(input.publicOrigin, https, problems)
  const list = input.proxies === undefined || input.proxies === 'none' ? [] : input.proxies
  if (input.forwardedHost === true && list.length === 0) {
    problems.push({
      path: 'transport.forwardedHost',
      message: 'No proxy is declared that could send X-Forwarded-Host.',
      fix: 'Declare the proxies in transport.proxies, or leave the option out.',
    })
  }
  return {
    policy: Object.freeze({
      hosts: input.hosts === undefined ? null : resolveHosts(input.hosts, problems),
      https,
      publicOrigin: input.publicOrigin ?? null,
      forwardedHost: input.forwardedHost ?? false,
      redirects: resolveRedirects(input, problems),
    }),
    trustProxy: list.length === 0 ? false : [...list],
    proxies: list.length === 0 ? null : resolveProxies(list, problems),
    methods: resolveMethods(input.methods, problems),
  }
}

function checkPublicOrigin (origin: string, https: HttpsMode, problems: Problem[]): void {
  if (!isOrigin(origin)) {
    problems.push({
      path: 'transport.publicOrigin',
      message: 'Not an exact origin.',
      fix: 'Write scheme, host and port: https://api.example.com, without a path or a trailing slash.',
    })
  } else if (https !== 'off' && !origin.startsWith('https://')) {
    problems.push({
      path: 'transport.publicOrigin',
      message: 'Not an https origin.',
      fix: "Write the https:// origin, or set transport.https to 'off'.",
    })
  }
}

function resolveRedirects ({ redirects = [], publicOrigin }: TransportInput, problems: Problem[]): ReadonlySet<string> {
  for (const [index, origin] of redirects.entries()) {
    if (!isOrigin(origin)) {
      problems.push({
        path: `transport.redirects[${index}]`,
        message: 'Not an exact origin.',
        fix: 'Write scheme, host and port: https://login.example.com, without a path, a wildcard or a trailing slash.',
      })
    }
  }
  return new Set(publicOrigin === undefined ? redirects : [publicOrigin, ...redirects])
}

function resolveHosts (hosts: readonly string[], problems: Problem[]): ReadonlySet<string> {
  const names = new Set<string>()
  for (const [index, host] of hosts.entries()) {
    const parsed = URL.canParse(`http://${host}`) ? new URL(`http://${host}`) : null
    if (
      parsed === null || host.includes('*') ||
      parsed.host !== host.toLowerCase() && parsed.hostname !== host.toLowerCase() || parsed.port !== ''
    ) {
      problems.push({
        path: `transport.hosts[${index}]`,
        message: 'Not a host name.',
        fix: 'Write each name in full, without scheme, port or wildcard: api.example.com.',
      })
    } else {
      names.add(parsed.hostname)
    }
  }
  if (hosts.length === 0) {
    problems.push({
      path: 'transport.hosts',
      message: 'An empty list refuses every request.',
      fix: 'List the host names, or leave the option out.',
    })
  }
  return names
}

function resolveProxies (list: readonly string[], problems: Problem[]): CidrSet {
  const ranges: CidrRange[] = []
  for (const [index, entry] of list.entries()) {
    const path = `transport.proxies[${index}]`
    const range = parseCidr(entry)
    if (range === null) {
      problems.push({ path, message: 'Not an address range.', fix: CIDR_FIX })
    } else if (range.bits === 0 || coversMappedIPv4(range)) {
      problems.push({
        path,
        message: 'This trusts every client to say who it is.',
        fix: "List the proxies' own addresses, or write 'none'.",
      })
    } else {
      ranges.push(range)
    }
  }
  return new CidrSet(ranges)
}

/** Wider than `::ffff:0:0/96`: Fastify's `trustProxy` would find every IPv4 address there. */
function coversMappedIPv4 ({ address, bits, family }: CidrRange): boolean {
  if (family === 'ipv4') return false
  const range = new BlockList()
  range.addSubnet(address, bits, family)
  return range.check('::ffff:0.0.0.0', 'ipv6')
}
