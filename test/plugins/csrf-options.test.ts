import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'tap'
import { createServer, defineSecurity, type RouteSecurityOptions } from '../../index.js'
import { CsrfRouteOptionsSchema } from '../../lib/csrf/options.js'
import { csrf, CsrfOptionsSchema, type CsrfOptions, type CsrfRouteOptions } from '../../plugins/csrf.js'
import { answersTo, checkHarmless, checkMisspelt, checkRefusals, checkRows, type Door,
  type Row } from '../helpers/option-table.js'

const APP = 'https://app.example.com'

const ROWS: Readonly<Record<string, Row>> = {
  publicOrigin: {
    good: [APP, 'http://localhost:3000'],
    bad: [
      '',
      'app.example.com',
      `${APP}/`,
      `${APP}\r\n`,
      `${APP}:443`,
      'null',
      '*',
      'https://*.example.com',
      'a'.repeat(10_000),
    ],
  },
  trustedOrigins: {
    good: [[APP], [], ['https://*.example.com']],
    fine: ['list'],
    bad: [APP, ['*'], ['null'], [''], [`${APP}/`], [5], [null], [/example/], ['https://*.com'], [
      'https://a.*.example.com',
    ]],
  },
  isolation: { good: [false, true], fine: ['true', 'false'] },
}

const ROUTE_ROWS: Readonly<Record<string, Row>> = {
  mode: { good: ['always', 'cookie', false], fine: ['false'], bad: ['', 'Always', 'always\r\n', 'cookies'] },
  isolation: { good: [false, true], fine: ['true', 'false'] },
}

const plugin: Door = {
  name: 'plugin',
  where: 'csrf',
  thorough: true,
  build: async (options) => ready(options as CsrfOptions),
}
const umbrella: Door = { name: 'umbrella', where: 'csrf', build: async (options) => suite(options as CsrfOptions) }
const route: Door = {
  name: 'route',
  where: 'GET / security.csrf',
  build: async (options) => ready({}, { csrf: options as CsrfRouteOptions }),
}

function declare (app: FastifyInstance, security: RouteSecurityOptions): void {
  app.get('/', { security }, async () => 1)
  app.post('/', { security }, async () => 1)
}

async function ready (options: CsrfOptions, security: RouteSecurityOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(csrf, options)
  declare(app, security)
  await app.ready()
  return app
}

async function suite (options: CsrfOptions): Promise<FastifyInstance> {
  const app: FastifyInstance = await createServer(defineSecurity({ csrf: options }), { logger: false })
  declare(app, {})
  return app
}

const ask = (app: FastifyInstance): Promise<unknown> =>
  answersTo(app, [
    { method: 'POST', headers: { cookie: 'a=b', origin: APP } },
    { method: 'POST', headers: { cookie: 'a=b', origin: 'http://localhost:80', host: 'localhost' } },
    { method: 'POST', headers: { origin: 'https://evil.example' } },
    {
      headers: {
        cookie: 'a=b',
        'sec-fetch-site': 'cross-site',
        'sec-fetch-mode': 'no-cors',
        'sec-fetch-dest': 'image',
      },
    },
  ])

test('every option of the csrf plugin and of its routes has a row here', async (t) => {
  checkRows(t, CsrfOptionsSchema, ROWS)
  checkRows(t, CsrfRouteOptionsSchema, ROUTE_ROWS)
})

test('a route that is neither a mode nor options is refused by name', async (t) => {
  for (const value of [5, 'x', true, null, '', 'Cookie']) {
    await t.rejects(async () => route.build(value), {
      code: 'BULWARK_CONFIG',
      problems: [{ path: /^GET \/ security\.csrf/, fix: /'cookie', 'always' or false/ }],
    }, String(value))
  }
})

for (const [door, rows] of [[plugin, ROWS], [umbrella, ROWS], [route, ROUTE_ROWS]] as const) {
  test(`${door.name}: wrong types and values are refused by name`, async (t) => checkRefusals(t, door, rows))
  test(`${door.name}: a misspelt option is refused with the right name`, async (t) => checkMisspelt(t, door, rows))
  test(`${door.name}: undefined is absent, and options are left as they were`, async (t) =>
    checkHarmless(t, door, rows, ask))
}
