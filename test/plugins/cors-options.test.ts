import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'tap'
import { createServer, defineSecurity, type RouteSecurityOptions } from '../../index.js'
import { cors, CorsOptionsSchema, type CorsOptions } from '../../plugins/cors.js'
import { answersTo, checkHarmless, checkMisspelt, checkRefusals, checkRows, type Door,
  type Row } from '../helpers/option-table.js'

const APP = 'https://app.example.com'

const names = (...good: [string[], ...string[][]]): Row => ({
  good,
  fine: ['list'],
  bad: [[''], ['a b'], ['a\r\nb: c'], ['a:b'], ['é'], [5], [null], 'X-A'],
})

/** The old names are refused with the new ones, which is tested apart. */
const OLD_NAMES = ['origins']

const ROWS: Readonly<Record<string, Row>> = {
  origin: {
    good: [[APP], [], [APP, 'https://*.example.com'], APP, '*', false, (origin: string) => origin === APP],
    fine: ['list', 'false'],
    bad: [
      '',
      `${APP},${APP}`,
      /^https:\/\/app\.example\.com$/,
      ['https://*.com'],
      'https://*.*.example.com',
      ['*'],
      ['null'],
      [''],
      [`${APP}/`],
      [`${APP}\r\n`],
      [`${APP}:443`],
      [`${APP}.`, 5],
      [/example/],
      [/^https:\/\/.*$/],
      [`https://${'a'.repeat(10_000)}`, null],
      () => {
        throw new Error('x')
      },
      async () => true,
    ],
  },
  methods: {
    good: [['GET'], [], ['DELETE', 'M-SEARCH']],
    fine: ['list'],
    bad: [[''], ['get'], ['*'], ['GET,POST'], [5], 'GET'],
  },
  credentials: { good: [true, false], fine: ['true', 'false'] },
  allowedHeaders: names(['X-A'], []),
  exposedHeaders: names(['X-A', 'ETag'], []),
  maxAge: { good: [60, 0, 86_400], fine: ['number'], bad: [-1, 86_401, 1.5, Infinity, '60'] },
  privateNetwork: { good: [true, false], fine: ['true', 'false'] },
}

const withOrigins = (options: unknown): CorsOptions => options as CorsOptions

const DOORS: readonly Door[] = [
  {
    name: 'plugin',
    where: 'cors',
    thorough: true,
    build: async (options) => ready(async (app) => app.register(cors, withOrigins(options))),
  },
  {
    name: 'route',
    where: 'GET / security.cors',
    build: async (options) => ready(async (app) => app.register(cors), { cors: withOrigins(options) }),
  },
  { name: 'umbrella', where: 'cors', build: async (options) => umbrella(options) },
]

async function ready (
  load: (app: FastifyInstance) => PromiseLike<unknown>,
  security: RouteSecurityOptions = {},
): Promise<FastifyInstance> {
  const app = Fastify()
  await load(app)
  app.get('/', { security }, async () => 1)
  await app.ready()
  return app
}

async function umbrella (options: unknown): Promise<FastifyInstance> {
  const app: FastifyInstance = await createServer(defineSecurity({ cors: withOrigins(options) }), { logger: false })
  app.get('/', async () => 1)
  return app
}

const ask = (app: FastifyInstance): Promise<unknown> =>
  answersTo(app, [
    { headers: { origin: APP } },
    {
      method: 'OPTIONS',
      headers: { origin: APP, 'access-control-request-method': 'GET', 'access-control-request-headers': 'x-a' },
    },
    {
      method: 'OPTIONS',
      headers: {
        origin: APP,
        'access-control-request-method': 'GET',
        'access-control-request-private-network': 'true',
      },
    },
  ])

test('every option of the cors plugin has a row here', async (t) => {
  checkRows(t, CorsOptionsSchema, ROWS)
})

for (const door of DOORS) {
  test(`${door.name}: wrong types and values are refused by name`, async (t) => checkRefusals(t, door, ROWS))
  test(`${door.name}: a misspelt option is refused with the right name`, async (t) =>
    checkMisspelt(t, door, ROWS, OLD_NAMES))
  test(`${door.name}: undefined is absent, and options are left as they were`, async (t) =>
    checkHarmless(t, door, ROWS, ask))
}
