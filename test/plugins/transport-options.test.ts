import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'tap'
import { createServer, defineSecurity } from '../../index.js'
import { transport, TransportOptionsSchema, TransportRouteOptionsSchema, type TransportOptions,
  type TransportRouteOptions } from '../../plugins/transport.js'
import { answersTo, checkHarmless, checkMisspelt, checkRefusals, checkRows, type Door,
  type Row } from '../helpers/option-table.js'

const APP = 'https://app.example.com'

const ROWS: Readonly<Record<string, Row>> = {
  proxies: {
    good: ['none'],
    bad: [
      '',
      'None',
      'true',
      [''],
      ['x'],
      ['10.0.0.0/33'],
      ['0.0.0.0/0'],
      ['::/0'],
      ['10.0.0.0/8/8'],
      ['10.0.0.0/-1'],
      ['10.0.0.1\r\n'],
      [5],
      [null],
      ['*'],
    ],
  },
  hosts: {
    good: [['www.example.com'], ['EXAMPLE.com', '127.0.0.1', '[::1]']],
    bad: ['www.example.com', [''], ['*'], ['*.example.com'], ['a:80'], ['https://a.example'], ['a.example/'], ['a b'], [
      'a\r\nb',
    ], [5]],
  },
  // Without a proxy that could send the header, true is refused.
  forwardedHost: { good: [false], fine: ['false'], bad: [true, 'true', 1] },
  https: { good: ['require', 'off'], bad: ['', 'Require', 'on', 'off\r\n'] },
  methods: {
    good: [['GET', 'HEAD']],
    bad: ['GET', [''], ['get'], ['TRACE'], ['TRACK'], ['CONNECT'], ['G E T'], ['GET\r\n'], [5]],
  },
  redirects: {
    good: [[APP], []],
    fine: ['list'],
    bad: [APP, [''], [`${APP}/`], ['*'], ['https://*.example.com'], [`${APP}\r\n`], ['javascript:alert(1)'], [5]],
  },
  publicOrigin: {
    good: [APP, 'http://localhost:3000'],
    bad: ['', 'app.example.com', `${APP}/`, `${APP}\r\n`, `${APP}:443`, 'null', 'ftp://a.example'],
  },
}

const ROUTE_ROWS: Readonly<Record<string, Row>> = {
  hosts: { good: ['any'], bad: ['', 'Any', ['www.example.com'], 'any\r\n'] },
  https: { good: ['off', 'require'], bad: ['', 'redirect', 'Off'] },
}

const plugin: Door = {
  name: 'plugin',
  where: 'transport',
  thorough: true,
  build: async (options) => ready(options as TransportOptions),
}
const umbrella: Door = {
  name: 'umbrella',
  where: 'transport',
  build: async (options) => suite(options as TransportOptions),
}
const route: Door = {
  name: 'route',
  where: 'GET / security.transport',
  build: async (options) => ready({ hosts: ['www.example.com'], https: 'require' }, options as TransportRouteOptions),
}

async function ready (options: TransportOptions, own?: TransportRouteOptions): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(transport, options)
  app.get('/', own === undefined ? {} : { security: { transport: own } }, async () => 1)
  app.get('/leave', async (_request, reply) => reply.safeRedirect(`${APP}/x`))
  await app.ready()
  return app
}

async function suite (options: TransportOptions): Promise<FastifyInstance> {
  const app: FastifyInstance = await createServer(defineSecurity({ transport: options }), { logger: false })
  app.get('/', async () => 1)
  app.get('/leave', async (_request, reply) => reply.safeRedirect(`${APP}/x`))
  return app
}

const ask = (app: FastifyInstance): Promise<unknown> =>
  answersTo(app, [
    {},
    { headers: { host: 'www.example.com' } },
    { url: '/leave', headers: { host: 'www.example.com' } },
    { method: 'POST', url: '/nope' },
  ])

test('every option of the transport plugin and of its routes has a row here', async (t) => {
  checkRows(t, TransportOptionsSchema, ROWS)
  checkRows(t, TransportRouteOptionsSchema, ROUTE_ROWS)
})

for (const [door, rows] of [[plugin, ROWS], [umbrella, ROWS], [route, ROUTE_ROWS]] as const) {
  test(`${door.name}: wrong types and values are refused by name`, async (t) => checkRefusals(t, door, rows))
  test(`${door.name}: a misspelt option is refused with the right name`, async (t) => checkMisspelt(t, door, rows))
  test(`${door.name}: undefined is absent, and options are left as they were`, async (t) =>
    checkHarmless(t, door, rows, ask))
}

test('a proxy list is taken where the instance is built with it', async (t) => {
  for (const proxies of [['10.0.0.0/8'], ['127.0.0.1', '2001:db8::/32'], ['10.0.0.1/1']]) {
    const app = await suite({ proxies })
    t.equal((await app.inject('/')).statusCode, 200, proxies.join())
    await app.close()
  }
})
