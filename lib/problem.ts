import { STATUS_CODES } from 'node:http'
import { ERROR_CATALOGUE, SecurityError, type ErrorCode } from './errors.js'

export const PROBLEM_MEDIA_TYPE = 'application/problem+json; charset=utf-8'

/** What a refusal says: a status and a problem document, both free of causes and values. */
export interface RenderedProblem {
  readonly status: number
  readonly code: ErrorCode
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Codes for statuses that an app or a library sets itself; any other status keeps its number under the nearest code. */
const CODE_OF_STATUS: ReadonlyMap<number, ErrorCode> = new Map<number, ErrorCode>([
  [400, 'BAD_REQUEST'], [401, 'UNAUTHENTICATED'], [403, 'FORBIDDEN'], [404, 'NOT_FOUND'], [405, 'METHOD_NOT_ALLOWED'],
  [408, 'REQUEST_TIMEOUT'], [409, 'CONFLICT'], [413, 'BODY_TOO_LARGE'], [414, 'URI_TOO_LONG'], [415, 'MEDIA_TYPE_NOT_SUPPORTED'],
  [421, 'HOST_NOT_ALLOWED'], [422, 'UNPROCESSABLE'], [429, 'RATE_LIMITED'], [431, 'HEADERS_TOO_LARGE'], [503, 'SERVICE_UNAVAILABLE'],
])

/**
 * Renders any thrown value as an RFC 9457 problem document. Only a `SecurityError` chooses its words; of every other
 * error nothing but the status is told, because its text may be a library's or a database's.
 *
 * @param instance the request id, under which the log has the cause
 * @param typeBase prefix of the `type` URI; without one it is `about:blank`, as RFC 9457 section 4.2.1 asks
 */
export function renderProblem (error: unknown, instance: string, typeBase: string | null): RenderedProblem {
  const status = statusOf(error)
  const known = error instanceof SecurityError
  const code = known ? error.code : codeOf(error, status)
  const entry = ERROR_CATALOGUE[code]
  const matches = entry.status === status
  const body = JSON.stringify({
    type: typeBase === null ? 'about:blank' : typeBase + code,
    title: matches ? entry.title : STATUS_CODES[status] ?? entry.title,
    status,
    detail: known ? error.message : entry.detail,
    instance,
    code,
    ...(known ? error.members : undefined),
  })
  return { status, code, headers: known ? error.headers : {}, body }
}

/** The status that a thrown value stands for; 500 when it names none that an error can have. */
export function statusOf (error: unknown): number {
  if (typeof error !== 'object' || error === null) return 500
  const { statusCode, status } = error as { statusCode?: unknown, status?: unknown }
  const claimed = statusCode ?? status
  return typeof claimed === 'number' && Number.isInteger(claimed) && claimed >= 400 && claimed <= 599 ? claimed : 500
}

function codeOf (error: unknown, status: number): ErrorCode {
  // Only an object can have claimed a 400. Fastify's own validator marks its errors so.
  if (status === 400 && (error as { validation?: unknown }).validation !== undefined) return 'VALIDATION_FAILED'
  return CODE_OF_STATUS.get(status) ?? (status >= 500 ? 'INTERNAL_ERROR' : 'BAD_REQUEST')
}
