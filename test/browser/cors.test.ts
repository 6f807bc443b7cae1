import { createServer, defineSecurity, publicRoute } from '../../index.js'
import { browserTests, echo, listen, serveSite, type Exchange } from '../helpers/browser.js'
import { ACCOUNTS, signingIn, USER } from './fixture.js'

const [API, SPA, EVIL] = ['api.app.test', 'spa.app.test', 'evil.example']

const open = publicRoute('a route of the test')

const promise = browserTests({
  hosts: [API, SPA, EVIL],
  start: async (https) => {
    const pages = await serveSite(https, { '/': echo })
    const [spa, evil] = [pages.at(SPA), pages.at(EVIL)]
    const app = await createServer(defineSecurity({
      ...ACCOUNTS,
      cors: { origin: [spa], credentials: true, exposedHeaders: ['X-Request-Id', 'X-Shown'] },
    }), { logger: false, https: { key: https.key, cert: https.cert } })
    app.get('/me', async (request) => request.user)
    app.get(
      '/data',
      { security: { auth: open } },
      async (_request, reply) => reply.headers({ 'x-shown': '1', 'x-hidden': '1' }).send({ data: true }),
    )
    app.delete('/data', { security: { auth: open } }, async () => ({ deleted: true }))
    app.get('/anyone', { security: { auth: open, cors: { origin: '*' } } }, async () => ({ data: true }))
    app.route({
      method: ['GET', 'DELETE'],
      url: '/careless',
      security: { auth: open, csrf: { isolation: false }, cors: { origin: [evil], credentials: true } },
      handler: async () => ({ data: true }),
    })
    const { at, exchanges } = await listen(app)
    return { api: at(API), spa, evil, exchanges }
  },
})

const WITH = '{ credentials: "include" }'

/** JavaScript that fetches and tells the text, or the name of what was thrown. */
function fetching (url: string, init = '{}'): string {
  return `fetch(${JSON.stringify(url)}, ${init}).then((response) => response.text(), (error) => error.name)`
}

const seen = (exchanges: readonly Exchange[], from: number): string[] =>
  exchanges.slice(from).map(({ method, path, status }) => `${method} ${path} ${status}`)

promise('a listed origin signs in, and reads with its cookies', async (t, { page, context, api, spa }) => {
  await page.goto(spa)
  t.equal(await page.evaluate(signingIn(api)), 200)
  t.same((await context.cookies()).map(({ name, sameSite }) => [name, sameSite]).sort(), [['__Host-access', 'Strict'], [
    '__Secure-refresh',
    'Strict',
  ]])
  t.same(JSON.parse(await page.evaluate<string>(fetching(`${api}/me`, WITH))), USER)
  t.match(
    JSON.parse(await page.evaluate<string>(fetching(`${api}/me`))),
    { code: 'TOKEN_MISSING' },
    'and without them it is nobody',
  )
})

promise(
  'another origin reads nothing, with or without cookies, though the server answered',
  async (t, { page, context, api, evil, exchanges }) => {
    await context.addCookies([{ name: 'any', value: '1', url: api, sameSite: 'None', secure: true }])
    await page.goto(evil)
    const from = exchanges.length
    t.equal(await page.evaluate(fetching(`${api}/data`)), 'TypeError')
    t.equal(await page.evaluate(fetching(`${api}/data`, WITH)), 'TypeError')
    t.same(seen(exchanges, from), ['GET /data 200', 'GET /data 403'], 'what came with cookies reached no handler')
    t.equal(exchanges.at(-1)?.cookie, 'any=1')
    t.equal(
      await page.evaluate(fetching(`${api}/careless`, WITH)),
      '{"data":true}',
      'control: where this origin is listed it reads',
    )
    t.equal(exchanges.at(-1)?.cookie, 'any=1')
  },
)

promise('another origin cannot sign a visitor in', async (t, { page, context, api, evil, exchanges }) => {
  await page.goto(evil)
  const from = exchanges.length
  t.equal(await page.evaluate(signingIn(api)), 'TypeError')
  t.equal(await page.evaluate(signingIn(api, ', mode: "no-cors"')), 'TypeError', 'the browser hides the answer')
  t.same(seen(exchanges, from), ['OPTIONS /auth/login 403', 'POST /auth/login 403'])
  t.same(await context.cookies(), [])
})

promise('open data is read by everybody, without cookies only', async (t, { page, api, evil }) => {
  await page.goto(evil)
  t.equal(await page.evaluate(fetching(`${api}/anyone`)), '{"data":true}')
  t.equal(await page.evaluate(fetching(`${api}/anyone`, WITH)), 'TypeError')
})

promise(
  'what needs a preflight never leaves the browser for another origin',
  async (t, { page, api, spa, evil, exchanges }) => {
    await page.goto(evil)
    const from = exchanges.length
    t.equal(await page.evaluate(fetching(`${api}/data`, '{ method: "DELETE" }')), 'TypeError')
    t.equal(await page.evaluate(fetching(`${api}/data`, '{ headers: { authorization: "x" } }')), 'TypeError')
    t.same(seen(exchanges, from), ['OPTIONS /data 403', 'OPTIONS /data 403'])
    t.equal(
      await page.evaluate(fetching(`${api}/careless`, '{ method: "DELETE" }')),
      '{"data":true}',
      'control: it does where this origin is listed',
    )
    await page.goto(spa)
    t.equal(await page.evaluate(fetching(`${api}/data`, '{ method: "DELETE" }')), '{"deleted":true}')
    t.equal(
      await page.evaluate(fetching(`${api}/data`, '{ headers: { "x-unlisted": "1" } }')),
      'TypeError',
      'a header that is not listed stops at its preflight',
    )
  },
)

promise('a listed origin reads the exposed headers and no others', async (t, { page, api, spa }) => {
  await page.goto(spa)
  const names = await page.evaluate<string[]>(`fetch("${api}/data").then(({ headers }) => [...headers.keys()])`)
  t.same(names.filter((name) => name.startsWith('x-')), ['x-request-id', 'x-shown'])
})
