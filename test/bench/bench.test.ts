import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'tap'
import { ROOT } from '../helpers/root.js'

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly body: string
}
interface Round {
  readonly cpu: number
  readonly share: number
}
type Differences = (
  scenario: string,
  expected: Answer,
  actual: Answer,
  options?: { headers: boolean },
) => readonly string[]
type CompareRounds = (
  a: readonly Round[],
  b: readonly Round[],
  of: (round: Round) => number,
) => { median: number, q1: number, q3: number, calm: number }
interface Pages {
  readonly PAGES: readonly string[]
  readonly readResults: () => { readonly routes?: unknown }
  readonly withFigures: (page: string, results: object) => string
}
interface Chart {
  readonly renderChart: (results: object) => string
}

const load = async (name: string): Promise<unknown> =>
  await import(pathToFileURL(join(ROOT, 'bench', 'harness', name)).href)
const read = (...path: readonly string[]): string => readFileSync(join(ROOT, ...path), 'utf8')

test('the pages and the chart show the figures of the committed results', async (t) => {
  const { PAGES, readResults, withFigures } = await load('docs.mjs') as Pages
  const results = readResults()
  for (const page of PAGES) t.equal(withFigures(read(page), results), read(page), page)
  const { renderChart } = await load('chart.mjs') as Chart
  if (results.routes !== undefined) t.equal(renderChart(results), read('docs', 'images', 'bench.svg'))
})

test('the benchmark refuses to compare stacks that answer differently', async (t) => {
  const { differences } = await load('answers.mjs') as { differences: Differences }
  const headers = { 'content-security-policy': ["default-src 'none'"], 'x-request-id': ['a'], 'date': ['today'] }
  const expected = { status: 200, headers, body: '{"ok":true}' }
  const cases: readonly [string, Partial<Answer>, string | null][] = [
    ['the same', {}, null],
    ['another id and time', { headers: { ...headers, 'x-request-id': ['b'], 'date': ['tomorrow'] } }, null],
    ['another status', { status: 201 }, 'status 201'],
    ['another body', { body: '{"ok":false}' }, 'body'],
    ['a missing header', { headers: { 'x-request-id': ['a'] } }, 'content-security-policy: missing'],
    [
      'another header value',
      { headers: { ...headers, 'content-security-policy': ["default-src 'self'"] } },
      'content-security-policy',
    ],
    ['a further header', { headers: { ...headers, 'x-powered-by': ['Express'] } }, 'x-powered-by'],
    [
      'no request id',
      { headers: { 'content-security-policy': headers['content-security-policy'] } },
      'x-request-id: missing',
    ],
  ]
  for (const [name, change, found] of cases) {
    const differing = differences('public', expected, { ...expected, ...change })
    if (found === null) t.same(differing, [], name)
    else t.match(differing, [found], name)
  }
})

test('ratios are made within each round, and the calm ones are those whose servers waited least', async (t) => {
  const { compareRounds } = await load('stats.mjs') as { compareRounds: CompareRounds }
  const rounds = (cpus: readonly number[], shares: readonly number[]): Round[] =>
    cpus.map((cpu, index) => ({ cpu, share: shares[index] ?? 0 }))
  const ours = rounds([10, 100, 10, 10], [0.9, 0.2, 0.9, 0.99])
  const theirs = rounds([20, 200, 20, 30], [0.9, 0.2, 0.9, 0.98])
  const { median, calm } = compareRounds(ours, theirs, ({ cpu }) => cpu)
  t.equal(median, 2)
  t.equal(calm, 3)
})

test('what the suite is compared with is no dependency of it, and its lockfile names no host', async (t) => {
  const dependenciesOf = (...path: readonly string[]): string[] =>
    Object.keys((JSON.parse(read(...path)) as { dependencies: object }).dependencies)
  const own = dependenciesOf('package.json')
  const peers = dependenciesOf('bench', 'package.json').filter((name) => name !== 'helmet')
  t.same(peers.filter((name) => own.includes(name)), [])
  t.notMatch(read('bench', 'package-lock.json'), /"resolved"/)
})
