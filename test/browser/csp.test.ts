import type { FastifyInstance } from 'fastify'
import { createServer, defineSecurity, Type } from '../../index.js'
import { browserTests, listen, serveSite } from '../helpers/browser.js'
import { html as document } from './fixture.js'

const [HOST, EVIL] = ['app.bulwark.test', 'evil.example']
const Query = Type.Object({ html: Type.String() })

/** The page's own script: writes down what the browser refuses, and tries what a script that may run may not do. */
const OWN_SCRIPT = `
  window.refused = []
  document.addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI }) => refused.push(effectiveDirective + ' ' + blockedURI))
  const outcome = (work) => { try { return work() } catch (error) { return error.name } }
  // In a task of the page's own: what the debugger calls may eval in any case.
  const attempt = (work) => new Promise((resolve) => setTimeout(() => resolve(outcome(work))))
  window.evaluate = () => attempt(() => eval('"ran"'))
  window.write = () => attempt(() => { document.body.innerHTML = '<p>written</p>'; return document.body.textContent })
  window.addScript = () => new Promise((resolve) => {
    const script = Object.assign(document.createElement('script'), { src: '/later.js', onload: () => resolve(window.later), onerror: () => resolve('error') })
    document.body.append(script)
  })`

function page (nonce: string, html: string): string {
  return document(html, `<script nonce="${nonce}">${OWN_SCRIPT}</script>`)
}

/** Each route writes into the page what the query says, as a service with a hole for scripts does. */
function addPages (app: FastifyInstance): void {
  const schema = { querystring: Query }
  const html = (request: { readonly query: unknown }): string => (request.query as { html: string }).html
  app.get(
    '/guarded',
    { schema },
    async (request, reply) => reply.type('text/html').send(page(reply.cspNonce, html(request))),
  )
  const variants = {
    '/typed': { directives: { 'require-trusted-types-for': ["'script'"] } },
    '/typed-report': { reportOnly: { directives: { 'require-trusted-types-for': ["'script'"] } } },
    '/no-strict-dynamic': { directives: { 'script-src': ["'nonce'"] } },
    '/eval': { extend: { 'script-src': ["'unsafe-eval'"] } },
  }
  for (const [path, contentSecurityPolicy] of Object.entries(variants)) {
    app.get(
      path,
      { schema, security: { headers: { contentSecurityPolicy } } },
      async (request, reply) => reply.type('text/html').send(page(reply.cspNonce, html(request))),
    )
  }
  app.get(
    '/open',
    { schema, security: { headers: false } },
    async (request, reply) => reply.type('text/html').send(page('none', html(request))),
  )
  app.get('/later.js', async (_request, reply) => reply.type('text/javascript').send('window.later = 1'))
}

const promise = browserTests({
  hosts: [HOST, EVIL],
  start: async (https) => {
    const evil = await serveSite(https, {
      '/attack.js': (_request, response) => { response.writeHead(200, { 'content-type': 'text/javascript', 'cross-origin-resource-policy': 'cross-origin' }).end('window.external = 1') },
    })
    const app = await createServer(defineSecurity({ profile: 'document', auth: false, rateLimit: false }), { logger: false, https: { key: https.key, cert: https.cert } })
    addPages(app)
    const origin = (await listen(app)).at(HOST)
    const at = (path: string, html: string): string => `${origin}${path}?html=${encodeURIComponent(html)}`
    return { at, evil: evil.at(EVIL) }
  },
})

interface Attack {
  readonly name: string
  readonly html: (evil: string) => string
  readonly works: string
  readonly refused: string
}

