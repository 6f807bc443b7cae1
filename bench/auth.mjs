// CPU µs a request of a guarded route, against an open one of the same app and against `request.jwtVerify()` of
// @fastify/jwt in a hook (in-process.mjs). `npm run build && node bench/auth.mjs [rounds] [requests a round]`.
import Fastify from 'fastify'
import fastifyCookie from '@fastify/cookie'
import fastifyJwt from '@fastify/jwt'
import { createSecretKey, randomBytes } from 'node:crypto'
import { auth, publicRoute, registerKeys } from '../dist/plugins/auth.js'
import { csrf } from '../dist/plugins/csrf.js'
import { errors } from '../dist/plugins/errors.js'
import { secretKeyring } from '../dist/lib/auth/keyring.js'
import { createTokenCodec } from '../dist/lib/auth/tokens.js'
import { createId } from '../dist/lib/auth/rotation.js'
import { compare } from './in-process.mjs'

/** Far more than any of the two remembers or has a mark of, so that next to none is known when it comes again. */
const MANY = 80_000
const ACCESS = randomBytes(32).toString('base64url')

const claims = () => {
  const now = Math.floor(Date.now() / 1000)
  return {
    sub: createId(),
    sid: createId(),
    roles: ['user'],
    tv: 0,
    auth_time: now,
    amr: ['pwd'],
    iat: now,
    exp: now + 900,
    jti: createId(),
  }
}
const broken = (token) => token.slice(0, -4) + (token.endsWith('AAAA') ? 'BBBA' : 'AAAA')

async function suite (revocation = 'stateless') {
  const app = Fastify()
  await app.register(errors)
  await app.register(csrf)
  const refresh = randomBytes(32).toString('base64url')
  await app.register(auth, {
    roles: ['user'],
    redis: false,
    accessSecret: ACCESS,
    refreshSecret: refresh,
    revocation,
    loadUser: async (id) => ({ id, roles: ['user'] }),
  })
  app.get('/open', { security: { auth: publicRoute('bench') } }, async () => ({ ok: true }))
  app.get('/', async (request) => ({ ok: request.user.id !== '' }))
  await app.ready()
  const codec = createTokenCodec({
    keys: await registerKeys(Fastify(), 'at+jwt', secretKeyring(ACCESS)),
    issuer: 'bulwark',
    audience: 'bulwark-api',
    lifetimeSeconds: 900,
    cache: 0,
    parse: () => null,
  })
  return { app, name: '__Host-access', mint: () => codec.sign(claims()) }
}

async function peer (options = {}) {
  const app = Fastify()
  await app.register(fastifyCookie)
  await app.register(fastifyJwt, {
    secret: createSecretKey(Buffer.from(ACCESS)).export(),
    cookie: { cookieName: 'access', signed: false },
    sign: { algorithm: 'HS256', iss: 'bulwark', aud: 'bulwark-api' },
    verify: { algorithms: ['HS256'], allowedIss: 'bulwark', allowedAud: 'bulwark-api', ...options },
  })
  app.addHook('onRequest', async (request) => { await request.jwtVerify() })
  app.get('/', async (request) => ({ ok: request.user.sub !== '' }))
  await app.ready()
  return { app, name: 'access', mint: () => app.jwt.sign(claims()) }
}

const ok = (text) => text === '{"ok":true}'
const host = { host: 'api.example.com' }
/**
 * As Node's parser makes it of what came in: a new text of one piece. The open route gets one as long that it does not
 * read.
 */
const header = (name, text) => {
  const bytes = Buffer.from(text, 'latin1')
  return () => ({ ...host, [name]: bytes.latin1Slice() })
}
const open = async () => ({
  app: (await suite()).app,
  url: '/open',
  headers: header('x-other', 'x'.repeat(520)),
  body: ok,
})
const seen = ({ app, name, mint }) => ({ app, headers: header('cookie', `theme=dark; ${name}=${mint()}`), body: ok })
const each = ({ app, name, mint }, change = (token) => token, rest = { body: ok }) => {
  const cookies = Array.from({ length: MANY }, () => header('cookie', `theme=dark; ${name}=${change(mint())}`))
  return { app, headers: (count) => cookies[count % MANY](), ...rest }
}
const refused = { status: 401 }

const VARIANTS = {
  'open route a': open,
  'open route b': open,
  'seen token, stateless': async () => seen(await suite()),
  'new token, stateless': async () => each(await suite()),
  'wrong signature': async () => each(await suite(), broken, refused),
  'no token': async () => ({ app: (await suite()).app, headers: header('x-other', 'x'), ...refused }),
  'jwtVerify, seen token': async () => seen(await peer()),
  'jwtVerify, seen token, its cache': async () => seen(await peer({ cache: 1000 })),
  'jwtVerify, new token': async () => each(await peer()),
  'jwtVerify, wrong signature': async () => each(await peer(), broken, refused),
}

await compare({
  file: import.meta.filename,
  variants: VARIANTS,
  rounds: Number(process.argv[2] ?? 100),
  requests: Number(process.argv[3] ?? 600),
  report ({ difference, ratio }) {
    console.log('differences; the first is noise')
    difference('open route b', 'open route a')
    difference('seen token, stateless', 'open route a')
    difference('new token, stateless', 'open route a')
    difference('wrong signature', 'new token, stateless')
    console.log('ratios to the peer')
    ratio('jwtVerify, seen token', 'seen token, stateless')
    ratio('jwtVerify, seen token, its cache', 'seen token, stateless')
    ratio('jwtVerify, new token', 'new token, stateless')
    ratio('jwtVerify, wrong signature', 'wrong signature')
  },
})
