// Tabs are clients of one origin in this process: they share the real BroadcastChannel, a lock manager and one service.
import { setTimeout as sleep } from 'node:timers/promises'
import { createSessionClient, type SessionClient, type SessionClientOptions,
  type SessionLocks } from 'fastify-bulwark/client'
import { test, type Test } from 'tap'
import { until } from '../helpers/until.js'

/** Some tests wait for its end; what is answered must be answered before, on a busy machine, too. */
const TIMEOUT_MS = 800

let origins = 0

/** Names are of one test, and so is what its tabs tell each other. */
const newOrigin = (): string => `https://s${++origins}.test`

function problem (status: number, code: string, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify({ status, code }), {
    status,
    headers: { 'content-type': 'application/problem+json', ...headers },
  })
}

type Answer = (request: Request) => Response | Promise<Response>

/** A browser's cookies and the service behind: the access token is good or has run out, a refresh fixes it. */
class World {
  readonly origin = newOrigin()
  expired = false
  readonly log: string[] = []
  readonly requests: Request[] = []
  /** Instead of the usual answer to a refresh: each once, in turn. */
  readonly refreshes: Answer[] = []
  /** Instead of the usual answer to anything else. */
  answer: Answer | null = null
  active = 0
  mostActive = 0

  readonly fetch = async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url)
    this.log.push(`${request.method} ${pathname}`)
    this.requests.push(request)
    const wasExpired = this.expired
    await sleep(1)
    request.signal.throwIfAborted()
    if (pathname !== '/auth/refresh') {
      if (this.answer !== null) return this.answer(request)
      if (pathname === '/auth/logout') return new Response(null, { status: 204 })
      return wasExpired ? problem(401, 'TOKEN_EXPIRED') : new Response(await request.text())
    }
    this.mostActive = Math.max(this.mostActive, ++this.active)
    try {
      const own = this.refreshes.shift()
      if (own !== undefined) return await own(request)
      this.expired = false
      return Response.json({ user: {} })
    } finally {
      this.active--
    }
  }

  count (line = 'POST /auth/refresh'): number {
    return this.log.filter((each) => each === line).length
  }

  /** A tab of its own, closed with the test. */
  tab (t: Test, options: SessionClientOptions = {}): { readonly client: SessionClient, readonly signedOut: string[] } {
    const signedOut: string[] = []
    const client = createSessionClient({
      baseUrl: this.origin, fetch: this.fetch, locks: null, timeoutMs: TIMEOUT_MS, onSignedOut: (code) => { signedOut.push(code) }, ...options,
    })
    t.teardown(() => { client.close() })
    return { client, signedOut }
  }
}

/** As browsers have it: exclusive, first come first served, and nobody waits after the signal. */
function fakeLocks (): SessionLocks & { readonly held: () => boolean } {
  const waiting: (() => void)[] = []
  let held = false
  return {
    held: () => held,
    async request (_name, { signal }, callback) {
      if (held) {
        await new Promise<void>((resolve, reject) => {
          waiting.push(resolve)
          signal.addEventListener('abort', () => {
            waiting.splice(waiting.indexOf(resolve), 1)
            reject(signal.reason as Error)
          })
        })
      }
      held = true
      try {
        await callback()
      } finally {
        held = false
        waiting.shift()?.()
      }
    },
  }
}

/** Never answers; ends with its signal, as fetch does. */
const hang: Answer = ({ signal }) => new Promise((_resolve, reject) => {
  signal.addEventListener('abort', () => { reject(signal.reason as Error) })
})

const offline: Answer = () => { throw new TypeError('fetch failed') }

test('a request whose token is good is sent once, with the cookies of this origin', async (t) => {
  const world = new World()
  const response = await world.tab(t).client.fetch('/me')
  t.equal(response.status, 200)
  t.same(world.log, ['GET /me'])
  t.equal(world.requests[0]?.credentials, 'same-origin')
})

test('a request whose token has run out is sent again after one refresh, with its body, headers and method', async (t) => {
  const world = new World()
  world.expired = true
  const { client, signedOut } = world.tab(t)
  const response = await client.fetch('/projects', {
    method: 'POST',
    body: '{"a":1}',
    headers: { 'content-type': 'application/json', 'x-mine': '1' },
  })
  t.equal(await response.text(), '{"a":1}')
  t.same(world.log, ['POST /projects', 'POST /auth/refresh', 'POST /projects'])
  t.same([...world.requests[2]?.headers ?? []], [['content-type', 'application/json'], ['x-mine', '1']])
  t.same(signedOut, [])
})

