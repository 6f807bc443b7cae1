// The official plugins, wired by hand as their documents show, with care: problem documents, no-store, 404s that count.
import fastifyCookie from '@fastify/cookie'
import fastifyCors from '@fastify/cors'
import fastifyHelmet from '@fastify/helmet'
import fastifyJwt from '@fastify/jwt'
import fastifyRateLimit from '@fastify/rate-limit'
import Fastify, { LogController } from 'fastify'
import { randomUUID } from 'node:crypto'
import { accessLine, ACCESS_SECRET, ALLOWED_HEADERS, AUDIENCE, CHALLENGE, EXPOSED_HEADERS, helmetOptions, HTML, ISSUER,
  ITEM_SCHEMA, LIMIT, limitMembers, LOG_FILE, ME_SCHEMA, mintTokens, ORIGIN, page, pageCsp, PAGE_REFERRER,
  PERMISSIONS_POLICY, PREFLIGHT_SECONDS, problem, PROBLEM, PUBLIC, PUBLIC_SCHEMA, TIGHT_LIMIT, TIGHT_WINDOW_MS,
  WINDOW_MS } from './service.mjs'

export async function build ({ log, redisUrl = null }) {
  const app = Fastify({
    logger: log ? { level: 'info', file: LOG_FILE } : false,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
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
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    reply.header('permissions-policy', PERMISSIONS_POLICY)
    done()
  })
  const redis = redisUrl === null
    ? undefined
    : new (await import('ioredis')).Redis(redisUrl, { connectTimeout: 500, maxRetriesPerRequest: 1 })
  await app.register(fastifyHelmet, helmetOptions())
  await app.register(fastifyCors, {
    origin: [ORIGIN],
    credentials: true,
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: ALLOWED_HEADERS,
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_SECONDS,
  })
  await app.register(fastifyRateLimit, {
    max: LIMIT,
    timeWindow: WINDOW_MS,
    redis,
    nameSpace: `hand-wired-${process.pid}:`,
  })
  await app.register(fastifyCookie)
  await app.register(fastifyJwt, {
    secret: ACCESS_SECRET,
    sign: { algorithm: 'HS256' },
    verify: { algorithms: ['HS256'], allowedIss: ISSUER, allowedAud: AUDIENCE },
  })

  app.setErrorHandler((error, request, reply) => {
    const status = error.statusCode ?? 500
    reply.code(status).type(PROBLEM).header('cache-control', 'no-store')
    if (status === 401) reply.header('www-authenticate', CHALLENGE)
    return reply.send(
      problem(status, request.id, status === 429 ? limitMembers(Number(reply.getHeader('retry-after'))) : undefined),
    )
  })
  app.setNotFoundHandler(
    { preHandler: app.rateLimit() },
    (request, reply) =>
      reply.code(404).type(PROBLEM).header('cache-control', 'no-store').send(problem(404, request.id)),
  )

  const authenticate = async (request, reply) => {
    await request.jwtVerify()
    reply.header('cache-control', 'no-store')
  }
  const user = ({ user: { sub, roles } }) => ({ id: sub, roles })
  app.get('/public', { schema: { response: { 200: PUBLIC_SCHEMA } } }, async () => PUBLIC)
  app.get(
    '/me',
    { onRequest: authenticate, schema: { response: { 200: ME_SCHEMA } } },
    async (request) => user(request),
  )
  app.get(
    '/refused',
    { onRequest: authenticate, schema: { response: { 200: ME_SCHEMA } } },
    async (request) => user(request),
  )
  app.post(
    '/items',
    { onRequest: authenticate, schema: { body: ITEM_SCHEMA, response: { 200: ITEM_SCHEMA } } },
    async (request) => request.body,
  )
  app.get('/limited', { config: { rateLimit: { max: TIGHT_LIMIT, timeWindow: TIGHT_WINDOW_MS } } }, async () => PUBLIC)
  const csp = pageCsp(undefined)
  const withoutNonce = Object.fromEntries(
    Object.entries(csp).map(([name, values]) => [name, values.filter((value) => value !== undefined)]),
  )
  app.get(
    '/page',
    { helmet: { ...helmetOptions(withoutNonce, PAGE_REFERRER), enableCSPNonces: true } },
    async (_request, reply) => reply.type(HTML).send(page(reply.cspNonce.script)),
  )
  return { listen: () => app.listen({ port: 0, host: '127.0.0.1' }), server: app.server, mint: mintTokens, app }
}
