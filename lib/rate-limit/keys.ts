import { createHmac, hkdfSync, randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { addressPrefix } from './address.js'
import type { KeyPart, ResolvedLimit } from './limits.js'
import { rememberRecent } from './recent.js'

/** Makes the key under which a request counts. */
export type RequestKey = (request: FastifyRequest) => string

/** What the auth plugin puts on the request; it may be absent. */
interface Authenticated { readonly auth?: { readonly userId: string } | null }

/** 128 bits of base64url: two callers never meet by chance, and nobody finds one that meets a victim. */
const KEY_LENGTH = 22
const MAX_BODY_VALUE = 256
/** Bounds the work that a megabyte of "e-mail" can cause; NFKC may lengthen or shorten what it is given. */
const MAX_RAW_BODY_VALUE = 4 * MAX_BODY_VALUE
const RECENT_ADDRESSES = 2048

/** A key of its own for the limiter: a leak of one says nothing of the other (RFC 5869). `null` draws a random one. */
export function deriveKeySecret (secret: string | null): Buffer {
  if (secret === null) return randomBytes(32)
  return Buffer.from(hkdfSync('sha256', secret, '', 'fastify-bulwark rate-limit keys v1', 32))
}

/**
 * Compiles the key of a limit: an HMAC-SHA-256 over what the limit is and who the caller is, of constant size. Neither an
 * address nor an e-mail address can be read from it, or found by trying without the secret. Method and route are no part of it.
 *
 * What shapes the stored value (algorithm, window, parts) is part of the key: a limit whose shape changes starts anew
 * instead of misreading what stands there.
 */
export function compileKey (secret: Buffer, limit: ResolvedLimit): RequestKey {
  const { policy, position, quota, parts } = limit
  const head = encode('l', JSON.stringify([policy, position, quota.algorithm, quota.windowMs, parts]))
  const digest = (caller: string): string => createHmac('sha256', secret).update(head).update(caller).digest('base64url').slice(0, KEY_LENGTH)
  if (parts.length === 1 && parts[0] === 'ip') {
    const ofAddress = rememberRecent((address) => digest(encodeAddress(address)), RECENT_ADDRESSES)
    return function addressKey ({ ip }) { return isShort(ip) ? ofAddress(ip) : digest(encodeAddress(ip)) }
  }
  const readers = parts.map(compilePart)
  return function callerKey (request) {
    let caller = ''
    for (const read of readers) caller += read(request)
    return digest(caller)
  }
}

function compilePart (part: KeyPart): RequestKey {
  if (part === 'ip') return (request) => encodeAddress(request.ip)
  if (part === 'user') return readUser
  if ('header' in part) return (request) => readHeader(request, part.header)
  return (request) => readBody(request.body, part.body)
}

/** Each part says its type and length, so that no two different lists of parts read the same. */
function encode (type: string, value: string): string {
  return `${type}${value.length}:${value}`
}

const ABSENT = '-'

/** No address is longer (a zone included); what a proxy forwards as one may be, and would swell the memory of recent ones. */
function isShort (address: string | undefined): address is string {
  return address !== undefined && address.length <= 64
}

function encodeAddress (address: string | undefined): string {
  // A server on a Unix socket knows no address: all its callers are one.
  return address === undefined ? ABSENT : encode('i', addressPrefix(address))
}

/** An anonymous caller is counted by address, in a key space of its own: never free, never in a user's bucket. */
function readUser (request: FastifyRequest & Authenticated): string {
  const userId: unknown = request.auth?.userId
  return typeof userId === 'string' && userId !== '' ? encode('u', userId) : `a${encodeAddress(request.ip)}`
}

/** Taken whole: two long tokens often begin alike, and Node bounds the size of all headers. */
function readHeader (request: FastifyRequest, name: string): string {
  const value = request.headers[name]
  if (value === undefined) return ABSENT
  return encode('h', typeof value === 'string' ? value : value.join(','))
}

/** Malformed values share one bucket (of the other parts), so that leaving the field out is no way around the limit. */
function readBody (body: unknown, name: string): string {
  if (typeof body !== 'object' || body === null || !Object.hasOwn(body, name)) return ABSENT
  const value: unknown = Reflect.get(body, name)
  return typeof value === 'string' ? encode('b', normalize(value)) : ABSENT
}

/**
 * One spelling for all spellings of an e-mail address: NFKC (full-width letters, ligatures), trimmed, lower case. Two values
 * that differ past the cap share a bucket, which errs on the strict side.
 */
export function normalize (value: string): string {
  return value.trim().slice(0, MAX_RAW_BODY_VALUE).normalize('NFKC').trim().toLowerCase().slice(0, MAX_BODY_VALUE)
}
