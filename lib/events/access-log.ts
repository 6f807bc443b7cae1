import type { FastifyReply, FastifyRequest } from 'fastify'
import { rememberRecent } from '../common/recent.js'
import { safeText } from './sanitize.js'

export interface AccessLogSettings {
  /** Whether the line names the client's software. */
  readonly userAgent: boolean
}

/** One line of the access log; `reqId` is a binding of the request's logger. */
export interface AccessLine {
  readonly method: string
  /** The matched route's pattern, never the URL; null for a 404. */
  readonly route: string | null
  /** What the client was answered with; null when it was gone before. */
  readonly status: number | null
  /** Milliseconds from the first hook to the end of the answer, to a tenth. */
  readonly ms: number
  /** Null when the client was gone before its address was read. */
  readonly ip: string | null
  readonly userId?: string
  readonly bytes?: number
  readonly userAgent?: string
  readonly aborted?: true
}

/** The message of every access-log line. */
export const ACCESS_MESSAGE = 'request'

/** The same few programs call again and again, and cleaning costs more than the rest of the line. */
const RECENT_TEXTS = 1024
const recent = rememberRecent(safeText, RECENT_TEXTS)

/** A text that many requests have in common; long ones are not kept. */
function recentText (text: string): string {
  return text.length <= 256 ? recent(text) : safeText(text)
}

/** What the log says of one request. `reply` is null when the client was gone before it was answered. */
export function accessLine (
  request: FastifyRequest,
  reply: FastifyReply | null,
  ms: number,
  { userAgent }: AccessLogSettings,
): AccessLine {
  const agent = userAgent ? request.headers['user-agent'] : undefined
  const userId = userOf(request)
  const bytes = reply === null ? undefined : bytesOf(reply)
  return {
    method: request.method,
    route: request.routeOptions.url ?? null,
    status: reply === null ? null : reply.statusCode,
    ms: Math.round(ms * 10) / 10,
    ip: addressOf(request),
    ...(userId !== undefined && { userId: recentText(userId) }),
    ...(bytes !== undefined && { bytes }),
    ...(agent !== undefined && { userAgent: recentText(agent) }),
    ...(reply === null && { aborted: true as const }),
  }
}

/** Fastify's types leave out that a socket that is gone has no address any more. */
function addressOf (request: FastifyRequest): string | null {
  const ip: unknown = request.ip
  return typeof ip === 'string' ? recentText(ip) : null
}

/** Of the auth plugin, or of another plugin that decorated `request.auth`. */
function userOf (request: FastifyRequest): string | undefined {
  const { auth } = request as { readonly auth?: { readonly userId?: unknown } | null }
  const userId = auth?.userId
  return typeof userId === 'string' ? userId : undefined
}

/** Unknown for a stream without a length. */
function bytesOf (reply: FastifyReply): number | undefined {
  const length = reply.getHeader('content-length')
  const bytes = typeof length === 'number' ? length : typeof length === 'string' ? Number(length) : NaN
  return Number.isSafeInteger(bytes) ? bytes : undefined
}
