import type { LightMyRequestResponse } from 'fastify'
import { test } from 'tap'
import { publicRoute } from '../../plugins/auth.js'
import { build, codeOf, jarOf, setCookies, type World } from '../lib/auth/support.js'

interface Tokens {
  access_token: string
  token_type: string
  expires_in: number
  refresh_token: string
  refresh_expires_in: number
}

const SOURCES = { sources: ['cookie', 'bearer'] } as const
const CREDENTIALS = { email: 'ada@example.com', password: 'right' }
const host = { host: 'api.example.com', 'user-agent': 'App/1' }
const send = async (
  { app }: World,
  method: 'GET' | 'POST' | 'DELETE',
  url: string,
  token?: string,
  rest: object = {},
): Promise<LightMyRequestResponse> =>
  app.inject({
    method,
    url,
    headers: { ...host, ...token !== undefined && { authorization: `Bearer ${token}` } },
    ...rest,
  })
const issue = async (world: World): Promise<Tokens> =>
  (await send(world, 'POST', '/auth/token', undefined, { payload: CREDENTIALS })).json<Tokens>()

test('a client without cookies gets tokens, refreshes them and signs out', async (t) => {
  const world = await build(t, { options: SOURCES })
  const first = await send(world, 'POST', '/auth/token', undefined, { payload: CREDENTIALS })
  t.equal(first.statusCode, 200)
  t.same(setCookies(first), [])
  t.equal(first.headers['cache-control'], 'no-store')
  const tokens = first.json<Tokens>()
  t.match(tokens, { token_type: 'Bearer', expires_in: 900, refresh_expires_in: 604_800 })
  t.same(Object.keys(tokens).sort(), [
    'access_token',
    'expires_in',
    'refresh_expires_in',
    'refresh_token',
    'token_type',
  ])
  t.equal((await send(world, 'GET', '/me', tokens.access_token)).statusCode, 200)

  world.clock.advance(900_000)
  t.equal(codeOf(await send(world, 'GET', '/me', tokens.access_token)), '401 TOKEN_EXPIRED')
  const answer = await send(world, 'POST', '/auth/refresh', tokens.refresh_token)
  t.equal(answer.statusCode, 200)
  t.same(setCookies(answer), [], 'cookies would be a second credential')
  t.equal(answer.headers['cache-control'], 'no-store')
  const next = answer.json<Tokens>()
  t.not(next.refresh_token, tokens.refresh_token)
  t.equal((await send(world, 'GET', '/me', next.access_token)).statusCode, 200)
  t.equal((await send(world, 'POST', '/auth/logout', next.refresh_token)).statusCode, 204)
  t.equal(codeOf(await send(world, 'GET', '/me', next.access_token)), '401 SESSION_REVOKED')
  t.equal(codeOf(await send(world, 'POST', '/auth/refresh', next.refresh_token)), '401 SESSION_REVOKED')
})

test('parallel refreshes by Bearer get one successor, a reuse after the grace ends the session', async (t) => {
  const world = await build(t, { options: SOURCES })
  const { refresh_token: token } = await issue(world)
  const answers = await Promise.all(Array.from({ length: 20 }, async () => send(world, 'POST', '/auth/refresh', token)))
  t.ok(answers.every(({ statusCode }) => statusCode === 200))
  t.equal(new Set(answers.map((answer) => answer.json<Tokens>().refresh_token)).size, 1)
  world.clock.advance(11_000)
  t.equal(codeOf(await send(world, 'POST', '/auth/refresh', token)), '401 REFRESH_REUSED')
  t.equal(codeOf(await send(world, 'GET', '/me', answers[0]?.json<Tokens>().access_token)), '401 SESSION_REVOKED')
})

