// The one small service that every stack builds: its routes, what its answers hold, and what stands in its headers.
import { createHmac, randomBytes } from 'node:crypto'

export const ORIGIN = 'https://app.example.com'
/** No client reaches it, so that every request is counted and none is refused. */
export const LIMIT = 1_000_000_000
export const WINDOW_MS = 15 * 60_000
/** The route that answers 429: so few in so long that a run sees nothing else. */
export const TIGHT_LIMIT = 5
export const TIGHT_WINDOW_MS = 86_400_000
export const ALLOWED_HEADERS = ['Content-Type', 'Authorization', 'X-Request-Id']
export const EXPOSED_HEADERS = ['Retry-After', 'RateLimit', 'RateLimit-Policy', 'X-Request-Id']
export const PREFLIGHT_SECONDS = 600
export const KEEP_ALIVE_MS = 72_000
export const ISSUER = 'bulwark'
export const AUDIENCE = 'bulwark-api'
/** Random, as a service's would be, and the same in every process of a run. */
export const ACCESS_SECRET = process.env.BENCH_ACCESS_SECRET ?? randomBytes(32).toString('base64url')
export const REFRESH_SECRET = process.env.BENCH_REFRESH_SECRET ?? randomBytes(32).toString('base64url')
const ACCESS_SECONDS = 7200

export const API_CSP = {
  'default-src': ["'none'"],
  'base-uri': ["'none'"],
  'form-action': ["'none'"],
  'frame-ancestors': ["'none'"],
}
/** `nonce` is what the stack puts in place of a nonce. */
export const pageCsp = (nonce) => ({
  'default-src': ["'none'"],
  'script-src': [nonce, "'strict-dynamic'"],
  'style-src': ["'self'", nonce],
  'img-src': ["'self'", 'data:'],
  'font-src': ["'self'"],
  'connect-src': ["'self'"],
  'manifest-src': ["'self'"],
  'object-src': ["'none'"],
  'base-uri': ["'none'"],
  'form-action': ["'self'"],
  'frame-ancestors': ["'none'"],
})
export const DENIED_FEATURES = [
  'accelerometer',
  'autoplay',
  'camera',
  'cross-origin-isolated',
  'display-capture',
  'encrypted-media',
  'fullscreen',
  'geolocation',
  'gyroscope',
  'keyboard-map',
  'magnetometer',
  'microphone',
  'midi',
  'payment',
  'picture-in-picture',
  'publickey-credentials-get',
  'screen-wake-lock',
  'sync-xhr',
  'usb',
  'xr-spatial-tracking',
  'clipboard-read',
  'clipboard-write',
  'gamepad',
  'hid',
  'idle-detection',
  'serial',
  'window-management',
]
export const PERMISSIONS_POLICY = DENIED_FEATURES.map((name) => `${name}=()`).join(', ')

export const helmetOptions = (directives = API_CSP, referrer = 'no-referrer') => ({
  contentSecurityPolicy: { useDefaults: false, directives },
  referrerPolicy: { policy: referrer },
  xFrameOptions: { action: 'deny' },
  // The servers speak plain HTTP here, where this header means nothing; and the suite sends neither of the other two.
  strictTransportSecurity: false,
  xDownloadOptions: false,
  xPoweredBy: false,
})
export const PAGE_REFERRER = 'strict-origin-when-cross-origin'

export const page = (nonce) =>
  '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bench</title>' +
  '<link rel="stylesheet" href="/app.css"></head><body><main>Hello</main>' +
  `<script nonce="${nonce}" src="/app.js"></script></body></html>`
export const HTML = 'text/html; charset=utf-8'
export const PROBLEM = 'application/problem+json; charset=utf-8'

const PROBLEMS = {
  400: ['Bad Request', 'The request does not match what this route accepts.', 'VALIDATION_FAILED'],
  401: ['Unauthorized', 'Invalid token.', 'TOKEN_INVALID'],
  404: ['Not Found', 'There is nothing here.', 'NOT_FOUND'],
  429: ['Too Many Requests', 'Too many requests. Try again later.', 'RATE_LIMITED'],
  500: ['Internal Server Error', 'Something went wrong. Quote the instance when you report it.', 'INTERNAL_ERROR'],
}
/** The document that the suite answers a refusal with (RFC 9457), which the others send too. */
export function problem (status, instance, members) {
  const [title, detail, code] = PROBLEMS[status] ?? PROBLEMS[500]
  return { type: 'about:blank', title, status, detail, instance, code, ...members }
}
export const limitMembers = (retryAfter) => ({ retryAfter, violatedPolicies: ['tight'] })
export const CHALLENGE = `Bearer realm="${ISSUER}", error="invalid_token"`

const text = (maxLength, rest) => ({ type: 'string', maxLength, ...rest })
export const ITEM_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'description', 'price', 'quantity', 'email', 'tags'],
  properties: {
    name: text(100, { minLength: 1 }),
    description: text(500),
    price: { type: 'number', minimum: 0 },
    quantity: { type: 'integer', minimum: 0, maximum: 1000 },
    email: text(200, { format: 'email' }),
    tags: { type: 'array', maxItems: 10, items: text(30) },
  },
}
export const ITEM = {
  name: 'Garden chair',
  description: 'A chair of oiled oak, for the garden or the terrace, that folds flat.',
  price: 129.5,
  quantity: 12,
  email: 'ada.lovelace@example.com',
  tags: ['garden', 'oak', 'folding'],
}
export const PUBLIC_SCHEMA = {
  type: 'object',
  required: ['ok', 'service'],
  properties: { ok: { type: 'boolean' }, service: { type: 'string' } },
}
export const ME_SCHEMA = {
  type: 'object',
  required: ['id', 'roles'],
  properties: { id: { type: 'string' }, roles: { type: 'array', items: { type: 'string' } } },
}
export const PUBLIC = { ok: true, service: 'bench' }
export const userId = (index) => `user-${String(index).padStart(5, '0')}`

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const id = () => randomBytes(16).toString('base64url')

/** Tokens as the suite makes them, for the stacks that only verify. */
export function mintTokens (count, typ = 'at+jwt') {
  const iat = Math.floor(Date.now() / 1000)
  return Array.from({ length: count }, (_unused, index) => {
    const claims = {
      iss: ISSUER,
      aud: AUDIENCE,
      sub: userId(index),
      sid: id(),
      roles: ['user'],
      tv: 0,
      auth_time: iat,
      amr: ['pwd'],
      iat,
      exp: iat + ACCESS_SECONDS,
      jti: id(),
    }
    const input = `${encode({ alg: 'HS256', typ, kid: 'fudZZ9T_n0A' })}.${encode(claims)}`
    return `${input}.${createHmac('sha256', ACCESS_SECRET).update(input).digest('base64url')}`
  })
}

/** What every stack writes of a request when logging is on: one line with these fields. */
export function accessLine (id, method, route, status, startedAt, ip, userAgent) {
  return { reqId: id, method, route, status, ms: Math.round((performance.now() - startedAt) * 10) / 10, ip, userAgent }
}
export const LOG_FILE = '/dev/null'
