// Choosing another password on the example's page: by a link from an e-mail, and signed in.
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { letters, PASSWORD, tokenOf } from '../example-server/helpers.js'
import { browserTests, complaints } from '../helpers/browser.js'
import { HOST, startExample } from './example.js'

const OTHER = 'Another-horse-7'
const EMAIL = 'ada@example.com'

const promise = browserTests({
  hosts: [HOST],
  start: async (https) => {
    const { origin, exchanges, directory } = await startExample(https, (own) => ({ MAIL_DIRECTORY: join(own, 'mail') }))
    return { origin, exchanges, mail: join(directory, 'mail') }
  },
})

async function fill (page: Page, form: string, fields: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, value] of Object.entries(fields)) await page.locator(`${form} [name=${name}]`).fill(value)
  await page.locator(`${form} button`).click()
}

const says = (page: Page, text: string): Promise<void> => page.locator('#status', { hasText: text }).waitFor()

promise(
  'a forgotten password is replaced by the link of a letter, and the link leaves the address bar',
  async (t, { page, origin, exchanges, mail }) => {
    await page.goto(origin)
    const found = complaints(page)
    await fill(page, '#sign-up', { fullName: 'Ada Lovelace', email: EMAIL, password: PASSWORD })
    await page.locator('#member').waitFor()
    await page.locator('#sign-out button').click()
    await page.locator('#visitor').waitFor()
    await page.locator('summary').click()
    await fill(page, '#forgot', { email: EMAIL })
    await says(page, 'a link is on its way')
    const [letter] = await letters(mail, 1)
    const token = letter === undefined ? 'none' : tokenOf(letter)
    await page.goto('about:blank')
    await page.goto(`${origin}/#reset=${token}`)
    await page.locator('#recovery').waitFor()
    t.equal(page.url(), `${origin}/`)
    await fill(page, '#reset', { password: OTHER })
    await says(page, 'Your password has changed. Sign in with it.')
    await fill(page, '#sign-in', { email: EMAIL, password: OTHER })
    await page.locator('#member').waitFor()

  await fill(page, '#change', { current: OTHER, password: PASSWORD })
  await says(page, 'All other sessions have ended.')
  t.equal(await page.locator('#sessions li').count(), 1)
  t.notOk(exchanges.some(({ path }) => path.includes(token)), 'the token stood in no request line')
  t.same(found.filter((text) => !text.includes('401 (Unauthorized)')), [])
})
