import { createHmac, randomBytes } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { test } from 'tap'
import { secretKeyring } from '../../../lib/auth/keyring.js'
import { MemorySessionStore } from '../../../lib/auth/memory-store.js'
import { createId } from '../../../lib/auth/rotation.js'
import { ACCESS_TYPE, REFRESH_TYPE } from '../../../lib/auth/session-tokens.js'
import { createSessions, type Sessions } from '../../../lib/auth/sessions.js'
import { createTokenCodec, type TokenTimes } from '../../../lib/auth/tokens.js'
import { createUserModel } from '../../../lib/auth/users.js'
import { registerKeys } from '../../../plugins/auth.js'
import { secret } from './support.js'

const NOW = 1_800_000_000
const ACCESS_SECRET = secret()
const REFRESH_SECRET = secret()
const policy = {
  idleMs: 7 * 86_400_000,
  absoluteMs: 30 * 86_400_000,
  graceMs: 10_000,
  tombstoneMs: 905_000,
  maxSessions: 100,
  whenFull: 'evict',
  onReuse: 'session',
} as const

async function make (): Promise<Sessions> {
  return createSessions({
    users: createUserModel(
      ['user', 'admin'],
      Type.Object({ tenant: Type.String(), tags: Type.Optional(Type.Array(Type.Object({ name: Type.String() }))) }),
    ),
    accessKeys: await registerKeys(Fastify(), ACCESS_TYPE, secretKeyring(ACCESS_SECRET)),
    refreshKeys: await registerKeys(Fastify(), REFRESH_TYPE, secretKeyring(REFRESH_SECRET)),
    issuer: 'bulwark',
    audience: 'bulwark-api',
    accessTtlSeconds: 900,
    policy,
    store: new MemorySessionStore(policy, () => NOW * 1000),
    assertFits: () => {},
  })
}

type Claims = Record<string, unknown>
const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const signature = (input: string, key = ACCESS_SECRET, hash = 'sha256'): string =>
  createHmac(hash, key).update(input).digest('base64url')

/** Signs what it is given, with the right key unless told otherwise: the attacker's workshop. */
function forge (header: unknown, payload: unknown, key?: string, hash?: string): string {
  const input = `${encode(header)}.${encode(payload)}`
  return `${input}.${signature(input, key, hash)}`
}

const sid = createId()
const good = (): Claims => ({
  iss: 'bulwark',
  aud: 'bulwark-api',
  sub: 'ada',
  sid,
  roles: ['user'],
  tenant: 'acme',
  tv: 0,
  auth_time: NOW,
  amr: ['pwd'],
  iat: NOW,
  exp: NOW + 900,
  jti: createId(),
})
const goodRefresh = (): Claims => ({
  iss: 'bulwark',
  aud: 'bulwark-api/refresh',
  sub: 'ada',
  sid,
  gen: 0,
  slt: createId(),
  jti: createId(),
  iat: NOW,
  exp: NOW + 604_800,
})
const headerOf = (token: string): { alg: string, typ: string, kid: string } =>
  JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as {
    alg: string
    typ: string
    kid: string
  }

test('a token says what was signed, frozen to the bottom, and inherits nothing', async (t) => {
  const { access, refresh } = await make()
  const verified = access.verify(access.sign({ ...good(), iat: NOW, exp: NOW + 900, tags: [{ name: 'x' }] }), NOW)
  if (typeof verified === 'string') {
    t.fail(verified)
    return
  }
  t.match(verified.context, {
    userId: 'ada',
    sessionId: sid,
    roles: ['user'],
    authTime: NOW,
    expiresAt: NOW + 900,
    user: { id: 'ada', roles: ['user'], tenant: 'acme', tags: [{ name: 'x' }] },
  })
  for (const inherited of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    t.notOk(inherited in verified.context.user, inherited)
  }
  const prototype: unknown = Object.getPrototypeOf(verified.context.user)
  t.ok(Object.isFrozen(prototype), 'nobody can give all users a claim')
  const deep = verified.context.user['tags'] as object[]
  for (const object of [verified, verified.context, verified.context.user, verified.context.roles, deep, deep[0]]) {
    t.ok(Object.isFrozen(object))
  }
  t.match(headerOf(access.sign({ ...good(), iat: NOW, exp: NOW + 1 })), { alg: 'HS256', typ: 'at+jwt' })
  t.match(refresh.verify(refresh.sign({ ...goodRefresh(), iat: NOW, exp: NOW + 9 }), NOW), {
    userId: 'ada',
    sessionId: sid,
    generation: 0,
  })
})

