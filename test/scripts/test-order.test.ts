import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'tap'
import { ROOT } from '../helpers/root.js'

interface Phases { readonly together: readonly string[], readonly alone: readonly string[] }

const { ALONE, LONG, phasesOf } = await import(pathToFileURL(join(ROOT, 'scripts', 'test-order.mjs')).href) as {
  ALONE: Readonly<Record<string, string>>
  LONG: readonly string[]
  phasesOf: (files: readonly string[]) => Phases
}

test('long test files begin first, and what depends on the clocks of other processes runs alone, last', async (t) => {
  const fileOf = (name: string): string => `dist/test/${name}.test.js`
  const [long = ''] = LONG
  const [alone = ''] = Object.keys(ALONE)
  t.same(phasesOf(['b', alone, long, 'a'].map(fileOf)), {
    together: [long, 'a', 'b'].map(fileOf),
    alone: [fileOf(alone)],
  })
})

test('each file of the lists is there, and each that runs alone says why', async (t) => {
  for (const name of [...LONG, ...Object.keys(ALONE)]) {
    t.ok(existsSync(join(ROOT, 'test', `${name}.test.ts`)), name)
  }
  for (const [name, reason] of Object.entries(ALONE)) t.match(reason, /\w+ \w+/, name)
})
