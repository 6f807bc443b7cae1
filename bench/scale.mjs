// `npm run bench -- --scale`: what grows, and what does not, with the number of routes, origins, policies, callers,
// sessions and instances. docs/scaling.md explains the figures.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { median, quantile } from './harness/stats.mjs'
import { compare, measure } from './in-process.mjs'
import { ORIGIN, PUBLIC, PUBLIC_SCHEMA, userId } from './stacks/service.mjs'

const WIDE = { limit: 1_000_000_000, window: '15m' }
const base = { host: 'api.example.com', origin: ORIGIN }
const answers = (text) => text === '{"ok":true,"service":"bench"}'

/** A header's text as Node's parser makes it: new, and of one piece. */
const fresh = (text) => Buffer.from(text, 'latin1').latin1Slice()

async function suite (options) {
  const { build } = await import('./stacks/bulwark.mjs')
  const { publicRoute } = await import('../dist/bundle/index.js')
  const anybody = { auth: publicRoute('bench') }
  const made = await build({ log: false, ...options, routes: (app) => options.routes?.(app, anybody) })
  await made.app.ready()
  return made
}

const open = (extra) => async (app, anybody) => {
  app.get('/tenant', {
    security: { ...anybody, rateLimit: { only: ['tenant'] } },
    schema: { response: { 200: PUBLIC_SCHEMA } },
  }, async () => PUBLIC)
  extra?.(app, anybody)
}

async function withRoutes (count) {
  const made = await suite({
    routes: (app, anybody) => {
      for (let index = 0; index < count; index++)
        app.get(
          `/things/${index}/:id`,
          { security: anybody, schema: { response: { 200: PUBLIC_SCHEMA } } },
          async () => PUBLIC,
        )
    },
  })
  return { ...made, url: `/things/${count >> 1}/7`, headers: () => base, body: answers }
}

async function withOrigins (count) {
  const origins = Array.from({ length: count }, (_unused, index) => `https://tenant-${index}.example.com`)
  const made = await suite({
    define: (definition) => ({ ...definition, cors: { origin: origins, credentials: true } }),
  })
  return {
    ...made,
    url: '/public',
    headers: (step) => ({ ...base, origin: fresh(origins[step % count]) }),
    body: answers,
  }
}

async function withPolicies (count) {
  const more = Object.fromEntries(
    Array.from({ length: count }, (_unused, index) => [`policy-${index}`, { ...WIDE, by: 'ip' }]),
  )
  const made = await suite({
    define: (definition) => ({
      ...definition,
      rateLimit: { ...definition.rateLimit, policies: { ...definition.rateLimit.policies, ...more } },
    }),
    routes: (app, anybody) => {
      for (let index = 0; index < count; index++)
        app.get(`/policy/${index}`, {
          security: { ...anybody, rateLimit: { only: [`policy-${index}`] } },
          schema: { response: { 200: PUBLIC_SCHEMA } },
        }, async () => PUBLIC)
    },
  })
  return { ...made, url: `/policy/${count >> 1}`, headers: () => base, body: answers }
}

const byTenant = (definition) => ({
  ...definition,
  rateLimit: {
    ...definition.rateLimit,
    policies: { ...definition.rateLimit.policies, tenant: { ...WIDE, by: { header: 'x-tenant' } } },
  },
})

/** Every caller came once before the measurement, so that the store is as full as it gets. */
async function withCallers (count) {
  const made = await suite({ define: byTenant, routes: open() })
  const variant = {
    ...made,
    url: '/tenant',
    headers: (step) => ({ ...base, 'x-tenant': fresh(`tenant-${step % count}`) }),
    body: answers,
  }
  await measure(variant, count, 0)
  return variant
}

/** As many sessions are alive; the tokens of `active` of them take turns. */
async function withSessions (count, active) {
  const made = await suite({
    routes: (app, anybody) => {
      app.get('/mint', { security: anybody }, async (request, reply) =>
        await reply.issueTokens({ id: request.query.user, roles: ['user'] }))
    },
  })
  const tokens = []
  const mint = async (index) => (await made.app.inject(`/mint?user=${userId(index)}`)).json().access_token
  while (tokens.length < count) {
    const { length } = tokens
    const batch = Array.from({ length: Math.min(100, count - length) }, (_unused, step) => mint(length + step))
    tokens.push(...await Promise.all(batch))
  }
  return {
    ...made,
    url: '/me',
    headers: (step) => ({ ...base, authorization: fresh(`Bearer ${tokens[step % active]}`) }),
    body: (text) => text.startsWith('{"id":"user-'),
  }
}

