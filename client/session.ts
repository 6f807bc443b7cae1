/**
 * Keeps a browser tab signed in to a service with fastify-bulwark. The tokens are in cookies that no script can read,
 * so this module holds none: it knows when to ask for new ones, how often, and which tab does.
 */

/** The part of the browser's `navigator.locks` that is used here. */
export interface SessionLocks {
  request (name: string, options: { signal: AbortSignal }, callback: () => Promise<void>): Promise<unknown>
}

export interface SessionClientOptions {
  /**
   * What paths are relative to, as in `new URL(path, baseUrl)`; default the page. Requests to other origins are sent as
   * they are.
   */
  readonly baseUrl?: string
  /** Default `/auth/refresh`. */
  readonly refreshPath?: string
  /** Default `/auth/logout`. */
  readonly logoutPath?: string
  readonly fetch?: (request: Request) => Promise<Response>
  /**
   * Lets one tab at a time refresh; default `navigator.locks`. With null, or where browsers have none, tabs may refresh
   * at once, which the service allows within its `grace`.
   */
  readonly locks?: SessionLocks | null
  /** How long one try of a refresh may take, and there are two: at most half of the service's `grace`. Default 5000. */
  readonly timeoutMs?: number
  /**
   * The session is over: `SIGNED_OUT` (by `signOut`), or the code of the service's refusal. Called in every tab, once
   * until an answer is a success again.
   */
  readonly onSignedOut?: (code: string) => void
}

