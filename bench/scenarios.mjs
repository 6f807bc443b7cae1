// What is asked of every stack, as the bytes that go over the wire: the answers are checked, and the load is made, with
// the same ones.
import { ITEM, ORIGIN, TIGHT_LIMIT } from './stacks/service.mjs'

export const MANY = 5000
const HOST = 'api.example.com'
const USER_AGENT = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'

export function rawRequest (method, path, headers = {}, body = '') {
  const fields = {
    host: HOST,
    'user-agent': USER_AGENT,
    accept: '*/*',
    origin: ORIGIN,
    ...headers,
    ...(body !== '' && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
  }
  return `${method} ${path} HTTP/1.1\r\n${
    Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  }\r\n${body}`
}

const bearer = (token) => ({ authorization: `Bearer ${token}` })
/** The last characters hold bits that decoders drop, so those before them are changed. */
const forged = (token) => `${token.slice(0, -8)}${token.slice(-8) === 'AAAAAAAA' ? 'BBBBBBBB' : 'AAAAAAAA'}`
const JSON_ITEM = JSON.stringify(ITEM)

/** path: the bare server's route; make: the requests that take turns, of a server's own tokens. */
export const SCENARIOS = {
  public: { title: 'public GET', path: '/public', status: 200, make: () => [rawRequest('GET', '/public')] },
  auth: {
    title: 'authenticated GET, one token',
    path: '/me',
    status: 200,
    make: (tokens) => [rawRequest('GET', '/me', bearer(tokens[0]))],
  },
  tokens: {
    title: `authenticated GET, ${MANY.toLocaleString('en')} tokens in turn`,
    path: '/me',
    status: 200,
    make: (tokens) => tokens.map((token) => rawRequest('GET', '/me', bearer(token))),
  },
  post: {
    title: 'validated POST, authenticated',
    path: '/items',
    status: 200,
    make: (tokens) => [rawRequest('POST', '/items', bearer(tokens[0]), JSON_ITEM)],
  },
  preflight: {
    title: 'preflight',
    path: 'preflight',
    status: 204,
    make:
      () => [
        rawRequest('OPTIONS', '/items', {
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization,content-type',
        }),
      ],
  },
  refused: {
    title: `401, ${MANY.toLocaleString('en')} forged tokens in turn`,
    path: '/refused',
    status: 401,
    make: (tokens) => tokens.map((token) => rawRequest('GET', '/refused', bearer(forged(token)))),
  },
  limited: {
    title: '429',
    path: '/limited',
    status: 429,
    before: TIGHT_LIMIT,
    make: () => [rawRequest('GET', '/limited')],
  },
  missing: { title: '404', path: 'notFound', status: 404, make: () => [rawRequest('GET', '/nowhere')] },
  page: { title: 'page with a nonce', path: '/page', status: 200, make: () => [rawRequest('GET', '/page')] },
}

export const STACKS = {
  bare: { title: 'Fastify alone', module: 'bare' },
  control: { title: 'Fastify alone, again', module: 'bare' },
  headers: { title: 'Fastify + the same header bytes', module: 'bare', sendsHeaders: true },
  bulwark: { title: 'fastify-bulwark', module: 'bulwark' },
  wired: { title: 'official plugins by hand', module: 'hand-wired' },
  hono: { title: 'Hono', module: 'hono' },
  express: { title: 'Express', module: 'express' },
}
