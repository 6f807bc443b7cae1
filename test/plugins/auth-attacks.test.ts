import { createHmac, generateKeyPairSync, sign as signWith } from 'node:crypto'
import { test, type Test } from 'tap'
import type { KeyringOption } from '../../lib/auth/keyring.js'
import { MemorySessionStore } from '../../lib/auth/memory-store.js'
import csrf from '../../plugins/csrf.js'
import { build, codeOf, cookieHeader, jarOf, secret, type Jar, type World } from '../lib/auth/support.js'

type Claims = Record<string, unknown>

/** What an attacker who holds a genuine token, and for the sake of the test even the key, can build from it. */
interface Kit {
  readonly kind: 'access' | 'refresh'
  readonly good: string
  readonly head: Claims
  readonly claims: Claims
  /** Signs what it is given with the genuine key. */
  readonly signed: (head: Claims | string, claims: Claims | string, key?: string, hash?: string) => string
  /** A genuine token of the other kind, and the key that made it. */
  readonly other: string
  readonly otherKey: string
}

const text = (value: Claims | string): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

function kitOf (kind: 'access' | 'refresh', jar: Jar, { accessSecret, refreshSecret }: World): Kit {
  const tokens = { access: jar['__Host-access'] ?? '', refresh: jar['__Secure-refresh'] ?? '' }
  const [ownKey, otherKey] = kind === 'access' ? [accessSecret, refreshSecret] : [refreshSecret, accessSecret]
  const good = tokens[kind]
  const [head = {}, claims = {}] = good.split('.').slice(0, 2).map((part) =>
    JSON.parse(Buffer.from(part, 'base64url').toString()) as Claims
  )
  return {
    kind,
    good,
    head,
    claims,
    other: tokens[kind === 'access' ? 'refresh' : 'access'],
    otherKey,
    signed (h, c, key = ownKey, hash = 'sha256') {
      const input = `${text(h)}.${text(c)}`
      return `${input}.${createHmac(hash, key).update(input).digest('base64url')}`
    },
  }
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const without = (from: Claims, name: string): Claims =>
  Object.fromEntries(Object.entries(from).filter(([key]) => key !== name))

/** Every forgery by name. */
function forgeries ({ kind, good, head, claims, signed, other, otherKey }: Kit): Record<string, string> {
  const [h = '', p = '', s = ''] = good.split('.')
  const iat = Number(claims['iat'])
  const withHead = (more: Claims): string => signed({ ...head, ...more }, claims)
  const withClaims = (more: Claims): string => signed(head, { ...claims, ...more })
  const raw = JSON.stringify(claims)
  const rs256 = `${text({ ...head, alg: 'RS256' })}.${p}`
  const table: Record<string, string> = {
    'another key': signed(head, claims, secret()),
    'an empty key': signed(head, claims, ''),
    'a zero byte as key': signed(head, claims, '\0'),
    'the other kind\'s token': other,
    'these claims under the other kind\'s key': signed(head, claims, otherKey),
    'an untouched payload with another header': `${text({ ...head, typ: 'JWT' })}.${p}.${s}`,
    'RS256 by the attacker, with the key in the header': `${
      text({ ...head, alg: 'RS256', jwk: rsa.publicKey.export({ format: 'jwk' }) })
    }.${p}.${signWith('sha256', Buffer.from(rs256), rsa.privateKey).toString('base64url')}`,
    'HS384 with the right key': signed({ ...head, alg: 'HS384' }, claims, undefined, 'sha384'),
    'HS512 with the right key': signed({ ...head, alg: 'HS512' }, claims, undefined, 'sha512'),
    'a reordered header': signed(Object.fromEntries(Object.entries(head).reverse()), claims),
    'a header that is an array': signed(JSON.stringify([head]), claims),
    'a header that says alg twice': signed(JSON.stringify(head).replace('{', '{"alg":"none",'), claims),
    'no header': `.${p}.${s}`,
    'no payload': `${h}..${s}`,
    'no signature': `${h}.${p}.`,
    'one segment': h,
    'two segments': `${h}.${p}`,
    'four segments': `${good}.${s}`,
    'five segments': `${good}.${s}.${s}`,
    'a dot before': `.${good}`,
    'dots only': '..',
    'a text': 'undefined',
    'nothing': '',
    padding: `${good}=`,
    'padding of the payload': `${h}.${p}=.${s}`,
    'space within': `${h}. ${p}.${s}`,
    'a tab within': `${h}.\t${p}.${s}`,
    'percent encoding': good.replaceAll('.', '%2E'),
    quotes: `"${good}"`,
    'base64 instead of base64url': `${h}.${Buffer.from(`${raw} `).toString('base64')}.${s}`,
    'a non-canonical end': good.slice(0, -1) + String.fromCharCode(good.charCodeAt(good.length - 1) + 1),
    'a cut signature': good.slice(0, -4),
    'a comment': good.replace('.', './**/'),
    'oversized, signed': withClaims({ padding: 'x'.repeat(5000) }),
    'oversized nonsense': 'x'.repeat(10_000),
    'nested deeply, signed': signed(
      head,
      raw.replace('{', `{"a":${'['.repeat(400)}${']'.repeat(400)},`).replace('}', '} '),
    ),
    'says sub twice, signed': signed(head, raw.replace('{', '{"sub":"root",')),
    'a prototype, signed': signed(
      head,
      raw.replace('{', '{"__proto__":{"roles":["admin"]},').replace(/"sub":"[^"]*",/, ''),
    ),
    'white space, signed': signed(head, JSON.stringify(claims, null, 1)),
    'a byte order mark, signed': signed(head, `\uFEFF${raw}`),
    'text after the object, signed': signed(head, `${raw}{}`),
    'no JSON, signed': signed(head, 'sub=root'),
    'exp 1e999, signed': signed(head, raw.replace(/"exp":\d+/, '"exp":1e999')),
    'iat -0, signed': signed(head, raw.replace(/"iat":\d+/, '"iat":-0')),
    'exp with a fraction spelling, signed': signed(head, raw.replace(/"exp":(\d+)/, '"exp":$1.0')),
    'a future iat, signed': withClaims({ iat: iat + 60, exp: iat + 120 }),
    'too long a life, signed': withClaims({ exp: Number(claims['exp']) + 1 }),
    'exp before iat, signed': withClaims({ exp: iat - 1 }),
    'nbf, signed': withClaims({ nbf: iat }),
  }
  for (
    const alg of [
      'none',
      'None',
      'NONE',
      'nOnE',
      'none ',
      '',
      null,
      ['HS256'],
      { HS256: 1 },
      'hs256',
      'ES256',
      'PS256',
      'EdDSA',
      'dir',
    ]
  ) {
    table[`alg ${JSON.stringify(alg)} without a signature`] = `${text({ ...head, alg })}.${p}.`
    table[`alg ${JSON.stringify(alg)} with the old signature`] = `${text({ ...head, alg })}.${p}.${s}`
    table[`alg ${JSON.stringify(alg)}, signed`] = withHead({ alg })
  }
  for (
    const kid of [
      'unknown',
      '',
      '../../../../dev/null',
      '/dev/null',
      '__proto__',
      'constructor',
      "' OR 1=1 --",
      'x'.repeat(10_240),
      [head['kid']],
      7,
      null,
      { a: 1 },
    ]
  ) {
    const [name] = [JSON.stringify(kid).slice(0, 30)]
    table[`kid ${name}, signed`] = withHead({ kid })
    table[`kid ${name} with an empty key`] = signed({ ...head, kid }, claims, '')
  }
  for (
    const [name, value] of Object.entries({
      jku: 'https://evil.example/jwks',
      x5u: 'https://evil.example/x',
      jwk: { kty: 'oct', k: 'AAAA' },
      x5c: ['AAAA'],
      crit: ['exp'],
      b64: false,
      zip: 'DEF',
      cty: 'JWT',
      enc: 'A128GCM',
    })
  ) {
    table[`header ${name}, signed`] = withHead({ [name]: value })
  }
  for (
    const typ of ['JWT', 'jwt', kind === 'access' ? 'rt+jwt' : 'at+jwt', 'application/at+jwt', 'AT+JWT', '', null, [
      'at+jwt',
    ]]
  ) table[`typ ${JSON.stringify(typ)}, signed`] = withHead({ typ })
  for (const name of ['kid', 'typ', 'alg']) {
    table[`without the header ${name}, signed`] = signed(without(head, name), claims)
  }
  for (const whole of ['null', '[]', '"text"', '7', 'true', JSON.stringify([claims])]) {
    table[`payload ${whole.slice(0, 20)}, signed`] = signed(head, whole)
  }
  for (const name of ['iss', 'aud']) {
    const own = String(claims[name])
    for (
      const value of [
        undefined,
        null,
        '',
        `${own}x`,
        `${own}/`,
        own.toUpperCase(),
        [own],
        [own, 'other'],
        { 0: own },
        'https://evil.example',
      ]
    ) table[`${name} ${JSON.stringify(value)}, signed`] = withClaims({ [name]: value })
  }
  for (const name of ['iat', 'exp']) {
    for (
      const value of [undefined, null, '9999999999', Number(claims[name]) + 0.5, -1, true, [claims[name]], {}, 2 ** 53]
    ) table[`${name} ${JSON.stringify(value)}, signed`] = withClaims({ [name]: value })
  }
  const ids = kind === 'access' ? ['sub', 'sid', 'jti'] : ['sub', 'sid', 'jti', 'slt']
  for (const name of ids) {
    for (const value of [undefined, null, '', 7, true, ['ada'], {}]) {
      table[`${name} ${JSON.stringify(value)}, signed`] = withClaims({ [name]: value })
    }
  }
  for (const name of ids.filter((id) => id !== 'sub')) {
    for (const value of ['short', '../../x', 'x'.repeat(22), `{${'x'.repeat(20)}}`, 'AAAAAAAAAAAAAAAAAAAAA\n']) {
      table[`${name} ${JSON.stringify(value)}, signed`] = withClaims({ [name]: value })
    }
  }
  if (kind === 'access') {
    for (const roles of [undefined, null, 'admin', ['root'], [7], [['admin']], { 0: 'admin', length: 1 }]) {
      table[`roles ${JSON.stringify(roles)}, signed`] = withClaims({ roles })
    }
    for (
      const scope of [
        null,
        '',
        ' ',
        'read ',
        ' read',
        'read  write',
        'read read',
        'root',
        'Read',
        'read,write',
        ['read'],
        7,
        true,
        { read: 1 },
      ]
    ) table[`scope ${JSON.stringify(scope)}, signed`] = withClaims({ scope })
    for (const time of [undefined, '1', iat + 60, -1, 0.5]) {
      table[`auth_time ${JSON.stringify(time)}, signed`] = withClaims({ auth_time: time })
    }
    for (const tv of [undefined, '0', -1, 0.5, null]) table[`tv ${JSON.stringify(tv)}, signed`] = withClaims({ tv })
    table['roles escalated'] = `${h}.${text({ ...claims, roles: ['admin'] })}.${s}`
    table['the refresh claims under the access key'] = signed(
      head,
      Buffer.from(other.split('.')[1] ?? '', 'base64url').toString(),
    )
  } else {
    for (const gen of [undefined, '0', -1, 0.5, null, 2 ** 53]) {
      table[`gen ${JSON.stringify(gen)}, signed`] = withClaims({ gen })
    }
    table['the generation raised'] = `${h}.${text({ ...claims, gen: 1 })}.${s}`
    table['the access claims under the refresh key'] = signed(
      head,
      Buffer.from(other.split('.')[1] ?? '', 'base64url').toString(),
    )
  }
  return table
}

const METHODS = ['create', 'rotate', 'check', 'list', 'end', 'endAll', 'outdate'] as const

/** Counts what any store in memory is asked. */
function countCalls (t: Test): () => number {
  let calls = 0
  for (const name of METHODS) {
    const original: unknown = Reflect.get(MemorySessionStore.prototype, name)
    Reflect.set(MemorySessionStore.prototype, name, function counted (this: MemorySessionStore, ...args: unknown[]): unknown {
      calls++
      return Reflect.apply(original as (...args: unknown[]) => unknown, this, args)
    })
    t.teardown(() => { Reflect.set(MemorySessionStore.prototype, name, original) })
  }
  return () => calls
}

const OPTIONS = { sources: ['cookie', 'bearer'], scopes: ['read', 'write'] } as const

interface Way {
  readonly name: string
  readonly kind: 'access' | 'refresh'
  readonly headers: (token: string) => Record<string, string>
  readonly method: 'GET' | 'POST'
  readonly urls: readonly string[]
}

const WAYS: readonly Way[] = [
  {
    name: 'access by cookie',
    kind: 'access',
    headers: (token) => ({ cookie: `__Host-access=${token}` }),
    method: 'GET',
    urls: ['/me', '/maybe', '/stateless', '/admin'],
  },
  {
    name: 'access by Bearer',
    kind: 'access',
    headers: (token) => ({ authorization: `Bearer ${token}` }),
    method: 'GET',
    urls: ['/me', '/maybe'],
  },
  {
    name: 'refresh by cookie',
    kind: 'refresh',
    headers: (token) => ({ cookie: `__Secure-refresh=${token}` }),
    method: 'POST',
    urls: ['/auth/refresh'],
  },
  {
    name: 'refresh by Bearer',
    kind: 'refresh',
    headers: (token) => ({ authorization: `Bearer ${token}` }),
    method: 'POST',
    urls: ['/auth/refresh'],
  },
]

for (const way of WAYS) {
  test(`${way.name}: every forgery is a 401 with one code, asks no store, and is an event without the token`, async (t) => {
    const calls = countCalls(t)
    const world = await build(t, { options: { ...OPTIONS } })
    const { app, events } = world
    const kit = kitOf(way.kind, await world.login(), world)
    const send = async (token: string, url: string): ReturnType<World['call']> =>
      await app.inject({
        method: way.method,
        url,
        headers: { host: 'api.example.com', 'user-agent': 'Browser/1', ...way.headers(token) },
      })

    for (const url of way.urls.filter((one) => one !== '/admin').slice(0, 1)) {
      const genuine = await send(way.kind === 'access' ? kit.signed(kit.head, kit.claims) : kit.good, url)
      t.equal(genuine.statusCode, 200, 'the kit makes genuine tokens')
    }
    const before = calls()
    const table = forgeries(kit)
    t.ok(Object.keys(table).length > 150)
    for (const [what, token] of Object.entries(table)) {
      for (const url of way.urls) {
        const count = events.length
        const response = await send(token, url)
        t.same([codeOf(response), response.json<{ message: string }>().message], [
          '401 TOKEN_INVALID',
          'Invalid token.',
        ], `${what} on ${url}`)
        t.equal(
          response.headers['www-authenticate'],
          'Cookie realm="bulwark", Bearer realm="bulwark", error="invalid_token"',
        )
        t.equal(response.headers['set-cookie'], undefined)
        t.same(events.slice(count), [{ name: 'authn_token_invalid', kind: way.kind, code: 'TOKEN_INVALID' }], what)
      }
    }
    t.equal(calls(), before, 'no store was asked')
  })
}

test('an expired token is called so only after its signature is valid', async (t) => {
  const world = await build(t, { options: { ...OPTIONS } })
  const { app, clock } = world
  const kit = kitOf('access', await world.login(), world)
  clock.advance(900_000)
  for (const headers of [{ cookie: `__Host-access=${kit.good}` }, { authorization: `Bearer ${kit.good}` }]) {
    t.equal(
      codeOf(await app.inject({ url: '/me', headers: { host: 'api.example.com', ...headers } })),
      '401 TOKEN_EXPIRED',
    )
  }
  t.equal(
    codeOf(await world.call('GET', '/me', { '__Host-access': kit.signed(kit.head, kit.claims, secret()) })),
    '401 TOKEN_INVALID',
  )
})

test('an expired refresh token means that the session is over, by either source and without asking for it', async (t) => {
  const calls = countCalls(t)
  const world = await build(t, { options: { ...OPTIONS } })
  const { app, clock, events } = world
  const kit = kitOf('refresh', await world.login(), world)
  clock.advance(604_800_000)
  const [before, told] = [calls(), events.length]
  for (const { headers } of WAYS.filter(({ kind }) => kind === 'refresh')) {
    const response = await app.inject({
      method: 'POST',
      url: '/auth/refresh',
      headers: { host: 'api.example.com', ...headers(kit.good) },
    })
    t.equal(codeOf(response), '401 SESSION_REVOKED')
    t.equal(response.headers['set-cookie'], undefined)
  }
  t.equal(calls(), before)
  t.equal(events.length, told)
})

test('signing out and in with a forged token is signing out and in without one', async (t) => {
  const calls = countCalls(t)
  const world = await build(t, { options: { ...OPTIONS } })
  const { app, events } = world
  for (const { kind, headers } of [WAYS[0], WAYS[3]] as [Way, Way]) {
    const kit = kitOf(kind, await world.login(), world)
    const [before, told] = [calls(), events.length]
    // The two that the key has signed, and that name a session, do end it: one is the other kind's, one was made too
    // early.
    for (
      const [what, token] of Object.entries(forgeries(kit)).filter(([name]) =>
        name !== "the other kind's token" && name !== 'a future iat, signed'
      )
    ) {
      const response = await app.inject({
        method: 'POST',
        url: '/auth/logout',
        headers: { host: 'api.example.com', ...headers(token) },
      })
      t.equal(response.statusCode, 204, what)
    }
    t.equal(calls(), before, 'nobody\'s session was looked at')
    t.equal(events.length, told)
    const again = await app.inject({
      method: 'POST',
      url: '/auth/login',
      headers: { host: 'api.example.com', ...headers(kit.signed(kit.head, kit.claims, secret())) },
      payload: { email: 'root@example.com', password: 'right' },
    })
    t.equal(again.statusCode, 200)
    t.equal(calls(), before + 1, 'one new session, and no other touched')
  }
})

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const es256: KeyringOption = {
  current: { alg: 'ES256', key: ec.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString() },
}

test('a public key is no HMAC secret, however it is spelt, for either kind of token and by either source', async (t) => {
  const calls = countCalls(t)
  const world = await build(t, { options: { ...OPTIONS, accessSecret: undefined as never, accessKeys: es256 } })
  const jar = await world.login()
  t.equal((await world.call('GET', '/me', jar)).statusCode, 200)
  const kits = { access: kitOf('access', jar, world), refresh: kitOf('refresh', jar, world) }
  const before = calls()
  const pem = ec.publicKey.export({ format: 'pem', type: 'spki' }).toString()
  const jwk = ec.publicKey.export({ format: 'jwk' })
  const spellings: Record<string, string | Buffer> = {
    pem,
    'pem without its last line end': pem.trimEnd(),
    'pem with CRLF': pem.replaceAll('\n', '\r\n'),
    'padded pem': ` ${pem} `,
    'pem twice': pem + pem,
    der: ec.publicKey.export({ format: 'der', type: 'spki' }),
    jwk: JSON.stringify(jwk),
    x: String(jwk.x),
    empty: '',
  }
  for (const [what, key] of Object.entries(spellings)) {
    for (const alg of ['HS256', 'HS384', 'HS512', 'ES256']) {
      for (const { name, kind, method, urls: [url = ''], headers } of WAYS) {
        for (const kid of [kits[kind].head['kid'], kits.access.head['kid']]) {
          const token = kits[kind].signed(
            { ...kits[kind].head, alg, kid },
            kits[kind].claims,
            key as string,
            alg === 'HS512' ? 'sha512' : alg === 'HS384' ? 'sha384' : 'sha256',
          )
          t.equal(
            codeOf(await world.app.inject({ method, url, headers: { host: 'api.example.com', ...headers(token) } })),
            '401 TOKEN_INVALID',
            `${name}: ${what}, ${alg}`,
          )
        }
      }
    }
  }
  t.equal(calls(), before)
})

test('a token of a retired key is refused at its end, cached or not, for either kind and by either source', async (t) => {
  const calls = countCalls(t)
  const old = await build(t)
  const jar = await old.login()
  const retiring = (key: string): KeyringOption => ({
    current: { alg: 'HS256', key: secret() },
    verifyOnly: [{ alg: 'HS256', key, until: new Date((old.clock.seconds + 60) * 1000).toISOString() }],
  })
  const world = await build(t, {
    like: old,
    options: {
      ...OPTIONS,
      scopes: undefined as never,
      accessSecret: undefined as never,
      refreshSecret: undefined as never,
      accessKeys: retiring(old.accessSecret),
      refreshKeys: retiring(old.refreshSecret),
    },
  })
  for (let i = 0; i < 3; i++) t.equal((await world.call('GET', '/stateless', jar)).statusCode, 200)
  t.equal(
    codeOf(await world.call('POST', '/auth/refresh', jar)),
    '401 SESSION_REVOKED',
    'this instance has another store, and asks it',
  )
  old.clock.advance(60_000)
  const before = calls()
  const tokens = { access: jar['__Host-access'] ?? '', refresh: jar['__Secure-refresh'] ?? '' }
  for (const { name, kind, method, urls, headers } of WAYS) {
    for (const url of [...urls, ...kind === 'access' ? ['/stateless'] : []]) {
      t.equal(
        codeOf(await world.app.inject({ method, url, headers: { host: 'api.example.com', ...headers(tokens[kind]) } })),
        '401 TOKEN_INVALID',
        `${name} on ${url}`,
      )
      t.same(world.events.at(-1), { name: 'authn_token_invalid', kind, code: 'TOKEN_INVALID' })
    }
  }
  t.equal(calls(), before)
})

test('more than one credential is refused, whichever would be right', async (t) => {
  const calls = countCalls(t)
  const world = await build(t, { options: { ...OPTIONS } })
  const { app, events } = world
  const jar = await world.login()
  const access = jar['__Host-access'] ?? ''
  const refresh = jar['__Secure-refresh'] ?? ''
  const before = calls()
  const bearer = `Bearer ${access}`
  const table: [string, Record<string, string | string[]>][] = [
    ['the cookie twice', { cookie: `__Host-access=${access}; __Host-access=${access}` }],
    ['a tossed cookie first', { cookie: `__Host-access=x; ${cookieHeader(jar)}` }],
    ['a tossed cookie last', { cookie: `${cookieHeader(jar)};__Host-access=` }],
    ['cookie and Bearer, the same', { cookie: `__Host-access=${access}`, authorization: bearer }],
    ['cookie and another Bearer', { cookie: `__Host-access=${access}`, authorization: 'Bearer x' }],
    ['cookie and a Bearer without a token', { cookie: `__Host-access=${access}`, authorization: 'Bearer' }],
    ['a refresh cookie beside a Bearer', { cookie: `__Secure-refresh=${refresh}`, authorization: bearer }],
    ['a list of two', { authorization: `${bearer}, ${bearer}` }],
    ['Basic and Bearer in one line', { authorization: `Basic YTpi, ${bearer}` }],
    ['two spaces', { authorization: `Bearer  ${access}` }],
    ['a tab', { authorization: `Bearer\t${access}` }],
    ['no space', { authorization: 'Bearer' }],
    ['a parameter', { authorization: `Bearer token=${access}` }],
    ['quotes', { authorization: `Bearer "${access}"` }],
    ['a second word', { authorization: `${bearer} x` }],
  ]
  for (const [what, headers] of table) {
    const count = events.length
    for (const url of ['/me', '/maybe']) {
      t.equal(
        codeOf(await app.inject({ url, headers: { host: 'api.example.com', ...headers } })),
        '401 TOKEN_INVALID',
        what,
      )
    }
    t.equal(events.length, count + 2, what)
  }
  t.equal(calls(), before)
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR']) {
    t.equal(
      (await app.inject({ url: '/me', headers: { host: 'api.example.com', authorization: `${scheme} ${access}` } }))
        .statusCode,
      200,
      scheme,
    )
  }
  t.equal(
    (await world.call('GET', '/me', jar, { headers: { authorization: 'Basic YTpi' } })).statusCode,
    200,
    "a proxy's Basic is none of ours",
  )
  for (const url of [`/me?access_token=${access}`, `/me?token=${access}`]) {
    t.equal(codeOf(await world.call('GET', url)), '401 TOKEN_MISSING', 'never from the URL')
  }
  t.equal(
    codeOf(
      await app.inject({
        url: '/me',
        headers: { host: 'api.example.com', 'x-access-token': access, 'proxy-authorization': bearer },
      }),
    ),
    '401 TOKEN_MISSING',
  )
})

