import fc from 'fast-check'
import { BASIC_TAGS, LINK_REL, loadClean } from '../../../lib/validation/sanitize.js'
import { browserTests, serveSite } from '../../helpers/browser.js'
import { VECTORS } from './sanitize-corpus.js'

const HOST = 'sanitized.test'

const visit = browserTests({
  hosts: [HOST],
  start: async (https) => ({
    site: await serveSite(https, {
      '/': '<!doctype html><link rel="icon" href="data:,"><title>x</title><body></body>',
    }),
  }),
})

/** Runs in the page: what a parser of a browser makes of each, also when it reads again what it wrote. */
interface Finding { readonly html: string, readonly found: string }

visit(
  'a browser runs nothing of what was cleaned, and finds no element and no attribute beyond the allow-list',
  async (t, { page, site }) => {
    const clean = loadClean()
    if (typeof clean === 'string') throw new Error(clean)
    const mixtures = fc.sample(
      fc.tuple(fc.constantFrom(...VECTORS), fc.constantFrom(...VECTORS), fc.nat(), fc.nat()).map(([a, b, x, y]) =>
        a.slice(0, x % (a.length + 1)) + b.slice(y % (b.length + 1))
      ),
      { numRuns: 2_000, seed: 7 },
    )
    const values = [...VECTORS, ...mixtures]
    await page.goto(site.at(HOST))
    await page.evaluate('globalThis.trapped = 0; globalThis.trap = () => { trapped++ }; globalThis.alert = trap')

  // The trap itself works, and so does the search for elements: the vectors as they came.
  const raw = await page.evaluate<{ trapped: number, findings: Finding[] }>(script(VECTORS, [...BASIC_TAGS]))
  t.ok(raw.trapped > 10, `${raw.trapped} of the vectors run as they came`)
  t.ok(raw.findings.length > 100)

    await page.goto(site.at(HOST))
    await page.evaluate('globalThis.trapped = 0; globalThis.trap = () => { trapped++ }; globalThis.alert = trap')
    const received = site.received.length
    for (const [mode, tags] of [['text', []], ['basic', BASIC_TAGS]] as const) {
      const cleaned = values.map((value) => clean(value, mode)).filter((value) => value !== null)
      t.ok(cleaned.length > 2_000, `${mode}: ${cleaned.length} values`)
      t.ok(cleaned.some((value) => value.includes(mode === 'text' ? 'x' : '<a href="https://')))
      const { trapped, findings } = await page.evaluate<{ trapped: number, findings: Finding[] }>(
        script(cleaned, [...tags]),
      )
      t.equal(trapped, 0, `${mode}: no script ran`)
      t.same(findings, [], `${mode}: nothing beyond the allow-list`)
    }
    t.equal(site.received.length, received, 'nothing was fetched')
  },
)

/** Plain text, because this project's types know no DOM. */
function script (values: readonly string[], tags: readonly string[]): string {
  return `(async (values, tags, rel) => {
    const findings = []
    const places = ['div', 'td', 'textarea', 'template', 'title', 'p', 'select'].map((name) => document.createElement(name))
    const look = (html, root) => {
      for (const element of (root.content ?? root).querySelectorAll('*')) {
        const name = element.namespaceURI === 'http://www.w3.org/1999/xhtml' ? element.localName : 'foreign ' + element.localName
        if (!tags.includes(name)) findings.push({ html, found: name })
        for (const { name: attribute, value } of element.attributes) {
          const fits = name === 'a' && (attribute === 'rel' ? value === rel : attribute === 'href' && ['http:', 'https:', 'mailto:'].includes(element.protocol))
          if (!fits) findings.push({ html, found: name + ' ' + attribute })
        }
        if (name === 'a' && element.hasAttribute('href') && element.rel !== rel) findings.push({ html, found: 'a without rel' })
      }
    }
    for (const place of places) document.body.append(place)
    for (const html of values) {
      for (const place of places) {
        place.innerHTML = html
        look(html, place)
        // What a page reads out and writes back is parsed once more: the way of mutation attacks.
        const again = place.innerHTML
        place.innerHTML = again
        look(html, place)
      }
      const parsed = new DOMParser().parseFromString('<body>' + html, 'text/html')
      look(html, parsed.body)
      const div = document.createElement('div')
      document.body.append(div)
      div.innerHTML = html
      for (const element of div.querySelectorAll('*')) { element.dispatchEvent(new MouseEvent('mouseover')); if (tags.includes(element.localName) && element.closest('a') === null) element.click() }
      div.remove()
    }
    await new Promise((resolve) => setTimeout(resolve, 150))
    return { trapped, findings: findings.slice(0, 200) }
  })(${JSON.stringify(values)}, ${JSON.stringify(tags)}, ${JSON.stringify(LINK_REL)})`
}
