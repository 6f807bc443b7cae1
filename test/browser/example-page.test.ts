import { PASSWORD } from '../example-server/helpers.js'
import { browserTests, complaints } from '../helpers/browser.js'
import { HOST, startExample } from './example.js'

const promise = browserTests({
  hosts: [HOST],
  start: async (https) => {
    const { app, origin, exchanges } = await startExample(https)
    const violations: unknown[] = []
    app.security.events.on('csp_violation', (event) => { violations.push(event) })
    return { origin, exchanges, violations }
  },
})

/**
 * The page asks first whether somebody is signed in, as cookies are out of its reach; Chromium has a line for each
 * refusal.
 */
const QUESTIONS = ['/me']

promise(
  "the example's page works under its own policy, from signing up to signing out",
  async (t, { page, context, origin, exchanges, violations }) => {
    const found = complaints(page)
    await page.goto(origin)
    const signUp = page.locator('#sign-up')
    await signUp.locator('[name=fullName]').fill('Ada Lovelace')
    await signUp.locator('[name=email]').fill('ada@example.com')
    await signUp.locator('[name=password]').fill(PASSWORD)
    await signUp.locator('button').click()
    await page.locator('#member').waitFor()
    t.equal(await page.locator('#who').textContent(), 'Ada Lovelace')
    t.same((await context.cookies()).map(({ name, httpOnly, secure }) => [name, httpOnly, secure]).sort(), [[
      '__Host-access',
      true,
      true,
    ], ['__Secure-refresh', true, true]])

    await page.locator('#add [name=name]').fill('<img src=x onerror=alert(1)>')
    await page.locator('#add button').click()
    await page.locator('#projects li').waitFor()
    t.equal(
      await page.locator('#projects h3').textContent(),
      '<img src=x onerror=alert(1)>',
      'what a project is called stays text',
    )

    await page.locator('#sign-out button').click()
    await page.locator('#visitor').waitFor()
    t.same(await context.cookies(), [])

    await page.locator('#sign-in [name=email]').fill('ada@example.com')
    await page.locator('#sign-in [name=password]').fill(PASSWORD)
    await page.locator('#sign-in button').click()
    await page.locator('#projects li').waitFor()
    t.equal(await page.locator('#projects li').count(), 1)
    await page.locator('#sign-out button').click()
    await page.locator('#visitor').waitFor()

    t.same(
      found,
      QUESTIONS.map((path) =>
        `Failed to load resource: the server responded with a status of 401 (Unauthorized) (${path})`
      ),
    )
    t.same(violations, [])
    t.same(
      exchanges.filter(({ status }) => status >= 400).map(({ path, status }) => [path, status]),
      QUESTIONS.map((path) => [path, 401]),
    )
  },
)

promise('a password that the example refuses is explained on the page', async (t, { page, origin }) => {
  await page.goto(origin)
  const signIn = page.locator('#sign-in')
  await signIn.locator('[name=email]').fill('ada@example.com')
  await signIn.locator('[name=password]').fill('wrong')
  await signIn.locator('button').click()
  await page.locator('#error').waitFor()
  t.not(await page.locator('#error p').textContent(), '')
  t.equal(await page.locator('#member').isVisible(), false)
})
