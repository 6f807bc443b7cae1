import { createHmac } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyPluginCallback, type FastifyReply } from 'fastify'
import { test } from 'tap'
import type { AccessPayload } from '../../jwt.js'
import type { Jwt } from '../../lib/auth/jwt-types.js'
import { BulwarkConfigError, type SecurityError } from '../../lib/response/errors.js'
import { auth, publicRoute } from '../../plugins/auth.js'
import { build, codeOf, secret, type WorldSettings } from '../lib/auth/support.js'
import { newPems } from '../lib/auth/token-workshop.js'

/** As it is called: what a callback plugin throws when it is registered ends the process. */
const load = fastifyJwt as unknown as FastifyPluginCallback<Record<string, unknown>>

const OPEN = { security: { auth: publicRoute('test') } }

/** The types of @fastify/jwt stay out of this program, see lib/auth/fastify-jwt.d.ts. */
const jwtSign = async (reply: FastifyReply, payload: object, options?: object): Promise<string> =>
  (reply as unknown as { jwtSign: Jwt['sign'] }).jwtSign(payload, options)

/** As code that was written for @fastify/jwt looks. */
function routes (app: FastifyInstance): void {
  app.get('/verify', OPEN, async (request) => {
    const payload = await request.jwtVerify()
    return { payload, user: request.user, auth: request.auth?.userId }
  })
  app.get('/callback', OPEN, (request, reply) => {
    request.jwtVerify((error, payload) => { void reply.send(error ?? { sub: payload?.['sub'] }) })
  })
  app.get('/swallow', { security: { auth: 'optional' } }, async (request) => {
    await request.jwtVerify().catch(() => {})
    return { auth: request.auth }
  })
  app.get('/decode', OPEN, async (request) => await request.jwtDecode())
  app.get('/decode-complete', OPEN, async (request) => await request.jwtDecode({ decode: { complete: true } }))
  app.get('/decode-guarded', async (request) => {
    await request.jwtDecode()
    return { auth: request.auth?.userId }
  })
  app.get(
    '/stateless-verify',
    { security: { auth: { revocation: 'stateless' } } },
    async (request) => (await request.jwtVerify<AccessPayload>()).sub,
  )
  app.get('/sign', OPEN, async (_request, reply) => jwtSign(reply, { order: 7 }, { expiresIn: '10m', sub: 'ada' }))
  app.get('/sign-plainly', OPEN, async (_request, reply) => jwtSign(reply, { order: 7 }))
}

const world = async (
  t: Parameters<typeof build>[0],
  settings: WorldSettings = {},
): Promise<ReturnType<typeof build> extends Promise<infer W> ? W : never> =>
  await build(t, { routes, ...settings, options: { jwtDecorators: true, ...settings.options } })

const errorOf = (action: () => unknown): unknown => {
  let found: unknown = null
  try { action() } catch (error) { found = error }
  return found
}
const codeOfThrown = (action: () => unknown): unknown => (errorOf(action) as SecurityError | null)?.code

test('request.jwtVerify takes tokens from the declared sources only', async (t) => {
  const both = await world(t, { options: { sources: ['cookie', 'bearer'] } })
  const cookieOnly = await world(t)
  for (const [{ app, login }, expected] of [[both, '200'], [cookieOnly, '401 TOKEN_MISSING']] as const) {
    const authorization = `Bearer ${(await login())['__Host-access'] ?? ''}`
    const response = await app.inject({ url: '/verify', headers: { host: 'api.example.com', authorization } })
    t.equal(response.statusCode === 200 ? '200' : codeOf(response), expected)
  }
})

test('without the option nothing is decorated', async (t) => {
  const { app } = await build(t)
  t.notOk(
    app.hasDecorator('jwt') || app.hasRequestDecorator('jwtVerify') || app.hasRequestDecorator('jwtDecode') ||
      app.hasReplyDecorator('jwtSign'),
  )
})

