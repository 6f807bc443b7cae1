import { createRequire } from 'node:module'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import { test } from 'tap'
import { auth, publicRoute, type AuthOptions } from '../../plugins/auth.js'
import { secret } from '../lib/auth/support.js'

const require = createRequire(import.meta.url)
const swagger = require('@fastify/swagger') as FastifyPluginAsync<Record<string, unknown>>
const yaml = require('yaml') as { parse: (text: string) => unknown }

interface Operation { readonly security?: unknown, readonly responses: Readonly<Record<string, unknown>> }
interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly securitySchemes: Readonly<Record<string, unknown>> }
  readonly securityDefinitions: Readonly<Record<string, unknown>>
}
type Documented = FastifyInstance & { swagger: (options?: { yaml?: boolean }) => OpenApi | string }

const OPTIONS = (): AuthOptions => ({
  roles: ['user', 'admin'],
  redis: false,
  accessSecret: secret(),
  refreshSecret: secret(),
  authenticate: async () => null,
  loadUser: async () => null,
})

const SHARED = { querystring: Type.Object({ q: Type.String() }) }

/** As the types of @fastify/swagger allow it, which are not loaded here. */
const secured = (security: readonly object[]): object => ({ security })

interface Settings {
  readonly swagger?: Record<string, unknown>
  readonly auth?: Partial<AuthOptions>
  readonly order?: 'before' | 'after'
  readonly routes?: (app: FastifyInstance) => void
}

async function document (t: { teardown: (end: () => unknown) => void }, settings: Settings = {}): Promise<Documented> {
  const app = Fastify()
  t.teardown(() => app.close())
  const options = settings.swagger ?? { openapi: { openapi: '3.1.0' } }
  if (settings.order !== 'after') await app.register(swagger, options)
  await app.register(auth, { ...OPTIONS(), ...settings.auth })
  if (settings.order === 'after') await app.register(swagger, options)
  app.get('/me', async () => 'me')
  app.get('/projects/:id', { schema: SHARED, security: { auth: { roles: ['admin'] } } }, async () => 'project')
  app.get('/maybe', { security: { auth: 'optional' } }, async () => 'maybe')
  app.get('/open', { schema: SHARED, security: { auth: publicRoute('test') } }, async () => 'open')
  app.get('/own', { schema: { ...secured([]), response: { 200: Type.String() } } }, async () => 'own')
  settings.routes?.(app)
  await app.register(async (child) => { child.get('/child', async () => 'child') })
  await app.ready()
  return app as unknown as Documented
}

const COOKIE = { type: 'apiKey', in: 'cookie', name: '__Host-access' }

test('OpenAPI 3: schemes and the security of every operation, wherever swagger was registered', async (t) => {
  for (const order of ['before', 'after'] as const) {
    const app = await document(t, { order })
    const found = app.swagger() as OpenApi
    t.same(found.components.securitySchemes, { cookieAuth: COOKIE }, order)
    const security = Object.fromEntries(Object.entries(found.paths).map(([path, { get }]) => [path, get?.security]))
    t.match(security, {
      '/me': [{ cookieAuth: [] }],
      '/projects/{id}': [{ cookieAuth: [] }],
      '/maybe': [{ cookieAuth: [] }, {}],
      '/open': [],
      '/own': [],
      '/child': [{ cookieAuth: [] }],
    }, order)
    t.same(Object.keys(found.paths['/me']?.['get']?.responses ?? {}), ['200', '401'])
    t.same(Object.keys(found.paths['/projects/{id}']?.['get']?.responses ?? {}), ['200', '401', '403'])
    t.same(Object.keys(found.paths['/open']?.['get']?.responses ?? {}), ['200'])
    t.notMatch(JSON.stringify(found), /x-bulwark/)
    t.equal(found, app.swagger(), 'it is made once')
    if (order === 'before') t.same(found.paths['/auth/login']?.['post']?.security, [], 'the built-in routes are in it')
  }
})

test('with both sources either token will do', async (t) => {
  const found = (await document(t, { auth: { sources: ['cookie', 'bearer'] } })).swagger() as OpenApi
  t.same(found.components.securitySchemes, {
    cookieAuth: COOKIE,
    bearerAuth: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
  })
  t.same(found.paths['/me']?.['get']?.security, [{ cookieAuth: [] }, { bearerAuth: [] }])
  t.same(found.paths['/maybe']?.['get']?.security, [{ cookieAuth: [] }, { bearerAuth: [] }, {}])
  const bearer = (await document(t, { auth: { sources: ['bearer'] } })).swagger() as OpenApi
  t.same(bearer.paths['/me']?.['get']?.security, [{ bearerAuth: [] }])
})

test('Swagger 2.0 has the same as headers', async (t) => {
  const app = await document(t, { swagger: {}, auth: { sources: ['cookie', 'bearer'] } })
  const found = app.swagger() as OpenApi
  t.match(found.securityDefinitions, {
    cookieAuth: { type: 'apiKey', in: 'header', name: 'Cookie' },
    bearerAuth: { type: 'apiKey', in: 'header', name: 'Authorization' },
  })
  t.same(found.paths['/me']?.['get']?.security, [{ cookieAuth: [] }, { bearerAuth: [] }])
  t.same(found.paths['/open']?.['get']?.security, [])
  t.notOk('components' in found)
  t.same(yaml.parse(app.swagger({ yaml: true }) as string), found)
})