test('only the one header that this suite writes is accepted', async (t) => {
  const { access, refresh } = await make()
  const header = headerOf(access.sign({ ...good(), iat: NOW, exp: NOW + 900 }))
  t.type(access.verify(forge(header, good()), NOW), 'object', 'the workshop itself makes good tokens')
  const refreshHeader = headerOf(refresh.sign({ ...goodRefresh(), iat: NOW, exp: NOW + 9 }))
  t.type(refresh.verify(forge(refreshHeader, goodRefresh(), REFRESH_SECRET), NOW), 'object')
  const unsigned = (alg: unknown): string => `${encode({ ...header, alg })}.${encode(good())}.`
  const attacks: Record<string, string> = {
    'alg none, unsigned': unsigned('none'),
    'alg None, unsigned': unsigned('None'),
    'alg NONE, unsigned': unsigned('NONE'),
    'alg nOnE, signed': forge({ ...header, alg: 'nOnE' }, good()),
    'alg empty': forge({ ...header, alg: '' }, good()),
    'alg absent': forge({ typ: header.typ, kid: header.kid }, good()),
    'alg hs256 in lower case': forge({ ...header, alg: 'hs256' }, good()),
    'alg as a list': forge({ ...header, alg: ['HS256'] }, good()),
    HS384: forge({ ...header, alg: 'HS384' }, good(), ACCESS_SECRET, 'sha384'),
    HS512: forge({ ...header, alg: 'HS512' }, good(), ACCESS_SECRET, 'sha512'),
    RS256: forge({ ...header, alg: 'RS256' }, good()),
    'typ of the other kind': forge({ ...header, typ: 'rt+jwt' }, good()),
    'typ JWT': forge({ ...header, typ: 'JWT' }, good()),
    'typ with application/': forge({ ...header, typ: 'application/at+jwt' }, good()),
    'typ in upper case': forge({ ...header, typ: 'AT+JWT' }, good()),
    'typ absent': forge({ alg: header.alg, kid: header.kid }, good()),
    'kid unknown': forge({ ...header, kid: 'other' }, good()),
    'kid absent': forge({ alg: header.alg, typ: header.typ }, good()),
    'kid as a path': forge({ ...header, kid: '../../dev/null' }, good(), ''),
    'kid of the refresh key': forge({ ...header, kid: refreshHeader.kid }, good()),
    'crit': forge({ ...header, crit: ['b64'], b64: false }, good()),
    'crit null': forge({ ...header, crit: null }, good()),
    'crit empty': forge({ ...header, crit: [] }, good()),
    b64: forge({ ...header, b64: false }, good()),
    jku: forge({ ...header, jku: 'https://evil.example/jwks' }, good()),
    jwk: forge({ ...header, jwk: { kty: 'oct', k: 'AA' } }, good()),
    x5u: forge({ ...header, x5u: 'https://evil.example/' }, good()),
    x5c: forge({ ...header, x5c: ['MIIB'] }, good()),
    zip: forge({ ...header, zip: 'DEF' }, good()),
    'members in another order': forge({ kid: header.kid, typ: header.typ, alg: header.alg }, good()),
    'a repeated member': forge(`{"alg":"none",${JSON.stringify(header).slice(1)}`, good()),
    'white space in the header': forge(JSON.stringify(header, null, 1), good()),
    '__proto__ in the header': forge(`${JSON.stringify(header).slice(0, -1)},"__proto__":{}}`, good()),
    'header an array': forge([header], good()),
    'header null': forge('null', good()),
    'header a number': forge('1', good()),
    'header no JSON': forge('{', good()),
    'another key': forge(header, good(), secret()),
    'the empty key': forge(header, good(), ''),
    'the refresh key': forge(header, good(), REFRESH_SECRET),
    'a refresh token': refresh.sign({ ...goodRefresh(), iat: NOW, exp: NOW + 9 }),
    'a refresh token with claims of both kinds': forge(refreshHeader, { ...goodRefresh(), ...good() }, REFRESH_SECRET),
  }
  for (const [what, token] of Object.entries(attacks)) t.equal(access.verify(token, NOW), 'TOKEN_INVALID', what)
  t.equal(
    refresh.verify(access.sign({ ...good(), iat: NOW, exp: NOW + 900 }), NOW),
    'TOKEN_INVALID',
    'an access token is no refresh token',
  )
  t.equal(
    refresh.verify(forge(refreshHeader, { ...goodRefresh(), aud: 'bulwark-api' }, REFRESH_SECRET), NOW),
    'TOKEN_INVALID',
    'nor is one with the audience of the other',
  )
})

