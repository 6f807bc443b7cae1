import { SCENARIOS, STACKS } from '../scenarios.mjs'

const number = (value, digits = 2) => value.toFixed(digits)

export function printTable (head, rows) {
  const widths = head.map((_cell, column) => Math.max(...[head, ...rows].map((row) => String(row[column]).length)))
  const line = (row) =>
    row.map((cell, column) =>
      column === 0 ? String(cell).padEnd(widths[column]) : String(cell).padStart(widths[column])
    ).join('  ')
  console.log(line(head))
  console.log(widths.map((width) => '-'.repeat(width)).join('  '))
  for (const row of rows) console.log(line(row))
  console.log()
}

/** µs and requests a second of each server. */
export function printServers (results, title = (key) => STACKS[key].title) {
  const keys = Object.keys(Object.values(results)[0].servers)
  printTable(
    ['CPU µs a request: median (quartiles)', ...keys.map(title)],
    Object.entries(results).map(([name, { servers }]) => [
      SCENARIOS[name].title,
      ...keys.map((key) =>
        `${number(servers[key].cpuUs.median, 1)} (${number(servers[key].cpuUs.q1, 1)}-${
          number(servers[key].cpuUs.q3, 1)
        })`
      ),
    ]),
  )
  printTable(
    ['requests a second: median', ...keys.map(title)],
    Object.entries(results).map(([name, { servers }]) => [
      SCENARIOS[name].title,
      ...keys.map((key) => Math.round(servers[key].requestsPerSecond.median).toLocaleString('en')),
    ]),
  )
}

/** Each cell: median (quartiles) and, after the bar, the least disturbed rounds. */
export function printRatios (results, pairs, kind, title) {
  const names = Object.keys(results)
  const rows = pairs.filter((pair) => results[names[0]].ratios[pair]).map((pair) => [
    pair,
    ...names.map((name) => {
      const { median, q1, q3, calm } = results[name].ratios[pair][kind]
      return `${number(median)} (${number(q1)}-${number(q3)}) | ${number(calm)}`
    }),
  ])
  printTable([title, ...names], rows)
}

export function printLeastShare (results) {
  const shares = Object.values(results).flatMap(({ servers }) =>
    Object.values(servers).map(({ shareOfCore }) => shareOfCore.median)
  )
  console.log(
    `The servers had ${
      number(Math.min(...shares) * 100, 0)
    } % of their core or more (median of each); below about 90 % the throughput is not theirs.\n`,
  )
}
