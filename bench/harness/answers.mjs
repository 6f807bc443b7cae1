// Holds the answers of all stacks against each other before anything is measured.
import { once } from 'node:events'
import { connect } from 'node:net'

/** Sends one raw request. @returns status, headers by lower-case name (a list for each), body */
export async function exchange (port, request) {
  const socket = connect(port, '127.0.0.1')
  const chunks = []
  socket.on('data', (chunk) => { chunks.push(chunk) })
  socket.write(request.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'))
  await once(socket, 'close')
  const text = Buffer.concat(chunks).toString('utf8')
  const end = text.indexOf('\r\n\r\n')
  const [start, ...lines] = text.slice(0, end).split('\r\n')
  const headers = {}
  for (const line of lines) {
    const at = line.indexOf(':')
    ;(headers[line.slice(0, at).toLowerCase()] ??= []).push(line.slice(at + 1).trim())
  }
  return {
    status: Number(start.split(' ')[1]),
    headers,
    body: headers['transfer-encoding'] === undefined ? text.slice(end + 4) : text.slice(end + 4).split('\r\n')[1] ?? '',
  }
}

/** What Node writes by itself, and what differs from one answer to the next. */
const NOT_COMPARED = new Set(['date', 'connection', 'keep-alive', 'content-length', 'transfer-encoding'])

/** What is meant to differ, and why. Anything else stops the run. */
export const INTENDED = [
  {
    header: 'x-request-id',
    same: 'present',
    why: 'a random id, 32 hexadecimal digits of the suite, a UUID of the others',
  },
  {
    header: /^(x-)?ratelimit/,
    same: 'grouped',
    why: 'each limiter has its own spelling: the suite, Express and Hono two fields, @fastify/rate-limit three',
  },
  {
    header: /^(x-)?ratelimit/,
    only: 'preflight',
    same: 'ignored',
    why: 'the suite counts preflights, the others answer them before they count',
  },
  {
    header: /^(x-)?ratelimit/,
    only: 'refused',
    same: 'ignored',
    why: '@fastify/rate-limit runs after the hooks of the route, so that it never sees a refused token',
  },
  { header: 'retry-after', same: 'present', why: 'a second more or less' },
  {
    header: 'content-security-policy',
    same: 'sources',
    why: 'nonces are random, the order of sources means nothing, Hono writes a space after each semicolon',
  },
  {
    header: 'access-control-allow-methods',
    same: 'present',
    why: 'the suite names the one requested method if it exists, the others all that are configured',
  },
  { header: 'access-control-allow-headers', same: 'spaced', why: 'spaces after commas' },
  { header: 'access-control-expose-headers', same: 'spaced', why: 'spaces after commas' },
  {
    header: 'access-control-expose-headers',
    only: 'preflight',
    same: 'ignored',
    why: 'cors and Hono send it with preflights too, where it means nothing',
  },
  { header: 'vary', only: 'preflight', same: 'present', why: 'the suite names the two request headers as well' },
  { header: 'permissions-policy', same: 'spaced', why: 'spaces after commas' },
  {
    header: 'content-type',
    only: 'preflight',
    same: 'ignored',
    why: 'Express and Hono may name a type for the empty answer',
  },
]

const rulesFor = (name, scenario) =>
  INTENDED.filter(({ header, only }) =>
    (only === undefined || only === scenario) && (typeof header === 'string' ? header === name : header.test(name))
  )
const withoutNonces = (text) => text.replaceAll(/nonce-[\w+/=-]+/g, 'nonce-').replaceAll(/nonce="[^"]*"/g, 'nonce=""')
/** Random ids and times of one length or another. */
const comparableBody = (text) =>
  withoutNonces(text).replace(/"instance":"[^"]*"/, '"instance":""').replace(/"retryAfter":\d+/, '"retryAfter":0')

function comparableHeaders (headers, scenario) {
  const table = {}
  for (const [name, values] of Object.entries(headers)) {
    if (NOT_COMPARED.has(name)) continue
    const kinds = rulesFor(name, scenario).map(({ same }) => same)
    if (kinds.includes('ignored')) continue
    if (kinds.includes('grouped')) table['(rate limit)'] = 'present'
    else if (kinds.includes('present')) table[name] = 'present'
    else if (kinds.includes('spaced')) table[name] = withoutNonces(values.join(',')).replaceAll(/\s*([;,])\s*/g, '$1')
    else if (kinds.includes('sources'))
      table[name] = withoutNonces(values.join(',')).split(';').map((directive) =>
        directive.trim().split(' ').sort().join(' ')
      ).join(';')
    else table[name] = values.join(', ')
  }
  return table
}

/** @returns what differs, in words; nothing when all is well */
export function differences (scenario, expected, actual, { headers = true } = {}) {
  const found = []
  if (actual.status !== expected.status) found.push(`status ${actual.status}, not ${expected.status}`)
  if (comparableBody(actual.body) !== comparableBody(expected.body))
    found.push(`body ${JSON.stringify(actual.body)}, not ${JSON.stringify(expected.body)}`)
  if (!headers) return found
  const [left, right] = [comparableHeaders(expected.headers, scenario), comparableHeaders(actual.headers, scenario)]
  for (const name of new Set([...Object.keys(left), ...Object.keys(right)])) {
    if (left[name] !== right[name]) found.push(`${name}: ${right[name] ?? 'missing'}, not ${left[name] ?? 'missing'}`)
  }
  return found
}

/** The header block that the floor sends: all that the model sent but what Node writes. */
export function blockOf ({ headers }) {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !NOT_COMPARED.has(name) && name !== 'content-type').map((
      [name, values],
    ) => [name, values.join(', ')]),
  )
}
