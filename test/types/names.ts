// Compiled by the build and never run: every line below an expected error fails the build when the compiler accepts it.
import Fastify, { type FastifyInstance, type FastifyPluginAsync, type FastifyPluginOptions,
  type RawServerDefault } from 'fastify'
import { bulwark, createServer, defineSecurity, publicRoute, serverOptions, Type, type SecurityTypeProvider,
  type ShapeOfDefinition } from '../../index.js'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const assertType = <T extends true>(): T => true as T

const security = defineSecurity({
  env: Type.Object({ PORT: Type.Integer({ default: 3000 }), NAME: Type.Optional(Type.String()) }),
  rateLimit: { policies: { search: { limit: 30, window: '1m', by: 'user' } } },
  auth: {
    roles: ['user', 'admin'],
    claims: Type.Object({ tenant: Type.String() }),
    authenticate: async (credentials) => ({ id: credentials.email, roles: ['user'], tenant: 'a' }),
    loadUser: async (userId) => ({ id: userId, roles: ['admin'], tenant: 'a' }),
  },
  defaults: { auth: 'required', rateLimit: ['search'] },
})

export async function namesOfADefinition (): Promise<void> {
  defineSecurity({
    rateLimit: { policies: { search: { limit: 30, window: '1m', by: 'ip' } } },
    // @ts-expect-error the default policy does not exist
    defaults: { rateLimit: ['serach'] },
  })
  defineSecurity({
    // @ts-expect-error the misspelt key of a definition fails
    rateLimits: {},
  })
  defineSecurity({
    // @ts-expect-error a window without a unit fails
    rateLimit: { policies: { search: { limit: 30, window: '1x', by: 'ip' } } },
  })
  defineSecurity({
    auth: {
      roles: ['user'],
      // @ts-expect-error a user with a role that does not exist
      loadUser: async (userId) => ({ id: userId, roles: ['root'] }),
    },
  })
}

export async function namesOnAnInstance (): Promise<void> {
  const app = await createServer(security)
  assertType<Equal<typeof app.config.PORT, number>>()
  assertType<Equal<typeof app.config.NAME, string | undefined>>()
  // @ts-expect-error not a variable of the schema
  void app.config.NOPE

  app.post('/x', {
    security: {
      auth: { roles: ['admin'], fresh: '5m' },
      rateLimit: ['search', 'login'],
      headers: { xFrameOptions: false },
      cors: { origin: '*' },
    },
    schema: {
      body: Type.Object({ count: Type.Integer() }),
      querystring: Type.Object({ page: Type.Optional(Type.Integer()) }),
    },
  }, async (request) => {
    assertType<Equal<typeof request.body, { count: number }>>()
    assertType<Equal<typeof request.query.page, number | undefined>>()
    assertType<Equal<typeof request.user.tenant, string>>()
    assertType<Equal<typeof request.user.roles, readonly ('user' | 'admin')[]>>()
    // @ts-expect-error not a claim
    void request.user.tenent
    return request.user.id
  })
  app.get('/public', { security: { auth: publicRoute('a status page') } }, async (_request, reply) => reply.cspNonce)

  // @ts-expect-error a role that does not exist
  app.get('/a', { security: { auth: { roles: ['root'] } } }, async () => 1)
  // @ts-expect-error a rate-limit policy that does not exist
  app.get('/b', { security: { rateLimit: ['serach'] } }, async () => 1)
  // @ts-expect-error a misspelt key
  app.get('/c', { security: { rateLimt: ['search'] } }, async () => 1)
  // @ts-expect-error `false` is no reason to be public
  app.get('/d', { security: { auth: false } }, async () => 1)
  // @ts-expect-error the long form is checked too
  app.route({ method: 'GET', url: '/e', security: { auth: { roles: ['root'] } }, handler: async () => 1 })
  // @ts-expect-error a misspelt header
  app.get('/f', { security: { headers: { xFrameOption: false } } }, async () => 1)
  app.route({ method: 'GET', url: '/g', security: { auth: { roles: ['user'] } }, handler: async () => 1 })
}

export async function namesInNestedScopes (): Promise<void> {
  const app = await createServer(security)
  await app.secureScope({ prefix: '/admin', auth: { roles: ['admin'] } }, async (scope) => {
    scope.get(
      '/',
      { schema: { querystring: Type.Object({ q: Type.Number() }) } },
      async (request) => request.query.q + scope.config.PORT,
    )
    // @ts-expect-error a role that does not exist, one level down
    scope.get('/a', { security: { auth: { roles: ['root'] } } }, async () => 1)
    await scope.secureScope({ prefix: '/deep' }, async (deep) => {
      deep.get('/', async (request) => request.user.tenant)
      // @ts-expect-error a policy that does not exist, two levels down
      deep.get('/b', { security: { rateLimit: ['serach'] } }, async () => 1)
    })
  })
  // @ts-expect-error the scope's own override is checked
  await app.secureScope({ auth: { roles: ['root'] } }, () => {})
  // @ts-expect-error a misspelt key of a scope
  await app.secureScope({ corss: false }, () => {})
}

export async function namesOnAnOwnInstance (): Promise<void> {
  const own = Fastify(serverOptions(security))
  await own.register(bulwark, security)
  own.get('/loose', { security: { auth: { roles: ['checked at boot'] } } }, async () => 1)
  const typed = own.withTypeProvider<SecurityTypeProvider<ShapeOfDefinition<typeof security>>>()
  typed.get('/x', { security: { auth: { roles: ['admin'] } } }, async () => typed.config.PORT.toFixed())
  // @ts-expect-error a role that does not exist
  typed.get('/y', { security: { auth: { roles: ['root'] } } }, async () => 1)
}

/** A plugin in another file names the provider once; a plain plugin is still accepted. */
export const routes: FastifyPluginAsync<FastifyPluginOptions, RawServerDefault,
  SecurityTypeProvider<ShapeOfDefinition<typeof security>>> = async (scope) => {
    scope.get('/p', { security: { rateLimit: ['search'] } }, async () => scope.config.PORT)
  }

export async function acceptsPlugins (
  plain: FastifyPluginAsync,
  takes: (instance: FastifyInstance) => void,
): Promise<void> {
  const app = await createServer(security)
  await app.register(routes)
  await app.register(plain)
  takes(app)
}
