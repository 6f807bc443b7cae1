import { hash, hkdfSync, randomBytes } from 'node:crypto'
import { rememberRecent } from '../common/recent.js'
import { addressPrefix, isShort } from '../net/address.js'
import { isBodyPart } from './key-parts.js'
import type { KeyPart } from './options.js'
import type { ResolvedLimit } from './policies.js'

/** What a key is made of: a request, or a caller that the app describes. */
export interface KeySource {
  readonly ip?: string | undefined
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body?: unknown
  /** What the auth plugin puts on the request; it may be absent. */
  readonly auth?: { readonly userId?: unknown } | null
}

/** Makes the key under which a request counts. */
export type RequestKey = (source: KeySource) => string

/** 128 bits of base64url: two callers share a key neither by chance nor on purpose. */
const KEY_LENGTH = 22
const MAX_BODY_VALUE = 256
/** Bounds the work that a megabyte of "e-mail" can cause; NFKC may lengthen or shorten what it is given. */
const MAX_RAW_BODY_VALUE = 4 * MAX_BODY_VALUE
/** Most requests come from addresses seen a moment ago; their keys need no second hash. */
const RECENT_ADDRESSES = 4096

/** A key of its own for the limiter: a leak of one says nothing of the other (RFC 5869). `null` draws a random one. */
export function deriveKeySecret (secret: string | null): string {
  const bytes = secret === null
    ? randomBytes(32)
    : Buffer.from(hkdfSync('sha256', secret, '', 'fastify-bulwark rate-limit keys v2', 32))
  return bytes.toString('base64url')
}

/**
 * Compiles the keys of a policy's limits. The caller stands in a key as half a SHA-256 of the secret, the policy and
 * the key parts: neither an address nor an API key nor an e-mail address can be read from it, or found by trying
 * without the secret. The cut digest cannot be extended, so no HMAC is needed (chop-MD, Coron et al. 2005). Method and
 * route are no part of it.
 *
 * What shapes the stored value (position, algorithm, window) stands beside it: a limit whose shape changes starts anew
 * instead of misreading what is there. What stands in braces is the hash tag of Redis Cluster. It is the caller where
 * all limits of the policy and phase count by the same parts, so that callers spread over the slots, and the policy
 * where they do not: either way the keys of one policy and phase share a slot.
 */
export function compileKeys (
  secret: string,
  limits: readonly ResolvedLimit[],
  apiKeyHeader: string,
): ReadonlyMap<ResolvedLimit, RequestKey> {
  return new Map(limits.map((limit) => {
    const parts = JSON.stringify(limit.parts)
    const spreads = limits.every((other) => other.phase !== limit.phase || JSON.stringify(other.parts) === parts)
    return [limit, compileKey(secret, limit, spreads, apiKeyHeader)]
  }))
}

function compileKey (
  secret: string,
  { policy, position, quota, parts }: ResolvedLimit,
  spreads: boolean,
  apiKeyHeader: string,
): RequestKey {
  const head = secret + encode('l', JSON.stringify([policy, parts]))
  const shape = `${position}${quota.algorithm.charAt(0)}${quota.windowMs.toString(36)}`
  const before = spreads ? '{' : `{${policy}}`
  const after = spreads ? `}${shape}` : shape
  const keyOf = (caller: string): string =>
    before + hash('sha256', head + caller, 'base64url').slice(0, KEY_LENGTH) + after
  if (parts.length === 1 && parts[0] === 'ip') {
    const ofAddress = rememberRecent((address: string) => keyOf(encodeAddress(address)), RECENT_ADDRESSES)
    return function addressKey ({ ip }) {
      return isShort(ip) ? ofAddress(ip) : keyOf(encodeAddress(ip))
    }
  }
  const readers = parts.map((part) => compilePart(part, apiKeyHeader))
  return function callerKey (source) {
    let caller = ''
    for (const read of readers) caller += read(source)
    return keyOf(caller)
  }
}

function compilePart (part: KeyPart, apiKeyHeader: string): RequestKey {
  if (part === 'ip') return ({ ip }) => encodeAddress(ip)
  if (part === 'user') return readUser
  if (part === 'apiKey') return (source) => readApiKey(source, apiKeyHeader)
  if (isBodyPart(part)) return ({ body }) => readBody(body, part.body)
  return ({ headers }) => encodeHeader('h', headers[part.header]) ?? ABSENT
}

/** Each part says its type and length, so that no two different lists of parts read the same. */
function encode (type: string, value: string): string {
  return `${type}${value.length}:${value}`
}

const ABSENT = '-'

function encodeAddress (address: string | undefined): string {
  // A server on a Unix socket knows no address: all its callers are one.
  return address === undefined ? ABSENT : encode('i', addressPrefix(address))
}

/** An anonymous caller is counted by address, in a key space of its own: never free, never in a user's bucket. */
function readUser ({ auth, ip }: KeySource): string {
  const userId = auth?.userId
  return typeof userId === 'string' && userId !== '' ? encode('u', userId) : `a${encodeAddress(ip)}`
}

function readApiKey ({ headers, ip }: KeySource, name: string): string {
  const value = headers[name]
  return (value === '' ? null : encodeHeader('k', value)) ?? `a${encodeAddress(ip)}`
}

/**
 * Taken whole: two long tokens often begin alike, and Node bounds the size of all headers. Null also for what is no
 * header: Node's object of headers inherits `constructor` and the like, which are names that a header may have.
 */
function encodeHeader (type: string, value: unknown): string | null {
  if (typeof value === 'string') return encode(type, value)
  return Array.isArray(value) ? encode(type, value.join(',')) : null
}

/** Malformed values share one bucket (of the other parts), so that leaving the field out is no way around the limit. */
function readBody (body: unknown, name: string): string {
  if (typeof body !== 'object' || body === null || !Object.hasOwn(body, name)) return ABSENT
  const value: unknown = Reflect.get(body, name)
  const text = asText(Array.isArray(value) && value.length === 1 ? value[0] : value)
  return text === null ? ABSENT : encode('b', normalize(text))
}

/**
 * Fastify's validator makes text of a number, and of a list of one, after the limits were asked: such a spelling must
 * not be another caller than its text.
 */
function asText (value: unknown): string | null {
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : null
}

/**
 * One spelling for all spellings of an e-mail address: NFKC (full-width letters, ligatures), trimmed, lower case. Two
 * values that differ past the cap share a bucket, which errs on the strict side.
 */
export function normalize (value: string): string {
  return value.trim().slice(0, MAX_RAW_BODY_VALUE).normalize('NFKC').trim().toLowerCase().slice(0, MAX_BODY_VALUE)
}