test('request.jwtVerify gives the payload of the access token and signs the request in, on public routes too', async (t) => {
  const { call, login } = await world(t)
  const jar = await login()
  const { payload, user, auth: userId } = (await call('GET', '/verify', jar)).json<
    { payload: AccessPayload, user: unknown, auth: string }
  >()
  t.match(payload, {
    iss: 'bulwark',
    aud: 'bulwark-api',
    sub: 'ada',
    roles: ['user'],
    amr: ['pwd'],
    iat: Number,
    exp: Number,
    sid: String,
    jti: String,
  })
  t.equal(payload.exp - payload.iat, 900)
  t.same([user, userId], [{ id: 'ada', roles: ['user'] }, 'ada'])
  t.same((await call('GET', '/callback', jar)).json(), { sub: 'ada' })
})

test('request.jwtVerify refuses whatever a guard refuses, with its codes, challenge and events', async (t) => {
  const { app, call, login, clock, events } = await world(t)
  const jar = await login()
  const access = jar['__Host-access'] ?? ''
  const missing = await call('GET', '/verify')
  t.equal(codeOf(missing), '401 TOKEN_MISSING')
  t.match(missing.headers['www-authenticate'], /realm=/)
  t.equal(codeOf(await call('GET', '/callback')), '401 TOKEN_MISSING')
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const none = encode({ alg: 'none', typ: 'at+jwt' })
  const [header = '', payload = '', signature = ''] = access.split('.')
  for (
    const cookie of [
      '__Host-access=',
      '__Host-access=x',
      `__Host-access=${access}x`,
      `__Host-access=${none}.${access.split('.')[1] ?? ''}.`,
      `__Host-access=${encode({ alg: 'HS512', typ: 'at+jwt' })}.${payload}.${signature}`,
      `__Host-access=${header}.${encode([1])}.${signature}`,
      `__Host-access=${header}.${encode('text')}.${signature}`,
      `__Host-access=${header}.${payload}.`,
      `__Host-access=${header}.${payload}`,
      '__Host-access=a.b.c',
      '__Host-access=..',
      `__Host-access=${'x'.repeat(5000)}`,
      `__Host-access=${access}; __Host-access=${access}`,
      `__Host-access=${jar['__Secure-refresh'] ?? ''}`,
      `__Host-access=${app.jwt.sign({ roles: ['admin'] }, { sub: 'ada' })}`,
    ]
  ) t.equal(codeOf(await call('GET', '/verify', cookie)), '401 TOKEN_INVALID', cookie.slice(0, 40))
  t.match(events.at(-1), { name: 'authn_token_invalid', kind: 'access' })
  t.equal(
    codeOf(await call('GET', '/verify', jar, { headers: { authorization: `Bearer ${access}` } })),
    '401 TOKEN_INVALID',
    'a cookie and a Bearer token',
  )

  const other = await login()
  await app.security.sessions.revokeUser('ada')
  t.equal(codeOf(await call('GET', '/verify', other)), '401 SESSION_REVOKED', 'liveness is asked')
  t.equal((await call('GET', '/stateless-verify', other)).body, 'ada', 'but not where the route says stateless')
  clock.advance(901_000)
  t.equal(codeOf(await call('GET', '/verify', other)), '401 TOKEN_EXPIRED')
})

test('a refusal that the app catches leaves nobody signed in', async (t) => {
  const { call, login, app } = await world(t, {
    routes (instance) {
      instance.get('/ended', async (request) => {
        await app.security.sessions.revokeUser('ada')
        const refused = await request.jwtVerify().catch((error: unknown) => (error as SecurityError).code)
        return { refused, auth: request.auth }
      })
    },
  })
  t.same((await call('GET', '/ended', await login())).json(), { refused: 'SESSION_REVOKED', auth: null })
})

