// Writes the figures of the results into the pages that show them, between `<!-- figures: name -->` and `<!-- end of
// figures -->`, so that no page says what no run has measured.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { SCENARIOS, STACKS } from '../scenarios.mjs'

const ROOT = new URL('../../', import.meta.url)
export const PAGES = ['docs/performance.md', 'docs/scaling.md']

const two = (value) => value.toFixed(2)
const range = ({ median, q1, q3 }, digits = 2) =>
  `${median.toFixed(digits)} (${q1.toFixed(digits)}–${q3.toFixed(digits)})`
const whole = (value) => Math.round(value).toLocaleString('en')
const table = (head, rows) =>
  [head, head.map((_cell, index) => index === 0 ? '---' : '---:'), ...rows].map((row) => `| ${row.join(' | ')} |`).join(
    '\n',
  )

/** What the suite should reach: how many times as fast as the other, by CPU per request. */
export const AIMS = {
  public: { bare: 0.85, wired: 2, express: 4.5 },
  auth: { bare: 0.85, wired: 2.5, express: 5.5 },
  post: { bare: 0.9, wired: 2.2, express: 3.8 },
  preflight: { bare: 0.85, wired: 2, express: 3.5 },
  refused: { bare: 0.75, wired: 3.5, express: 5.5 },
  limited: { bare: 0.9, wired: 2.4, express: 4.5 },
}

const titleOf = (key) =>
  key.split(' ').map((part) => STACKS[part]?.title ?? part).join(', ').replace(', redis', ', Redis').replace(
    ', log',
    ', logging',
  )
const rows = (results, cells) =>
  Object.entries(results).map(([name, result]) => [SCENARIOS[name].title, ...cells(result, name)])

/** What all pairs share stands in the heading above the table. */
function headingOf (pair, pairs) {
  const [first, second] = pair.split('/')
  if (pairs.every((other) => other.endsWith(`/${second}`))) return titleOf(first)
  if (pairs.every((other) => other.startsWith(`${first}/`))) return titleOf(second)
  return `${titleOf(first)} / ${titleOf(second)}`
}

function cpuTable (results) {
  const keys = Object.keys(Object.values(results)[0].servers)
  return table(
    ['CPU µs a request', ...keys.map(titleOf)],
    rows(results, ({ servers }) => keys.map((key) => servers[key].cpuUs.median.toFixed(0))),
  )
}

function throughputTable (results) {
  const keys = Object.keys(Object.values(results)[0].servers)
  return table(
    ['requests a second', ...keys.map(titleOf)],
    rows(results, ({ servers }) => keys.map((key) => whole(servers[key].requestsPerSecond.median))),
  )
}

function ratioTable (results, pairs, kind = 'cpu') {
  const known = pairs.filter((pair) => Object.values(results)[0].ratios[pair])
  return table(
    ['', ...known.map((pair) => headingOf(pair, known))],
    rows(results, ({ ratios }) => known.map((pair) => `${range(ratios[pair][kind])}, ${two(ratios[pair][kind].calm)}`)),
  )
}

/** `5 rounds of 0.5 s for routes, 4 for redis`. */
const roundsOf = (settings) =>
  Object.entries(settings).map(([part, { rounds, seconds }], index) =>
    `${rounds}${index === 0 ? ` rounds of ${seconds} s` : ''} for ${part}`
  ).join(', ')

