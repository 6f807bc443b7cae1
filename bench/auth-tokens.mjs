// CPU µs of a token, by itself: verified again, verified for the first time, refused and signed, against
// request.jwtVerify() and reply.jwtSign() of @fastify/jwt with the same claims, the same secret and the checks it can
// be told to make.
// `npm run build && node bench/auth-tokens.mjs [rounds] [tokens a round]`. Variants take turns in short rounds in one
// process, so that each runs undisturbed by other work on the machine at some time: the median, and the fastest round,
// of the CPU time. "control" is the first variant measured a second time: what the two differ by is noise.
import Fastify from 'fastify'
import fastifyJwt from '@fastify/jwt'
import { Type } from '@sinclair/typebox'
import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto'
import { resolveKeyring, secretKeyring } from '../dist/lib/auth/keyring.js'
import { MemorySessionStore } from '../dist/lib/auth/memory-store.js'
import { createId } from '../dist/lib/auth/rotation.js'
import { createSessions } from '../dist/lib/auth/sessions.js'
import { createUserModel } from '../dist/lib/auth/users.js'
import { registerKeys } from '../dist/plugins/auth.js'

const rounds = Number(process.argv[2] ?? 60)
const tokensARound = Number(process.argv[3] ?? 2000)
const NOW = Math.floor(Date.now() / 1000)
const secret = randomBytes(32).toString('base64url')
const policy = {
  idleMs: 7 * 86_400_000,
  absoluteMs: 30 * 86_400_000,
  graceMs: 10_000,
  tombstoneMs: 905_000,
  maxSessions: 100,
  whenFull: 'evict',
  onReuse: 'session',
}

async function codec (accessKeys) {
  return createSessions({
    users: createUserModel(['user', 'admin'], Type.Object({ tenant: Type.String() })),
    accessKeys: await registerKeys(Fastify(), 'at+jwt', accessKeys),
    refreshKeys: await registerKeys(Fastify(), 'rt+jwt', secretKeyring(randomBytes(32).toString('base64url'))),
    issuer: 'bulwark',
    audience: 'bulwark-api',
    accessTtlSeconds: 900,
    policy,
    store: new MemorySessionStore(policy, () => NOW * 1000),
    assertFits: () => {},
  }).access
}

const asymmetric = (alg, type, options) =>
  codec(resolveKeyring(
    {
      current: {
        alg,
        key:
          generateKeyPairSync(type, {
            ...options,
            privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
            publicKeyEncoding: { type: 'spki', format: 'pem' },
          }).privateKey,
      },
    },
    'bench',
    'access',
    [],
  ))

const claims = () => ({
  sub: 'user-4711',
  sid: createId(),
  roles: ['user'],
  tenant: 'acme',
  tv: 0,
  auth_time: NOW,
  amr: ['pwd'],
  iat: NOW,
  exp: NOW + 900,
  jti: createId(),
})
const hs256 = await codec(secretKeyring(secret))
const es256 = await asymmetric('ES256', 'ec', { namedCurve: 'P-256' })
const eddsa = await asymmetric('EdDSA', 'ed25519', {})
const rs256 = await asymmetric('RS256', 'rsa', { modulusLength: 2048 })

// Its cache is off, as by default, and what it can check of ours it does.
const app = Fastify()
await app.register(fastifyJwt, {
  secret,
  sign: { algorithm: 'HS256', iss: 'bulwark', aud: 'bulwark-api' },
  verify: {
    algorithms: ['HS256'],
    allowedIss: 'bulwark',
    allowedAud: 'bulwark-api',
    checkTyp: 'at+jwt',
    requiredClaims: ['sub', 'sid', 'iat', 'exp', 'jti'],
  },
})
let request
app.get('/', async (given) => { request = given; return {} })
await app.inject('/')
const jwtVerify = (token) => { request.headers.authorization = `Bearer ${token}`; return request.jwtVerify() }

