// Fastify alone: the same routes and bodies, its own validation and serialization, and nothing that protects anything.
// With `headers` it is the floor: it also sends what the suite sends, from frozen objects, in one hook.
import Fastify, { LogController } from 'fastify'
import { accessLine, HTML, ITEM_SCHEMA, LOG_FILE, ME_SCHEMA, mintTokens, page, problem, PROBLEM, PUBLIC, PUBLIC_SCHEMA,
  limitMembers, userId } from './service.mjs'

const INSTANCE = '495e59bf05d682c2a3dc4b2a794c2f9f'
const NONCE = 'x560JPVWGX4jnXwp2pYZageE'

/** @param headers for each scenario by its path, what the suite sends beside Node's own; null for none */
export async function build ({ log, headers = null }) {
  const app = Fastify({
    logger: log ? { level: 'info', file: LOG_FILE } : false,
    logController: new LogController({ disableRequestLogging: true }),
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
  })
  if (log)
    app.addHook('onResponse', (request, reply, done) => {
      request.log.info(
        accessLine(
          request.id,
          request.method,
          request.routeOptions.url,
          reply.statusCode,
          performance.now() - reply.elapsedTime,
          request.ip,
          request.headers['user-agent'],
        ),
        'request',
      )
      done()
    })
  if (headers !== null) {
    const blocks = new Map(Object.entries(headers).map(([name, block]) => [name, Object.freeze(block)]))
    app.addHook('onRequest', (request, reply, done) => {
      const { url } = request.routeOptions
      reply.headers(blocks.get(url === undefined ? 'notFound' : request.method === 'OPTIONS' ? 'preflight' : url))
      done()
    })
  }
  const me = { id: userId(0), roles: ['user'] }
  app.get('/public', { schema: { response: { 200: PUBLIC_SCHEMA } } }, async () => PUBLIC)
  app.get('/me', { schema: { response: { 200: ME_SCHEMA } } }, async () => me)
  app.get('/refused', async (_request, reply) => reply.code(401).type(PROBLEM).send(problem(401, INSTANCE)))
  app.post('/items', { schema: { body: ITEM_SCHEMA, response: { 200: ITEM_SCHEMA } } }, async (request) => request.body)
  app.options('/items', async (_request, reply) => reply.code(204).send())
  app.get(
    '/limited',
    async (_request, reply) => reply.code(429).type(PROBLEM).send(problem(429, INSTANCE, limitMembers(86_400))),
  )
  app.get('/page', async (_request, reply) => reply.type(HTML).send(page(NONCE)))
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).type(PROBLEM).send(problem(404, INSTANCE)))
  return { listen: () => app.listen({ port: 0, host: '127.0.0.1' }), server: app.server, mint: mintTokens, app }
}