test('a refresh goes to the own origin, follows no redirect, survives its tab and has no body', async (t) => {
  const world = new World()
  t.equal(await world.tab(t).client.refresh(), null)
  const { method, url, credentials, redirect, keepalive, body } = world.requests[0] ?? new Request('https://none.test')
  t.same({ method, url, credentials, redirect, keepalive, body }, {
    method: 'POST',
    url: `${world.origin}/auth/refresh`,
    credentials: 'same-origin',
    redirect: 'error',
    keepalive: true,
    body: null,
  })
})

test('50 requests that are refused at once share one refresh, and each is sent again once', async (t) => {
  const world = new World()
  world.expired = true
  const { client } = world.tab(t)
  const responses = await Promise.all(
    Array.from({ length: 50 }, (_, index) => client.fetch(`/${index}`, { method: 'PUT', body: String(index) })),
  )
  t.same(
    await Promise.all(responses.map((response) => response.text())),
    Array.from({ length: 50 }, (_, index) => String(index)),
  )
  t.equal(world.count(), 1)
  for (let index = 0; index < 50; index++) t.equal(world.count(`PUT /${index}`), 2)
})

test('a request that was on its way during a refresh is sent again without another one', async (t) => {
  const world = new World()
  world.expired = true
  const { client } = world.tab(t)
  let release = (): void => {}
  const late = new Promise<void>((resolve) => { release = resolve })
  world.answer = async ({ url }) => {
    if (!url.endsWith('/slow') || world.count('GET /slow') > 1) {
      return world.expired
        ? problem(401, 'TOKEN_EXPIRED')
        : new Response('ok')
    }
    await late
    return problem(401, 'TOKEN_EXPIRED')
  }
  const slow = client.fetch('/slow')
  await client.fetch('/fast')
  release()
  t.equal((await slow).status, 200)
  t.equal(world.count(), 1)
})

test('a request is sent again once and no more, whatever the service says', async (t) => {
  const world = new World()
  world.answer = () => problem(401, 'TOKEN_EXPIRED')
  const { client, signedOut } = world.tab(t)
  const response = await client.fetch('/me')
  t.equal(response.status, 401)
  t.same(world.log, ['GET /me', 'POST /auth/refresh', 'GET /me'])
  await Promise.all([client.fetch('/a'), client.fetch('/b')])
  t.equal(world.log.length, 3 + 5, 'and so are two at once')
  t.same(signedOut, [], 'and a service that goes on so has signed nobody out')
})

test('no other refusal leads to a refresh', async (t) => {
  const html = (): Response =>
    new Response('<h1>Sign in to the hotel</h1>', { status: 401, headers: { 'content-type': 'text/html' } })
  const json = (text: string): Response =>
    new Response(text, { status: 401, headers: { 'content-type': 'application/problem+json' } })
  const table: [string, () => Response][] = [
    ...['TOKEN_MISSING', 'TOKEN_INVALID', 'CREDENTIALS_INVALID', 'FRESH_AUTH_REQUIRED', 'token_expired', ''].map((
      code,
    ): [string, () => Response] => [code, () => problem(401, code)]),
    ['another status', () => problem(403, 'TOKEN_EXPIRED')],
    ['not the suite', html],
    ['JSON of something else', () => Response.json({ code: 'TOKEN_EXPIRED' }, { status: 401 })],
    [
      'JSON of something else with a status',
      () => Response.json({ statusCode: 403, code: 'TOKEN_EXPIRED' }, { status: 401 }),
    ],
    ...['', 'null', '[]', '"TOKEN_EXPIRED"', '{"code":["TOKEN_EXPIRED"]}', '{"code":'].map((
      text,
    ): [string, () => Response] => [`body ${text}`, () => json(text)]),
  ]
  for (const [name, answer] of table) {
    const world = new World()
    world.answer = answer
    const { client, signedOut } = world.tab(t)
    const response = await client.fetch('/me')
    t.equal(await response.text(), await answer().text(), `${name}: the answer can still be read`)
    t.same(world.log, ['GET /me'], name)
    t.same(signedOut, [], name)
  }
})

