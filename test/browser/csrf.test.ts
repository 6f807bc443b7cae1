import { createHash } from 'node:crypto'
import { ServerResponse, type IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { BrowserContext, Page } from 'playwright-core'
import { createServer, defineSecurity, publicRoute } from '../../index.js'
import { browserTests, echo, echoing, listen, serveSite } from '../helpers/browser.js'
import { ACCOUNTS, html, signingIn } from './fixture.js'

const [HOST, SIBLING, EVIL] = ['app.bulwark.test', 'other.bulwark.test', 'evil.example']

const open = publicRoute('a route of the test')
const SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/**
 * The first lines of a WebSocket plugin: an upgrade becomes a request, and is answered when it came through the hooks.
 */
function addSockets (app: FastifyInstance): void {
  app.server.on('upgrade', (request: IncomingMessage, socket) => {
    const response = new ServerResponse(request)
    response.assignSocket(socket as never)
    response.on('finish', () => { socket.end() })
    app.routing(request, response)
  })
  const accept = (request: { readonly raw: IncomingMessage }, reply: { hijack: () => unknown }): void => {
    reply.hijack()
    const key = createHash('sha1').update(`${request.raw.headers['sec-websocket-key'] ?? ''}${WEBSOCKET_GUID}`).digest(
      'base64',
    )
    request.raw.socket.end(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`,
    )
  }
  app.get('/socket', { security: { auth: open } }, accept)
  app.get('/socket-anyone', { security: { auth: open, csrf: false } }, accept)
}

const ENCTYPES = ['application/x-www-form-urlencoded', 'text/plain', 'multipart/form-data']

function addRoutes (app: FastifyInstance, ran: string[]): void {
  // Nothing but the check may stand between a form and the handlers.
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, body)
  })
  const page = html('<form method="post" action="/transfer"><button>go</button></form>')
  app.get('/', { security: { auth: open } }, async (_request, reply) => reply.type('text/html').send(page))
  const post = async (request: { readonly url: string }): Promise<unknown> => {
    ran.push(request.url)
    return { done: true }
  }
  const validation = { contentTypes: [...ENCTYPES] }
  app.post('/transfer', { security: { validation } }, post)
  app.post('/webhook', { security: { csrf: false, validation } }, post)
  const image = async (request: { readonly url: string }, reply: FastifyReplyLike): Promise<unknown> => {
    ran.push(request.url)
    return reply.type('image/svg+xml').send(SVG)
  }
  const embeddable = {
    crossOriginResourcePolicy: { policy: 'cross-origin' as const },
    contentSecurityPolicy: false as const,
    xFrameOptions: false as const,
  }
  app.get('/image.svg', { security: { auth: open, headers: embeddable } }, image)
  app.get('/badge.svg', { security: { auth: open, headers: embeddable, csrf: { isolation: false } } }, image)
  const script = async (request: { readonly url: string }, reply: FastifyReplyLike): Promise<unknown> => {
    ran.push(request.url)
    return reply.type('text/javascript').send('window.leaked = "secret"')
  }
  app.get('/data.js', { security: { auth: open, headers: embeddable } }, script)
  app.get('/widget.js', { security: { auth: open, headers: embeddable, csrf: { isolation: false } } }, script)
}

interface FastifyReplyLike { type: (type: string) => { send: (body: string) => unknown } }

const promise = browserTests({
  hosts: [HOST, SIBLING, EVIL],
  start: async (https) => {
    const sites = await serveSite(https, { '/': echo })
    const app = await createServer(defineSecurity({
      profile: 'document',
      ...ACCOUNTS,
      auth: { ...ACCOUNTS.auth, sameSite: 'lax' },
    }), { logger: false, https: { key: https.key, cert: https.cert } })
    const ran: string[] = []
    addRoutes(app, ran)
    addSockets(app)
    const { at, exchanges } = await listen(app)
    return { origin: at(HOST), sibling: sites.at(SIBLING), evil: sites.at(EVIL), exchanges, ran }
  },
})

/** Signs in, and makes the session one that cookies of other sites carry too: the worst a service could have. */
async function signIn (page: Page, context: BrowserContext, origin: string, everywhere: boolean): Promise<void> {
  await page.goto(origin)
  const status = await page.evaluate(signingIn())
  if (status !== 200) throw new Error(`login: ${String(status)}`)
  if (!everywhere) return
  await context.addCookies((await context.cookies()).map((cookie) => ({ ...cookie, sameSite: 'None' as const })))
}

/** What a form on a page of `from` gets when it submits itself to `action`. */
async function submitFrom (
  page: Page,
  from: string,
  action: string,
  enctype: string,
): Promise<{ readonly status: number, readonly body: unknown }> {
  const form =
    `<form method="post" action="${action}" enctype="${enctype}"><input name="to" value="mallory"></form><script>document.forms[0].submit()</script>`
  const [response] = await Promise.all([
    page.waitForResponse((candidate) => candidate.url() === action),
    page.goto(echoing(from, form), { waitUntil: 'commit' }),
  ])
  await page.waitForURL(action)
  return { status: response.status(), body: await response.json() }
}


promise('a form on another site posts nothing with the visitor\'s cookies', async (t, { page, context, origin, evil, ran, exchanges }) => {
  await signIn(page, context, origin, true)
  const from = ran.length
  for (const enctype of ENCTYPES) {
    const { status, body } = await submitFrom(page, evil, `${origin}/transfer`, enctype)
    t.equal(status, 403, enctype)
    t.match(body, { code: 'CSRF_REJECTED' })
    t.match(exchanges.at(-1), { path: '/transfer', site: 'cross-site', cookie: /__Host-access=/ })
  }
  t.same(ran.slice(from), [])
  t.match(await submitFrom(page, evil, `${origin}/webhook`, 'text/plain'), { status: 200, body: { done: true } }, 'control: it comes through where nothing is checked')
  t.same(ran.slice(from), ['/webhook'])
})

promise('a form of a sibling under the same site posts nothing, though SameSite cookies come along', async (t, { page, context, origin, sibling, ran, exchanges }) => {
  await signIn(page, context, origin, false)
  const from = ran.length
  for (const enctype of ENCTYPES.slice(0, 2)) {
    const { status, body } = await submitFrom(page, sibling, `${origin}/transfer`, enctype)
    t.equal(status, 403, enctype)
    t.match(body, { code: 'CSRF_REJECTED' })
    t.match(exchanges.at(-1), { path: '/transfer', site: 'same-site', cookie: /__Host-access=/ })
  }
  t.match(await submitFrom(page, sibling, `${origin}/webhook`, 'text/plain'), { status: 200 }, 'control')
  t.same(ran.slice(from), ['/webhook'])
})

promise('a form of another site signs nobody in', async (t, { page, context, origin, evil }) => {
  for (const enctype of ENCTYPES.slice(0, 2)) {
    const { status, body } = await submitFrom(page, evil, `${origin}/auth/login`, enctype)
    t.equal(status, 403, enctype)
    t.match(body, { code: 'CSRF_REJECTED' })
  }
  t.same(await context.cookies(), [])
})

promise('a form of the service itself passes', async (t, { page, context, origin, exchanges }) => {
  await signIn(page, context, origin, false)
  await Promise.all([page.waitForURL(`${origin}/transfer`), page.click('button')])
  t.match(exchanges.at(-1), { method: 'POST', path: '/transfer', status: 200, site: 'same-origin' })
})

/** JavaScript: how the element of that path fares. */
const loading = (tag: string, url: string): string =>
  `new Promise((resolve) => document.body.append(Object.assign(document.createElement('${tag}'), { src: '${url}', onload: () => resolve('loaded'), onerror: () => resolve('error') })))`

promise(
  "another site can embed neither images nor scripts nor frames with the visitor's cookies",
  async (t, { page, context, origin, evil, ran, exchanges }) => {
    await signIn(page, context, origin, true)
    await page.goto(evil)
    const from = ran.length
    const table = [
      ['img', '/image.svg', 'error', 403],
      ['img', '/badge.svg', 'loaded', 200],
      ['script', '/data.js', 'error', 403],
      ['script', '/widget.js', 'loaded', 200],
      ['iframe', '/image.svg', 'loaded', 403],
      ['iframe', '/badge.svg', 'loaded', 200],
    ] as const
    for (const [tag, path, outcome, status] of table) {
      t.equal(await page.evaluate(loading(tag, `${origin}${path}?${tag}`)), outcome, `${tag} ${path}`)
      t.match(exchanges.at(-1), { path, status, site: 'cross-site', cookie: /__Host-access=/ }, `${tag} ${path}`)
    }
    t.equal(
      await page.evaluate(`fetch("${origin}/image.svg", { mode: "no-cors", credentials: "include" }).then(() => 1)`),
      1,
    )
    t.match(exchanges.at(-1), { path: '/image.svg', status: 403 }, 'a fetch without CORS')
    t.same(
      ran.slice(from),
      ['/badge.svg?img', '/widget.js?script', '/badge.svg?iframe'],
      'only what may be embedded ran',
    )
  },
)

promise(
  "a link on another site leads here with the visitor's cookies",
  async (t, { page, context, origin, evil, exchanges }) => {
    await signIn(page, context, origin, true)
    await page.goto(echoing(evil, `<a href="${origin}/">visit</a>`))
    await Promise.all([page.waitForURL(`${origin}/`), page.click('a')])
    t.match(exchanges.findLast(({ path }) => path === '/'), {
      status: 200,
      site: 'cross-site',
      cookie: /__Host-access=/,
    })
  },
)

promise(
  "a page of another site opens no WebSocket with the visitor's cookies",
  async (t, { page, context, origin, sibling, evil }) => {
    await signIn(page, context, origin, true)
    const opening = (path: string): string =>
      `new Promise((resolve) => { const socket = new WebSocket("${
        origin.replace('https', 'wss')
      }${path}"); socket.onopen = () => resolve('open'); socket.onerror = () => resolve('error') })`
    t.equal(await page.evaluate(opening('/socket')), 'open', 'its own page does')
    for (const from of [evil, sibling]) {
      await page.goto(from)
      t.equal(await page.evaluate(opening('/socket')), 'error')
      t.equal(await page.evaluate(opening('/socket-anyone')), 'open', 'control')
    }
  },
)