test('a token has exactly three canonical segments of bounded length', async (t) => {
  const { access } = await make()
  const token = access.sign({ ...good(), iat: NOW, exp: NOW + 900 })
  const [header = '', payload = '', mac = ''] = token.split('.')
  const lastBits = (text: string): string =>
    text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) + 1)
  const attacks: Record<string, string> = {
    'nothing': '',
    'a dot': '.',
    'two dots': '..',
    'one segment': header,
    'two segments': `${header}.${payload}`,
    'no signature': `${header}.${payload}.`,
    'four segments': `${token}.${mac}`,
    'five segments (JWE)': `${token}.${mac}.${mac}`,
    'an empty payload': `${header}..${mac}`,
    'padding on the signature': `${token}=`,
    'padding on the payload': `${header}.${payload}=.${mac}`,
    'plain base64': `${header}.${payload}.${mac.replaceAll('-', '+').replaceAll('_', '/')}+`,
    'the unused bits of the signature': `${header}.${payload}.${lastBits(mac)}`,
    'a space before': ` ${token}`,
    'a space after': `${token} `,
    'a line break': `${token}\n`,
    'a line break in a segment': `${header}.${payload.slice(0, 4)}\n${payload.slice(4)}.${mac}`,
    'a NUL': `${token}\0`,
    'quotes': `"${token}"`,
    'a percent-encoded dot': token.replace('.', '%2E'),
    'not ASCII': `${header}.${payload}é.${mac}`,
    'a signature cut short': token.slice(0, -1),
    'a signature grown': `${token}A`,
    'over 4096 bytes': forge(headerOf(token), { ...good(), tenant: 'x'.repeat(4096) }),
  }
  for (const [what, text] of Object.entries(attacks)) t.equal(access.verify(text, NOW), 'TOKEN_INVALID', what)
  let accepted = 0
  for (let at = 0; at < token.length; at++) {
    const changed = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1)
    if (access.verify(changed, NOW) !== 'TOKEN_INVALID') accepted++
  }
  t.equal(accepted, 0, 'no single changed character is accepted')
  for (let round = 0; round < 500; round++) {
    t.equal(access.verify(randomBytes(round).toString(round % 2 === 0 ? 'latin1' : 'base64url'), NOW), 'TOKEN_INVALID')
  }
})