test('a service without the errors plugin, which answers as Fastify does, is understood too', async (t) => {
  const world = new World()
  const plain = (code: string): Response =>
    Response.json({ statusCode: 401, code, error: 'Unauthorized', message: 'Token expired.' }, { status: 401 })
  let [isExpired, isOver] = [true, false]
  world.answer = () => isExpired ? plain('TOKEN_EXPIRED') : new Response('me')
  world.refreshes.push(() => { isExpired = false; return Response.json({ user: {} }) }, () => plain('REFRESH_REUSED'))
  const { client, signedOut } = world.tab(t, { onSignedOut: () => { isOver = true } })
  t.equal(await (await client.fetch('/me')).text(), 'me')
  t.same(world.log, ['GET /me', 'POST /auth/refresh', 'GET /me'])
  isExpired = true
  t.equal((await client.fetch('/me')).status, 401)
  t.ok(isOver)
  t.same(signedOut, [])
})

test('a session that is over is told once in every tab, and the caller gets the refusal', async (t) => {
  for (const code of ['SESSION_REVOKED', 'REFRESH_REUSED', 'TOKEN_INVALID', 'TOKEN_EXPIRED', 'TOKEN_MISSING']) {
    const world = new World()
    world.expired = true
    const refused = (): Response => problem(401, code)
    const tabs = Array.from({ length: 3 }, () => world.tab(t))
    world.refreshes.push(...Array.from({ length: 20 }, () => refused))
    const first = world.tab(t)
    const responses = await Promise.all(Array.from({ length: 10 }, () => first.client.fetch('/me')))
    t.same(
      await Promise.all(responses.map(async (response) => (await response.json() as { code: string }).code)),
      Array(10).fill(code),
    )
    t.equal(world.count(), 1)
    await until('every tab has heard', () => tabs.every(({ signedOut }) => signedOut.length > 0))
    t.same(tabs.map(({ signedOut }) => signedOut), [[code], [code], [code]])
    await Promise.all(tabs.map(({ client }) => client.fetch('/me')))
    await sleep(20)
    t.same(tabs.map(({ signedOut }) => signedOut), [[code], [code], [code]], 'and not again for what is asked later')
  }
})

test('after the next success the end of a session is told again', async (t) => {
  const world = new World()
  const { client, signedOut } = world.tab(t)
  const end = async (): Promise<void> => {
    world.expired = true
    world.refreshes.push(() => problem(401, 'SESSION_REVOKED'))
    await client.fetch('/me')
    world.expired = false
  }
  await end()
  await client.fetch('/auth/login', { method: 'POST' })
  await end()
  t.same(signedOut, ['SESSION_REVOKED', 'SESSION_REVOKED'])
})

test('an access token of a session that was ended elsewhere asks for a refresh, which alone decides', async (t) => {
  const world = new World()
  world.answer = () => problem(401, 'SESSION_REVOKED')
  const { client, signedOut } = world.tab(t)
  t.equal((await client.fetch('/me', { method: 'DELETE' })).status, 401)
  t.same(world.log, ['DELETE /me', 'POST /auth/refresh'], 'a new session of perhaps somebody else is not used for it')
  t.same(signedOut, [])
  world.refreshes.push(() => problem(401, 'SESSION_REVOKED'))
  await client.fetch('/me')
  t.same(signedOut, ['SESSION_REVOKED'])
})

test('a refresh that is refused for now signs nobody out, and its answer with Retry-After goes to each caller', async (t) => {
  for (const answer of [
    () => problem(429, 'RATE_LIMITED', { 'retry-after': '7' }),
    () => problem(503, 'UNAVAILABLE', { 'retry-after': '7' }),
    () => new Response('<h1>Bad gateway</h1>', { status: 502, headers: { 'retry-after': '7' } }),
    () => new Response('<h1>Sign in to the hotel</h1>', { status: 401, headers: { 'retry-after': '7' } }),
    () => problem(403, 'CSRF_REJECTED', { 'retry-after': '7' }),
  ]) {
    const world = new World()
    world.expired = true
    world.refreshes.push(answer)
    const { client, signedOut } = world.tab(t)
    const responses = await Promise.all([client.fetch('/a'), client.fetch('/b')])
    for (const response of responses) {
      t.equal(response.status, answer().status)
      t.equal(response.headers.get('retry-after'), '7')
      t.equal(await response.text(), await answer().text())
    }
    t.equal(world.count(), 1, 'and is not asked again')
    t.same(signedOut, [])
    t.equal((await client.fetch('/a')).status, 200, 'the next request refreshes')
  }
})