test('a token is taken for what it is only, and one at a time', async (t) => {
  const world = await build(t, { options: SOURCES })
  const { access_token: access, refresh_token: refresh } = await issue(world)
  const jar = await world.login()
  t.equal(codeOf(await send(world, 'GET', '/me', refresh)), '401 TOKEN_INVALID')
  t.equal(codeOf(await send(world, 'POST', '/auth/refresh', access)), '401 TOKEN_INVALID')
  for (const [name, value] of Object.entries(jar)) {
    const cookie = `${name}=${value}`
    t.equal(
      codeOf(
        await world.app.inject({
          method: 'POST',
          url: '/auth/refresh',
          headers: { ...host, cookie, authorization: `Bearer ${refresh}` },
        }),
      ),
      '401 TOKEN_INVALID',
      `${name} beside a Bearer refresh token`,
    )
    t.equal(
      codeOf(await world.app.inject({ url: '/me', headers: { ...host, cookie, authorization: `Bearer ${access}` } })),
      '401 TOKEN_INVALID',
      `${name} beside a Bearer access token`,
    )
  }
  t.equal(
    (await send(world, 'POST', '/auth/refresh', refresh)).statusCode,
    200,
    'and the refusals cost the session nothing',
  )
})

test('the routes follow the declared sources', async (t) => {
  const both = await build(t, { options: SOURCES })
  t.equal((await both.call('POST', '/auth/login', {}, { payload: CREDENTIALS })).statusCode, 200)
  const cookies = await both.call('POST', '/auth/refresh', await both.login())
  t.same(Object.keys(cookies.json<object>()), ['user'], 'a browser gets no token into its scripts')
  t.equal(setCookies(cookies).length, 2)

  const only = await build(t, { options: { sources: ['bearer'] } })
  t.equal((await only.call('POST', '/auth/login', {}, { payload: CREDENTIALS })).statusCode, 404)
  const { access_token: access, refresh_token: refresh } = await issue(only)
  t.equal((await send(only, 'GET', '/me', access)).statusCode, 200)
  t.equal(
    codeOf(await only.call('GET', '/me', { '__Host-access': access })),
    '401 TOKEN_MISSING',
    'cookies are not read',
  )
  t.equal(codeOf(await only.call('POST', '/auth/refresh', { '__Secure-refresh': refresh })), '401 TOKEN_MISSING')

  const none = await build(t)
  t.equal((await send(none, 'POST', '/auth/token', undefined, { payload: CREDENTIALS })).statusCode, 404)
  t.equal(codeOf(await send(none, 'GET', '/me', (await none.login())['__Host-access'])), '401 TOKEN_MISSING')
})

test('a login by Bearer ends the session that is presented, whichever way it is', async (t) => {
  const world = await build(t, { options: SOURCES })
  const { access_token: old } = await issue(world)
  const next = (await send(world, 'POST', '/auth/token', old, { payload: CREDENTIALS })).json<Tokens>()
  t.equal(codeOf(await send(world, 'GET', '/me', old)), '401 SESSION_REVOKED')
  const jar = jarOf(
    await world.app.inject({
      method: 'POST',
      url: '/auth/login',
      payload: CREDENTIALS,
      headers: { ...host, authorization: `bearer ${next.refresh_token}` },
    }),
  )
  t.equal(codeOf(await send(world, 'GET', '/me', next.access_token)), '401 SESSION_REVOKED')
  t.equal((await world.call('GET', '/me', jar)).statusCode, 200)
})

test('an app\'s own sign-in hands tokens out by reply.issueTokens', async (t) => {
  const world = await build(t, {
    options: SOURCES,
    routes: (app) => {
      app.post(
        '/device',
        { security: { auth: publicRoute('test') } },
        async (_request, reply) =>
          reply.issueTokens({ id: 'ada', roles: ['user'], tenant: 'acme' }, { methods: ['hwk'], label: 'Watch' }),
      )
    },
  })
  const { access_token: access } = (await send(world, 'POST', '/device')).json<Tokens>()
  const listed = await send(world, 'GET', '/auth/sessions', access)
  t.match(listed.json(), { sessions: [{ current: true, device: 'Watch', methods: ['hwk'] }] })
  t.equal((await send(world, 'DELETE', '/auth/sessions?all=true', access)).statusCode, 204)
  t.equal(codeOf(await send(world, 'GET', '/me', access)), '401 SESSION_REVOKED')
})