test('request.jwtDecode reads an expired token of ours, and nothing that nobody signed', async (t) => {
  const { call, login, clock } = await world(t)
  const jar = await login()
  clock.advance(3_600_000)
  t.match((await call('GET', '/decode', jar)).json(), { sub: 'ada' })
  t.match((await call('GET', '/decode-complete', jar)).json(), {
    header: { alg: 'HS256', typ: 'at+jwt' },
    payload: { sub: 'ada' },
    signature: String,
    input: String,
  })
  const [header, , signature] = (jar['__Host-access'] ?? '').split('.')
  const forged = `${header ?? ''}.${Buffer.from('{"sub":"root"}').toString('base64url')}.${signature ?? ''}`
  t.equal(codeOf(await call('GET', '/decode', { '__Host-access': forged })), '401 TOKEN_INVALID')
  t.equal(codeOf(await call('GET', '/decode')), '401 TOKEN_MISSING')
  t.same((await call('GET', '/decode-guarded', await login())).json(), { auth: 'ada' }, 'reading signs nobody out')
})

test('options that would loosen request.jwtVerify loosen nothing', async (t) => {
  const { app, call, login, clock } = await world(t, {
    routes (instance) {
      instance.post('/options', OPEN, async (request) => {
        const refused = await request.jwtVerify(request.body as object).then(
          () => 'verified',
          (error: unknown) => {
            const { code, statusCode } = error as SecurityError
            return { code, statusCode }
          },
        )
        return { refused, auth: request.auth?.userId ?? null }
      })
      instance.get('/other-token', OPEN, async (request) => {
        const extractToken = (): string => app.jwt.sign({ sub: 'root' })
        const refused = (error: unknown): unknown => (error as SecurityError).statusCode
        return { code: await request.jwtVerify({ extractToken }).then(() => 'verified', refused) }
      })
    },
  })
  const jar = await login()
  const send = async (payload: object): Promise<unknown> => (await call('POST', '/options', jar, { payload })).json()
  t.same(await send({}), { refused: 'verified', auth: 'ada' })
  t.match(await send({ allowedAud: 'other' }), { refused: { statusCode: 401 } }, 'the library adds its own checks')
  t.match(await send({ key: 'x' }), { refused: { statusCode: 401 } })
  t.match((await call('GET', '/other-token', jar)).json(), { code: 401 }, 'a token of the app is none of a session')
  t.match((await call('GET', '/other-token')).json(), { code: 401 })
  clock.advance(901_000)
  for (const options of [{ ignoreExpiration: true }, { clockTolerance: 1e9 }, { verify: { ignoreExpiration: true } }]) {
    t.same(
      await send(options),
      { refused: { code: 'TOKEN_EXPIRED', statusCode: 401 }, auth: null },
      JSON.stringify(options),
    )
  }
})

test('reply.jwtSign and app.jwt make tokens of the app\'s own, with an end', async (t) => {
  const { app, call } = await world(t)
  interface Signed { readonly iat: number, readonly exp: number }
  const lifeOf = (token: string): number => {
    const { iat, exp } = app.jwt.verify(token) as unknown as Signed
    return exp - iat
  }
  const token = (await call('GET', '/sign')).body
  t.match(app.jwt.verify(token), { order: 7, sub: 'ada', iss: 'bulwark', aud: 'bulwark-api/app' })
  t.equal(lifeOf(token), 600)
  t.match(app.jwt.decode(token, { complete: true }), { header: { alg: 'HS256', typ: 'JWT' }, payload: { order: 7 } })
  t.equal(lifeOf((await call('GET', '/sign-plainly')).body), 900, 'accessTtl unless it says otherwise')
  t.equal(lifeOf(app.jwt.sign({})), 900)
  t.equal(lifeOf(app.jwt.sign({}, { expiresIn: undefined } as object)), 900)
  const past = Math.floor(Date.now() / 1000) - 1000
  t.equal(codeOfThrown(() => app.jwt.verify(app.jwt.sign({ iat: past }, { expiresIn: 60 }))), 'TOKEN_EXPIRED')
})

