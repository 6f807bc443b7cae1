// Express 5 with helmet, cors, express-rate-limit, jsonwebtoken and zod. jsonwebtoken gets a KeyObject: with a string
// it would build one for each token, which costs more than the rest together.
import cors from 'cors'
import express from 'express'
import { rateLimit } from 'express-rate-limit'
import helmet from 'helmet'
import jwt from 'jsonwebtoken'
import { createSecretKey, randomBytes, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { accessLine, ACCESS_SECRET, ALLOWED_HEADERS, AUDIENCE, CHALLENGE, EXPOSED_HEADERS, helmetOptions, HTML, ISSUER,
  KEEP_ALIVE_MS, LIMIT, limitMembers, LOG_FILE, mintTokens, ORIGIN, page, pageCsp, PAGE_REFERRER, PERMISSIONS_POLICY,
  PREFLIGHT_SECONDS, problem, PROBLEM, PUBLIC, TIGHT_LIMIT, TIGHT_WINDOW_MS, WINDOW_MS } from './service.mjs'
import { Item } from './zod-item.mjs'

export async function build ({ log, redisUrl = null }) {
  const app = express()
  app.disable('x-powered-by')
  // None of the others hashes its answers for an ETag.
  app.disable('etag')
  const stores = redisUrl === null ? () => undefined : await redisStores(redisUrl)
  const limit = (max, windowMs, name) =>
    rateLimit({
      windowMs,
      limit: max,
      standardHeaders: 'draft-7',
      legacyHeaders: false,
      store: stores(name),
      handler: (request, response) => {
        refuse(response, 429, request.id, limitMembers(Number(response.getHeader('retry-after'))))
      },
    })
  const key = createSecretKey(Buffer.from(ACCESS_SECRET))
  const verifying = { algorithms: ['HS256'], issuer: ISSUER, audience: AUDIENCE }

  if (log) app.use(await accessLog())
  app.use((request, response, next) => {
    request.id = randomUUID()
    response.setHeader('X-Request-Id', request.id)
    response.setHeader('Permissions-Policy', PERMISSIONS_POLICY)
    next()
  })
  const api = helmet(helmetOptions())
  const pages = helmet(
    helmetOptions(pageCsp((_request, response) => `'nonce-${response.locals.nonce}'`), PAGE_REFERRER),
  )
  const withNonce = (_request, response, next) => {
    response.locals.nonce = randomBytes(18).toString('base64')
    next()
  }
  const crossOrigin = cors({
    origin: [ORIGIN],
    credentials: true,
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: ALLOWED_HEADERS,
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_SECONDS,
  })
  const everywhere = limit(LIMIT, WINDOW_MS, 'global')
  // These two differ from the rest, so they come first and run nothing twice.
  app.get('/limited', api, crossOrigin, limit(TIGHT_LIMIT, TIGHT_WINDOW_MS, 'tight'), (_request, response) => {
    response.json(PUBLIC)
  })
  app.get('/page', withNonce, pages, crossOrigin, everywhere, (_request, response) => {
    response.set('Content-Type', HTML).send(page(response.locals.nonce))
  })
  app.use(api, crossOrigin, everywhere)

  const authenticate = (request, response, next) => {
    const { authorization = '' } = request.headers
    try {
      request.user = jwt.verify(authorization.startsWith('Bearer ') ? authorization.slice(7) : '', key, verifying)
    } catch {
      response.setHeader('WWW-Authenticate', CHALLENGE)
      refuse(response, 401, request.id)
      return
    }
    response.setHeader('Cache-Control', 'no-store')
    next()
  }
  const validate = (request, response, next) => {
    const result = Item.safeParse(request.body)
    if (!result.success) return refuse(response, 400, request.id)
    request.body = result.data
    next()
  }
  const user = (request, response) => { response.json({ id: request.user.sub, roles: request.user.roles }) }
  app.get('/public', (_request, response) => { response.json(PUBLIC) })
  app.get('/me', authenticate, user)
  app.get('/refused', authenticate, user)
  app.post('/items', authenticate, express.json(), validate, (request, response) => { response.json(request.body) })
  app.use((request, response) => { refuse(response, 404, request.id) })
  app.use((error, request, response, _next) => { refuse(response, error.status ?? 500, request.id) })

  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, app)
  return {
    listen: () => once(server.listen(0, '127.0.0.1'), 'listening'),
    server,
    mint: mintTokens,
    app: { routing: app, ready: async () => {} },
  }
}

function refuse (response, status, instance, members) {
  response.status(status).set('Content-Type', PROBLEM).set('Cache-Control', 'no-store').send(
    JSON.stringify(problem(status, instance, members)),
  )
}

async function accessLog () {
  const { pino } = await import('pino')
  const log = pino({ level: 'info' }, pino.destination(LOG_FILE))
  return (request, response, next) => {
    const startedAt = performance.now()
    response.once('finish', () => {
      log.info(
        accessLine(
          request.id,
          request.method,
          request.route?.path,
          response.statusCode,
          startedAt,
          request.ip,
          request.headers['user-agent'],
        ),
        'request',
      )
    })
    next()
  }
}

export async function redisStores (url) {
  const [{ Redis }, { RedisStore }] = await Promise.all([import('ioredis'), import('rate-limit-redis')])
  const client = new Redis(url)
  return (name) =>
    new RedisStore({ sendCommand: (...command) => client.call(...command), prefix: `${name}-${process.pid}:` })
}
