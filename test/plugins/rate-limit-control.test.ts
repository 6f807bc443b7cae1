import Fastify, { type FastifyRequest } from 'fastify'
import { test } from 'tap'
import type { Duration } from '../../lib/options/duration.js'
import type { Limit } from '../../lib/rate-limit/options.js'
import type { LimitStore } from '../../lib/rate-limit/stores/store.js'
import { rateLimit } from '../../plugins/rate-limit.js'
import { addLogin, login, REMOTE, statuses } from '../lib/rate-limit/app.js'
import { buildOn, ClockedStore } from '../lib/rate-limit/clocked-store.js'

const tiny = { tiny: { limit: 2, window: '1h', by: 'ip' } } as const

test('inspect tells how each limit stands to a caller, and counts nothing', async (t) => {
  const { app } = await buildOn(t, new ClockedStore())
  addLogin(app)
  const { limits } = app.security
  const caller = { ip: REMOTE, body: { email: ' User@Example.com' } }
  t.same((await limits.inspect('login', caller)).map(({ used }) => used), [0, 0, 0])
  await statuses(app, 6, login('user@example.com'))
  for (let times = 0; times < 3; times++) {
    t.same(await limits.inspect('login', caller), [
      { item: 'login', limit: 5, used: 5, remaining: 0, waitMs: 900_000, blocked: true, banned: false },
      { item: 'login:2', limit: 30, used: 5, remaining: 25, waitMs: 900_000, blocked: false, banned: false },
      { item: 'login:3', limit: 100, used: 5, remaining: 95, waitMs: 3_600_000, blocked: false, banned: false },
    ])
  }
  t.match(
    await limits.inspect('login:3', { body: { email: 'user@example.com' } }),
    [{ item: 'login:3', used: 5 }],
    'one limit asks for its own parts only',
  )
})

test('reset frees a caller, and only that one', async (t) => {
  const { app } = await buildOn(t, new ClockedStore(), { policies: { global: tiny.tiny } })
  app.get('/', async () => 'ok')
  for (const remoteAddress of [REMOTE, '203.0.113.1']) {
    t.same(await statuses(app, 3, { url: '/', remoteAddress }), [200, 200, 429])
  }
  await app.security.limits.reset('global', { ip: `::ffff:${REMOTE}` })
  t.same(await statuses(app, 3, { url: '/' }), [200, 200, 429])
  t.same(await statuses(app, 1, { url: '/', remoteAddress: '203.0.113.1' }), [429])
})

test('a ban refuses whatever the counts, ends by itself, and unban keeps the counts', async (t) => {
  const { app, store } = await buildOn(t, new ClockedStore(), { policies: { global: tiny.tiny } })
  app.get('/', async () => 'ok')
  const { limits } = app.security
  t.same(await statuses(app, 1, { url: '/' }), [200])
  await limits.ban('global', { ip: REMOTE }, '10m')
  const refused = await app.inject({ url: '/', remoteAddress: REMOTE })
  t.equal(refused.statusCode, 429)
  t.equal(refused.headers['retry-after'], '600')
  t.match(await limits.inspect('global', { ip: REMOTE }), [{ banned: true, blocked: true, used: 1 }])
  store.now += 600_000 - 1
  t.same(await statuses(app, 1, { url: '/' }), [429])
  store.now += 1
  t.same(await statuses(app, 2, { url: '/' }), [200, 429])
  await limits.ban('global', { ip: '203.0.113.1' }, '1h')
  t.same(await statuses(app, 1, { url: '/', remoteAddress: '203.0.113.1' }), [429])
  await limits.unban('global', { ip: '203.0.113.1' })
  t.same(await statuses(app, 3, { url: '/', remoteAddress: '203.0.113.1' }), [200, 200, 429])
})

test('who goes on after refusals is banned, for longer each time, and Retry-After names the end of the ban', async (t) => {
  const { app, store } = await buildOn(t, new ClockedStore(), {
    policies: {
      global: { limit: 1, window: '1m', by: 'ip', penalty: { after: 2, within: '10m', bans: ['5m', '1h'] } },
    },
  })
  app.get('/', async () => 'ok')
  for (const seconds of [300, 3600, 3600]) {
    t.same(await statuses(app, 2, { url: '/' }), [200, 429])
    const banned = await app.inject({ url: '/', remoteAddress: REMOTE })
    t.equal(banned.headers['retry-after'], String(seconds))
    t.match(await app.security.limits.inspect('global', { ip: REMOTE }), [{ banned: true }])
    t.same(await statuses(app, 1, { url: '/', remoteAddress: '203.0.113.1' }), [200], 'nobody else is')
    store.now += seconds * 1000 - 1
    t.same(await statuses(app, 1, { url: '/' }), [429])
    store.now += 1
  }
})

