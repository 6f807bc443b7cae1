import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'tap'
import { createServer, defineSecurity, type RouteSecurityOptions } from '../../index.js'
import { headers, HeadersOptionsSchema, type HeadersOptions } from '../../plugins/headers.js'
import { answersTo, checkHarmless, checkMisspelt, checkRefusals, checkRows, type Door,
  type Row } from '../helpers/option-table.js'

const choice = (...good: [string, ...string[]]): Row => ({
  good,
  bad: ['', `${good[0]}\r\n`, good[0].toUpperCase(), 'a'.repeat(10_000)],
})
const either = ['true', 'false'] as const
const offOr = (value: unknown, ...fine: Row['fine'] & object): Row => ({
  good: [value, false],
  fine: ['false', ...fine],
})
const URL_OF_REPORTS = 'https://reports.example.com/csp'

const ROWS: Readonly<Record<string, Row>> = {
  profile: choice('document', 'api'),
  contentSecurityPolicy: offOr({ directives: { 'img-src': ["'self'"] } }, 'object'),
  'contentSecurityPolicy.directives': {
    good: [{ 'default-src': ["'self'"], 'form-action': false }, {}],
    fine: ['object'],
    bad: [
      { formAction: false },
      { 'img-scr': [] },
      { 'img-src': [''] },
      { 'img-src': ['a\r\nx: y'] },
      { 'img-src': "'self'" },
      { 'img-src': ['self'] },
      { 'img-src': ['a;b'] },
      { 'img-src': ['a,b'] },
      { '': [] },
      { 'a b': [] },
      { 'a\r\nb': [] },
      { 'img-src': [5] },
      { 'img-src': true },
    ],
  },
  'contentSecurityPolicy.extend': {
    good: [{ 'img-src': ['data:'] }, {}],
    fine: ['object'],
    bad: [{ 'img-src': false }, { 'img-src': 'data:' }, { 'img-src': ['a;b'] }],
  },
  'contentSecurityPolicy.reportOnly': offOr({ directives: { 'img-src': ["'self'"] } }, 'object'),
  'contentSecurityPolicy.reportOnly.directives': {
    good: [{ 'img-src': ["'self'"] }],
    fine: ['object'],
    bad: [{ 'img-src': ['self'] }, { 'a b': [] }],
  },
  'contentSecurityPolicy.reportOnly.extend': {
    good: [{ 'img-src': ["'self'"] }],
    fine: ['object'],
    bad: [{ 'img-src': false }, { 'img-src': ['a;b'] }],
  },
  reporting: offOr({ endpoint: URL_OF_REPORTS }),
  'reporting.endpoint': {
    good: [URL_OF_REPORTS],
    bad: [
      '',
      '//evil.example',
      'http://reports.example.com',
      'https://a:b@c.example',
      'https://c.example/a b',
      'https://c.example/\r\nx',
      '/a/../b',
      '/:id',
    ],
  },
  'reporting.group': {
    good: ['group-1', 'a', 'a'.repeat(64)],
    fine: ['text'],
    beside: { endpoint: URL_OF_REPORTS },
    bad: ['', 'A', '1a', 'a b', 'a\r\n', 'a'.repeat(65)],
  },
  strictTransportSecurity: offOr({ maxAge: 60 }, 'object'),
  'strictTransportSecurity.maxAge': {
    good: [60, 0, 2 ** 31 - 1],
    fine: ['number'],
    bad: [-1, 1.5, 2 ** 31, 1e300, Infinity, '60'],
  },
  'strictTransportSecurity.includeSubDomains': { good: [false, true], fine: either },
  'strictTransportSecurity.preload': { good: [true, false], fine: either },
  xFrameOptions: offOr({ action: 'sameorigin' }),
  'xFrameOptions.action': choice('sameorigin', 'deny'),
  referrerPolicy: offOr({ policy: 'same-origin' }),
  'referrerPolicy.policy': {
    good: ['same-origin', ['no-referrer', 'same-origin']],
    bad: ['nonsense', 'no-referrer\r\n', ['no-referrer', 'no-referrer'], [5]],
  },
  crossOriginResourcePolicy: offOr({ policy: 'same-site' }),
  'crossOriginResourcePolicy.policy': choice('same-site', 'same-origin', 'cross-origin'),
  crossOriginOpenerPolicy: offOr({ policy: 'unsafe-none' }),
  'crossOriginOpenerPolicy.policy': choice('unsafe-none', 'same-origin', 'same-origin-allow-popups'),
  crossOriginEmbedderPolicy: offOr({ policy: 'credentialless' }),
  'crossOriginEmbedderPolicy.policy': choice('credentialless', 'require-corp', 'unsafe-none'),
  xContentTypeOptions: { good: [false], fine: ['false'] },
  originAgentCluster: { good: [false], fine: ['false'] },
  xDnsPrefetchControl: { good: [false], fine: ['false'] },
  xPermittedCrossDomainPolicies: { good: [false], fine: ['false'] },
  xXssProtection: { good: [false], fine: ['false'] },
  permissionsPolicy: {
    good: [{ camera: ['self'] }, { camera: [] }, { camera: ['*'] }, false],
    fine: ['false', 'object'],
    bad: [
      { camra: [] },
      { camera: ["'self'"] },
      { camera: ['https://a" b'] },
      { camera: [''] },
      { camera: ['a\r\nx: y'] },
      { Camera: [] },
      { 'a b': [] },
      { camera: 'self' },
      { camera: [5] },
      { camera: false },
      { '': [] },
    ],
  },
  cacheControl: { good: [false, 'no-store'], fine: ['false'], bad: ['', 'public', 'no-store\r\n', 'No-Store'] },
}

const DOORS: readonly Door[] = [
  {
    name: 'plugin',
    where: 'headers',
    thorough: true,
    build: async (options) => ready(async (app) => app.register(headers, options as HeadersOptions)),
  },
  {
    name: 'route',
    where: 'GET / security.headers',
    build: async (options) => ready(async (app) => app.register(headers), { headers: options as HeadersOptions }),
  },
  { name: 'umbrella', where: 'headers', build: async (options) => umbrella(options) },
]

async function ready (
  load: (app: FastifyInstance) => PromiseLike<unknown>,
  security: RouteSecurityOptions = {},
): Promise<FastifyInstance> {
  const app = Fastify({ trustProxy: ['127.0.0.1'] })
  await load(app)
  app.get('/', { security }, async () => 1)
  await app.ready()
  return app
}

async function umbrella (options: unknown): Promise<FastifyInstance> {
  const app: FastifyInstance = await createServer(defineSecurity({ headers: options as HeadersOptions }), {
    logger: false,
  })
  app.get('/', async () => 1)
  return app
}

const ask = (app: FastifyInstance): Promise<unknown> =>
  answersTo(app, [{ headers: { host: 'www.example.com', 'x-forwarded-proto': 'https' } }, {
    headers: { cookie: 'a=b' },
  }])

test('every option of the headers plugin has a row here', async (t) => {
  checkRows(t, HeadersOptionsSchema, ROWS)
})

for (const door of DOORS) {
  test(`${door.name}: wrong types and values are refused by name`, async (t) => checkRefusals(t, door, ROWS))
  test(`${door.name}: a misspelt option is refused with the right name`, async (t) => checkMisspelt(t, door, ROWS))
  test(`${door.name}: undefined is absent, and options are left as they were`, async (t) =>
    checkHarmless(t, door, ROWS, ask))
}
