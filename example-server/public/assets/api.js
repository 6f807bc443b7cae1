/** The calls to the API: same origin, so that the browser adds the cookies and says where the request comes from. */

/** What the server, or the lack of one, said instead of an answer. */
export class Refusal extends Error {
  /** @param {{ code?: string, detail?: string, errors?: { path: string, message: string }[], retryAfter?: number }} problem */
  constructor ({ code = 'UNKNOWN', detail = 'The server gave no answer that this page understands.', errors = [], retryAfter }) {
    super(detail)
    this.name = 'Refusal'
    this.code = code
    this.errors = errors
    this.retryAfter = retryAfter
  }
}

/** The access token has run out. Its cookie runs out in the same second, so mostly the server sees none at all. */
const NEEDS_REFRESH = new Set(['TOKEN_EXPIRED', 'TOKEN_MISSING'])

/**
 * Sends a request and resolves to the answer's JSON, or to null when it has no body. An access token that has run out is
 * refreshed once, and the request sent once more.
 * @throws Refusal
 */
export async function call (method, path, body) {
  const response = await send(method, path, body)
  if (response.ok) return read(response)
  const refusal = await refusalOf(response)
  const isOver = path.startsWith('/auth/') || !NEEDS_REFRESH.has(refusal.code) || !await refresh()
  if (isOver) throw refusal
  const again = await send(method, path, body)
  if (!again.ok) throw await refusalOf(again)
  return read(again)
}

let refreshing = null

/** Resolves to whether there is a session. Calls that fail together share one refresh. */
function refresh () {
  refreshing ??= refreshOnce().finally(() => { refreshing = null })
  return refreshing
}

async function refreshOnce () {
  const response = await send('POST', '/auth/refresh')
  if (response.ok) return true
  // Anything but a 401 (a limit, an outage) does not say that the session is over.
  if (response.status !== 401) throw await refusalOf(response)
  return false
}

async function send (method, path, body) {
  try {
    return await fetch(path, {
      method,
      mode: 'same-origin',
      credentials: 'same-origin',
      redirect: 'error',
      headers: { Accept: 'application/json', ...(body !== undefined && { 'Content-Type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
  } catch {
    throw new Refusal({ code: 'UNREACHABLE', detail: 'The server cannot be reached.' })
  }
}

async function read (response) {
  return response.status === 204 ? null : response.json()
}

/** A refusal of the suite is a problem document (RFC 9457); one of a proxy in between may be anything. */
async function refusalOf (response) {
  const type = response.headers.get('content-type') ?? ''
  if (!type.startsWith('application/problem+json')) return new Refusal({})
  return new Refusal(await response.json())
}