test('a caller is named by the policy\'s own parts, or the error says which is missing', async (t) => {
  const by: Limit['by'][] = ['ip', 'apiKey', { header: 'X-Tenant' }, { body: 'email' }, ['ip', { body: 'email' }]]
  const { app } = await buildOn(t, new ClockedStore(), {
    policies: Object.fromEntries(by.map((parts, index) => [`p${index}`, { limit: 5, window: '1m', by: parts }])),
  })
  const { limits } = app.security
  const secret = 'never shown'
  const wrong: readonly (readonly [string, unknown, RegExp])[] = [
    ['p0', {}, /caller\.ip: Missing: "p0" counts by it/],
    ['p0', { ip: secret }, /caller\.ip: Not an IP address/],
    ['p0', { ip: '' }, /caller\.ip/],
    ['p0', { ip: 7 }, /caller\.ip/],
    ['p0', { Ip: REMOTE }, /Did you mean "ip"/],
    ['p0', { ip: REMOTE, adress: secret }, /caller\.adress: Unknown/],
    ['p0', null, /caller/],
    ['p0', REMOTE, /caller/],
    ['p1', { ip: REMOTE }, /caller\.apiKey: Missing/],
    ['p1', { apiKey: '' }, /caller\.apiKey/],
    ['p1', { apiKey: null }, /caller\.ip: Missing/],
    ['p2', { header: { 'x-other': secret } }, /caller\.header\.x-tenant: Missing/],
    ['p2', { header: secret }, /caller\.header/],
    ['p2', { header: { 'x-tenant': 7 } }, /caller\.header/],
    ['p3', { body: { mail: secret } }, /caller\.body\.email: Missing/],
    ['p4', { body: { email: secret } }, /caller\.ip: Missing/],
    ['p4', {}, /caller\.ip: Missing.*\n.*caller\.body\.email: Missing/],
  ]
  for (const [policy, caller, message] of wrong) {
    for (const verb of [limits.inspect, limits.reset, limits.unban]) {
      const error: unknown = await verb(policy, caller as never).then(() => null, (reason: unknown) => reason)
      t.type(error, TypeError, JSON.stringify(caller))
      t.match((error as Error).message, message)
      t.notMatch((error as Error).message, secret)
    }
  }
  for (
    const [policy, caller] of [['p1', { apiKey: null, ip: REMOTE }], ['p2', { header: { 'X-TENANT': 'a' } }], ['p3', {
      body: { email: undefined, other: 1 },
    }], ['p4', { ip: '2001:db8::1', body: { email: 7 } }]] as const
  ) {
    const found: unknown = await limits.inspect(policy, caller).then(
      () => null,
      (reason: unknown) => (reason as Error).message,
    )
    t.equal(
      found,
      policy === 'p3' ? 'caller.body.email: Missing: "p3" counts by it. Name every part of the policy.' : null,
      JSON.stringify(caller),
    )
  }
  await t.rejects(limits.inspect('p9', {}), RangeError)
  await t.rejects(limits.inspect('p9', {}), { message: /Did you mean "p/ })
  await t.rejects(limits.inspect('__proto__', {}), RangeError)
  for (const duration of ['', '10', '0s', '10 m', 600, null, undefined, '367d']) {
    await t.rejects(limits.ban('p0', { ip: REMOTE }, duration as Duration), TypeError)
  }
})

test('an administrator learns that the store did not hear, and nothing of its text', async (t) => {
  const { app, store } = await buildOn(t, new ClockedStore())
  store.down = true
  const { limits } = app.security
  for (
    const attempt of [
      limits.inspect('global', { ip: REMOTE }),
      limits.reset('global', { ip: REMOTE }),
      limits.ban('global', { ip: REMOTE }, '1m'),
      limits.unban('global', { ip: REMOTE }),
    ]
  ) {
    const error: unknown = await attempt.then(() => null, (reason: unknown) => reason)
    t.match(error, { code: 'STORE_UNAVAILABLE', statusCode: 503 })
    t.notMatch((error as Error).message, /secret/)
  }
})

test('consume decides for the handler, reward gives back once, penalize counts without asking', async (t) => {
  const { app, store, events } = await buildOn(t, new ClockedStore(), {
    policies: { quota: { limit: 10, window: '1h', by: 'ip' } },
  })
  const answers: unknown[] = []
  app.get('/:verb/:cost', { security: { rateLimit: false } }, async (request) => {
    const { verb, cost } = request.params as { verb: 'consume' | 'reward' | 'penalize', cost: string }
    if (verb === 'consume') {
      answers.push(await request.rateLimit.consume('quota', cost === '-' ? {} : { cost: Number(cost) }))
    }
    if (verb === 'penalize') await request.rateLimit.penalize('quota', Number(cost))
    if (verb === 'reward') {
      await request.rateLimit.consume('quota', { cost: Number(cost) })
      await Promise.all([request.rateLimit.reward('quota'), request.rateLimit.reward('quota')])
    }
    return 'ok'
  })
  const ask = (path: string): Promise<unknown> => app.inject({ url: path, remoteAddress: REMOTE })
  const used = async (): Promise<number | undefined> =>
    (await app.security.limits.inspect('quota', { ip: REMOTE }))[0]?.used
  await ask('/consume/-')
  await ask('/consume/7')
  t.same(answers, [{ admitted: true, remaining: 9, retryAfterSeconds: 0 }, {
    admitted: true,
    remaining: 2,
    retryAfterSeconds: 0,
  }])
  await ask('/consume/3')
  t.same(answers[2], { admitted: false, remaining: 2, retryAfterSeconds: 3600 }, 'all or nothing')
  t.same(events, [{ name: 'excess_rate_limit_exceeded', policies: ['quota'] }])
  await ask('/reward/2')
  t.equal(await used(), 8)
  await ask('/penalize/1')
  t.equal(await used(), 9)
  await ask('/penalize/9')
  t.equal(await used(), 10, 'as many as there is room for')
  for (const cost of ['0', '-1', '1.5', '11', 'NaN', 'x']) {
    for (const verb of ['consume', 'penalize']) {t.equal(
        (await app.inject(`/${verb}/${cost}`)).statusCode,
        500,
        `${verb} ${cost}`,
      )}
  }
  store.now += 3_600_000
  t.equal(await used(), 0)
})

test('what handlers consume and penalize shows in the counters', async (t) => {
  const { app } = await buildOn(t, new ClockedStore(), {
    allow: ['192.0.2.0/24'],
    policies: {
      quota: { limit: 5, window: '1h', by: 'ip' },
      soft: { limit: 1, window: '1h', by: 'ip', mode: 'shadow' },
      both: [{ limit: 2, window: '1h', by: 'ip' }, { limit: 9, window: '1h', by: { header: 'x-team' } }, {
        limit: 1,
        window: '1h',
        by: { body: 'email' },
      }],
    },
  })
  app.post('/:verb/:policy/:cost', { security: { rateLimit: false } }, async (request) => {
    const { verb, policy, cost } = request.params as { verb: 'consume' | 'penalize', policy: string, cost: string }
    if (verb === 'consume') return (await request.rateLimit.consume(policy, { cost: Number(cost) })).admitted
    await request.rateLimit.penalize(policy, Number(cost))
    return 'done'
  })
  const ask = (path: string, remoteAddress = REMOTE): Promise<unknown> =>
    app.inject({ method: 'POST', url: path, remoteAddress, payload: { email: 'a@b.c' } })
  const none = { allowed: 0, denied: 0, shadow: 0, nearLimit: 0, fallback: 0, denyCacheHits: 0, penalized: 0 }
  t.equal(app.security.limits.counters().policies['quota'], undefined, 'nobody used it yet')
  for (const path of ['/consume/quota/3', '/consume/quota/1', '/consume/quota/2']) await ask(path)
  t.same(app.security.limits.counters().policies['quota'], { ...none, allowed: 2, denied: 1, nearLimit: 1 })
  for (const path of ['/penalize/quota/1', '/penalize/quota/4']) await ask(path)
  t.same(app.security.limits.counters().policies['quota'], {
    ...none,
    allowed: 2,
    denied: 1,
    nearLimit: 1,
    penalized: 2,
  }, 'it lets nobody through')
  for (const path of ['/consume/quota/1', '/penalize/quota/1']) await ask(path, '192.0.2.1')
  for (const path of ['/consume/quota/6', '/penalize/quota/6']) await ask(path)
  t.same(app.security.limits.counters().policies['quota'], {
    ...none,
    allowed: 2,
    denied: 1,
    nearLimit: 1,
    penalized: 2,
  }, 'neither whom no limit holds nor what threw')
  for (let times = 0; times < 3; times++) await ask('/consume/soft/1')
  t.same(app.security.limits.counters().policies['soft'], { ...none, allowed: 3, shadow: 2 })
  for (let times = 0; times < 2; times++) await ask('/consume/both/1')
  t.same(
    app.security.limits.counters().policies['both'],
    { ...none, allowed: 1, denied: 1, nearLimit: 2 },
    'let through or refused once, however many phases decide',
  )
  await ask('/penalize/both:2/1')
  t.match(
    app.security.limits.counters().policies,
    { both: { penalized: 1 }, 'both:2': undefined },
    'one limit counts for its policy',
  )
})

test('what handlers consume and penalize while the store is lost counts as decided in its stead', async (t) => {
  const memory = new ClockedStore()
  const lost: LimitStore = {
    kind: 'redis',
    consume: () => Promise.reject(new Error('lost')),
    giveBack: () => Promise.reject(new Error('lost')),
    peek: () => Promise.reject(new Error('lost')),
    reset: () => Promise.reject(new Error('lost')),
    ban: () => Promise.reject(new Error('lost')),
    close: () => { memory.close() },
  }
  const { app } = await buildOn(t, lost, {
    policies: { quota: [{ limit: 9, window: '1h', by: 'ip' }, { limit: 9, window: '1h', by: { header: 'x-team' } }] },
  })
  app.get('/:verb', { security: { rateLimit: false } }, async (request) => {
    const { verb } = request.params as { verb: string }
    if (verb === 'penalize') await request.rateLimit.penalize('quota')
    else await request.rateLimit.consume('quota')
    return 'ok'
  })
  await app.inject('/penalize')
  t.match(app.security.limits.counters().policies, { quota: { allowed: 0, penalized: 1, fallback: 1 } })
  await app.inject('/consume')
  t.match(app.security.limits.counters().policies, { quota: { allowed: 1, penalized: 1, fallback: 2 } })
})

test("reward gives back what the route's own limits counted, and settling finds nothing left", async (t) => {
  const { app } = await buildOn(t, new ClockedStore(), {
    policies: {
      search: { limit: 3, window: '1h', by: 'ip' },
      guess: { limit: 3, window: '1h', by: 'ip', count: 'failures' },
    },
  })
  app.get('/:hit', { security: { rateLimit: { only: ['search', 'guess'] } } }, async (request) => {
    const { hit } = request.params as { hit: string }
    if (hit !== 'miss') for (const policy of ['search', 'guess', 'search']) await request.rateLimit.reward(policy)
    return 'ok'
  })
  t.same(await statuses(app, 5, { url: '/hit' }), [200, 200, 200, 200, 200])
  t.same(await statuses(app, 4, { url: '/miss' }), [200, 200, 200, 429])
})

test('consume may count another caller than the request\'s, all limits or none', async (t) => {
  const { app } = await buildOn(t, new ClockedStore(), {
    policies: {
      code: [{ limit: 2, window: '1h', by: { body: 'phone' } }, { limit: 9, window: '1h', by: 'ip' }, {
        limit: 1,
        window: '1h',
        by: 'ip',
        mode: 'shadow',
      }],
    },
  })
  const answers: unknown[] = []
  app.post('/', { security: { rateLimit: false } }, async (request) => {
    const { phone } = request.body as { phone?: string }
    answers.push(
      (await request.rateLimit.consume(
        'code',
        phone === undefined ? {} : { caller: { body: { phone: phone.replaceAll(' ', '') } } },
      )).admitted,
    )
    return 'ok'
  })
  app.get('/wrong', async (request) => {
    await t.rejects(request.rateLimit.consume('none'), RangeError)
    await t.rejects(request.rateLimit.reward('none'), RangeError)
    await t.rejects(request.rateLimit.penalize('none'), RangeError)
    await t.rejects(request.rateLimit.consume('code', { caller: { ip: 'x' } }), TypeError)
    return 'ok'
  })
  for (const phone of ['+49 1', '+491', '+4 91', '+492']) {
    await app.inject({ method: 'POST', url: '/', payload: { phone }, remoteAddress: REMOTE })
  }
  t.same(answers, [true, true, false, true])
  t.match(await app.security.limits.inspect('code', { ip: REMOTE, body: { phone: '+491' } }), [
    { used: 2 },
    { used: 3 },
    { used: 1, blocked: true },
  ])
  t.equal((await app.inject('/wrong')).statusCode, 200)
})

test('a skip function that is not sure skips nothing, and says so once', async (t) => {
  const lines: string[] = []
  const logger = { stream: { write: (line: string) => { lines.push(line) } }, level: 'error' }
  const skips: readonly (readonly [boolean, unknown])[] = [
    [true, () => true],
    [false, () => false],
    [false, () => 1],
    [false, () => undefined],
    [false, () => 'true'],
    [false, () => ({})],
    [false, () => {
      throw new Error('skip failed')
    }],
    [false, () => Promise.resolve(true)],
    [false, () => Promise.reject(new Error('late'))],
  ]
  for (const [skipped, skip] of skips) {
    lines.length = 0
    const { app } = await buildOn(t, new ClockedStore(), {
      policies: { global: { ...tiny.tiny, skip: skip as () => boolean } },
    }, { logger })
    app.get('/', async () => 'ok')
    t.same(await statuses(app, 3, { url: '/' }), skipped ? [200, 200, 200] : [200, 200, 429], String(skip))
    t.equal(lines.length, skip === skips[0]?.[1] || skip === skips[1]?.[1] ? 0 : 1, String(skip))
  }
})

test('skip takes out its own limit alone, request by request', async (t) => {
  const { app } = await buildOn(t, new ClockedStore(), {
    policies: {
      global: [{
        limit: 2,
        window: '1h',
        by: 'ip',
        skip: ({ headers }: FastifyRequest) => headers['x-a'] !== undefined,
      }, { limit: 4, window: '1h', by: 'ip', skip: ({ headers }: FastifyRequest) => headers['x-b'] !== undefined }],
    },
  })
  app.get('/', async () => 'ok')
  const a = { 'x-a': '1' }
  t.equal(
    (await app.inject({ url: '/', headers: a, remoteAddress: REMOTE })).headers['ratelimit'],
    '"global:2";r=3;t=3600',
  )
  t.same(await statuses(app, 3, { url: '/' }), [200, 200, 429])
  t.same(await statuses(app, 2, { url: '/', headers: a }), [200, 429])
  t.same(await statuses(app, 2, { url: '/', headers: { ...a, 'x-b': '1' } }), [200, 200], 'nothing is left to count')
  t.same(await statuses(app, 1, { url: '/', headers: { 'x-b': '1' } }), [429])
})

test('honouring Retry-After always succeeds, and a second less is refused', async (t) => {
  const { app, store } = await buildOn(t, new ClockedStore(), {
    policies: {
      global: [{ limit: 3, window: '7s', by: 'ip', cost: 2, algorithm: 'gcra', burst: 3 }, {
        limit: 5,
        window: '61s',
        by: 'ip',
      }],
    },
  })
  app.get('/', async () => 'ok')
  let refusals = 0
  for (let round = 0; round < 60; round++) {
    store.now += (round * 7919) % 2500
    const answer = await app.inject({ url: '/', remoteAddress: REMOTE })
    if (answer.statusCode === 200) continue
    refusals++
    const seconds = Number(answer.headers['retry-after'])
    store.now += (seconds - 1) * 1000
    t.same(await statuses(app, 1, { url: '/' }), [429], 'a second early')
    store.now += 1000
    t.same(await statuses(app, 1, { url: '/' }), [200])
  }
  t.ok(refusals > 10)
})

test('every server publishes its control, whatever the plugin was given', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(rateLimit)
  const { limits } = app.security
  t.same(Object.keys(limits).sort(), ['ban', 'counters', 'inspect', 'policies', 'reset', 'store', 'unban'])
  t.ok(Object.isFrozen(limits))
  t.type(limits.counters(), 'object')
})
