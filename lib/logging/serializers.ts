import type { FastifyRequest } from 'fastify'
import type { IncomingMessage } from 'node:http'
import { isPlainObject } from '../options/check-options.js'
import { REDACTED, withoutSecrets } from './secrets.js'

/** Headers that identify or authenticate a caller. */
const SECRET_HEADERS =
  /^(?:(?:proxy-)?authorization|(?:set-)?cookie2?|www-authenticate|authentication-info|.*(?:token|secret|password|passwd|api-?key|session|csrf|xsrf|signature|credential).*)$/i

/** What a log line says of a request: no query, because it may hold a token, and no header. */
export function serializeRequest (request: FastifyRequest | IncomingMessage): Record<string, unknown> {
  const path = serializeUrl(request.url ?? '')
  return 'ip' in request
    ? { method: request.method, path, host: request.host, ip: request.ip }
    : { method: request.method, path }
}

/** The status alone: a response's headers set cookies. */
export function serializeResponse (response: unknown): Record<string, unknown> {
  const { statusCode } = (response ?? {}) as { readonly statusCode?: unknown }
  return { statusCode }
}

/** Without query, fragment and the credentials of `https://user:password@host`. */
export function serializeUrl (url: unknown): string {
  const text = url instanceof URL ? url.href : typeof url === 'string' ? url : ''
  const end = text.search(/[?#]/)
  return withoutSecrets(
    (end === -1 ? text : text.slice(0, end)).replace(/^([a-z][a-z0-9+.-]*:)?\/\/[^/]*@/i, `$1//${REDACTED}@`),
  )
}

/** Every name; the values of headers that identify or authenticate are redacted. */
export function serializeHeaders (headers: unknown): unknown {
  const entries: readonly (readonly [unknown, unknown])[] | null = headers instanceof Headers || headers instanceof Map
    ? [...headers.entries() as Iterable<[unknown, unknown]>]
    : typeof headers === 'object' && headers !== null && !Array.isArray(headers) ? Object.entries(headers) : null
  // `rawHeaders` is a flat list of names and values.
  if (entries === null) return REDACTED
  return Object.fromEntries(
    entries.map(([name, value]) => [String(name), SECRET_HEADERS.test(String(name)) ? REDACTED : clean(value)]),
  )
}

/** The names alone: the values are the client's. */
export function serializeQuery (query: unknown): unknown {
  if (query instanceof URLSearchParams) return Object.fromEntries([...query.keys()].map((name) => [name, REDACTED]))
  return isPlainObject(query) ? Object.fromEntries(Object.keys(query).map((name) => [name, REDACTED])) : REDACTED
}

export interface SerializedError {
  readonly type: string
  readonly message: string
  readonly stack: string
  readonly [key: string]: unknown
}

const MAX_CAUSES = 4
const MAX_ERRORS = 5
/** Some libraries put a whole body into their message. */
const MAX_ERROR_TEXT = 16_384

/**
 * What a log line says of an error: pino's own serializer would add every enumerable property, such as a client's
 * request with its headers. Causes and the errors of an AggregateError are followed, as far as they are errors, too.
 */
export function serializeError (error: unknown): SerializedError {
  return serializeCause(error, 0)
}

function serializeCause (error: unknown, depth: number): SerializedError {
  if (!(error instanceof Error)) {
    return { type: typeof error, message: 'a value that is no Error was thrown', stack: '' }
  }
  const { code } = error as { code?: unknown }
  const inner = depth < MAX_CAUSES
  return {
    type: errorText(error.name),
    message: errorText(error.message),
    ...(typeof code === 'string' && { code: errorText(code) }),
    ...(typeof code === 'number' && { code }),
    stack: errorText(error.stack),
    ...(inner && error.cause !== undefined && { cause: serializeCause(error.cause, depth + 1) }),
    ...(inner && error instanceof AggregateError &&
      { errors: error.errors.slice(0, MAX_ERRORS).map((one) => serializeCause(one, depth + 1)) }),
  }
}

/** A property of an error may hold anything. */
function errorText (text: unknown): string {
  if (typeof text !== 'string') return ''
  return withoutSecrets(text.length > MAX_ERROR_TEXT ? `${text.slice(0, MAX_ERROR_TEXT)}…` : text)
}

function clean (value: unknown): unknown {
  if (typeof value === 'string') return withoutSecrets(value)
  return Array.isArray(value)
    ? value.map((item) => clean(item))
    : typeof value === 'number' || value === undefined
    ? value
    : REDACTED
}

/**
 * Pino serializers by the names under which such values are logged. They cost nothing where the name does not occur.
 * For a logger of your own: `pino({ serializers: logSerializers, hooks: logHooks })`.
 */
export const logSerializers = Object.freeze({
  req: serializeRequest,
  request: serializeRequest,
  res: serializeResponse,
  reply: serializeResponse,
  response: serializeResponse,
  err: serializeError,
  error: serializeError,
  cause: serializeError,
  reason: (reason: unknown): unknown => reason instanceof Error ? serializeError(reason) : reason,
  headers: serializeHeaders,
  url: serializeUrl,
  query: serializeQuery,
  cookies: serializeQuery,
})

/** A pino hook that takes known secret values out of a finished line, wherever they stand in it. */
export const logHooks = Object.freeze({ streamWrite: withoutSecrets })