test('tokens of the app hold over a change of the keys, until the end of the old one', async (t) => {
  const current = secret()
  const old = secret()
  const keys = (key: string, verifyOnly: readonly { alg: 'HS256', key: string, until: string }[] = []): object => ({
    refreshSecret: undefined,
    refreshKeys: { current: { alg: 'HS256', key }, verifyOnly },
  })
  const until = new Date(Date.now() + 3_600_000).toISOString()
  const was = await world(t, { options: keys(old) })
  const is = await world(t, { options: keys(current, [{ alg: 'HS256', key: old, until }]) })
  const token = was.app.jwt.sign({ order: 7 })
  t.match(is.app.jwt.verify(token), { order: 7 })
  is.clock.advance(3_600_000)
  t.equal(codeOfThrown(() => is.app.jwt.verify(token)), 'TOKEN_INVALID')
  t.match(is.app.jwt.verify(is.app.jwt.sign({ order: 8 })), { order: 8 })
})

test('request.jwtVerify takes tokens of every key of the keyring', async (t) => {
  const key = secret()
  const until = new Date(Date.now() + 3_600_000).toISOString()
  const one = await world(t, {
    options: { accessSecret: undefined as never, accessKeys: { current: { alg: 'HS256', key } } },
  })
  const { privateKey } = newPems('ES256')
  const two = await world(t, {
    like: one,
    options: {
      accessSecret: undefined as never,
      accessKeys: { current: { alg: 'ES256', key: privateKey }, verifyOnly: [{ alg: 'HS256', key, until }] },
      revocation: 'stateless',
    },
  })
  t.equal((await two.call('GET', '/verify', await one.login())).statusCode, 200)
  t.equal((await two.call('GET', '/verify', await two.login())).statusCode, 200)
})

test('no token crosses: app tokens pass no guard, session tokens and forgeries pass no app.jwt.verify', async (t) => {
  const one = await world(t)
  const { app, call, login, accessSecret, refreshSecret } = one
  const jar = await login()
  const token = app.jwt.sign({ roles: ['user', 'admin'], id: 'root' }, { sub: 'root' })
  for (const url of ['/me', '/admin', '/maybe', '/stateless']) {
    t.equal(codeOf(await call('GET', url, { '__Host-access': token })), '401 TOKEN_INVALID', url)
  }
  t.equal(codeOf(await call('POST', '/auth/refresh', { '__Secure-refresh': token })), '401 TOKEN_INVALID')

  const [header = '', payload = ''] = token.split('.')
  const signed = (key: string, head = header): string =>
    `${head}.${payload}.${createHmac('sha256', key).update(`${head}.${payload}`).digest('base64url')}`
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const forgeries: readonly [string, unknown][] = [
    ['the access token', jar['__Host-access']],
    ['the refresh token', jar['__Secure-refresh']],
    ['the access secret', signed(accessSecret)],
    ['the refresh secret', signed(refreshSecret)],
    ['an empty key', signed('0')],
    ['alg none', `${encode({ alg: 'none', typ: 'JWT' })}.${payload}.`],
    ['no signature', `${header}.${payload}.`],
    ['two segments', `${header}.${payload}`],
    ['another service', (await world(t)).app.jwt.sign({ order: 7 })],
    ['empty', ''],
    ['no text', 7],
    ['undefined', undefined],
    ['long', 'x'.repeat(10_000)],
  ]
  for (const [name, forged] of forgeries) {
    t.equal(codeOfThrown(() => app.jwt.verify(forged as string)), 'TOKEN_INVALID', name)
  }
  const again = await world(t, { like: one })
  t.match(again.app.jwt.verify(token), { sub: 'root' }, 'an instance with the same keys verifies it')
})

test('app.jwt hands errors to a callback, too, and calls it once', async (t) => {
  const { app } = await world(t)
  const seen: unknown[] = []
  app.jwt.verify(app.jwt.sign({ a: 1 }), (...args) => { seen.push(args) })
  app.jwt.verify('x', (...args) => { seen.push(args) })
  t.match(seen, [[null, { a: 1 }], [{ code: 'TOKEN_INVALID', statusCode: 401 }]])
  let calls = 0
  t.throws(() => {
    app.jwt.verify(app.jwt.sign({ a: 1 }), () => {
      calls++
      throw new Error('of the app')
    })
  }, /of the app/)
  t.equal(calls, 1)
  t.match(errorOf(() => app.jwt.decode('x')), { statusCode: 401 })
})

