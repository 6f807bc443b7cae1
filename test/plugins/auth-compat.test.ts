import { createHmac } from 'node:crypto'
import { createRequire } from 'node:module'
import Fastify, { type FastifyInstance, type LightMyRequestResponse, type FastifyPluginAsync,
  type FastifyPluginCallback } from 'fastify'
import { test } from 'tap'
import type { AccessPayload } from '../../jwt.js'
import { BulwarkConfigError, type SecurityError } from '../../lib/response/errors.js'
import type { SecurityTypeProvider } from '../../lib/policy/types.js'
import { auth, publicRoute } from '../../plugins/auth.js'
import { build, codeOf, secret, type WorldSettings } from '../lib/auth/support.js'

// Not imported: its types and this suite's would both claim app.jwt and request.user.
const fastifyJwt = createRequire(import.meta.url)('@fastify/jwt') as FastifyPluginAsync<Record<string, unknown>>

const load = fastifyJwt as unknown as FastifyPluginCallback<Record<string, unknown>>

const OPEN = { security: { auth: publicRoute('test') } }

/** As code that was written for @fastify/jwt looks. */
function routes (app: FastifyInstance): void {
  app.get('/verify', OPEN, async (request) => {
    const payload = await request.jwtVerify()
    return { payload, user: request.user, auth: request.auth?.userId }
  })
  app.get('/callback', OPEN, (request, reply) => {
    request.jwtVerify((error, payload) => { void reply.send(error ?? { sub: payload.sub }) })
  })
  app.get('/callback-options', OPEN, (request, reply) => {
    request.jwtVerify({ onlyCookie: true }, (error, payload) => { void reply.send(error ?? { sub: payload.sub }) })
  })
  app.get('/swallow', { security: { auth: 'optional' } }, async (request) => {
    await request.jwtVerify({ verify: { onlyCookie: true } }).catch(() => {})
    return { auth: request.auth }
  })
  app.get('/decode', OPEN, async (request) => await request.jwtDecode())
  app.get('/decode-complete', OPEN, async (request) => await request.jwtDecode({ decode: { complete: true } }))
  app.get(
    '/stateless-verify',
    { security: { auth: { revocation: 'stateless' } } },
    async (request) => (await request.jwtVerify()).sub,
  )
  app.get('/sign', OPEN, async (_request, reply) => await reply.jwtSign({ order: 7 }, { expiresIn: '10m', sub: 'ada' }))
  app.get('/sign-callback', OPEN, (_request, reply) => {
    reply.jwtSign({ order: 7 }, (error, token) => { void reply.send(error ?? token) })
  })
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

test('onlyCookie takes no Bearer token, which is taken elsewhere', async (t) => {
  const { app, login } = await world(t, { options: { sources: ['cookie', 'bearer'] } })
  const token = (await login())['__Host-access'] ?? ''
  const send = async (url: string): Promise<LightMyRequestResponse> =>
    app.inject({ url, headers: { host: 'api.example.com', authorization: `Bearer ${token}` } })
  t.match((await send('/verify')).json(), { payload: { sub: 'ada' }, auth: 'ada' })
  t.equal(codeOf(await send('/callback-options')), '401 TOKEN_MISSING')
  t.same((await send('/swallow')).json(), { auth: null }, 'the refusal also takes back what the guard accepted')
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
  t.same((await call('GET', '/callback-options', jar)).json(), { sub: 'ada' })
})

test('request.jwtVerify refuses whatever a guard refuses, with its codes, challenge and events', async (t) => {
  const { app, call, login, clock, events } = await world(t)
  const jar = await login()
  const access = jar['__Host-access'] ?? ''
  const missing = await call('GET', '/verify')
  t.equal(codeOf(missing), '401 TOKEN_MISSING')
  t.match(missing.headers['www-authenticate'], /realm=/)
  t.equal(codeOf(await call('GET', '/callback')), '401 TOKEN_MISSING')
  const none = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')
  for (
    const cookie of [
      '__Host-access=',
      '__Host-access=x',
      `__Host-access=${access}x`,
      `__Host-access=${none}.${access.split('.')[1] ?? ''}.`,
      `__Host-access=${access}; __Host-access=${access}`,
      `__Host-access=${jar['__Secure-refresh'] ?? ''}`,
      `__Host-access=${app.jwt.sign({ sid: undefined, roles: ['admin'] }, { sub: 'ada' })}`,
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
})

test('options of @fastify/jwt that would change nothing are refused by name', async (t) => {
  const { app, call, login } = await world(t, {
    routes (instance) {
      instance.post('/options', OPEN, async (request) => {
        const written = request.body as never
        const refused = await request.jwtVerify(written).then(() => 'verified', (error: unknown) => String(error))
        return { refused }
      })
    },
  })
  const jar = await login()
  for (
    const options of [
      { allowedAud: 'x' },
      { verify: { maxAge: 1 } },
      { verify: {}, extra: 1 },
      { onlyCookie: 'yes' },
      { key: 'x' },
      { decode: { checkTyp: 'x' } },
      ['x'],
    ]
  ) {
    t.match((await call('POST', '/options', jar, { payload: options as never })).json(), {
      refused: /^TypeError: request\.jwtVerify: /,
    }, JSON.stringify(options))
  }
  for (const options of [{}, { onlyCookie: false }, { verify: { onlyCookie: true } }, { decode: { complete: true } }]) {
    t.match(
      (await call('POST', '/options', jar, { payload: options })).json(),
      { refused: 'verified' },
      JSON.stringify(options),
    )
  }
  for (
    const options of [
      { algorithm: 'none' },
      { key: 'x' },
      { sign: { algorithm: 'HS256' } },
      { sign: {}, expiresIn: 1 },
      { noTimestamp: true },
      'x',
    ]
  ) {
    t.throws(() => app.jwt.sign({}, options as never), TypeError, JSON.stringify(options))
  }
  t.throws(
    () => (app.jwt.verify as (token: string, options: object) => unknown)(app.jwt.sign({}), { ignoreExpiration: true }),
    TypeError,
  )
})

test('reply.jwtSign and app.jwt make tokens of the app\'s own, with an end', async (t) => {
  const { app, call, clock } = await world(t)
  const token = (await call('GET', '/sign')).body
  t.match(app.jwt.verify(token), {
    order: 7,
    sub: 'ada',
    iss: 'bulwark',
    aud: 'bulwark-api/app',
    iat: clock.seconds,
    exp: clock.seconds + 600,
  })
  t.match(app.jwt.decode(token, { complete: true }), { header: { alg: 'HS256', typ: 'JWT' }, payload: { order: 7 } })
  t.match(
    app.jwt.verify((await call('GET', '/sign-callback')).body),
    { order: 7, exp: clock.seconds + 900 },
    'accessTtl unless it says otherwise',
  )
  for (const [expiresIn, seconds] of [[1, 1], [90, 90], ['1s', 1], ['30d', 2_592_000]] as const) {
    t.match(app.jwt.verify(app.jwt.sign({}, { expiresIn })), { exp: clock.seconds + seconds }, String(expiresIn))
  }
  for (const expiresIn of [0, -1, 1.5, NaN, Infinity, '500ms', '1 day', '10', '', null, {}, '31d', 2_592_001]) {
    t.throws(() => app.jwt.sign({}, { expiresIn } as never), /expiresIn/, JSON.stringify(expiresIn))
  }
  clock.advance(599_000)
  t.match(app.jwt.verify(token), { order: 7 })
  clock.advance(1000)
  t.equal(codeOfThrown(() => app.jwt.verify(token)), 'TOKEN_EXPIRED')
})

test('an app token says nothing of a session, whatever its payload', async (t) => {
  const { app } = await world(t)
  for (const name of ['iss', 'aud', 'iat', 'exp', 'nbf', 'sid', 'tv', 'gen', 'slt', 'amr', 'auth_time']) {
    t.throws(() => app.jwt.sign({ [name]: 1 }), { message: new RegExp(`"${name}"`) }, name)
  }
  t.throws(() => app.jwt.sign(JSON.parse('{"__proto__":{"aud":"bulwark-api"}}') as Record<string, unknown>), TypeError)
  t.throws(() => app.jwt.sign({ toJSON: () => ({ aud: 'bulwark-api' }) }), TypeError, 'also through toJSON')
  for (const payload of ['text', Buffer.from('x'), null, undefined, [], 1, { toJSON: () => 'x' }])
    {t.throws(() => app.jwt.sign(payload as never), TypeError, JSON.stringify(payload))}
  t.throws(() => app.jwt.sign({ sub: 'a' }, { sub: 'b' }), TypeError)
  t.throws(() => app.jwt.sign({ blob: 'x'.repeat(4000) }), RangeError)
  t.match(
    app.jwt.verify(
      app.jwt.sign({ 2: 'b', a: 1, 1: 'a', at: new Date(0), gone: undefined, text: '\u00e9\ud83d\ude00' }),
    ),
    { 1: 'a', 2: 'b', at: '1970-01-01T00:00:00.000Z' },
  )
})

test('no token crosses: app tokens pass no guard, session tokens and forgeries pass no app.jwt.verify', async (t) => {
  const one = await world(t)
  const { app, call, login, accessSecret, refreshSecret } = one
  const jar = await login()
  const token = app.jwt.sign({ roles: ['user', 'admin'], id: 'root' }, { sub: 'root' })
  for (const url of ['/me', '/admin', '/maybe', '/stateless'])
    {t.equal(codeOf(await call('GET', url, { '__Host-access': token })), '401 TOKEN_INVALID', url)}
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
  for (const [name, forged] of forgeries)
    {t.equal(codeOfThrown(() => app.jwt.verify(forged as string)), 'TOKEN_INVALID', name)}
  const again = await world(t, { like: one })
  t.match(again.app.jwt.verify(token), { sub: 'root' }, 'an instance with the same keys verifies it')
})

test('app.jwt hands errors to a callback, too', async (t) => {
  const { app } = await world(t)
  const seen: unknown[] = []
  app.jwt.sign({ a: 1 }, (error, token) => { seen.push(error, app.jwt.verify(token)) })
  app.jwt.sign({ a: 1 }, { expiresIn: -1 }, (error) => { seen.push(error) })
  app.jwt.verify('x', (error) => { seen.push(error) })
  t.match(seen, [null, { a: 1 }, TypeError, { code: 'TOKEN_INVALID', statusCode: 401 }])
  t.equal(codeOfThrown(() => app.jwt.decode('x')), 'TOKEN_INVALID')
  t.equal(codeOfThrown(() => app.jwt.decode('bm9wZQ.e30.x')), 'TOKEN_INVALID')
  t.throws(() => app.jwt.decode(app.jwt.sign({}), { checkTyp: 'x' } as never), TypeError)
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
    await app.register(fastifyJwt, { secret: 'x' })
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
  const legacy = { secret: 'a-legacy-secret', namespace: 'legacy', decoratorName: 'legacyUser' }
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

test('with the option, names that are taken are a problem, and a namespace is not added to app.jwt in silence', async (t) => {
  const legacy = { secret: 'a-legacy-secret', namespace: 'legacy', decoratorName: 'legacyUser' }
  const before = Fastify()
  t.teardown(() => before.close())
  await before.register(fastifyJwt, legacy)
  t.match(await problemsOf(before, true), {
    problems: [{ path: 'auth.jwtDecorators', message: /app\.jwt/, fix: /namespace/ }],
  })
  const after = Fastify()
  t.teardown(() => after.close())
  await after.register(auth, { ...OPTIONS(), jwtDecorators: true })
  t.throws(() => { load(after, legacy, () => {}) }, { name: 'TypeError', message: /legacy/ })
  const wrong = Fastify()
  t.teardown(() => wrong.close())
  t.match(await problemsOf(wrong, 'yes'), { problems: [{ path: 'auth.jwtDecorators' }] })
})

interface Shape { roles: 'user' | 'admin', policies: string, env: unknown, claims: { tenant: string } }
type Same<A, B> = [A] extends [B] ? [B] extends [A] ? true : false : false
type All<T extends readonly true[]> = T

test('the payload has the types of the service, and takes one of the caller\'s', async (t) => {
  const app = Fastify().withTypeProvider<SecurityTypeProvider<Shape>>()
  t.teardown(() => app.close())
  app.get('/typed', async (request, reply) => {
    const payload = await request.jwtVerify()
    const own = await request.jwtVerify<{ sub: string, tenant: string }>()
    const typed: All<
      [
        Same<typeof payload, AccessPayload<Shape>>,
        Same<typeof payload.roles, readonly ('user' | 'admin')[]>,
        Same<typeof own.tenant, string>,
      ]
    > = [true, true, true]
    const tenants: readonly string[] = [payload.tenant, own.tenant]
    // @ts-expect-error no option of jwtVerify
    if (reply.sent) await request.jwtVerify({ allowedAud: 'x' })
    // @ts-expect-error not a duration
    if (reply.sent) await reply.jwtSign({}, { expiresIn: '1 day' })
    // @ts-expect-error not an object
    if (reply.sent) await reply.jwtSign('text')
    const token: string = await reply.jwtSign({ a: 1 }, { sign: { expiresIn: 60 } })
    return [typed, tenants, token, app.jwt.verify<{ a: number }>(token).a]
  })
  t.pass('compiled')
})
