// Hono on Node's own HTTP server, with its own middlewares for headers, CORS and tokens, hono-rate-limiter and its zod
// validator.
import { getConnInfo } from '@hono/node-server/conninfo'
import { createAdaptorServer } from '@hono/node-server'
import { zValidator } from '@hono/zod-validator'
import { Hono } from 'hono'
import { cors } from 'hono/cors'
import { HTTPException } from 'hono/http-exception'
import { jwt } from 'hono/jwt'
import { NONCE, secureHeaders } from 'hono/secure-headers'
import { rateLimiter } from 'hono-rate-limiter'
import { randomUUID, webcrypto } from 'node:crypto'
import { once } from 'node:events'
import { accessLine, ACCESS_SECRET, ALLOWED_HEADERS, API_CSP, AUDIENCE, CHALLENGE, DENIED_FEATURES, EXPOSED_HEADERS,
  HTML, ISSUER, KEEP_ALIVE_MS, LIMIT, limitMembers, LOG_FILE, mintTokens, ORIGIN, page, pageCsp, PAGE_REFERRER,
  PREFLIGHT_SECONDS, problem, PROBLEM, PUBLIC, TIGHT_LIMIT, TIGHT_WINDOW_MS, WINDOW_MS } from './service.mjs'
import { Item } from './zod-item.mjs'

const camel = (name) => name.replace(/-(\w)/g, (_all, letter) => letter.toUpperCase())

const headersOf = (csp, referrerPolicy) => secureHeaders({
  contentSecurityPolicy: Object.fromEntries(Object.entries(csp).map(([name, values]) => [camel(name), values])),
  permissionsPolicy: Object.fromEntries(DENIED_FEATURES.map((name) => [camel(name), []])),
  referrerPolicy,
  xFrameOptions: 'DENY',
  strictTransportSecurity: false,
  xDownloadOptions: false,
})

export async function build ({ log, redisUrl = null }) {
  const app = new Hono()
  const stores = redisUrl === null ? () => undefined : await (await import('./express.mjs')).redisStores(redisUrl)
  const limit = (max, windowMs, name) => rateLimiter({
    windowMs,
    limit: max,
    standardHeaders: 'draft-7',
    keyGenerator: (c) => getConnInfo(c).remote.address,
    ...(redisUrl !== null && { store: stores(name) }),
    handler: (c) => refuse(c, 429, limitMembers(Number(c.res.headers.get('retry-after')))),
  })
  if (log) app.use(await accessLog())
  app.use(async (c, next) => {
    const id = randomUUID()
    c.set('requestId', id)
    c.header('x-request-id', id)
    await next()
  })
  const api = headersOf(API_CSP, 'no-referrer')
  const pages = headersOf(pageCsp(NONCE), PAGE_REFERRER)
  const crossOrigin = cors({
    origin: [ORIGIN],
    credentials: true,
    allowMethods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowHeaders: ALLOWED_HEADERS,
    exposeHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_SECONDS,
  })
  const everywhere = limit(LIMIT, WINDOW_MS, 'global')
  // These two differ from the rest, so they come first and run nothing twice.
  app.get('/limited', api, crossOrigin, limit(TIGHT_LIMIT, TIGHT_WINDOW_MS, 'tight'), (c) => json(c, PUBLIC))
  app.get(
    '/page',
    pages,
    crossOrigin,
    everywhere,
    (c) => c.body(page(c.get('secureHeadersNonce')), 200, { 'content-type': HTML }),
  )
  app.use(api, crossOrigin, everywhere)

  const secret = await webcrypto.subtle.importKey(
    'raw',
    Buffer.from(ACCESS_SECRET),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['verify'],
  )
  const verify = jwt({ secret, alg: 'HS256', verification: { iss: ISSUER, aud: AUDIENCE } })
  const user = (c) => {
    const { sub, roles } = c.get('jwtPayload')
    return json(c, { id: sub, roles }, NO_STORE)
  }
  app.get('/public', (c) => json(c, PUBLIC))
  app.get('/me', verify, user)
  app.get('/refused', verify, user)
  app.post('/items', verify, zValidator('json', Item), (c) => json(c, c.req.valid('json'), NO_STORE))
  app.notFound((c) => refuse(c, 404))
  app.onError((error, c) => {
    const status = error instanceof HTTPException ? error.status : 500
    if (status === 401) c.header('www-authenticate', CHALLENGE)
    return refuse(c, status)
  })

  // Hono refuses the type that RFC 9068 gives to access tokens.
  const mint = (count) => mintTokens(count, 'JWT')
  const server = createAdaptorServer({ fetch: app.fetch, serverOptions: { keepAliveTimeout: KEEP_ALIVE_MS } })
  return { listen: () => once(server.listen(0, '127.0.0.1'), 'listening'), server, mint }
}

const NO_STORE = { 'cache-control': 'no-store' }
const json = (c, value, headers) =>
  c.body(JSON.stringify(value), 200, { 'content-type': 'application/json; charset=utf-8', ...headers })
const refuse = (c, status, members) =>
  c.body(JSON.stringify(problem(status, c.get('requestId'), members)), status, { 'content-type': PROBLEM, ...NO_STORE })

async function accessLog () {
  const { pino } = await import('pino')
  const log = pino({ level: 'info' }, pino.destination(LOG_FILE))
  return async (c, next) => {
    const startedAt = performance.now()
    await next()
    log.info(
      accessLine(
        c.get('requestId'),
        c.req.method,
        c.req.routePath,
        c.res.status,
        startedAt,
        getConnInfo(c).remote.address,
        c.req.header('user-agent'),
      ),
      'request',
    )
  }
}
