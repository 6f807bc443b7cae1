import { setTimeout as wait } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { test } from 'tap'
import { overrideScope } from '../../lib/policy/install.js'
import { addLogin, build, login, REMOTE, statuses } from '../lib/rate-limit/app.js'
import { buildOn, ClockedStore } from '../lib/rate-limit/clocked-store.js'

const BODY = Type.Object({
  email: Type.String({ format: 'email', maxLength: 255 }),
  password: Type.String({ minLength: 5 }),
})

/** A sign-in as the guides ask for it: validated, and with a handler that is expensive. */
function addStrictLogin (app: FastifyInstance): { guesses: number } {
  const seen = { guesses: 0 }
  app.post('/login', { schema: { body: BODY }, security: { rateLimit: ['login'] } }, async (request, reply) => {
    seen.guesses++
    await wait(1)
    return (request.body as { password: string }).password === 'right' ? { ok: true } : await reply.code(401).send({})
  })
  return seen
}

test('one address on one account: five wrong passwords, however the e-mail is spelt', async (t) => {
  const { app } = await build(t)
  const seen = addLogin(app)
  const spellings = [
    'user@example.com',
    'User@Example.COM',
    '  user@example.com ',
    'user@example.com\u00a0',
    '\uff55ser@example.com',
    '\tuser@EXAMPLE.com\n',
  ]
  const answers = await Promise.all(Array.from({ length: 30 }, (_, index) => app.inject(login(spellings[index % 6]))))
  t.equal(seen.guesses, 5)
  t.equal(answers.filter(({ statusCode }) => statusCode === 429).length, 25)
  t.same(await statuses(app, 1, login('other@example.com')), [401], 'another account of the same address is open')
  t.same(
    await statuses(app, 1, login('user@example.com', 'right', '203.0.113.1')),
    [200],
    'the owner at another address gets in',
  )
})

test('malformed and invalid sign-ins count, and open no way around', async (t) => {
  const json = { 'content-type': 'application/json' }
  const wrong: Readonly<Record<string, InjectOptions>> = {
    'no body': { payload: '', headers: json },
    'no object': { payload: '7', headers: json },
    'no e-mail': { payload: { password: 'wrong' } },
    'an e-mail that is no text': { payload: { email: { $ne: '' }, password: 'wrong' } },
    'an e-mail that is none': { payload: { email: 'nobody', password: 'wrong' } },
    'a password that is too short': { payload: { email: 'a@b.co', password: 'x' } },
    'a list of e-mails': { payload: { email: ['a@b.co', 'b@b.co'], password: 'wrong' } },
  }
  for (const [name, request] of Object.entries(wrong)) {
    const { app } = await build(t)
    const seen = addStrictLogin(app)
    const found = await statuses(app, 32, { method: 'POST', url: '/login', ...request })
    // What cannot be parsed has no e-mail to count by; it counts by address, as a failure.
    const most = name === 'no body' ? 30 : 5
    t.same(found, found.map((_status, index) => index < most ? 400 : 429), `${name}: ${String(found)}`)
    t.equal(seen.guesses, 0)
  }
})

test('a spelling that the validator turns into the same e-mail is the same caller', async (t) => {
  const { app } = await build(t)
  const seen = addStrictLogin(app)
  for (const email of ['a@b.co', ['a@b.co'], 'A@b.co', ['A@B.co'], 'a@b.co', ['a@b.co'], 'a@b.co']) {
    await app.inject(login(email))
  }
  t.equal(seen.guesses, 5)
})

test('broken JSON counts as a failure by address: the thirty-first is refused unread', async (t) => {
  const { app } = await build(t)
  addStrictLogin(app)
  const broken: InjectOptions = {
    method: 'POST',
    url: '/login',
    headers: { 'content-type': 'application/json' },
    payload: '{"email":',
  }
  t.same((await statuses(app, 32, broken)).slice(28), [400, 400, 429, 429])
  t.same(await statuses(app, 1, login('a@b.co')), [429])
})

test('a success gives back exactly its own place, in every limit', async (t) => {
  const { app } = await buildOn(t, new ClockedStore())
  addStrictLogin(app)
  const email = 'user@example.com'
  const used = async (): Promise<number[]> =>
    (await app.security.limits.inspect('login', { ip: REMOTE, body: { email } })).map((state) => state.used)
  const steps: readonly (readonly [string, number, number[]])[] = [
    ['right', 200, [0, 0, 0]],
    ['wrong', 401, [1, 1, 1]],
    ['right', 200, [1, 1, 1]],
    ['wrong', 401, [2, 2, 2]],
    ['x', 400, [3, 3, 3]],
    ['wrong', 401, [4, 4, 4]],
    ['right', 200, [4, 4, 4]],
    ['wrong', 401, [5, 5, 5]],
    ['right', 429, [5, 5, 5]],
  ]
  for (const [password, status, expected] of steps) {
    t.same(await statuses(app, 1, login(email, password)), [status], password)
    t.same(await used(), expected, password)
  }
  t.same(
    (await Promise.all(Array.from({ length: 4 }, () => app.inject(login('b@b.co', 'right'))))).map(({ statusCode }) =>
      statusCode
    ),
    [200, 200, 200, 200],
  )
  t.same(await used(), [5, 5, 5], 'parallel successes give back their own')
})

