// The suite, as its README shows it: serverOptions(), then the umbrella.
import Fastify from 'fastify'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { ACCESS_SECRET, HTML, ITEM_SCHEMA, LIMIT, LOG_FILE, ME_SCHEMA, ORIGIN, page, PUBLIC, PUBLIC_SCHEMA, REFRESH_SECRET, TIGHT_LIMIT, userId } from './service.mjs'

/** What the package exports; its modules one by one where a profile shall name them. */
const { bulwark, defineSecurity, publicRoute, serverOptions } = await import(process.env.BENCH_MODULES ? '../../dist/index.js' : '../../dist/bundle/index.js')

/** Sign-ins at a time. */
const AT_ONCE = 50

export async function build ({ log, redisUrl = null, keyPrefix = `bulwark:${process.pid}:`, define = (definition) => definition, routes = () => {} }) {
  const state = redisUrl === null ? { redis: false, allowMemoryStore: true } : { redis: redisUrl, keyPrefix }
  const security = defineSecurity(define({
    transport: { proxies: 'none', https: 'off' },
    cors: { origins: [ORIGIN], credentials: true },
    rateLimit: {
      ...state,
      // None of the others has a deadline; with the suite's own 50 ms an overloaded machine would have it count in memory meanwhile.
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
  app.get('/page', { security: { ...anybody, headers: { profile: 'document' } } }, async (_request, reply) => reply.type(HTML).send(page(reply.cspNonce)))
  await routes(app)

  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  const signIn = async (index) => {
    const sent = request({ agent, port: app.server.address().port, method: 'POST', path: '/auth/token', headers: { 'content-type': 'application/json' } })
    sent.end(JSON.stringify({ email: `${userId(index)}@example.com`, password: 'correct horse battery' }))
    const [answer] = await once(sent, 'response')
    const body = (await answer.toArray()).join('')
    if (answer.statusCode !== 200) throw new Error(`sign-in failed: ${answer.statusCode} ${body}`)
    return JSON.parse(body).access_token
  }
  /**
   * Real sign-ins: the suite looks the session of a token up. Over a socket, as everybody's: after some hundred of app.inject() V8 puts what
   * each later request needs into the old generation, and collecting it costs twice what the request does.
   */
  const mint = async (count) => {
    if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
    const tokens = []
    while (tokens.length < count) tokens.push(...await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - tokens.length) }, (_unused, step) => signIn(tokens.length + step))))
    agent.destroy()
    return tokens
  }
  return { listen: () => app.listen({ port: 0, host: '127.0.0.1' }), server: app.server, mint, app, Response: options.http.ServerResponse }
}