const VARIANTS = {
  '1 route': () => withRoutes(1),
  '1 route, again (noise)': () => withRoutes(1),
  '100 routes': () => withRoutes(100),
  '2,000 routes': () => withRoutes(2000),
  '1 origin': () => withOrigins(1),
  '100 origins': () => withOrigins(100),
  '1,000 origins': () => withOrigins(1000),
  '1 policy': () => withPolicies(1),
  '50 policies': () => withPolicies(50),
  '1 caller': () => withCallers(1),
  '10,000 callers': () => withCallers(10_000),
  '100,000 callers': () => withCallers(100_000),
  '1,000,000 callers': () => withCallers(1_000_000),
  '500 sessions': () => withSessions(500, 500),
  '100,000 sessions, 500 active': () => withSessions(100_000, 500),
  '100,000 sessions, all active': () => withSessions(100_000, 100_000),
}
const GROUPS = [
  ['1 route', ['1 route, again (noise)', '100 routes', '2,000 routes']],
  ['1 origin', ['100 origins', '1,000 origins']],
  ['1 policy', ['50 policies']],
  ['1 caller', ['10,000 callers', '100,000 callers', '1,000,000 callers']],
  ['500 sessions', ['100,000 sessions, 500 active', '100,000 sessions, all active']],
]

const flatness = (rounds) => compare({
  file: import.meta.filename,
  variants: VARIANTS,
  rounds,
  requests: 400,
  warmUp: 12_000,
  report ({ ratio }) {
    console.log('against the smallest of its kind')
    for (const [smallest, others] of GROUPS) for (const name of others) ratio(name, smallest)
  },
})

const HOSTILE = 1_000_000
const STEP = 100_000

/** Every request brings keys that were never seen: callers, tokens, origins, paths, request ids. */
export async function hostileMemory () {
  const made = await suite({ define: byTenant, routes: open() })
  const random = () => randomBytes(12).toString('base64url')
  const [token] = await made.mint(1)
  const forged = () => `${token.slice(0, -16)}${random()}`
  const KINDS = [
    () => ({ url: '/tenant', status: 200, headers: () => ({ ...base, 'x-tenant': random() }) }),
    () => ({ url: '/me', status: 401, headers: () => ({ ...base, authorization: `Bearer ${forged()}` }) }),
    () => ({
      url: '/public',
      status: 200,
      headers: () => ({
        ...base,
        origin: `https://${random().replaceAll(/[_-]/g, 'x')}.example`,
        'x-request-id': random(),
      }),
    }),
    () => ({ url: `/${random()}?${random()}`, status: 404, headers: () => base }),
  ]
  const series = []
  for (let done = 0; done <= HOSTILE; done += STEP) {
    globalThis.gc()
    const { heapUsed, rss } = process.memoryUsage()
    series.push({ requests: done, heapMB: heapUsed / 2 ** 20, rssMB: rss / 2 ** 20 })
    for (let step = 0; done < HOSTILE && step < STEP; step++) {
      await measure({ ...made, ...KINDS[step % KINDS.length]() }, 1, step)
      // Without it the streams of answered requests would wait for their next tick, and stay in memory.
      if (step % KINDS.length === 0) await turn()
    }
  }
  return series
}

const round = (_key, value) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value

const PARTS = {
  async manyRoutes ({ quick }) {
    console.log('## Start-up with 500 routes\n')
    return await (await import('./harness/scale-phases.mjs')).manyRoutes(quick ? 3 : 9)
  },
  async instances ({ quick }) {
    console.log('## Instances on one Redis\n')
    return await (await import('./harness/scale-phases.mjs')).instances(quick ? 3 : 6)
  },
  async hostile () {
    console.log('## A million requests with keys that were never seen\n')
    return await hostileInChild()
  },
  async flatness ({ quick }) {
    console.log('\n## Cost of a request, by number of things (in process, no socket)\n')
    const samples = await flatness(quick ? 20 : 80)
    return Object.fromEntries(
      Object.entries(samples).map((
        [name, values],
      ) => [name, { quickestQuarterUs: quantile(values, 0.25), medianUs: median(values) }]),
    )
  },
}

/** Writes each part when it is there: the whole takes a while. */
export async function runScale (options, machine) {
  const file = new URL('scale.json', import.meta.url)
  for (const part of options.scaleParts) {
    const outcome = await PARTS[part](options)
    const before = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
    writeFileSync(file, `${JSON.stringify({ ...before, machine, [part]: outcome ?? undefined }, round, 1)}\n`)
  }
  ;(await import('./harness/docs.mjs')).updatePages()
}

async function hostileInChild () {
  const { startProcess } = await import('./harness/servers.mjs')
  const series = await startProcess(import.meta.filename, ['--hostile'])
  for (const { requests, heapMB, rssMB } of series)
    console.log(
      `${requests.toLocaleString('en').padStart(10)} requests  heap ${heapMB.toFixed(1).padStart(6)} MB  RSS ${
        rssMB.toFixed(0).padStart(4)
      } MB`,
    )
  return series
}

if (process.argv[2] === '--variant') await flatness(0)
if (process.argv[2] === '--hostile') {
  process.send({ value: await hostileMemory() })
  process.exit()
}