test('a refresh whose answer got lost is asked for once more', async (t) => {
  const world = new World()
  world.expired = true
  world.refreshes.push(offline)
  const { client } = world.tab(t)
  t.equal((await client.fetch('/me')).status, 200)
  t.equal(world.count(), 2)
})

test('a refresh that fails twice rejects for every caller, signs nobody out, and may be tried later', async (t) => {
  const world = new World()
  world.expired = true
  world.refreshes.push(offline, offline)
  const { client, signedOut } = world.tab(t)
  const outcomes = await Promise.allSettled([client.fetch('/a'), client.fetch('/b'), client.refresh()])
  t.same(outcomes.map((outcome) => outcome.status === 'rejected' && (outcome.reason as Error).name), [
    'TypeError',
    'TypeError',
    'TypeError',
  ])
  t.equal(world.count(), 2)
  t.same(signedOut, [])
  t.equal((await client.fetch('/me')).status, 200)
})

test('a request of the app that fails is the app\'s to repeat', async (t) => {
  const world = new World()
  world.answer = offline
  await t.rejects(world.tab(t).client.fetch('/pay', { method: 'POST' }), { name: 'TypeError' })
  t.same(world.log, ['POST /pay'])
})

test('a request whose second sending fails rejects, and is not sent a third time', async (t) => {
  const world = new World()
  world.answer = (request) => world.count('POST /pay') > 1 ? offline(request) : problem(401, 'TOKEN_EXPIRED')
  await t.rejects(world.tab(t).client.fetch('/pay', { method: 'POST' }), { name: 'TypeError' })
  t.same(world.log, ['POST /pay', 'POST /auth/refresh', 'POST /pay'])
})

test('a refresh that hangs is cut off and asked for once more, then given up', async (t) => {
  const world = new World()
  world.expired = true
  world.refreshes.push(hang)
  const { client } = world.tab(t)
  t.equal((await client.fetch('/me')).status, 200)
  t.equal(world.count(), 2)
  world.expired = true
  world.refreshes.push(hang, hang)
  await t.rejects(client.fetch('/me'), { name: 'TimeoutError' })
  t.equal(world.count(), 4)
  t.equal((await client.fetch('/me')).status, 200, 'and does not stand in the way of the next')
})

test('a refresh whose refusal never ends, and a fetch that knows no signals, are cut off too', async (t) => {
  const world = new World()
  const endless = (): Response =>
    new Response(new ReadableStream({ pull: () => new Promise(() => {}) }), {
      status: 401,
      headers: { 'content-type': 'application/problem+json' },
    })
  world.refreshes.push(endless, endless, () => new Promise(() => {}), () => new Promise(() => {}))
  const { client, signedOut } = world.tab(t)
  await t.rejects(client.refresh(), { name: 'TimeoutError' })
  await t.rejects(client.refresh(), { name: 'TimeoutError' })
  t.same(signedOut, [])
})

test('a lost answer is not asked for again when the time for it has passed', async (t) => {
  const world = new World()
  // The computer slept: the timer fired late, and the clock tells.
  t.intercept(Date, 'now', { value: ((times) => () => times.shift() ?? 1_000_000)([0, 2 * TIMEOUT_MS]) })
  world.refreshes.push(offline)
  await t.rejects(world.tab(t).client.refresh(), { name: 'TypeError' })
  t.equal(world.count(), 1)
})

test('whoever aborts gets the reason at once, and the others their answer', async (t) => {
  const world = new World()
  world.expired = true
  let release = (): void => {}
  world.refreshes.push(async () => {
    await new Promise<void>((resolve) => { release = resolve })
    world.expired = false
    return new Response()
  })
  const { client } = world.tab(t)
  const controller = new AbortController()
  const [aborted, other] = [client.fetch('/aborted', { signal: controller.signal }), client.fetch('/other')]
  await until('the refresh is under way', () => world.count() === 1)
  controller.abort(new Error('changed my mind'))
  await t.rejects(aborted, { message: 'changed my mind' })
  t.equal(world.requests.find(({ url }) => url.endsWith('/refresh'))?.signal.aborted, false)
  release()
  t.equal((await other).status, 200)
  t.equal(world.count('GET /aborted'), 1, 'what was aborted is not sent again')
  await t.rejects(client.fetch('/never', { signal: AbortSignal.abort(new Error('before')) }), { message: 'before' })
})

