// Draws the chart of the README from the results: CPU time a request as a share of what bare Fastify leaves, no
// dependency.
import { mkdirSync, writeFileSync } from 'node:fs'

const FILE = new URL('../../docs/images/bench.svg', import.meta.url)
const SERIES = [
  { key: 'bulwark', title: 'fastify-bulwark', light: '#0b6e4f', dark: '#3fbf8f' },
  { key: 'wired', title: 'official plugins, by hand', light: '#8a6d1c', dark: '#d9b64a' },
  { key: 'hono', title: 'Hono', light: '#9c4a1a', dark: '#e58e5a' },
  { key: 'express', title: 'Express', light: '#7a4b8c', dark: '#c08fd4' },
]
const ROUTES = ['public', 'auth', 'tokens', 'post', 'preflight', 'refused', 'limited', 'missing', 'page']
const LABELS = {
  public: 'public GET',
  auth: 'authenticated GET',
  tokens: 'the same, 5,000 tokens',
  post: 'validated POST',
  preflight: 'preflight',
  refused: '401',
  limited: '429',
  missing: '404',
  page: 'page with a nonce',
}
const LIGHT = 'text{fill:#24292f}.note,.value{fill:#57606a;font-size:10px}.value{font-size:9px}.grid{stroke:#d0d7de}' +
  '.bare{stroke:#57606a;stroke-dasharray:4 3}.whisker{stroke:#24292f;stroke-opacity:.6}'
const DARK = 'text{fill:#e6edf3}.note,.value{fill:#9198a1}.grid{stroke:#3d444d}.bare{stroke:#9198a1}' +
  '.whisker{stroke:#e6edf3}'
/** About the width of a letter of the legend. */
const LETTER = 6.6
const [LEFT, TOP, WIDTH, BAR, GAP] = [168, 74, 500, 9, 14]

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** How much of bare Fastify's speed each stack keeps, by CPU per request; whiskers are the quartiles. */
export function renderChart ({ machine, routes }) {
  const names = ROUTES.filter((name) => routes[name])
  const series = SERIES.filter(({ key }) => routes[names[0]].ratios[`${key}/bare`])
  const groupHeight = series.length * BAR + GAP
  const height = TOP + names.length * groupHeight + 46
  const x = (value) => LEFT + Math.min(value, 1.05) / 1.05 * WIDTH
  const parts = []
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(
      `<line class="${tick === 1 ? 'bare' : 'grid'}" x1="${x(tick).toFixed(1)}" x2="${x(tick).toFixed(1)}" y1="${
        TOP - 6
      }" y2="${height - 40}"/>`,
    )
    parts.push(
      `<text class="note" text-anchor="middle" x="${x(tick).toFixed(1)}" y="${height - 26}">${
        tick === 1 ? 'bare Fastify' : tick
      }</text>`,
    )
  }
  let at = LEFT
  for (const { title, key } of series) {
    parts.push(
      `<rect class="${key}" x="${at}" y="40" width="10" height="10"/><text x="${at + 15}" y="49">${title}</text>`,
    )
    at += 42 + title.length * LETTER
  }
  for (const [row, name] of names.entries()) {
    const top = TOP + row * groupHeight
    parts.push(
      `<text text-anchor="end" x="${LEFT - 10}" y="${top + series.length * BAR / 2 + 4}">${
        escape(LABELS[name])
      }</text>`,
    )
    for (const [index, { key, title }] of series.entries()) {
      const { median, q1, q3 } = routes[name].ratios[`${key}/bare`].cpu
      const y = top + index * BAR
      const middle = (y + (BAR - 1) / 2).toFixed(1)
      parts.push(
        `<rect class="${key}" x="${LEFT}" y="${y}" width="${(x(median) - LEFT).toFixed(1)}" height="${
          BAR - 1
        }"><title>${
          escape(`${title}, ${LABELS[name]}: ${median.toFixed(2)} (quartiles ${q1.toFixed(2)} to ${q3.toFixed(2)})`)
        }</title></rect>`,
      )
      parts.push(
        `<line class="whisker" x1="${x(q1).toFixed(1)}" x2="${x(q3).toFixed(1)}" y1="${middle}" y2="${middle}"/>`,
      )
      parts.push(
        `<text class="value" x="${(Math.max(x(median), x(q3)) + 5).toFixed(1)}" y="${y + BAR - 1.5}">${
          median.toFixed(2)
        }</text>`,
      )
    }
  }
  const said = names.map((name) =>
    `${LABELS[name]}: ${
      series.map(({ key, title }) => `${title} ${routes[name].ratios[`${key}/bare`].cpu.median.toFixed(2)}`).join(', ')
    }`
  ).join('. ')
  const colours = (shade) => series.map((entry) => `rect.${entry.key}{fill:${entry[shade]}}`).join('')
  const labelled = 'role="img" aria-labelledby="bench-title bench-description"'
  const title = 'Speed kept of bare Fastify, by CPU time per request'
  const note = 'longer is better'
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${
    LEFT + WIDTH + 60
  } ${height}" ${labelled} font-family="system-ui, sans-serif" font-size="12">
<title id="bench-title">${title}</title>
<desc id="bench-description">${escape(said)}. 1 is bare Fastify, which protects nothing; ${note}.</desc>
<style>
${LIGHT}${colours('light')}
@media (prefers-color-scheme: dark){${DARK}${colours('dark')}}
</style>
<text x="10" y="20" font-size="14" font-weight="600">${title} (${note})</text>
${parts.join('\n')}
<text class="note" x="10" y="${height - 8}">${
    escape(
      `Medians with quartiles; Node ${
        machine.node.slice(1)
      }, ${machine.cpu}, ${machine.date}. The same work and headers in all but bare Fastify.`,
    )
  }</text>
</svg>
`
}

export function drawChart (results) {
  mkdirSync(new URL('./', FILE), { recursive: true })
  writeFileSync(FILE, renderChart(results))
}