test('a genuine signature does not excuse claims that are missing, of another type or beyond the policy', async (t) => {
  const { access } = await make()
  const header = headerOf(access.sign({ ...good(), iat: NOW, exp: NOW + 900 }))
  const without = (name: string): Claims => Object.fromEntries(Object.entries(good()).filter(([key]) => key !== name))
  const text = JSON.stringify(good())
  const attacks: Record<string, unknown> = {
    'exp a text': { ...good(), exp: String(NOW + 900) },
    'exp a fraction': { ...good(), exp: NOW + 1.5 },
    'exp 1e999': text.replace(`"exp":${NOW + 900}`, '"exp":1e999'),
    'exp in exponent form': text.replace(`"exp":${NOW + 900}`, '"exp":1.8000001e9'),
    'exp negative': { ...good(), exp: -1 },
    'exp null': { ...good(), exp: null },
    'exp beyond the policy': { ...good(), exp: NOW + 901 },
    'exp not after iat': { ...good(), exp: NOW },
    'iat in the future': { ...good(), iat: NOW + 6, exp: NOW + 100 },
    'iat a text': { ...good(), iat: String(NOW) },
    'iat a fraction': { ...good(), iat: NOW - 0.5 },
    'iat and exp both far ahead': { ...good(), iat: NOW + 1000, exp: NOW + 1800 },
    'nbf': { ...good(), nbf: NOW + 60 },
    'iss of another service': { ...good(), iss: 'other' },
    'aud a list': { ...good(), aud: ['bulwark-api'] },
    'aud of another service': { ...good(), aud: 'other' },
    'aud of refresh tokens': { ...good(), aud: 'bulwark-api/refresh' },
    'sub empty': { ...good(), sub: '' },
    'sub a number': { ...good(), sub: 1 },
    'sub an object': { ...good(), sub: { $ne: null } },
    'sid of another form': { ...good(), sid: '../x' },
    'roles a text': { ...good(), roles: 'admin' },
    'roles unknown': { ...good(), roles: ['root'] },
    'roles nested': { ...good(), roles: [['admin']] },
    'roles with a number': { ...good(), roles: [1] },
    'auth_time a text': { ...good(), auth_time: String(NOW) },
    'auth_time after iat': { ...good(), auth_time: NOW + 60 },
    'an app claim of another type': { ...good(), tenant: 1 },
    'an app claim in __proto__': `${JSON.stringify(without('tenant')).slice(0, -1)},"__proto__":{"tenant":"acme"}}`,
    'a repeated claim': text.replace('{', '{"sub":"root",'),
    'white space in the payload': JSON.stringify(good(), null, 1),
    'an escaped spelling': text.replace('"ada"', '"\\u0061da"'),
    'an array': [good()],
    'null': 'null',
    'a text': '"x"',
    'a number': '1',
    'no JSON': '{',
  }
  for (const name of ['iss', 'aud', 'sub', 'sid', 'roles', 'tv', 'auth_time', 'amr', 'iat', 'exp', 'jti', 'tenant']) {
    attacks[`without ${name}`] = without(name)
  }
  for (const [what, payload] of Object.entries(attacks)) {
    t.equal(access.verify(forge(header, payload), NOW), 'TOKEN_INVALID', what)
  }
  const input = `${encode(header)}.${Buffer.from(text.replace('ada', 'ad\xff'), 'latin1').toString('base64url')}`
  t.equal(access.verify(`${input}.${signature(input)}`, NOW), 'TOKEN_INVALID', 'text that is not UTF-8')

  const polluted = access.verify(
    forge(header, `${text.slice(0, -1)},"__proto__":{"admin":true},"constructor":1,"isAdmin":true}`),
    NOW,
  )
  if (typeof polluted === 'string') {
    t.fail(polluted)
    return
  }
  t.same(Object.keys(polluted.context.user), ['id', 'roles', 'tenant'], 'only declared claims come out')
  t.equal(({} as { admin?: boolean }).admin, undefined)
})