export interface SessionClient {
  /**
   * Like the global `fetch`. A request that is refused because the access token has run out is sent once more with a
   * new one. Where there is no new one, this resolves to what the refresh was answered: 401, or 429 and 503 with
   * Retry-After.
   * @throws TypeError for a ReadableStream as body, which could not be sent twice; and any error that `fetch` rejects
   * with, also for the refresh
   */
  fetch (input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** Gets a new access token. Resolves to null, or to the refusal. */
  refresh (): Promise<Response | null>
  /** Sends what ends this session, by default the logout; when that is done, every tab is told. */
  signOut (input?: string | URL | Request, init?: RequestInit): Promise<Response>
  /** Stops listening to other tabs. */
  close (): void
}

/**
 * SESSION_REVOKED too: only a refresh tells whether the browser has another session by now, or everybody must be told.
 */
const NEEDS_REFRESH: ReadonlySet<string | null> = new Set(['TOKEN_EXPIRED', 'SESSION_REVOKED'])

/** Half of the longest grace that a service can have. */
const MAX_TIMEOUT_MS = 30_000

/** What tabs tell each other. */
type News = { readonly type: 'refreshed' } | { readonly type: 'signed-out', readonly code: string }

/** @throws TypeError for a baseUrl that is no URL, RangeError for a timeoutMs that no grace could hold twice */
export function createSessionClient (options: SessionClientOptions = {}): SessionClient {
  const { baseUrl = '', refreshPath = '/auth/refresh', logoutPath = '/auth/logout', timeoutMs = 5000, onSignedOut } =
    options
  const { fetch: send = (request: Request) => globalThis.fetch(request), locks = ownLocks() } = options
  if (!(timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw new RangeError(
      `timeoutMs is not a number from 1 to ${MAX_TIMEOUT_MS}: two tries must fit into ` +
      'the grace of the service, 10 s unless set and 60 s at most.',
    )
  }
  const page = (globalThis as { readonly location?: { readonly href: string } }).location?.href
  const base = new URL(baseUrl, page).href
  const refreshUrl = new URL(refreshPath, base)
  const credentials = page === undefined || new URL(page).origin === refreshUrl.origin ? 'same-origin' : 'include'
  const name = `bulwark-session ${refreshUrl.href}`

  /**
   * Counts the refreshes of all tabs: a request that was refused may be older than the last one, and needs none of its
   * own.
   */
  let refreshes = 0
  let isSignedOut = false
  let running: Promise<Response | null> | null = null

  const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel(name)
  if (channel !== null) channel.onmessage = ({ data }: { readonly data: unknown }) => { if (isNews(data)) note(data) }

  function note (news: News): void {
    if (news.type === 'refreshed') {
      refreshes++
      isSignedOut = false
    } else if (!isSignedOut) {
      isSignedOut = true
      // Not from here: what the app throws is the app's, and must not become the answer to a request.
      queueMicrotask(() => onSignedOut?.(news.code))
    }
  }

  function tell (news: News): void {
    note(news)
    channel?.postMessage(news)
  }

  /** Resolves once a refresh came after the one numbered `known`; to the refusal where it was refused. */
  async function refreshAfter (known: number): Promise<Response | null> {
    // Twice at most: a refresh that was under way may have left it to another tab whose refresh was older than `known`.
    for (let turn = 0; turn < 2 && refreshes === known; turn++) {
      running ??= inTurn(known).finally(() => { running = null })
      const refusal = await running
      if (refusal !== null) return refusal.clone()
    }
    return null
  }

  /** One tab after the other. A tab that waited finds that another tab has refreshed, and does nothing. */
  async function inTurn (known: number): Promise<Response | null> {
    const release = await lock()
    try {
      await nextTask()
      return refreshes === known ? await tryTwice() : null
    } finally {
      release()
    }
  }

  /**
   * Resolves to what gives the lock back. Without one, because a tab that has it hangs, is safe: the service gives both
   * tabs the same tokens.
   */
  function lock (): Promise<() => void> {
    return new Promise((resolve) => {
      const nothing = (): void => { resolve(() => {}) }
      if (locks === null) {
        nothing()
        return
      }
      const waiting = new AbortController()
      const timer = setTimeout(() => { waiting.abort() }, timeoutMs * 3)
      const hold = (): Promise<void> => new Promise((release) => {
        clearTimeout(timer)
        resolve(release)
      })
      locks.request(name, { signal: waiting.signal }, hold).catch(nothing).finally(() => { clearTimeout(timer) })
    })
  }

  /** An answer that got lost may have been a rotation: within the grace, asking again gives the same tokens. */
  async function tryTwice (): Promise<Response | null> {
    const startedAt = Date.now()
    try {
      return await tryOnce()
    } catch (error) {
      await new Promise((resolve) => { setTimeout(resolve, timeoutMs / 20) })
      // A computer may have slept meanwhile, and the same question after the grace looks like a stolen token.
      if (Date.now() - startedAt >= timeoutMs * 2) throw error
      return tryOnce()
    }
  }

  async function tryOnce (): Promise<Response | null> {
    const limit = new AbortController()
    const timer = setTimeout(() => {
      limit.abort(new DOMException('The refresh took too long.', 'TimeoutError'))
    }, timeoutMs)
    try {
      // keepalive: a tab that closes now would lose the cookies of the answer.
      const request = new Request(refreshUrl, {
        method: 'POST',
        headers: { accept: 'application/json' },
        credentials,
        redirect: 'error',
        keepalive: true,
        signal: limit.signal,
      })
      const response = await unlessAborted(send(request), limit.signal)
      if (response.ok) {
        tell({ type: 'refreshed' })
        return null
      }
      const code = await unlessAborted(codeOf(response), limit.signal)
      if (code !== null) tell({ type: 'signed-out', code })
      return response
    } finally {
      clearTimeout(timer)
    }
  }

  async function fetch (input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    if (typeof ReadableStream !== 'undefined' && init.body instanceof ReadableStream) {
      throw new TypeError(
        'A stream can be sent only once, and a request may have to be sent again: give its body as a Blob or a text.',
      )
    }
    const target = input instanceof Request ? input : new URL(input, base)
    const isOwn = new URL(target instanceof Request ? target.url : target).origin === refreshUrl.origin
    const request = new Request(target, { ...(isOwn && !(target instanceof Request) && { credentials }), ...init })
    if (!isOwn) return send(request)

    const spare = request.clone()
    const [known, wasSignedOut] = [refreshes, isSignedOut]
    const response = await send(request)
    if (response.ok && wasSignedOut) isSignedOut = false
    const code = await codeOf(response)
    const refusal = NEEDS_REFRESH.has(code) ? await unlessAborted(refreshAfter(known), spare.signal) : null
    // Revoked, and yet refreshed: the browser has a new session, perhaps of somebody else, for whom this was not meant.
    if (code === 'TOKEN_EXPIRED' && refusal === null) return send(spare)
    // This response is not read any more.
    spare.body?.cancel().catch(() => {})
    return refusal ?? response
  }

  async function signOut (
    input: string | URL | Request = logoutPath,
    init: RequestInit = { method: 'POST' },
  ): Promise<Response> {
    // The answer to a refresh would bring back the cookies.
    await running?.catch(() => null)
    const response = await fetch(input, init)
    if (response.ok) tell({ type: 'signed-out', code: 'SIGNED_OUT' })
    return response
  }

  return Object.freeze<SessionClient>({
    fetch,
    refresh: () => refreshAfter(refreshes),
    signOut,
    close: () => channel?.close(),
  })
}

/** Absent outside of secure contexts. */
function ownLocks (): SessionLocks | null {
  return (globalThis as { readonly navigator?: { readonly locks?: SessionLocks } }).navigator?.locks ?? null
}

function isNews (data: unknown): data is News {
  if (typeof data !== 'object' || data === null || !('type' in data)) return false
  return data.type === 'refreshed' || (data.type === 'signed-out' && 'code' in data && typeof data.code === 'string')
}

/**
 * The code of a 401 of the service, or null: a 401 of anything in between says nothing of the session. It is a problem
 * document (RFC 9457), or, where the errors plugin is not loaded, Fastify's own error, which says its status too.
 */
async function codeOf (response: Response): Promise<string | null> {
  const [, isProblem] = /^application\/(problem\+)?json\b/i.exec(response.headers.get('content-type') ?? '') ?? [, null]
  if (response.status !== 401 || isProblem === null) return null
  const said: unknown = await response.clone().json().catch(() => null)
  if (typeof said !== 'object' || said === null || !('code' in said) || typeof said.code !== 'string') return null
  return isProblem !== undefined || ('statusCode' in said && said.statusCode === 401) ? said.code : null
}

/** The promise, unless the signal is aborted first; the work behind it goes on, because others wait for it too. */
function unlessAborted<T> (promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => { reject(signal.reason as Error) }
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => { signal.removeEventListener('abort', abort) })
  })
}

/**
 * News that another tab sent before it let go of the lock may arrive right after it; background tabs delay timers, but
 * not this.
 */
function nextTask (): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.addEventListener('message', () => {
      port1.close()
      resolve()
    })
    port1.start()
    port2.postMessage(null)
  })
}
