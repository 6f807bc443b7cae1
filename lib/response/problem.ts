import type { FastifyReply } from 'fastify'
import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import { ERROR_CATALOGUE, SecurityError, type ErrorCode } from './errors.js'

export const PROBLEM_MEDIA_TYPE = 'application/problem+json; charset=utf-8'

/** What a refusal says: a status and a problem document, both free of causes and values. */
export interface RenderedProblem {
  readonly status: number
  readonly code: ErrorCode
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * Codes for statuses that an app or a library sets itself; any other status keeps its number under the nearest code.
 */
const CODE_OF_STATUS: ReadonlyMap<number, ErrorCode> = new Map<number, ErrorCode>([
  [400, 'BAD_REQUEST'],
  [401, 'UNAUTHENTICATED'],
  [403, 'FORBIDDEN'],
  [404, 'NOT_FOUND'],
  [405, 'METHOD_NOT_ALLOWED'],
  [408, 'REQUEST_TIMEOUT'],
  [409, 'CONFLICT'],
  [413, 'BODY_TOO_LARGE'],
  [414, 'URI_TOO_LONG'],
  [415, 'MEDIA_TYPE_NOT_SUPPORTED'],
  [421, 'HOST_NOT_ALLOWED'],
  [422, 'UNPROCESSABLE'],
  [429, 'RATE_LIMITED'],
  [431, 'HEADERS_TOO_LARGE'],
  [503, 'SERVICE_UNAVAILABLE'],
])

/**
 * Renders any thrown value as an RFC 9457 problem document, and never throws. Only a `SecurityError` chooses its words;
 * of every other error nothing but the status is told, because its text may be a library's or a database's.
 *
 * @param instance the request id, under which the log has the cause
 * @param typeBase prefix of the `type` URI; without one it is `about:blank`, as RFC 9457 section 4.2.1 asks
 */
export function renderProblem (error: unknown, instance: string, typeBase: string | null): RenderedProblem {
  try {
    return render(error, instance, typeBase)
  } catch {
    // Anything can be thrown: a getter or a proxy that throws itself, members that JSON cannot hold.
    return render(null, instance, typeBase)
  }
}

function render (error: unknown, instance: string, typeBase: string | null): RenderedProblem {
  const known = isKnown(error)
  const status = statusOf(error)
  const code = known ? error.code : codeOf(error, status)
  const entry = ERROR_CATALOGUE[code]
  const matches = entry.status === status
  if (known && matches && error.message === entry.detail) {
    const body = fill(templateOf(code, typeBase), instance, error.members)
    if (body !== null) return { status, code, headers: error.headers, body }
  }
  const core = {
    type: typeOf(code, typeBase),
    title: matches ? entry.title : STATUS_CODES[status] ?? entry.title,
    status,
    detail: known ? error.message : entry.detail,
    instance,
    code,
  }
  // Further members stand behind these and never in their place.
  const body = JSON.stringify(known ? { ...core, ...error.members, ...core } : core)
  return { status, code, headers: known ? error.headers : {}, body }
}

/** A document without its instance, which stands between the parts. */
interface Template { readonly before: string, readonly after: string }

const TEMPLATES = new Map<string | null, Map<ErrorCode, Template>>()

/** Most refusals say what the catalogue says: those are made once for each code. */
function templateOf (code: ErrorCode, typeBase: string | null): Template {
  let ofBase = TEMPLATES.get(typeBase)
  if (ofBase === undefined) TEMPLATES.set(typeBase, ofBase = new Map<ErrorCode, Template>())
  let template = ofBase.get(code)
  if (template === undefined) {
    const { title, status, detail } = ERROR_CATALOGUE[code]
    const head = JSON.stringify({ type: typeOf(code, typeBase), title, status, detail })
    ofBase.set(code, template = { before: `${head.slice(0, -1)},"instance":`, after: `,"code":"${code}"` })
  }
  return template
}

const CORE_MEMBERS: ReadonlySet<string> = new Set(['type', 'title', 'status', 'detail', 'instance', 'code'])

/** Null where the members are not simply added. */
function fill (
  { before, after }: Template,
  instance: string,
  members: Readonly<Record<string, unknown>>,
): string | null {
  const names = Object.keys(members)
  if (names.some((name) => CORE_MEMBERS.has(name) || name === 'toJSON')) return null
  const rest = names.length === 0 ? '{}' : JSON.stringify(members)
  return `${before}${JSON.stringify(instance)}${after}${rest === '{}' ? '}' : `,${rest.slice(1)}`}`
}

function typeOf (code: ErrorCode, typeBase: string | null): string {
  return typeBase === null ? 'about:blank' : typeBase + code
}

/** Its code is checked too: an app without TypeScript can give it any. */
function isKnown (error: unknown): error is SecurityError {
  return error instanceof SecurityError && Object.hasOwn(ERROR_CATALOGUE, error.code)
}

/** The status that a thrown value stands for; 500 when it names none that an error can have. Never throws. */
export function statusOf (error: unknown): number {
  return claimedStatus(error) ?? 500
}

/**
 * The status that a thrown value names itself, where it is one that an error can have; otherwise null. Never throws.
 */
export function claimedStatus (error: unknown): number | null {
  const claimed = readMember(error, 'statusCode') ?? readMember(error, 'status')
  return typeof claimed === 'number' && Number.isInteger(claimed) && claimed >= 400 && claimed <= 599 ? claimed : null
}

const MAX_CAUSES = 4
/**
 * What libraries call their errors: `FST_ERR_CTP_INVALID_JSON_BODY`, `23505`, `ECONNREFUSED`. A client's value is
 * rarely as short and plain.
 */
const LIBRARY_CODE = /^[\w.:-]{1,64}$/

/** The codes that libraries gave to an error and to its causes, outermost first, for the log. Never throws. */
export function libraryCodes (error: unknown): string[] {
  const codes: string[] = []
  let at = error
  for (let depth = 0; depth <= MAX_CAUSES && typeof at === 'object' && at !== null; depth++) {
    const code = readMember(at, 'code')
    if (typeof code === 'string' && !Object.hasOwn(ERROR_CATALOGUE, code) && LIBRARY_CODE.test(code)) codes.push(code)
    at = readMember(at, 'cause')
  }
  return codes
}

/** The getters of a thrown value may throw. */
function readMember (value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  try {
    return (value as Readonly<Record<string, unknown>>)[name]
  } catch {
    return undefined
  }
}

function codeOf (error: unknown, status: number): ErrorCode {
  // Fastify's own validator marks its errors so.
  if (status === 400 && readMember(error, 'validation') !== undefined) return 'VALIDATION_FAILED'
  return CODE_OF_STATUS.get(status) ?? (status >= 500 ? 'INTERNAL_ERROR' : 'BAD_REQUEST')
}

/**
 * The last answer: past every hook and serializer, because one of them has failed already on a refusal. It keeps the
 * reply's headers, without those that Node refuses and those that the failure itself brought.
 */
export function answerDirectly (reply: FastifyReply, failure: unknown, problem: RenderedProblem): void {
  const { raw } = reply
  if (raw.headersSent) {
    // Part of another answer is on its way: cut off, it cannot be taken for a whole one.
    raw.destroy()
    return
  }
  for (const name of headersOf(failure)) reply.removeHeader(name)
  for (const [name, value] of Object.entries(reply.getHeaders())) if (!isSendable(name, value)) reply.removeHeader(name)
  reply.hijack()
  raw.writeHead(problem.status, {
    'content-type': PROBLEM_MEDIA_TYPE,
    'content-length': Buffer.byteLength(problem.body),
  })
  raw.end(problem.body)
}

/** Fastify's own handler copies `headers` of an error into the reply before it sends. */
function headersOf (failure: unknown): string[] {
  try {
    return Object.keys((failure as { readonly headers?: object }).headers ?? {})
  } catch {
    return []
  }
}

function isSendable (name: string, value: unknown): boolean {
  try {
    validateHeaderName(name)
    for (const item of Array.isArray(value) ? value as unknown[] : [value]) validateHeaderValue(name, String(item))
    return true
  } catch {
    return false
  }
}
