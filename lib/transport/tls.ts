import { constants } from 'node:crypto'
import type { ServerOptions as NodeHttpOptions } from 'node:http'
import type { ServerOptions as NodeHttpsOptions } from 'node:https'
import type { FastifyServerOptions } from 'fastify'
import type { Problem } from '../response/errors.js'

/**
 * What `createServer` and `serverOptions` take beside the definition: Fastify's options, with those of Node's servers.
 */
export type ServerInput = FastifyServerOptions & {
  /** Options of Node's HTTP server. */
  readonly http?: NodeHttpOptions | null
  /** Key and certificate for a service without a TLS proxy in front; TLS 1.2 is the least it speaks. */
  readonly https?: NodeHttpsOptions | null
  /** Not supported yet. */
  readonly http2?: false
}

/** What `serverOptions` returns: what the factory `fastify()` takes. */
export type ServerOutput = FastifyServerOptions & {
  http?: NodeHttpOptions | null
  https?: NodeHttpsOptions
  http2?: false
}

/** OWASP ASVS 5.0, V12.1.1; RFC 8996 retires what is older. */
const MIN_TLS_VERSION = 'TLSv1.2'

/** A handshake that never ends holds a connection before any limit of HTTP begins to run; Node waits 120 s. */
export const TLS_DEFAULTS = Object.freeze({ minVersion: MIN_TLS_VERSION, handshakeTimeout: 20_000 } as const)

const VERSIONS: ReadonlySet<unknown> = new Set([undefined, MIN_TLS_VERSION, 'TLSv1.3'])

/** Reports what would let a client in over a protocol, or past a parser, that must not be used any more. */
export function checkServerInput (input: Readonly<Record<string, unknown>>, problems: Problem[]): void {
  const { http, https, http2, handlerTimeout } = input
  if (handlerTimeout !== undefined && !(Number.isSafeInteger(handlerTimeout) && Number(handlerTimeout) >= 0)) {
    problems.push({
      path: 'fastify.handlerTimeout',
      message: 'Not a whole number of milliseconds.',
      fix: 'Write how long a handler has, for example 10000, or 0 for no limit.',
    })
  }
  if (http2 !== undefined && http2 !== false) {
    problems.push({
      path: 'fastify.http2',
      message: 'Not supported yet: the suite answers malformed requests and timeouts in HTTP/1.1.',
      fix: 'Remove it, and let the proxy in front speak HTTP/2.',
    })
  }
  for (const [name, options] of [['http', http], ['https', https]] as const) {
    if (isRecord(options) && options['insecureHTTPParser'] === true) {
      problems.push({
        path: `fastify.${name}.insecureHTTPParser`,
        message: 'A lenient parser lets requests be smuggled past a proxy.',
        fix: 'Remove it.',
      })
    }
  }
  if (https === undefined || https === null) return
  if (isRecord(https)) checkTls(https, problems)
  else {problems.push({
      path: 'fastify.https',
      message: 'Not an object.',
      fix: "Write the options of Node's https server: { key, cert }.",
    })}
}

function checkTls (https: Readonly<Record<string, unknown>>, problems: Problem[]): void {
  for (const name of ['minVersion', 'maxVersion']) {
    if (!VERSIONS.has(https[name])) {
      problems.push({
        path: `fastify.https.${name}`,
        message: 'Not an accepted version.',
        fix: `Write '${MIN_TLS_VERSION}' or 'TLSv1.3', or leave it out.`,
      })
    }
  }
  if (https['secureProtocol'] !== undefined) {
    problems.push({
      path: 'fastify.https.secureProtocol',
      message: 'It fixes one protocol version and overrides minVersion.',
      fix: 'Remove it; minVersion and maxVersion say the same without its names.',
    })
  }
  const { ciphers, secureOptions, ALPNProtocols: protocols } = https
  // From level 1 on OpenSSL itself drops what does not encrypt or does not authenticate, also where the string
  // names it.
  if (typeof ciphers === 'string' && ciphers.includes('@SECLEVEL=0')) {
    problems.push({
      path: 'fastify.https.ciphers',
      message: 'Security level 0 admits ciphers that encrypt nothing and servers that prove nothing.',
      fix: 'Remove @SECLEVEL=0.',
    })
  }
  if (typeof secureOptions === 'number' && (secureOptions & constants.SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION) !== 0) {
    problems.push({
      path: 'fastify.https.secureOptions',
      message: "Unsafe legacy renegotiation lets another put a request before the client's (CVE-2009-3555).",
      fix: 'Remove SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION.',
    })
  }
  if (Array.isArray(protocols) && !protocols.includes('http/1.1')) {
    problems.push({
      path: 'fastify.https.ALPNProtocols',
      message: 'The server speaks HTTP/1.1 only.',
      fix: "Remove it, or list 'http/1.1'.",
    })
  }
  // Only what every certificate needs: a wrong key is Node's to report.
  if (['cert', 'pfx', 'SNICallback'].every((name) => https[name] === undefined)) {
    problems.push({
      path: 'fastify.https',
      message: 'No certificate.',
      fix: 'Write { key, cert } in PEM, or { pfx, passphrase }.',
    })
  }
}

function isRecord (value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
