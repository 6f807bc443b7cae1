import { createServer, defineSecurity } from '../../index.js'
import { browserTests, listen, serveSite } from '../helpers/browser.js'
import { html } from './fixture.js'

const [HOST, SUBDOMAIN, LAX, CDN] = ['app.bulwark.test', 'api.app.bulwark.test', 'lax.test', 'cdn.test']

const promise = browserTests({
  hosts: [HOST, SUBDOMAIN, LAX, CDN],
  start: async (https) => {
    const cdn = await serveSite(https, {
      '/x.js': (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/javascript' }).end('window.loaded = 1')
      },
    })
    const insecure = cdn.at(CDN).replace('https:', 'http:')
    const tls = { logger: false, https: { key: https.key, cert: https.cert } }
    const definition = { profile: 'document', auth: false, rateLimit: false } as const

    const app = await createServer(defineSecurity(definition), tls)
    const page = async (
      _request: unknown,
      reply: { readonly cspNonce: string, type: (type: string) => { send: (text: string) => unknown } },
    ): Promise<unknown> => {
      return reply.type('text/html').send(
        html('page', `<script nonce="${reply.cspNonce}" src="${insecure}/x.js"></script>`),
      )
    }
    app.get('/', page)
    app.get('/no-upgrade', {
      security: { headers: { contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': false } } } },
    }, page)
    const secure = await listen(app)

    const without = await createServer(
      defineSecurity({ ...definition, headers: { strictTransportSecurity: false } }),
      tls,
    )
    without.get('/', async () => 'page')
    const lax = await listen(without)

    const redirecting = await createServer(
      defineSecurity({ ...definition, transport: { https: 'redirect', publicOrigin: secure.at(HOST) } }),
      { logger: false },
    )
    redirecting.get('/', async () => 'never shown')
    redirecting.get('/api', { security: { headers: { profile: 'api' } } }, async () => 'never shown')
    const plain = await listen(redirecting, 'http')
    return { secure, lax, plain }
  },
})

/** The same address over plain HTTP. */
const plainly = (url: string): string => url.replace('https:', 'http:')

promise(
  'after one visit the browser itself goes to HTTPS, for subdomains too',
  async (t, { page, context, secure }) => {
    // In a page of its own: Chromium's page about the error may come late, and would interrupt the visit.
    const early = await context.newPage()
    await t.rejects(early.goto(plainly(secure.at(HOST))), /ERR_/, 'before, nothing answers there')
    await page.goto(secure.at(HOST))
    for (const host of [HOST, SUBDOMAIN]) {
      const response = await page.goto(plainly(secure.at(host)))
      t.equal(page.url(), `${secure.at(host)}/`)
      t.equal(response?.status(), 200)
      t.equal(response?.request().redirectedFrom()?.url(), `${plainly(secure.at(host))}/`, 'by an internal redirect')
    }
  },
)

promise('without the header it does not', async (t, { page, lax }) => {
  const response = await page.goto(lax.at(LAX))
  t.equal(response?.status(), 200)
  await t.rejects(page.goto(plainly(lax.at(LAX))), /ERR_/)
})

promise('a browser that comes by plain HTTP is led to the public origin', async (t, { page, plain, secure }) => {
  const response = await page.goto(`${plain.at(HOST)}/?a=b`)
  t.equal(page.url(), `${secure.at(HOST)}/?a=b`)
  t.equal(response?.status(), 200)
  const first = await response?.request().redirectedFrom()?.response()
  t.equal(first?.status(), 308)
})

promise('by plain HTTP an API is refused, not redirected', async (t, { page, plain }) => {
  const response = await page.goto(`${plain.at(LAX)}/api`)
  t.equal(response?.status(), 403)
  t.match(await response?.json(), { code: 'HTTPS_REQUIRED' })
})

promise(
  'what a page asks for by http comes by https, and without upgrade-insecure-requests not at all',
  async (t, { page, secure }) => {
    for (const [path, loaded] of [['/', 1], ['/no-upgrade', undefined]] as const) {
      await page.goto(`${secure.at(HOST)}${path}`)
      t.equal(await page.evaluate('window.loaded'), loaded, path)
    }
  },
)

promise(
  'browsers come with all of .dev on their HSTS list, as the Observatory is told that it is',
  async (t, { page }) => {
    const asked: string[] = []
    page.on('request', (request) => {
      asked.push(request.url())
    })
    await t.rejects(page.goto('http://tracker.bulwark-example.dev/'), /ERR_NAME_NOT_RESOLVED/)
    t.same(asked, ['http://tracker.bulwark-example.dev/', 'https://tracker.bulwark-example.dev/'])
  },
)
