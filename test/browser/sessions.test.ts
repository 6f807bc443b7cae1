// The example's page in real tabs. Its server lives on a clock of its own, so that a token runs out whenever a test
// wants it.
import type { BrowserContext, Page } from 'playwright-core'
import { t as root, type Test } from 'tap'
import { PASSWORD } from '../example-server/helpers.js'
import { browserTests, complaints } from '../helpers/browser.js'
import { HOST, startExample } from './example.js'

const TABS = 5
const EXPIRIES = 50

/** Longer than an access token holds (15 min), than the grace (10 s) and than the windows of the limits. */
const STEP_MS = 16 * 60_000

/** Moves what this process takes for the time, its timers excepted. The browser's stays. */
function movableClock (): { readonly advance: (ms: number) => void } {
  let ahead = 0
  const [date, monotonic, { hrtime }] = [Date.now.bind(Date), performance.now.bind(performance), process]
  Date.now = () => date() + ahead
  performance.now = () => monotonic() + ahead
  // In whole seconds ahead, as all steps are.
  const moved = (): [number, number] => {
    const [seconds, nanos] = hrtime()
    return [seconds + ahead / 1000, nanos]
  }
  process.hrtime = Object.assign(moved, { bigint: () => hrtime.bigint() })
  root.teardown(() => {
    Date.now = date
    performance.now = monotonic
    process.hrtime = hrtime
  })
  return { advance: (ms) => { ahead += ms } }
}

const promise = browserTests({
  hosts: [HOST],
  start: async (https) => {
    const clock = movableClock()
    const { app, origin, exchanges } = await startExample(https)
    const events: string[] = []
    for (const name of ['csp_violation', 'authn_token_reuse', 'authn_token_invalid'] as const) {
      app.security.events.on(name, () => {
        events.push(name)
      })
    }
    return { origin, exchanges, events, clock }
  },
})

async function openPage (context: BrowserContext, origin: string): Promise<Page> {
  const page = await context.newPage()
  await page.goto(origin)
  return page
}

async function signUp (page: Page, email: string): Promise<void> {
  const form = page.locator('#sign-up')
  await form.locator('[name=fullName]').fill('Ada Lovelace')
  await form.locator('[name=email]').fill(email)
  await form.locator('[name=password]').fill(PASSWORD)
  await form.locator('button').click()
  await page.locator('#sessions li').first().waitFor()
}

async function signIn (page: Page, email: string): Promise<void> {
  const form = page.locator('#sign-in')
  await form.locator('[name=email]').fill(email)
  await form.locator('[name=password]').fill(PASSWORD)
  await form.locator('button').click()
  await page.locator('#sessions li').first().waitFor()
}

/**
 * Has the page list the projects again; resolves to whether it could. One call, because five tabs make fifty of them.
 */
function listsProjects (page: Page): Promise<boolean> {
  return page.evaluate(`(async () => {
    const [filter, member, error] = ['filter', 'member', 'error'].map((id) => document.getElementById(id))
    filter.dispatchEvent(new Event('change'))
    while (filter.disabled) await new Promise((resolve) => setTimeout(resolve, 2))
    return !member.hidden && error.hidden
  })()`)
}

/** A browser profile of its own, on the machine of somebody else. */
async function otherProfile (t: Test, context: BrowserContext): Promise<BrowserContext> {
  const other = await context.browser()?.newContext()
  if (other === undefined) throw new Error('Chromium has no contexts.')
  t.teardown(() => other.close())
  return other
}

const details = (page: Page): Promise<string[]> => page.locator('#sessions .details').allInnerTexts()