test('the YAML document says what the JSON one says', async (t) => {
  const app = await document(t)
  const text = app.swagger({ yaml: true })
  t.type(text, 'string')
  t.same(yaml.parse(text as string), JSON.parse(JSON.stringify(app.swagger())))
  t.equal(app.swagger({ yaml: true }), text)
  t.match(text, /^\{\n  "openapi": /, 'JSON, which YAML 1.2 contains')
})

test('what the app wrote stays: schemes, a route\'s own security and responses, transforms', async (t) => {
  const mine = { type: 'apiKey', in: 'header', name: 'X-Key' }
  const components = { securitySchemes: { key: mine, cookieAuth: mine } }
  const app = await document(t, {
    swagger: {
      openapi: { components, security: [{ key: [] }] },
      transform: ({ schema, url }: { schema: object, url: string }) => ({
        schema: { ...schema, summary: `summary of ${url}` },
        url: `/v1${url}`,
      }),
      transformObject: ({ openapiObject }: { openapiObject: object }) => ({ ...openapiObject, 'x-own': true }),
    },
    routes (instance) {
      instance.get('/key', { schema: secured([{ key: [] }]) }, async () => 'key')
      instance.get('/told', { schema: { response: { 401: Type.Object({ why: Type.String() }) } } }, async () => 'told')
    },
  })
  const found = app.swagger() as OpenApi
  t.match(found, { 'x-own': true, security: [{ key: [] }] })
  t.same(found.components.securitySchemes, { cookieAuth: mine, key: mine })
  t.same(found.paths['/v1/key']?.['get']?.security, [{ key: [] }])
  t.match(
    found.paths['/v1/me']?.['get'],
    { summary: 'summary of /me', security: [{ cookieAuth: [] }] },
    'whatever the transform made of its address',
  )
  t.match(found.paths['/v1/told']?.['get']?.responses['401'], { content: {} })
  t.same(Object.keys(components.securitySchemes), ['key', 'cookieAuth'], 'its options are not changed')
  t.same(Object.keys(SHARED), ['querystring'], 'nor are its schemas')
})

test('a static document is left as it is', async (t) => {
  const specification = {
    document: { openapi: '3.0.0', info: { title: 'x', version: '1' }, paths: { '/me': { get: { responses: {} } } } },
  }
  const app = await document(t, { swagger: { mode: 'static', specification } })
  t.same(app.swagger(), specification.document)
  t.type(app.swagger({ yaml: true }), 'string')
})

test('without swagger no route is changed', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const schemas: unknown[] = []
  await app.register(auth, OPTIONS())
  app.addHook('onRoute', (route) => { schemas.push(route.schema) })
  app.get('/bare', async () => 'bare')
  app.get('/shared', { schema: SHARED }, async () => 'shared')
  await app.ready()
  t.same(schemas, [undefined, undefined, SHARED, SHARED])
  t.notOk(app.hasDecorator('swagger'))
})

test('a document under another decorator is made as before', async (t) => {
  const app = await document(t, { swagger: { openapi: {}, decorator: 'docs' } })
  const { docs } = app as unknown as { docs: () => OpenApi }
  t.equal(docs().paths['/me']?.['get']?.security, undefined)
  t.notMatch(JSON.stringify(docs()), /x-bulwark/)
})

test('a guarded route validates and serializes as before', async (t) => {
  const app = await document(t)
  t.equal((await app.inject('/open')).statusCode, 400)
  t.equal((await app.inject('/open?q=1')).body, 'open')
  t.equal((await app.inject('/me')).statusCode, 401)
})

test('YAML reads back what was written, whatever it looks like', async (t) => {
  const texts = [
    '',
    ' ',
    'yes',
    'No',
    'null',
    '~',
    '1',
    '1e3',
    '0x1',
    '0o7',
    '-',
    '- a',
    'a: b',
    'a #b',
    '#a',
    '@a',
    '!a',
    '&a',
    '*a',
    '%a',
    '`a',
    '{a',
    '[a',
    '|',
    '>',
    '?',
    "'a",
    '"a',
    'a\nb',
    'a\tb',
    'a ',
    ' a',
    '2020-01-01',
    '12:30:00',
    '.5',
    '...',
    '---',
    '=',
    '<<',
    '\u0000',
    '\u0085',
    '\u2028',
    '\ufeff',
    '\u00e9',
    '/projects/{id}',
    'a b',
    'a  b',
    'application/json',
    '$ref',
    '#/components/schemas/def-0',
    'a,b',
    'trueish',
    'NaN',
    '.inf',
    'a/b: c',
  ]
  const settings = {
    openapi: { openapi: '3.1.0', 'x-texts': texts, 'x-by-name': Object.fromEntries(texts.map((text) => [text, 1])) },
  }
  const app = await document(t, { swagger: settings })
  const found = yaml.parse(app.swagger({ yaml: true }) as string) as Readonly<Record<string, unknown>>
  t.same(found, JSON.parse(JSON.stringify(app.swagger())))
  t.same(found['x-texts'], texts)
})