test('a refresh token needs all of its claims', async (t) => {
  const { refresh } = await make()
  const header = headerOf(refresh.sign({ ...goodRefresh(), iat: NOW, exp: NOW + 9 }))
  const attacks: Record<string, Claims> = {
    'gen negative': { ...goodRefresh(), gen: -1 },
    'gen a fraction': { ...goodRefresh(), gen: 0.5 },
    'gen a text': { ...goodRefresh(), gen: '0' },
    'gen beyond what counts exactly': { ...goodRefresh(), gen: 2 ** 53 },
    'slt short': { ...goodRefresh(), slt: 'x' },
    'jti short': { ...goodRefresh(), jti: 'x' },
    'longer than the policy': { ...goodRefresh(), exp: NOW + 604_801 },
    'sub empty': { ...goodRefresh(), sub: '' },
  }
  for (const name of Object.keys(goodRefresh())) {
    attacks[`without ${name}`] = Object.fromEntries(Object.entries(goodRefresh()).filter(([key]) => key !== name))
  }
  for (const [what, payload] of Object.entries(attacks)) {
    t.equal(refresh.verify(forge(header, payload, REFRESH_SECRET), NOW), 'TOKEN_INVALID', what)
  }
})

test('TOKEN_EXPIRED is said at the second of exp, and only of a genuine token', async (t) => {
  const { access } = await make()
  const token = access.sign({ ...good(), iat: NOW, exp: NOW + 900 })
  t.equal(access.verify(token, NOW + 900), 'TOKEN_EXPIRED', 'never seen')
  for (let i = 0; i < 3; i++) t.type(access.verify(token, NOW + 899), 'object')
  t.equal(access.verify(token, NOW + 899), access.verify(token, NOW + 899), 'remembered')
  t.equal(access.verify(token, NOW + 900), 'TOKEN_EXPIRED', 'from the cache too')
  t.equal((await make()).access.verify(token, NOW + 900), 'TOKEN_EXPIRED')
  t.type(access.verify(token, NOW - 5), 'object', 'clocks may differ by five seconds')
  t.equal(access.verify(token, NOW - 6), 'TOKEN_INVALID')
  const header = headerOf(token)
  t.equal(
    access.verify(forge(header, { ...good(), iat: NOW - 2000, exp: NOW - 1100 }, secret()), NOW),
    'TOKEN_INVALID',
    'a forged one is not called expired',
  )
  t.equal(
    access.verify(
      forge(header, { ...good(), roles: ['root'], iat: NOW - 2000, exp: NOW - 1100, auth_time: NOW - 2000 }),
      NOW,
    ),
    'TOKEN_INVALID',
  )
})

test('a token that comes again is verified once', async (t) => {
  const { access } = await make()
  const token = access.sign({ ...good(), iat: NOW, exp: NOW + 900 })
  const first = access.verify(token, NOW)
  t.type(first, 'object')
  t.equal(access.verify(token, NOW), first)
})

test('a cache of verified tokens is bounded, and a refused token takes no place in it', async (t) => {
  const keys = await registerKeys(Fastify(), ACCESS_TYPE, secretKeyring(ACCESS_SECRET))
  const codec = createTokenCodec<TokenTimes>({
    keys,
    issuer: 'bulwark',
    audience: 'bulwark-api',
    lifetimeSeconds: 900,
    cache: 4,
    parse: (_payload, times) => ({ ...times }),
  })
  const sign = (): string => codec.sign({ ...good(), iat: NOW, exp: NOW + 900, jti: createId() })
  const first = sign()
  const verified = codec.verify(first, NOW)
  const [header = '', payload = ''] = first.split('.')
  for (let count = 0; count < 100; count++)
    {codec.verify(`${header}.${payload}.${createId()}${createId().slice(1)}`, NOW)}
  t.equal(codec.verify(first, NOW), verified, 'forged tokens push nothing out')
  for (let count = 0; count < 8; count++) codec.verify(sign(), NOW)
  t.not(codec.verify(first, NOW), verified, 'many genuine ones do')
})

test('the header of a signed token is the one spelling that selects its key', async (t) => {
  const keys = await registerKeys(Fastify(), ACCESS_TYPE, secretKeyring(ACCESS_SECRET))
  t.equal(keys.current.jwt.sign({ a: 1 }).split('.')[0], keys.current.header)
})
