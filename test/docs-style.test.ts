import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'tap'
import { ROOT } from './helpers/root.js'

const load = async (name: string): Promise<unknown> =>
  await import(pathToFileURL(join(ROOT, 'scripts', 'eslint', name)).href)
const { findHardWords } = await load('plain-english.js') as { findHardWords: (text: string) => readonly string[] }
const { PAGES_NOT_YET } = await load('not-yet.js') as { PAGES_NOT_YET: readonly string[] }

const COLUMNS = 120

const PAGES = [
  ...readdirSync(ROOT),
  ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`),
].filter((page) => page.endsWith('.md') && !PAGES_NOT_YET.includes(page))

/** Lines of prose, by number. Code is held by the linter, a row of a table cannot be broken. */
function proseOf (page: string): readonly (readonly [number, string])[] {
  let isCode = false
  const lines: (readonly [number, string])[] = []
  for (const [index, line] of readFileSync(join(ROOT, page), 'utf8').split('\n').entries()) {
    if (line.startsWith('```')) isCode = !isCode
    else if (!isCode && !line.startsWith('|')) lines.push([index + 1, line])
  }
  return lines
}

test('lines of the pages have at most 120 columns, but for tables, code and addresses', async (t) => {
  for (const page of PAGES) {
    const long = proseOf(page).filter(([, line]) => line.length > COLUMNS && !/https?:\/\/\S{40}/.test(line))
    t.same(long.map(([number]) => `${page}:${number}`), [], page)
  }
})

test('the pages use plain words', async (t) => {
  for (const page of PAGES) {
    const found = proseOf(page).flatMap(([number, line]) =>
      findHardWords(line).map((text) => `${page}:${number} ${text}`)
    )
    t.same(found, [], page)
  }
})