test('a body that can be read only once is refused before anything is sent', async (t) => {
  const world = new World()
  const { client } = world.tab(t)
  const init = { method: 'POST', body: new Blob(['x']).stream(), duplex: 'half' as const }
  await t.rejects(client.fetch('/upload', init), { name: 'TypeError', message: /only once.*Blob/ })
  t.same(world.log, [])
})

test('every other kind of body is sent twice alike', async (t) => {
  const form = new FormData()
  form.set('a', '1')
  const bodies: [string, NonNullable<RequestInit['body']>, RegExp][] = [
    ['text', 'text', /^text$/], ['blob', new Blob(['blob']), /^blob$/], ['bytes', new Uint8Array([97, 98]), /^ab$/],
    ['form', form, /name="a"\r\n\r\n1/], ['parameters', new URLSearchParams({ a: '1' }), /^a=1$/],
  ]
  for (const [name, body, expected] of bodies) {
    const world = new World()
    world.expired = true
    t.match(await (await world.tab(t).client.fetch('/x', { method: 'POST', body })).text(), expected, name)
    t.equal(world.count('POST /x'), 2)
  }
  const world = new World()
  world.expired = true
  const request = new Request(`${world.origin}/x`, { method: 'POST', body: 'request', headers: { 'x-mine': '1' } })
  t.equal(await (await world.tab(t).client.fetch(request)).text(), 'request')
  t.equal(world.requests.at(-1)?.headers.get('x-mine'), '1')
})

test('what the caller changes after the call is not sent', async (t) => {
  const world = new World()
  world.expired = true
  const headers = new Headers({ 'x-mine': 'before' })
  const response = world.tab(t).client.fetch('/x', { headers })
  headers.set('x-mine', 'after')
  await response
  t.equal(world.requests.at(-1)?.headers.get('x-mine'), 'before')
})

test('another origin gets its requests as they are, and cannot cause a refresh', async (t) => {
  const world = new World()
  world.answer = () => problem(401, 'TOKEN_EXPIRED')
  const { client } = world.tab(t)
  for (
    const url of [
      'https://evil.test/x',
      `${world.origin}.evil.test/x`,
      world.origin.replace('https', 'http'),
      '//evil.test/x',
    ]
  ) {
    t.equal((await client.fetch(url)).status, 401)
  }
  t.equal(world.count(), 0)
  t.same(world.requests.map(({ credentials }) => credentials), Array(4).fill('same-origin'))
})

test('tabs take turns: one refreshes, the others find it done', async (t) => {
  const world = new World()
  world.expired = true
  const locks = fakeLocks()
  const tabs = Array.from({ length: 5 }, () => world.tab(t, { locks }))
  const responses = await Promise.all(tabs.flatMap(({ client }) => [client.fetch('/a'), client.fetch('/b')]))
  t.same(responses.map(({ status }) => status), Array(10).fill(200))
  t.equal(world.count(), 1)
  t.equal(locks.held(), false)
})

test('where one tab fails, the next in turn tries', async (t) => {
  const world = new World()
  world.expired = true
  world.refreshes.push(offline, offline)
  const locks = fakeLocks()
  const [first, second] = [world.tab(t, { locks }), world.tab(t, { locks })]
  const [failed, done] = await Promise.allSettled([first.client.fetch('/a'), second.client.fetch('/b')])
  t.equal(failed.status, 'rejected')
  t.equal(done.status === 'fulfilled' && done.value.status, 200)
  t.equal(world.mostActive, 1)
  t.equal(locks.held(), false)
})

test('a tab that holds the lock and hangs does not stop the others', async (t) => {
  const world = new World()
  world.expired = true
  const locks = fakeLocks()
  let release = (): void => {}
  void locks.request('any', { signal: new AbortController().signal }, () =>
    new Promise<void>((resolve) => {
      release = resolve
    }))
  t.equal((await world.tab(t, { locks }).client.fetch('/me')).status, 200)
  t.equal(world.count(), 1)
  release()
})

test('without locks, or where they are refused, tabs refresh at once and each is answered', async (t) => {
  const refused: SessionLocks = { request: () => Promise.reject(new DOMException('no', 'SecurityError')) }
  for (const locks of [null, refused]) {
    const world = new World()
    world.expired = true
    const tabs = Array.from({ length: 3 }, () => world.tab(t, { locks }))
    const responses = await Promise.all(tabs.map(({ client }) => client.fetch('/me')))
    t.same(responses.map(({ status }) => status), [200, 200, 200])
    t.ok(world.count() <= 3)
  }
})