const ATTACKS: readonly Attack[] = [
  {
    name: 'an inline script',
    html: () => '<script>window.inline = 1</script>',
    works: 'window.inline === 1',
    refused: 'script-src-elem inline',
  },
  {
    name: 'an event handler',
    html: () => '<img src="data:," onerror="window.handler = 1">',
    works: 'window.handler === 1',
    refused: 'script-src-attr inline',
  },
  {
    name: 'a javascript: URL',
    html: () => '<a href="javascript:void(window.url = 1)">x</a>',
    works: 'window.url === 1',
    refused: 'script-src-elem inline',
  },
  {
    name: 'a script of another origin',
    html: (evil) => `<script src="${evil}/attack.js"></script>`,
    works: 'window.external === 1',
    refused: 'script-src-elem %/attack.js',
  },
  {
    name: 'a base that leads relative URLs astray',
    html: (evil) => `<base href="${evil}/"><img>`,
    works: 'document.baseURI.startsWith("https://evil.")',
    refused: 'base-uri %/',
  },
  {
    name: 'an inline style element',
    html: () => '<style>body { color: rgb(1, 2, 3) }</style>',
    works: 'getComputedStyle(document.body).color === "rgb(1, 2, 3)"',
    refused: 'style-src-elem inline',
  },
  {
    name: 'a style attribute',
    html: () => '<p style="color: rgb(1, 2, 3)">x</p>',
    works: 'getComputedStyle(document.querySelector("p")).color === "rgb(1, 2, 3)"',
    refused: 'style-src-attr inline',
  },
]

promise('what is injected into a page of the document profile does not run, and does without its policy', async (t, { page, at, evil }) => {
  for (const { name, html, works, refused } of ATTACKS) {
    for (const path of ['/guarded', '/open']) {
      await page.goto(at(path, html(evil)))
      if (html(evil).startsWith('<a')) await page.click('a')
      if (path === '/open') {
        await page.waitForFunction(works)
        continue
      }
      await page.waitForFunction('refused.length > 0')
      t.same(await page.evaluate('refused'), [refused.replace('%', evil)], name)
      t.equal(await page.evaluate(works), false, name)
    }
  }
})

promise('an allowed script may not eval, and may where the route says so', async (t, { page, at }) => {
  for (const [path, outcome] of [['/guarded', 'EvalError'], ['/eval', 'ran'], ['/open', 'ran']] as const) {
    await page.goto(at(path, ''))
    t.equal(await page.evaluate('evaluate()'), outcome, path)
  }
})

promise('a script that an allowed script adds runs by strict-dynamic, and not without it', async (t, { page, at }) => {
  for (const [path, outcome] of [['/guarded', 1], ['/no-strict-dynamic', 'error']] as const) {
    await page.goto(at(path, ''))
    t.equal(await page.evaluate('addScript()'), outcome, path)
  }
})

promise('the nonce of an earlier response runs nothing in a later one', async (t, { page, at }) => {
  await page.goto(at('/guarded', ''))
  const old = await page.evaluate<string>('document.querySelector("script").nonce')
  t.match(old, /^[\w+/=-]{22,24}$/)
  t.equal(
    await page.evaluate('document.querySelector("script").getAttribute("nonce")'),
    '',
    'and markup that is injected cannot select it by its attribute',
  )
  await page.goto(at('/guarded', `<script nonce="${old}">window.replayed = 1</script>`))
  await page.waitForFunction('refused.length > 0')
  t.equal(await page.evaluate('window.replayed'), undefined)
  t.not(await page.evaluate('document.querySelector("script").nonce'), old)
})

promise('Trusted Types refuse innerHTML where they are enforced, and only there', async (t, { page, at }) => {
  for (
    const [path, outcome] of [['/typed', 'TypeError'], ['/typed-report', 'written'], ['/guarded', 'written']] as const
  ) {
    await page.goto(at(path, ''))
    t.equal(await page.evaluate('write()'), outcome, path)
    await page.waitForFunction(`refused.length === ${path === '/guarded' ? 0 : 1}`)
    if (path !== '/guarded') {
      t.same(await page.evaluate('refused'), ['require-trusted-types-for trusted-types-sink'], path)
    }
  }
})