promise(`${TABS} tabs of one profile stay signed in over ${EXPIRIES} expiries, and sign out everywhere at once`, async (t, { context, page, origin, exchanges, events, clock }) => {
  await page.goto(origin)
  await signUp(page, 'tabs@example.com')
  const tabs = [page, ...await Promise.all(Array.from({ length: TABS - 1 }, () => openPage(context, origin)))]
  await Promise.all(tabs.map((tab) => tab.locator('#sessions li').waitFor()))
  const found = tabs.map(complaints)
  const before = exchanges.length

  for (let expiry = 1; expiry <= EXPIRIES; expiry++) {
    clock.advance(STEP_MS)
    t.same(await Promise.all(tabs.map(listsProjects)), Array(TABS).fill(true), `expiry ${expiry}`)
  }
  const during = exchanges.slice(before)
  const refreshes = during.filter(({ path }) => path === '/auth/refresh').map(({ status }) => status)
  t.same(refreshes, Array(refreshes.length).fill(200))
  t.equal(during.filter(({ path, status }) => path === '/projects' && status === 200).length, EXPIRIES * TABS)
  t.ok(refreshes.length >= EXPIRIES && refreshes.length < EXPIRIES * 2, `${refreshes.length}: mostly one for all tabs`)
  t.ok(during.filter(({ path, status }) => path === '/projects' && status === 401).length >= EXPIRIES, 'each expiry was met, by some tabs before another had refreshed')
  t.same(await Promise.all(tabs.map((tab) => tab.locator('#member').isVisible())), Array(TABS).fill(true))
  t.equal((await context.cookies()).length, 2)

  const ended = exchanges.length
  await tabs[2]?.locator('#end-all').click()
  await Promise.all(tabs.map((tab) => tab.locator('#visitor').waitFor()))
  t.same(await Promise.all(tabs.map((tab) => tab.locator('#status').innerText())), Array(TABS).fill('You are signed out.'))
  t.same(await context.cookies(), [])
  t.same(exchanges.slice(ended).map(({ method, path, status }) => [method, path, status]), [['DELETE', '/auth/sessions', 204]], 'the other tabs ask for nothing')

  await Promise.all(tabs.map((tab) => tab.reload()))
  await Promise.all(tabs.map((tab) => tab.locator('#visitor').waitFor()))
  t.same(found.flat().filter((text) => !text.includes('401 (Unauthorized)')), [])
  t.same(events, [])
})

promise('the page lists the sessions of its user, and ending another one signs that browser out, in all its tabs', async (t, { context, page, origin, events }) => {
  await page.goto(origin)
  await signUp(page, 'sessions@example.com')
  t.equal(await page.locator('#end-others').isVisible(), false, 'there are no others')
  const other = await otherProfile(t, context)
  const tabs = [await openPage(other, origin), await openPage(other, origin)] as const
  await signIn(tabs[0], 'sessions@example.com')
  await tabs[1].reload()
  await tabs[1].locator('#sessions li').first().waitFor()

  await page.reload()
  await page.locator('#sessions li').first().waitFor()
  const listed = await details(page)
  t.equal(listed.length, 2)
  t.equal(listed.filter((text) => text.startsWith('This device.')).length, 1)
  for (const text of listed) t.match(text, /Signed in \d.*, last used \d.*\.$/)
  t.match(await page.locator('#sessions h3').allInnerTexts(), [/^Chrome on \w+$/, /^Chrome on \w+$/])
  t.equal(await page.locator('#sessions button:visible').count(), 1, 'this device is signed out by its own button')

  await page.locator('#sessions button:visible').click()
  await page.locator('#status').getByText('is signed out.').waitFor()
  t.equal((await details(page)).length, 1)
  await tabs[0].locator('#filter').selectOption('active')
  await Promise.all(tabs.map((tab) => tab.locator('#visitor').waitFor()))
  t.equal(await page.locator('#member').isVisible(), true)
  t.equal(await listsProjects(page), true, 'and nobody else')

  await signIn(tabs[1], 'sessions@example.com')
  await page.reload()
  await page.locator('#end-others').click()
  await page.locator('#status').getByText('All the others are signed out.').waitFor()
  await tabs[1].reload()
  await tabs[1].locator('#visitor').waitFor()
  t.equal(await listsProjects(page), true)
  t.same(events.filter((name) => name !== 'authn_token_invalid'), [], 'nothing but the tabs that were left open')
})

promise(
  'signing out in one tab signs out the others, and whoever signs in again is told of the next end',
  async (t, { context, page, origin }) => {
    await page.goto(origin)
    await signUp(page, 'again@example.com')
    const other = await openPage(context, origin)
    for (const round of [1, 2]) {
      await other.locator('#sessions li').first().waitFor()
      await page.locator('#sign-out button').click()
      await other.locator('#visitor').waitFor()
      t.equal(await other.locator('#who').innerText(), '', `round ${round}: nothing of the person stays`)
      await signIn(page, 'again@example.com')
      await other.reload()
    }
  },
)
