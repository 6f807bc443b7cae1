/** The calls to the API: same origin, so that the browser adds the cookies and says where the request comes from. */
import { createSessionClient } from './session.js'

/** What the server, or the lack of one, said instead of an answer. */
export class Refusal extends Error {
  /**
   * @param {{ code?: string, detail?: string, errors?: { path: string, message: string }[], retryAfter?: number }}
   * problem
   */
  constructor (
    { code = 'UNKNOWN', detail = 'The server gave no answer that this page understands.', errors = [], retryAfter },
  ) {
    super(detail)
    this.name = 'Refusal'
    this.code = code
    this.errors = errors
    this.retryAfter = retryAfter
  }
}

/**
 * @param {(code: string) => void} onSignedOut told in every tab when the session is over
 */
export function connect (onSignedOut) {
  const session = createSessionClient({ onSignedOut })
  return {
    /**
     * Sends a request and resolves to the answer's JSON, or to null when it has no body.
     * @throws Refusal
     */
    call: (method, path, body) => answerOf(session.fetch(path, written(method, body))),
    /**
     * Ends this session, by default with the logout.
     * @throws Refusal
     */
    signOut: (method = 'POST', path = '/auth/logout') => answerOf(session.signOut(path, written(method))),
  }
}

function written (method, body) {
  return {
    method,
    mode: 'same-origin',
    redirect: 'error',
    headers: { Accept: 'application/json', ...(body !== undefined && { 'Content-Type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  }
}

async function answerOf (sent) {
  const response = await sent.catch(() => {
    throw new Refusal({ code: 'UNREACHABLE', detail: 'The server cannot be reached.' })
  })
  if (!response.ok) throw await refusalOf(response)
  const text = await response.text()
  return text === '' ? null : JSON.parse(text)
}

/** A refusal of the suite is a problem document (RFC 9457); one of a proxy in between may be anything. */
async function refusalOf (response) {
  const type = response.headers.get('content-type') ?? ''
  if (!type.startsWith('application/problem+json')) return new Refusal({})
  return new Refusal(await response.json())
}