test('a password sprayed over many accounts ends at thirty, from a whole /64', async (t) => {
  const { app } = await build(t)
  const seen = addLogin(app)
  await Promise.all(
    Array.from({ length: 90 }, (_, index) =>
      app.inject(login(`user${index}@example.com`, 'wrong', `2001:db8::${index.toString(16)}`))),
  )
  t.equal(seen.guesses, 30)
})

test('many addresses cannot lock an account out, and their attack is reported', async (t) => {
  const { app, events } = await build(t)
  addLogin(app)
  for (let count = 0; count < 101; count++) await app.inject(login('victim@example.com', 'wrong', `198.51.${count}.1`))
  t.same(await statuses(app, 1, login('victim@example.com', 'right', '203.0.113.9')), [200])
  t.same(events.map(({ name }) => name), ['excess_rate_limit_exceeded', 'excess_rate_limit_exceeded'])
})

test('an e-mail of a megabyte is one caller, takes no megabyte to remember, and shares the bucket of its first characters', async (t) => {
  const store = new ClockedStore()
  const { app } = await buildOn(t, store, {}, { bodyLimit: 3_000_000 })
  addLogin(app)
  const large = 'x'.repeat(1_000_000)
  t.same(await statuses(app, 3, login(large)), [401, 401, 401])
  t.same(await statuses(app, 3, login(`${large.slice(0, 300)}@example.com`)), [401, 401, 429])
  for (const key of store.keys) t.ok(key.length < 64, key)
})

test('no answer of a sign-in tells how often an account was tried', async (t) => {
  const { app } = await build(t)
  addStrictLogin(app)
  for (let count = 0; count < 7; count++) {
    const { headers } = await app.inject(login('victim@example.com'))
    t.match(headers['ratelimit-policy'], /^"global";q=100;w=900, "login:2";q=30;w=900$/)
    t.notMatch(headers['ratelimit'], /"login"|login:3/)
  }
})

test('what is hidden by expose is nowhere, and the others are told as before', async (t) => {
  const { app } = await build(t, {
    policies: {
      global: [{ limit: 5, window: '1h', by: 'ip', expose: false }, { limit: 3, window: '1h', by: 'ip', expose: true }],
    },
  })
  app.get('/', async () => 'ok')
  const { headers } = await app.inject('/')
  t.equal(headers['ratelimit-policy'], '"global:2";q=3;w=3600')
  t.equal(headers['ratelimit'], '"global:2";r=2;t=3600')
})

test("nested scopes, GET and HEAD, preflights and 404s of one caller share the scope's policies", async (t) => {
  const { app } = await build(t, {
    policies: { global: { limit: 6, window: '1h', by: 'ip' }, inner: { limit: 2, window: '1h', by: 'ip' } },
  })
  app.get('/', async () => 'ok')
  await app.register(async (outer) => {
    overrideScope(outer, { rateLimit: ['inner'] }, 'outer')
    outer.get('/', async () => 'ok')
    await outer.register(async (deep) => { deep.get('/deep', async () => 'ok') })
    await outer.register(async (free) => {
      overrideScope(free, { rateLimit: { only: ['inner'] } }, 'free')
      free.get('/free', async () => 'ok')
      free.setNotFoundHandler(async (_request, reply) => reply.code(404).send('none'))
    }, { prefix: '/own' })
  }, { prefix: '/outer' })
  const order: readonly (readonly [InjectOptions, number])[] = [
    [{ url: '/' }, 200],
    [{ method: 'HEAD', url: '/' }, 200],
    [
      { method: 'OPTIONS', url: '/', headers: { origin: 'https://a.example', 'access-control-request-method': 'GET' } },
      404,
    ],
    [{ url: '/outer' }, 200],
    [{ method: 'HEAD', url: '/outer/deep' }, 200],
    [{ url: '/outer/deep' }, 429],
    [{ url: '/outer/own/free' }, 429],
    [{ url: '/nowhere' }, 404],
    [{ url: '/' }, 429],
    [{ method: 'HEAD', url: '/' }, 429],
    [{ url: '/nowhere' }, 429],
  ]
  for (const [request, status] of order) t.same(await statuses(app, 1, request), [status], JSON.stringify(request))
})
