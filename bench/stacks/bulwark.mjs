// The suite, as its README shows it: serverOptions(), then the umbrella.
import Fastify from 'fastify'
import { ACCESS_SECRET, HTML, ITEM_SCHEMA, LIMIT, LOG_FILE, ME_SCHEMA, ORIGIN, page, PUBLIC, PUBLIC_SCHEMA,
  REFRESH_SECRET, TIGHT_LIMIT } from './service.mjs'
import { signIn } from './sign-in.mjs'

/** What the package exports; its modules one by one where a profile shall name them. */
const { bulwark, defineSecurity, publicRoute, serverOptions } = await import(
  process.env.BENCH_MODULES ? '../../dist/index.js' : '../../dist/bundle/index.js'
)

export async function build (
  {
    log,
    redisUrl = null,
    keyPrefix = `bulwark:${process.pid}:`,
    define = (definition) => definition,
    routes = () => {},
  },
) {
  const state = redisUrl === null ? { redis: false, allowMemoryStore: true } : { redis: redisUrl, keyPrefix }
  const security = defineSecurity(define({
    transport: { proxies: 'none', https: 'off' },
    cors: { origin: [ORIGIN], credentials: true },
    rateLimit: {
      ...state,
      // None of the others has a deadline; with the suite's own 50 ms an overloaded machine would have it count in
      // memory meanwhile.
      ...(redisUrl !== null && { keySecret: REFRESH_SECRET, deadline: '1s' }),
      policies: {
        global: { limit: LIMIT, window: '15m', by: 'ip' },
        // For the sign-ins before the measurement, which come by the thousand from one address.
        login: { limit: LIMIT, window: '15m', by: 'ip' },
        tight: { limit: TIGHT_LIMIT, window: '1d', by: 'ip' },
      },
    },
    auth: {
      ...state,
      roles: ['user'],
      sources: ['bearer'],
      accessSecret: ACCESS_SECRET,
      refreshSecret: REFRESH_SECRET,
      accessTtl: '2h',
      authenticate: async ({ email }) => ({ id: email.slice(0, email.indexOf('@')), roles: ['user'] }),
      loadUser: async (id) => ({ id, roles: ['user'] }),
    },
  }))
  const options = serverOptions(security, { logger: log ? { level: 'info', file: LOG_FILE } : false })
  const app = Fastify(options)
  await app.register(bulwark, security)

  const anybody = { auth: publicRoute('bench') }
  app.get('/public', { security: anybody, schema: { response: { 200: PUBLIC_SCHEMA } } }, async () => PUBLIC)
  app.get('/me', { schema: { response: { 200: ME_SCHEMA } } }, async (request) => request.user)
  app.get('/refused', { schema: { response: { 200: ME_SCHEMA } } }, async (request) => request.user)
  app.post('/items', { schema: { body: ITEM_SCHEMA, response: { 200: ITEM_SCHEMA } } }, async (request) => request.body)
  app.get('/limited', { security: { ...anybody, rateLimit: { only: ['tight'] } } }, async () => PUBLIC)
  app.get(
    '/page',
    { security: { ...anybody, headers: { profile: 'document' } } },
    async (_request, reply) => reply.type(HTML).send(page(reply.cspNonce)),
  )
  await routes(app)

  /** For those who measure in this process. */
  const mint = async (count) => {
    if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
    return await signIn(app.server.address().port, count)
  }
  return {
    listen: () => app.listen({ port: 0, host: '127.0.0.1' }),
    server: app.server,
    mint,
    signsIn: true,
    app,
    Response: options.http.ServerResponse,
  }
}
