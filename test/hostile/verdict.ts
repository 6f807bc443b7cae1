import type { LightMyRequestResponse } from 'fastify'
import { ERROR_CATALOGUE } from '../../lib/response/errors.js'
import { API_HEADERS } from '../helpers/headers.js'

/** What a client sent, as far as it must not come back. */
export interface Sent {
  readonly what: string
  readonly method?: string
  /** Values of the body, the query, the headers. */
  readonly values: readonly string[]
  /** Keys of the body and the query: a refusal names those it does not know. */
  readonly keys?: readonly string[]
}

/** Parts of this length that come back are an echo. */
const PART = 6

const DETAILS: ReadonlySet<string> = new Set([
  ...Object.values(ERROR_CATALOGUE).map(({ detail }) => detail),
  'This link has been used or is too old. Ask for another one.',
])
const MEMBERS: ReadonlySet<string> = new Set(['type', 'title', 'status', 'detail', 'instance', 'code', 'errors'])
/**
 * Numbers, times and ids of this server. Origin is reflected where CORS grants it, and the answer to a sign-in is its
 * cookies.
 */
const CHANGING: ReadonlySet<string> = new Set([
  'x-request-id',
  'date',
  'content-length',
  'set-cookie',
  'last-modified',
  'etag',
  'ratelimit',
  'ratelimit-policy',
  'retry-after',
  'access-control-allow-origin',
])

/** Words that the server says of its own accord, from answers to harmless requests. */
export class Vocabulary {
  readonly #headers = new Set<string>()

  learn (res: LightMyRequestResponse): void {
    for (const [name, value] of headersOf(res)) this.#headers.add(`${name}: ${value}`)
  }

  knows (name: string, value: string): boolean {
    return this.#headers.has(`${name}: ${value}`)
  }
}

/** What is wrong with an answer to hostile input; null when nothing is. */
export function judge (res: LightMyRequestResponse, sent: Sent, vocabulary: Vocabulary): string | null {
  const { statusCode } = res
  if (statusCode >= 500) return `${statusCode}: ${res.body}`
  for (const [name, expected] of Object.entries(API_HEADERS)) {
    const value = res.headers[name]
    const fits = typeof expected === 'string' ? value === expected : expected.test(String(value))
    // The page and its files have a policy of their own in these two.
    const isOfPage = (name === 'content-security-policy' || name === 'referrer-policy') &&
      vocabulary.knows(name, nonceless(String(value)))
    if (!fits && !isOfPage) return `${name} is ${String(value)}`
  }
  for (const [name, value] of headersOf(res)) {
    const part = vocabulary.knows(name, value) ? null : echoOf(value, sent.values)
    if (part !== null) return `the header ${name} repeats "${part}"`
  }
  return statusCode < 400 ? null : judgeProblem(res, sent)
}

function judgeProblem (res: LightMyRequestResponse, { method, values, keys = [] }: Sent): string | null {
  if (res.headers['content-type'] !== 'application/problem+json; charset=utf-8') {
    return `the content type is ${String(res.headers['content-type'])}`
  }
  if (method === 'HEAD') return res.body === '' ? null : 'an answer to HEAD has a body'
  const body = res.json<Record<string, unknown>>()
  const { code, status, title, detail, instance, type, errors = [] } = body
  if (typeof code !== 'string' || !Object.hasOwn(ERROR_CATALOGUE, code)) return `the code is ${String(code)}`
  const entry = ERROR_CATALOGUE[code as keyof typeof ERROR_CATALOGUE]
  if (status !== res.statusCode || type !== 'about:blank' || (entry.status === status && title !== entry.title)) {
    return `the document is ${res.body}`
  }
  if (instance !== res.headers['x-request-id']) return 'the instance is not the request id'
  const foreign = Object.keys(body).find((name) => !MEMBERS.has(name))
  if (foreign !== undefined) return `there is a member ${foreign}`
  if (typeof detail !== 'string' || (!DETAILS.has(detail) && echoOf(detail, values) !== null)) {
    return `the detail is ${String(detail)}`
  }
  if (!Array.isArray(errors)) return 'errors is no list'
  for (const { path, message } of errors as { path: string, message: string }[]) {
    if (!/^[A-Z][^\n]{3,160}\.$/.test(message)) return `the message is ${message}`
    const part = echoOf(message, values, keys) ??
      echoOf(path.replace(/^(body|query|params|headers|input)\.?/, ''), values, [...keys, ...FIELDS])
    if (part !== null && !OWN_WORDS.test(message)) return `the finding ${path}: ${message} repeats "${part}"`
    if (path.length > 400) return 'a path is not cut'
  }
  return null
}

/** Names in the example's own schemas. */
const FIELDS = [
  'email',
  'password',
  'fullName',
  'current',
  'token',
  'name',
  'description',
  'status',
  'limit',
  'id',
  'all',
]
/** Sentences of the suite; what was sent may contain such words by chance. */
const OWN_WORDS = /^(Required|Unknown field|Must (be|have|not)|Has the wrong format|Nested too deeply|Is not valid)/

/** A part of the text that was sent as a value, and is no part of a key. */
function echoOf (text: string, values: readonly string[], keys: readonly string[] = []): string | null {
  for (let at = 0; at + PART <= text.length; at++) {
    const part = text.slice(at, at + PART)
    if (values.some((value) => value.includes(part)) && !keys.some((key) => key.includes(part))) return part
  }
  return null
}

function headersOf (res: LightMyRequestResponse): [string, string][] {
  return Object.entries(res.headers).filter(([name]) => !CHANGING.has(name)).map((
    [name, value],
  ) => [name, nonceless(String(value))])
}

function nonceless (value: string): string {
  return value.replace(/'nonce-[^']+'/g, "'nonce'")
}

/** Strings and keys of a parsed body. */
export function partsOf (
  value: unknown,
  values: string[] = [],
  keys: string[] = [],
  depth = 0,
): { readonly values: string[], readonly keys: string[] } {
  if (typeof value === 'string') values.push(value)
  else if (typeof value === 'number') values.push(String(value))
  else if (typeof value === 'object' && value !== null) {
    for (const [key, member] of Object.entries(value)) {
      if (!Array.isArray(value)) keys.push(key)
      if (depth < 100) partsOf(member, values, keys, depth + 1)
    }
  }
  return { values, keys }
}