const OPTIONS = (): Parameters<typeof auth>[1] => ({
  roles: ['user'],
  redis: false,
  accessSecret: secret(),
  refreshSecret: secret(),
  loadUser: async () => null,
})

const problemsOf = async (app: FastifyInstance, jwtDecorators: unknown): Promise<unknown> =>
  await app.register(auth, { ...OPTIONS(), jwtDecorators: jwtDecorators as never }).then(
    () => null,
    (found: unknown) => found,
  )

test('@fastify/jwt with its usual names is refused, and the fix names the option', async (t) => {
  for (const jwtDecorators of [false, true]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(fastifyJwt, { secret: Buffer.from('x') })
    const error = await problemsOf(app, jwtDecorators)
    t.match(error, { code: 'BULWARK_CONFIG', problems: [{ path: 'auth', fix: /jwtDecorators: true/ }] })
    t.type(error, BulwarkConfigError)
  }
  const after = Fastify()
  t.teardown(() => after.close())
  await after.register(auth, OPTIONS())
  // Called as it is: what a callback plugin throws ends the process.
  t.throws(() => { load(after, { secret: 'x' }, () => {}) }, { code: 'FST_ERR_DEC_ALREADY_PRESENT' })
})

test('@fastify/jwt with names of its own lives beside the suite, before and after it', async (t) => {
  const legacy = { secret: Buffer.from('a-legacy-secret'), namespace: 'legacy', decoratorName: 'legacyUser' }
  for (const first of [true, false]) {
    const app = Fastify()
    t.teardown(() => app.close())
    if (first) await app.register(fastifyJwt, legacy)
    await app.register(auth, OPTIONS())
    if (!first) await app.register(fastifyJwt, legacy)
    const { legacy: theirs } = app.jwt as unknown as { legacy: { sign: (payload: object) => string } }
    app.get(
      '/theirs',
      OPEN,
      async (request) => await (request as unknown as { legacyJwtVerify: () => Promise<object> }).legacyJwtVerify(),
    )
    app.get('/ours', async () => 'ours')
    const headers = { authorization: `Bearer ${theirs.sign({ who: 'legacy' })}` }
    t.match((await app.inject({ url: '/theirs', headers })).json(), { who: 'legacy' })
    t.equal((await app.inject({ url: '/ours', headers })).statusCode, 401)
  }
})

test('with the option, names that are taken are a problem, and a namespace of the app stands beside', async (t) => {
  const legacy = { secret: Buffer.from('a-legacy-secret'), namespace: 'legacy', decoratorName: 'legacyUser' }
  const before = Fastify()
  t.teardown(() => before.close())
  await before.register(fastifyJwt, legacy)
  t.match(await problemsOf(before, true), {
    problems: [{ path: 'auth.jwtDecorators', message: /app\.jwt/, fix: /namespace/ }],
  })
  const after = Fastify()
  t.teardown(() => after.close())
  await after.register(auth, { ...OPTIONS(), jwtDecorators: true })
  await after.register(fastifyJwt, legacy)
  const { legacy: theirs } = after.jwt as unknown as { legacy: Jwt }
  t.equal(codeOfThrown(() => after.jwt.verify(theirs.sign({ a: 1 }))), 'TOKEN_INVALID')
  t.match(theirs.verify(theirs.sign({ a: 1 })), { a: 1 })
  const wrong = Fastify()
  t.teardown(() => wrong.close())
  t.match(await problemsOf(wrong, 'yes'), { problems: [{ path: 'auth.jwtDecorators' }] })
})

test('the keys of sessions are out of reach: no decorator, no namespace', async (t) => {
  const plain = Fastify()
  t.teardown(() => plain.close())
  await plain.register(auth, OPTIONS())
  t.notOk(plain.hasDecorator('jwt'))
  const { app } = await world(t)
  t.same(
    Object.keys(app.jwt).filter((name) =>
      !['sign', 'verify', 'decode', 'options', 'cookie', 'lookupToken'].includes(name)
    ),
    [],
  )
})