const fresh = (with_ = hs256) => Array.from({ length: tokensARound }, () => with_.sign(claims()))
// A codec of its own, so that the new tokens do not push them out; and each time a new text, as from a Cookie header.
const remembering = await codec(secretKeyring(secret))
const seen = fresh().slice(0, 500)
const again = () => seen.map((token) => Buffer.from(`__Host-access=${token}`, 'latin1').latin1Slice().slice(14))
const wrongSignature = (tokens) =>
  tokens.map((token) => `${token.slice(0, token.lastIndexOf('.'))}.${randomBytes(32).toString('base64url')}`)
const wrongHeader = (tokens) =>
  tokens.map((token) => {
    const input = `${Buffer.from('{"alg":"HS384","typ":"at+jwt"}').toString('base64url')}.${token.split('.')[1]}`
    return `${input}.${createHmac('sha384', secret).update(input).digest('base64url')}`
  })

const accepted = (with_) => (token) => { if (typeof with_.verify(token, NOW) === 'string') throw new Error('refused') }
const refused = (token) => { if (hs256.verify(token, NOW) !== 'TOKEN_INVALID') throw new Error('accepted') }
const theyRefuse = (token) => jwtVerify(token).then(() => { throw new Error('accepted') }, () => {})

const VARIANTS = [
  ['seen', again, accepted(remembering)],
  ['seen (control)', again, accepted(remembering)],
  ['new HS256', fresh, accepted(hs256)],
  ['new HS256: jwtVerify', fresh, jwtVerify],
  ['refused, wrong signature', () => wrongSignature(fresh()), refused],
  ['refused, wrong signature: jwtVerify', () => wrongSignature(fresh()), theyRefuse],
  ['refused, wrong header', () => wrongHeader(fresh()), refused],
  ['refused, wrong header: jwtVerify', () => wrongHeader(fresh()), theyRefuse],
  ['sign HS256', () => Array.from({ length: tokensARound }, claims), (input) => hs256.sign(input)],
  ['sign HS256: app.jwt.sign', () => Array.from({ length: tokensARound }, claims), (input) => app.jwt.sign(input)],
  ['new RS256', () => fresh(rs256).slice(0, 100), accepted(rs256), 10],
  ['new ES256', () => fresh(es256).slice(0, 100), accepted(es256), 10],
  ['new EdDSA', () => fresh(eddsa).slice(0, 100), accepted(eddsa), 10],
]

const results = new Map(VARIANTS.map(([name]) => [name, []]))
for (let round = 0; round < rounds; round++) {
  for (const [name, inputs, run, share = 1] of VARIANTS) {
    if (round % share !== 0) continue
    const list = inputs()
    const waits = run === jwtVerify || run === theyRefuse
    const before = process.cpuUsage()
    if (waits) for (const input of list) await run(input)
    else for (const input of list) run(input)
    const { user, system } = process.cpuUsage(before)
    // The first rounds compile.
    if (round >= rounds / 10) results.get(name).push((user + system) / list.length)
  }
}

const middle = (name) => {
  const sorted = results.get(name).sort((a, b) => a - b)
  return { median: sorted[sorted.length >> 1], best: sorted[0] }
}
console.log(`${rounds} rounds of ${tokensARound} tokens, Node ${process.version}\n`)
console.log('variant'.padEnd(38), 'median µs', '  best µs')
for (const [name] of VARIANTS) {
  const { median, best } = middle(name)
  console.log(name.padEnd(38), median.toFixed(2).padStart(9), best.toFixed(2).padStart(9))
}
console.log('\nratio to @fastify/jwt (median, best)')
for (
  const [ours, theirs] of [
    ['seen', 'new HS256: jwtVerify'],
    ['new HS256', 'new HS256: jwtVerify'],
    ['refused, wrong signature', 'refused, wrong signature: jwtVerify'],
    ['refused, wrong header', 'refused, wrong header: jwtVerify'],
    ['sign HS256', 'sign HS256: app.jwt.sign'],
  ]
) {
  const [a, b] = [middle(ours), middle(theirs)]
  console.log(ours.padEnd(38), (a.median / b.median).toFixed(2).padStart(9), (a.best / b.best).toFixed(2).padStart(9))
}
await app.close()