test('signing out waits for a refresh under way, is sent once, and is told in every tab', async (t) => {
  const world = new World()
  const [one, two] = [world.tab(t), world.tab(t)]
  const refreshing = one.client.refresh()
  const response = await one.client.signOut()
  await refreshing
  t.equal(response.status, 204)
  t.same(world.log, ['POST /auth/refresh', 'POST /auth/logout'])
  await until('both tabs have heard', () => one.signedOut.length > 0 && two.signedOut.length > 0)
  t.same([one.signedOut, two.signedOut], [['SIGNED_OUT'], ['SIGNED_OUT']])
})

test('signing out another way sends that, and a refusal signs nobody out', async (t) => {
  const world = new World()
  const { client, signedOut } = world.tab(t)
  world.answer = () => problem(503, 'UNAVAILABLE')
  t.equal((await client.signOut('/auth/sessions?all=true', { method: 'DELETE' })).status, 503)
  t.same(world.log, ['DELETE /auth/sessions'])
  t.same(signedOut, [])
  world.answer = offline
  await t.rejects(client.signOut(), { name: 'TypeError' })
  t.same(signedOut, [])
})

test('what other tabs send is checked, and a closed client hears nothing', async (t) => {
  const world = new World()
  const [one, two] = [world.tab(t), world.tab(t)]
  const channel = new BroadcastChannel(`bulwark-session ${world.origin}/auth/refresh`)
  t.teardown(() => {
    channel.close()
  })
  for (
    const message of [null, 1, 'signed-out', {}, { type: 'signed-out' }, { type: 'signed-out', code: 1 }, {
      type: 'x',
      code: 'X',
    }]
  ) channel.postMessage(message)
  two.client.close()
  await sleep(20)
  t.same(one.signedOut, [])
  channel.postMessage({ type: 'signed-out', code: 'SESSION_REVOKED' })
  await until('the tab has heard', () => one.signedOut.length > 0)
  t.same([one.signedOut, two.signedOut], [['SESSION_REVOKED'], []])
})

test('paths are read against baseUrl, and a baseUrl that is none is refused', async (t) => {
  const world = new World()
  world.expired = true
  const { client } = world.tab(t, { baseUrl: `${world.origin}/v1/`, refreshPath: 'auth/renew' })
  await client.fetch('projects')
  await client.fetch(new URL(`${world.origin}/x`))
  t.same(world.log.slice(0, 2), ['GET /v1/projects', 'POST /v1/auth/renew'])
  for (const baseUrl of ['', '/api', 'no url']) {
    t.throws(() => createSessionClient({ baseUrl }), { code: 'ERR_INVALID_URL' }, baseUrl)
  }
})

test('a timeout that no grace could hold twice is refused', async (t) => {
  for (const timeoutMs of [0, -1, NaN, Infinity, 30_001]) {
    t.throws(() => createSessionClient({ baseUrl: newOrigin(), timeoutMs }), RangeError, String(timeoutMs))
  }
  const world = new World()
  for (const timeoutMs of [1, 30_000, undefined]) world.tab(t, timeoutMs === undefined ? {} : { timeoutMs })
})

test('a service on another origin than the page gets its cookies, and nobody else', async (t) => {
  const world = new World()
  t.intercept(globalThis, 'location' as never, { value: { href: 'https://page.test/app' } as never })
  const { client } = world.tab(t)
  await client.fetch('/me')
  await client.refresh()
  await client.fetch('https://page.test/x')
  await client.fetch('/me', { credentials: 'omit' })
  t.same(world.requests.map(({ credentials }) => credentials), ['include', 'include', 'same-origin', 'omit'])
})

test('without options it uses what the browser has: its fetch as it is then, its locks, the page as base', async (t) => {
  const world = new World()
  const locks = fakeLocks()
  let turns = 0
  t.intercept(globalThis, 'location' as never, { value: { href: `${world.origin}/app/` } as never })
  t.intercept(globalThis, 'navigator' as never, {
    value: {
      locks: {
        request: (...args: Parameters<SessionLocks['request']>) => {
          turns++
          return locks.request(...args)
        },
      },
    } as never,
  })
  const client = createSessionClient()
  t.teardown(() => { client.close() })
  t.intercept(globalThis, 'fetch', { value: world.fetch as typeof fetch })
  world.expired = true
  t.equal((await client.fetch('me')).status, 200)
  t.same(world.log, ['GET /app/me', 'POST /auth/refresh', 'GET /app/me'])
  t.equal(turns, 1)
})
