import type { FastifyInstance } from 'fastify'
import type { Page } from 'playwright-core'
import { createServer, defineSecurity } from '../../index.js'
import { browserTests, listen, type Exchange } from '../helpers/browser.js'
import { html } from './fixture.js'

const HOST = 'app.bulwark.test'
const ENDPOINT = '/reports/csp'
const DELIVERY_MS = 20_000

interface Violation { readonly directive: string, readonly blocked: string, readonly disposition: string }

/** The event for an image of that origin; each test has an origin of its own, because reports may arrive late. */
async function violationOf (app: FastifyInstance, blocked: string): Promise<Violation> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => { reject(new Error(`no report about ${blocked}`)) }, DELIVERY_MS)
    app.security.events.on('csp_violation', (event) => {
      if (event.blocked !== blocked) return
      clearTimeout(timer)
      resolve({ directive: event.directive, blocked: event.blocked, disposition: event.disposition })
    })
  })
}

async function visit (page: Page, url: string): Promise<void> {
  const [response] = await Promise.all([page.goto(url), page.waitForLoadState('load')])
  if (response?.status() !== 200) throw new Error(`no page at ${url}`)
}

const ROUTES = {
  enforce: {},
  last: {},
  without: { reporting: false as const },
  'report-only': {
    contentSecurityPolicy: { extend: { 'img-src': ['https:'] }, reportOnly: { directives: { 'img-src': ["'self'"] } } },
  },
  // For browsers without the Reporting API: Chromium takes report-uri only where the policy has no report-to.
  'uri-enforce': { reporting: false as const, contentSecurityPolicy: { directives: { 'report-uri': [ENDPOINT] } } },
  'uri-report-only': {
    reporting: false as const,
    contentSecurityPolicy: {
      extend: { 'img-src': ['https:'] },
      reportOnly: { directives: { 'img-src': ["'self'"], 'report-uri': [ENDPOINT] } },
    },
  },
}

const promise = browserTests({
  hosts: [HOST],
  // Chromium otherwise collects reports for a minute.
  flags: ['--short-reporting-delay'],
  start: async (https) => {
    const app = await createServer(
      defineSecurity({
        profile: 'document',
        auth: false,
        rateLimit: false,
        headers: { reporting: { endpoint: ENDPOINT } },
      }),
      { logger: false, https: { key: https.key, cert: https.cert } },
    )
    for (const [name, headers] of Object.entries(ROUTES)) {
      app.get(
        `/${name}`,
        { security: { headers } },
        async (_request, reply) => reply.type('text/html').send(html(`<img src="https://${name}.example/x.png">`)),
      )
    }
    const { at, exchanges } = await listen(app)
    const plain: FastifyInstance = app
    return { app: plain, origin: at(HOST), exchanges }
  },
})

function reportsIn (exchanges: readonly Exchange[]): unknown[] {
  return exchanges.filter(({ path }) => path === ENDPOINT).map(({ method, contentType, status }) => ({
    method,
    contentType,
    status,
  }))
}

for (
  const [name, contentType] of [['enforce', 'application/reports+json'], ['report-only', 'application/reports+json'], [
    'uri-enforce',
    'application/csp-report',
  ], ['uri-report-only', 'application/csp-report']] as const
) {
  promise(
    `what Chromium reports as ${contentType} of a policy (${name}) becomes an event`,
    async (t, { page, app, origin, exchanges }) => {
      const before = reportsIn(exchanges).length
      const violation = violationOf(app, `https://${name}.example`)
      await visit(page, `${origin}/${name}`)
      t.same(await violation, {
        directive: 'img-src',
        blocked: `https://${name}.example`,
        disposition: name.endsWith('report-only') ? 'report' : 'enforce',
      })
      await page.goto('about:blank')
      t.match(reportsIn(exchanges).slice(before, before + 1), [{ method: 'POST', contentType, status: 204 }])
    },
  )
}

promise('a route without reporting sends nothing', async (t, { page, app, origin }) => {
  const blocked: string[] = []
  app.security.events.on('csp_violation', (event) => { blocked.push(event.blocked) })
  await visit(page, `${origin}/without`)
  const later = violationOf(app, 'https://last.example')
  await visit(page, `${origin}/last`)
  await later
  t.same(blocked, ['https://last.example'], 'what was violated afterwards has arrived')
})
