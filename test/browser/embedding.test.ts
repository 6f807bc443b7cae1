import type { FastifyInstance } from 'fastify'
import type { Page } from 'playwright-core'
import { createServer, defineSecurity } from '../../index.js'
import { browserTests, echo, echoing, listen, serveSite } from '../helpers/browser.js'
import { html } from './fixture.js'

const [HOST, EVIL] = ['app.bulwark.test', 'evil.example']
const SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'

function addRoutes (app: FastifyInstance, evil: string): void {
  const allowed = { directives: { 'frame-ancestors': [evil] } }
  const pages = {
    '/page': {},
    '/by-csp': { xFrameOptions: false as const },
    '/by-x-frame-options': { contentSecurityPolicy: false as const },
    '/framable': { xFrameOptions: false as const, contentSecurityPolicy: allowed },
    '/with-opener': { crossOriginOpenerPolicy: false as const },
    '/features': { permissionsPolicy: { geolocation: ['self'] } },
  }
  for (const [path, headers] of Object.entries(pages)) {
    app.get(path, { security: { headers } }, async (_request, reply) =>
      reply.type('text/html').send(html('<h1>page</h1>')))
  }
  for (
    const [path, headers] of [['/image.svg', {}], ['/open.svg', {
      crossOriginResourcePolicy: { policy: 'cross-origin' as const },
    }]] as const
  ) {
    app.get(path, { security: { headers } }, async (_request, reply) => reply.type('image/svg+xml').send(SVG))
  }
}

const promise = browserTests({
  hosts: [HOST, EVIL],
  start: async (https) => {
    const evil = (await serveSite(https, { '/': echo })).at(EVIL)
    const app = await createServer(defineSecurity({ profile: 'document', auth: false, rateLimit: false }), {
      logger: false,
      https: { key: https.key, cert: https.cert },
    })
    addRoutes(app, evil)
    const { at, exchanges } = await listen(app)
    return { origin: at(HOST), evil, exchanges }
  },
})

/** What a frame shows: the page, or Chromium's own page about a refusal. */
async function framed (page: Page, evil: string, url: string): Promise<string> {
  // A refusal may come after the page around it has loaded.
  const [frame] = await Promise.all([
    page.waitForEvent(
      'framenavigated',
      (navigated) => navigated.parentFrame() !== null && navigated.url() !== 'about:blank',
    ),
    page.goto(echoing(evil, `<iframe src="${url}"></iframe>`)),
  ])
  return frame.url()
}

promise(
  'no other site frames a page, by either header alone, and one that is listed does',
  async (t, { page, origin, evil, exchanges }) => {
    for (const path of ['/page', '/by-csp', '/by-x-frame-options']) {
      t.equal(await framed(page, evil, `${origin}${path}`), 'chrome-error://chromewebdata/', path)
      t.match(exchanges.at(-1), { path, status: 200 }, 'the browser refused, not the server')
    }
    t.equal(await framed(page, evil, `${origin}/framable`), `${origin}/framable`, 'control')
    t.equal(await page.frameLocator('iframe').locator('h1').textContent(), 'page')
  },
)

promise(
  'a page that another site opened has no opener, and the other no handle',
  async (t, { page, context, origin, evil }) => {
    for (const [path, severed] of [['/page', true], ['/with-opener', false]] as const) {
      await page.goto(evil)
      const [popup] = await Promise.all([
        context.waitForEvent('page'),
        page.evaluate(`{ window.handle = window.open("${origin}${path}"); 0 }`),
      ])
      await popup.waitForURL(`${origin}${path}`)
      t.equal(await popup.evaluate('window.opener === null'), severed, path)
      t.equal(await page.evaluate('window.handle.closed'), severed, path)
      await popup.close()
    }
  },
)

promise(
  'another site shows no resource of the service, even without cookies',
  async (t, { page, origin, evil, exchanges }) => {
    await page.goto(evil)
    for (const [path, outcome] of [['/image.svg', 'error'], ['/open.svg', 'loaded']] as const) {
      t.equal(
        await page.evaluate(
          `new Promise((resolve) => document.body.append(Object.assign(new Image(), { src: "${origin}${path}", onload: () => resolve("loaded"), onerror: () => resolve("error") })))`,
        ),
        outcome,
        path,
      )
      t.equal(
        await page.evaluate(`fetch("${origin}${path}", { mode: "no-cors" }).then(() => "loaded", () => "error")`),
        outcome,
        path,
      )
      t.match(
        exchanges.slice(-2),
        [{ path, status: 200, cookie: undefined }, { path, status: 200 }],
        'the browser refused, not the server',
      )
    }
  },
)

promise('powerful features are off, and on where a route says so', async (t, { page, context, origin }) => {
  await context.grantPermissions(['geolocation'])
  await context.setGeolocation({ latitude: 1, longitude: 2 })
  const locate =
    'new Promise((resolve) => navigator.geolocation.getCurrentPosition(() => resolve("position"), ({ message }) => resolve(message)))'
  await page.goto(`${origin}/page`)
  t.same(
    await page.evaluate(
      '["camera", "geolocation", "usb"].map((feature) => document.featurePolicy.allowsFeature(feature))',
    ),
    [false, false, false],
  )
  t.match(await page.evaluate(locate), /permissions policy/)
  await page.goto(`${origin}/features`)
  t.same(
    await page.evaluate('["camera", "geolocation"].map((feature) => document.featurePolicy.allowsFeature(feature))'),
    [false, true],
  )
  t.equal(await page.evaluate(locate), 'position')
})