const BLOCKS = {
  machine: ({ machine, settings }) =>
    `Measured on ${machine.date} with Node ${machine.node} on ${machine.cores} cores of an ${machine.cpu}, ` +
    `load average before the run ${machine.loadAverageBefore}, after it ${machine.loadAverageAfter}; ` +
    `${roundsOf(settings)}. ` +
    Object.entries(machine.packages).map(([name, version]) => `${name} ${version}`).join(', ') + '.',
  control: ({ routes }) => {
    const off = Object.values(routes).map(({ ratios }) => ratios['control/bare'].cpu)
    return `In this run the control was between ${two(Math.min(...off.map(({ median }) => median)))} and ${
      two(Math.max(...off.map(({ median }) => median)))
    } (medians; quartiles from ${two(Math.min(...off.map(({ q1 }) => q1)))} to ${
      two(Math.max(...off.map(({ q3 }) => q3)))
    }).`
  },
  'to-bare': ({ routes }) =>
    ratioTable(routes, ['headers', 'bulwark', 'wired', 'hono', 'express'].map((key) => `${key}/bare`)),
  'to-peers': ({ routes }) =>
    ratioTable(routes, ['headers', 'wired', 'hono', 'express'].map((key) => `bulwark/${key}`)),
  aims: ({ routes }) =>
    table(
      ['the suite against', ...Object.keys(AIMS).map((name) => SCENARIOS[name].title)],
      ['bare', 'wired', 'express'].map((key) => [
        STACKS[key].title,
        ...Object.entries(AIMS).map(([name, aim]) => {
          const { median, calm } = routes[name].ratios[`bulwark/${key}`].cpu
          return `${two(median)}, ${two(calm)} (${aim[key]}) ${median >= aim[key] ? 'reached' : 'not reached'}`
        }),
      ]),
    ),
  cpu: ({ routes }) => cpuTable(routes),
  throughput: ({ routes }) => throughputTable(routes),
  redis: ({ redis }) =>
    `${cpuTable(redis)}\n\n${
      ratioTable(redis, [
        'bulwark redis/bulwark',
        'bulwark redis/wired redis',
        'bulwark redis/hono redis',
        'bulwark redis/express redis',
      ])
    }`,
  logging: ({ logging }) =>
    `${cpuTable(logging)}\n\n${
      ratioTable(logging, ['bulwark/bare', 'bulwark log/bare log', 'bulwark log/wired log', 'bulwark log/express log'])
    }`,
  latency: ({ latency: { perSecond, ...results } }) =>
    Object.entries(results).map(([name, byKey]) =>
      table(
        [`${SCENARIOS[name].title}, ${whole(perSecond)} a second`, 'p50 ms', 'p99 ms', 'p99 ms, best round'],
        Object.entries(byKey).map((
          [key, { p50Ms, p99Ms, bestP99Ms }],
        ) => [titleOf(key), two(p50Ms.median), range(p99Ms), two(bestP99Ms)]),
      )
    ).join('\n\n'),
  startup: ({ startup: { ratioToWired, ...results } }) =>
    `${
      table(
        ['', 'ms to the first answer', 'CPU ms'],
        Object.entries(results).map(([key, { wallMs, cpuMs }]) => [titleOf(key), range(wallMs, 0), range(cpuMs, 0)]),
      )
    }\n\nThe suite takes ${two(ratioToWired.cpu.median)} times the CPU of the official plugins by hand, and ${
      two(ratioToWired.wall.median)
    } times the time; the aim is 1.3.`,
  memory: ({ memory }) =>
    table(
      ['', 'RSS MB', 'heap MB', 'outside the heap MB'],
      Object.entries(memory).map((
        [key, { rssMB, heapUsedMB, externalMB }],
      ) => [titleOf(key), rssMB.toFixed(0), heapUsedMB.toFixed(1), externalMB.toFixed(1)]),
    ),
  'many-routes': ({ manyRoutes }) =>
    `With 500 routes, each with schemas of its own, the suite starts in ${
      two(manyRoutes.cpuRatio.median)
    } times the CPU of bare Fastify with the same routes (${whole(manyRoutes.suiteCpuMs.median)} ms against ${
      whole(manyRoutes.fastifyCpuMs.median)
    } ms); the aim is below 1.5.`,
  flatness: ({ flatness }) =>
    table(
      ['', 'CPU µs a request, quickest quarter', 'median'],
      Object.entries(flatness).map((
        [name, { quickestQuarterUs, medianUs }],
      ) => [name, quickestQuarterUs.toFixed(1), medianUs.toFixed(1)]),
    ),
  hostile: ({ hostile }) =>
    table(
      ['requests', 'heap MB', 'RSS MB'],
      hostile.map(({ requests, heapMB, rssMB }) => [whole(requests), heapMB.toFixed(1), rssMB.toFixed(0)]),
    ),
  instances: ({ instances }) =>
    table(
      ['route, instances', 'Redis CPU µs a request', 'scripts a request', 'Node CPU µs a request', 'requests a second'],
      instances.map((
        { scenario, instances: count, redisUsPerRequest, callsPerRequest, nodeUsPerRequest, requestsPerSecond },
      ) => [
        `${SCENARIOS[scenario].title}, ${count}`,
        range(redisUsPerRequest, 1),
        two(callsPerRequest.median),
        range(nodeUsPerRequest, 0),
        whole(requestsPerSecond.median),
      ]),
    ),
  arithmetic ({ instances }) {
    const cost = Math.max(...instances.map(({ redisUsPerRequest }) => redisUsPerRequest.median))
    const node = Math.max(...instances.map(({ nodeUsPerRequest }) => nodeUsPerRequest.median))
    return table(['for 100,000 requests a second', '', ''], [
      [
        'Redis, one decision a request',
        `100,000 × ${cost.toFixed(1)} µs = ${(cost / 10).toFixed(1)} cores`,
        `${Math.ceil(cost / 10 / 0.7)} masters at 70 % of a core each`,
      ],
      [
        'Node, with Redis',
        `100,000 × ${node.toFixed(0)} µs = ${(node / 10).toFixed(0)} cores`,
        `${Math.ceil(node / 10 / 0.7)} processes at 70 % of a core each`,
      ],
    ])
  },
}

/** Lines of prose have at most 120 columns, as everywhere in the pages; rows of tables stay whole. */
function wrapped (text) {
  return text.split('\n').map((line) => line.startsWith('|') ? line : wrappedLine(line)).join('\n')
}

function wrappedLine (line) {
  const lines = ['']
  for (const word of line.split(' ')) {
    const longer = `${lines.at(-1)} ${word}`.trimStart()
    if (longer.length > 120) lines.push(word)
    else lines[lines.length - 1] = longer
  }
  return lines.join('\n')
}

const MARKED = /(<!-- figures: ([\w-]+) -->\n)[^]*?(<!-- end of figures -->)/g

/** The page with the figures of the results in place; a block whose part was not measured stays as it was. */
export function withFigures (page, results) {
  return page.replaceAll(MARKED, (whole_, before, name, after) => {
    try {
      return `${before}${wrapped(BLOCKS[name](results))}\n${after}`
    } catch (error) {
      if (BLOCKS[name] !== undefined && error instanceof TypeError) return whole_
      throw error
    }
  })
}

export function readResults () {
  const read = (name) =>
    existsSync(new URL(`bench/${name}`, ROOT)) ? JSON.parse(readFileSync(new URL(`bench/${name}`, ROOT), 'utf8')) : {}
  const { machine: _same, ...scale } = read('scale.json')
  return { ...scale, ...read('results.json') }
}

export function updatePages () {
  const results = readResults()
  for (const page of PAGES) {
    const file = new URL(page, ROOT)
    writeFileSync(file, withFigures(readFileSync(file, 'utf8'), results))
  }
}