test('where only Bearer is declared, cookies are not even read', async (t) => {
  const world = await build(t, { options: { sources: ['bearer'] } })
  const cookies = await build(t, { like: world })
  const jar = await cookies.login()
  const authorization = `Bearer ${jar['__Host-access'] ?? ''}`
  t.equal(codeOf(await world.call('GET', '/me', jar)), '401 TOKEN_MISSING')
  const refused = await world.call('GET', '/me', '__Host-access=x; __Host-access=y')
  t.equal(refused.headers['www-authenticate'], 'Bearer realm="bulwark"', 'a bare challenge: nobody tried a token')
  t.equal((await world.call('GET', '/stateless', '__Host-access=x', { headers: { authorization } })).body, 'ada')
})

test('another site signs nobody in, renews no session and ends none; a client that is no browser may', async (t) => {
  const calls = countCalls(t)
  const world = await build(t, { options: { ...OPTIONS }, before: async (app) => { await app.register(csrf) } })
  const { app } = world
  const payload = { email: 'ada@example.com', password: 'right' }
  const own = { host: 'api.example.com', 'user-agent': 'Browser/1', 'sec-fetch-site': 'same-origin' }
  const jar = jarOf(await app.inject({ method: 'POST', url: '/auth/login', headers: own, payload }))
  const before = calls()
  const sites: readonly Record<string, string>[] = [
    { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
    { 'sec-fetch-site': 'same-site', origin: 'https://sibling.example.com' },
    { 'sec-fetch-site': 'cross-site', origin: 'null' },
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'https://api.example.com.evil.example' },
  ]
  for (const site of sites) {
    for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded']) {
      for (const url of ['/auth/login', '/auth/token', '/auth/refresh', '/auth/logout']) {
        for (const cookie of [{}, { cookie: cookieHeader(jar) }]) {
          const response = await app.inject({
            method: 'POST',
            url,
            headers: { host: 'api.example.com', 'content-type': type, ...site, ...cookie },
            payload: JSON.stringify(payload),
          })
          t.equal(codeOf(response), '403 CSRF_REJECTED', `${url} as ${type} from ${JSON.stringify(site)}`)
          t.equal(response.headers['set-cookie'], undefined)
        }
      }
    }
  }
  t.equal(
    codeOf(
      await app.inject({
        method: 'POST',
        url: '/auth/refresh',
        headers: { host: 'api.example.com', cookie: cookieHeader(jar) },
      }),
    ),
    '403 CSRF_REJECTED',
    'a cookie and no evidence',
  )
  t.equal(calls(), before)
  for (const site of sites) {
    t.equal(
      codeOf(
        await app.inject({
          method: 'DELETE',
          url: '/auth/sessions?all=true',
          headers: { host: 'api.example.com', cookie: cookieHeader(jar), ...site },
        }),
      ),
      '403 CSRF_REJECTED',
    )
  }
  const { refresh_token: token } =
    (await app.inject({ method: 'POST', url: '/auth/token', headers: { host: 'api.example.com' }, payload })).json<
      { refresh_token: string }
    >()
  t.equal(
    (await app.inject({
      method: 'POST',
      url: '/auth/refresh',
      headers: { host: 'api.example.com', authorization: `Bearer ${token}` },
    })).statusCode,
    200,
  )
  t.equal(
    (await app.inject({ method: 'POST', url: '/auth/refresh', headers: { ...own, cookie: cookieHeader(jar) } }))
      .statusCode,
    200,
  )
})

test('what a handler does to the user of its request is gone at the next', async (t) => {
  const world = await build(t, {
    options: { ...OPTIONS },
    routes (app) {
      app.get('/mutate', async (request) => {
        for (
          const target of [
            request.user,
            request.user.roles,
            request.auth,
            request.auth?.roles,
            request.auth?.scopes,
            request.auth?.methods,
            request.auth?.user,
          ]
        ) {
          t.throws(() => {
            Object.assign(target ?? {}, { 0: 'admin', roles: ['admin'], id: 'root' })
          }, TypeError)
          t.notOk(Reflect.set(target ?? {}, 'isAdmin', true))
          t.throws(() => Object.setPrototypeOf(target ?? {}, { isAdmin: true }) as unknown, TypeError)
        }
        return 'done'
      })
    },
  })
  const jar = await world.login()
  const before = (await world.call('GET', '/me', jar)).body
  t.equal((await world.call('GET', '/mutate', jar)).body, 'done')
  t.equal((await world.call('GET', '/me', jar)).body, before)
  t.equal(codeOf(await world.call('GET', '/admin', jar)), '403 INSUFFICIENT_ROLE')
})
