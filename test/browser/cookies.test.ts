import { createServer, defineSecurity, publicRoute } from '../../index.js'
import { browserTests, echo, echoing, listen, serveSite } from '../helpers/browser.js'
import { ACCOUNTS, asking, html, signingIn } from './fixture.js'

const [HOST, SIBLING, EVIL] = ['app.bulwark.test', 'other.bulwark.test', 'evil.example']

const promise = browserTests({
  hosts: [HOST, SIBLING, EVIL],
  start: async (https) => {
    const sites = await serveSite(https, { '/': echo })
    const app = await createServer(defineSecurity({
      profile: 'document',
      ...ACCOUNTS,
    }), { logger: false, https: { key: https.key, cert: https.cert } })
    const open = { security: { auth: publicRoute('a page of the test') } }
    app.get('/', open, async (_request, reply) => reply.type('text/html').send(html('page')))
    app.get(
      '/plain-cookie',
      open,
      async (_request, reply) => reply.header('set-cookie', 'plain=1; Path=/; Secure').send('set'),
    )
    app.get('/me', async (request) => request.user)
    const { at, exchanges } = await listen(app)
    return { origin: at(HOST), sibling: sites.at(SIBLING), evil: sites.at(EVIL), exchanges }
  },
})

promise(
  "a session's cookies are kept for this host alone, and no script sees them",
  async (t, { page, context, origin }) => {
    await page.goto(origin)
    t.equal(await page.evaluate(signingIn()), 200)
    const cookies = (await context.cookies()).sort((a, b) => a.name < b.name ? -1 : 1)
    t.match(cookies, [
      { name: '__Host-access', domain: HOST, path: '/', httpOnly: true, secure: true, sameSite: 'Strict' },
      { name: '__Secure-refresh', domain: HOST, path: '/auth', httpOnly: true, secure: true, sameSite: 'Strict' },
    ])
    t.equal(cookies.length, 2)
    t.equal(await page.evaluate('document.cookie'), '')
    t.equal(await page.evaluate(asking('/me')), 200)
    await page.goto(`${origin}/plain-cookie`)
    t.equal(await page.evaluate('document.cookie'), 'plain=1', 'control: a cookie without HttpOnly is seen')
  },
)

promise('the refresh cookie goes to its routes only', async (t, { page, origin, exchanges }) => {
  await page.goto(origin)
  await page.evaluate(signingIn())
  await page.evaluate(asking('/me'))
  t.match(exchanges.at(-1)?.cookie, /^__Host-access=[^;]+$/)
  t.equal(await page.evaluate(asking('/auth/refresh', 'POST')), 200)
  t.match(exchanges.at(-1)?.cookie, /__Secure-refresh=/)
})

promise(
  'nothing that another site starts carries the session',
  async (t, { page, context, origin, evil, exchanges }) => {
    await page.goto(origin)
    await page.evaluate(signingIn())
    await page.goto(`${origin}/plain-cookie`)
    await context.addCookies([{ name: 'loose', value: '1', url: origin, sameSite: 'None', secure: true }])
    await page.goto(echoing(evil, `<a href="${origin}/me">visit</a>`))
    await Promise.all([page.waitForURL(`${origin}/me`), page.click('a')])
    const visit = exchanges.findLast(({ path }) => path === '/me')
    t.match(visit, { site: 'cross-site', status: 401 })
    t.notMatch(visit?.cookie, /access|refresh/)
    t.match(visit?.cookie, /loose=1/, 'control: a cookie without SameSite=Strict goes along')
    await page.goto(origin)
    t.equal(await page.evaluate(asking('/me')), 200, 'the session is still there')
  },
)

promise(
  'a sibling host can plant cookies, but not one with the __Host- prefix',
  async (t, { page, context, origin, sibling, exchanges }) => {
    await page.goto(origin)
    await page.evaluate(signingIn())
    const before = await context.cookies(origin)
    await page.goto(sibling)
    for (const name of ['__Host-access', 'plain']) {await page.evaluate(
        `document.cookie = '${name}=evil; Domain=bulwark.test; Path=/; Secure'`,
      )}
    await page.goto(origin)
    t.same(
      (await context.cookies(origin)).filter(({ name }) => name.startsWith('__')).map((
        { name, value },
      ) => [name, value]),
      before.map(({ name, value }) => [name, value]),
    )
    t.equal(await page.evaluate(asking('/me')), 200)
    t.match(exchanges.at(-1)?.cookie, /plain=evil/, 'control: another name is planted')
  },
)

promise(
  'a refresh cookie that a sibling plants signs nobody in as somebody else',
  async (t, { page, origin, sibling, exchanges }) => {
    await page.goto(origin)
    await page.evaluate(signingIn())
    await page.goto(sibling)
    await page.evaluate('document.cookie = "__Secure-refresh=evil; Domain=bulwark.test; Path=/auth/refresh; Secure"')
    await page.goto(origin)
    t.equal(await page.evaluate(asking('/auth/refresh', 'POST')), 401)
    t.match(exchanges.at(-1)?.cookie, /__Secure-refresh=evil.*__Secure-refresh=/, 'both came along')
  },
)

promise('signing out removes the cookies, and what the page stored', async (t, { page, context, origin }) => {
  await page.goto(origin)
  await page.evaluate(signingIn())
  await page.evaluate('localStorage.setItem("draft", "secret")')
  t.equal(await page.evaluate(asking('/me')), 200)
  await page.reload()
  t.equal(await page.evaluate('localStorage.getItem("draft")'), 'secret', 'control: it outlives a visit')
  t.equal(await page.evaluate(asking('/auth/logout', 'POST')), 204)
  await page.goto(origin)
  t.equal(await page.evaluate('localStorage.getItem("draft")'), null)
  t.same(await context.cookies(), [])
  t.equal(await page.evaluate(asking('/me')), 401)
})
