import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { test } from 'tap'
import { problemsWith } from '../helpers/resolve.js'
import type { Problem } from '../../lib/response/errors.js'
import type { LooseShape, SecurityTypeProvider } from '../../lib/policy/types.js'
import { rateLimit, type BuiltInPolicy } from '../../plugins/rate-limit.js'
import { bootProblems, build } from '../lib/rate-limit/app.js'

const tiny = { tiny: { limit: 2, window: '1h', by: 'ip' } } as const

test('boot names every route whose policies cannot work', async (t) => {
  const { app } = await build(t, { policies: tiny })
  app.get('/typo', { security: { rateLimit: ['tinny'] } }, async () => 'ok')
  app.get('/unknown', { security: { rateLimit: { only: ['zzzzzzzz'] } } }, async () => 'ok')
  app.get('/bodyless', { security: { rateLimit: ['login'] } }, async () => 'ok')
  app.post(
    '/no-email',
    { schema: { body: Type.Object({ name: Type.String() }) }, security: { rateLimit: ['login'] } },
    async () => 'ok',
  )
  app.post('/not-text', {
    schema: { body: Type.Object({ email: Type.Integer() }) },
    security: { rateLimit: ['login'] },
  }, async () => 'ok')
  app.post(
    '/fine',
    { schema: { body: Type.Object({ email: Type.String() }) }, security: { rateLimit: ['login'] } },
    async () => 'ok',
  )
  for (
    const [index, wrong] of ['global', true, null, 7, {}, { only: 'global' }, { only: ['global'], also: 1 }, [7]]
      .entries()
  ) {
    app.get(`/shape${index}`, { security: { rateLimit: wrong as never } }, async () => 'ok')
  }
  const problems = await bootProblems(() => app.ready())
  const of = (path: string): Problem[] => problems.filter((problem) => problem.path === path)
  t.match(of('GET /typo security.rateLimit'), [{ fix: 'Did you mean "tiny"?' }])
  t.match(of('GET /unknown security.rateLimit'), [{ fix: /Known: global, auth, login, reports, tiny/ }])
  t.match(of('GET /bodyless security.rateLimit'), [{ message: /"login".*"email".*no body/ }])
  t.match(of('POST /no-email security.rateLimit'), [{ message: /body schema/ }])
  t.match(of('POST /not-text security.rateLimit'), [{ message: /as text/ }])
  for (let index = 0; index < 8; index++) t.equal(of(`GET /shape${index} security.rateLimit`).length, 1, String(index))
  t.equal(problems.length, 13)
})

test('a limit by user without an auth plugin stops the boot', async (t) => {
  const { app } = await build(t, {
    policies: { mine: { limit: 2, window: '1h', by: ['user', { header: 'x-tenant' }] } },
  })
  t.match(await bootProblems(() => app.ready()), [{ path: 'rateLimit.policies.mine', fix: /auth plugin/ }])
})

test('one server has one limiter', async (t) => {
  const { app } = await build(t)
  t.match(await bootProblems(() => app.register(rateLimit)), [{ path: 'rateLimit', message: /twice/ }])
  const other = await build(t)
  const inChild = new Promise<readonly Problem[]>((resolve) => {
    other.app.register(async (child) => { resolve(await bootProblems(() => child.register(rateLimit))) })
  })
  await bootProblems(() => other.app.ready())
  t.match(await inChild, [{ path: 'rateLimit', fix: /secureScope/ }])
})

test('every option is checked, in all its forms', (t) => {
  const secret = 'never shown '.repeat(4)
  const production = { production: true, config: {} }
  const development = { production: false, config: {} }
  const wrong: readonly (readonly [string, unknown, RegExp])[] = [
    ['polices', { polices: {} }, /Did you mean "policies"/],
    ['policies', { policies: [] }, /name/],
    ['policies.a.limit', { policies: { a: { limit: 0, window: '1m', by: 'ip' } } }, /whole number/],
    ['redis', { redis: 'http://user:never shown@host' }, /redis:\/\//],
    ['redis', { redis: 'redis://' }, /redis:\/\//],
    ['redis', { redis: '' }, /redis:\/\//],
    ['redis', { redis: true }, /or false/],
    ['redis', { redis: {} }, /ioredis/],
    ['redis', {
      redis: { evalsha () {}, eval () {}, status: 'ready', options: {}, isCluster: true },
      keySecret: secret,
    }, /ioredis/],
    [
      'redis',
      { redis: { evalsha () {}, eval () {}, status: 'ready', options: {} }, keySecret: secret },
      /enableOfflineQueue: false/,
    ],
    ['redis', {
      redis: { evalsha () {}, eval () {}, status: 'ready', options: { enableOfflineQueue: true } },
      keySecret: secret,
    }, /enableOfflineQueue: false/],
    ['allowMemoryStore', { allowMemoryStore: 'true' }, /one process/],
    ['keySecret', { keySecret: 'never shown' }, /32/],
    ['keySecret', { keySecret: 7 }, /32/],
    ['keySecret', { redis: 'redis://127.0.0.1' }, /JWT_ACCESS_SECRET/],
    ['keyPrefix', { keyPrefix: '' }, /1 to 64/],
    ['keyPrefix', { keyPrefix: 'a b' }, /1 to 64/],
    ['deadline', { deadline: 50 }, /'50ms'/],
    ['deadline', { deadline: '0ms' }, /'50ms'/],
    ['deadline', { deadline: '11s' }, /10s/],
    ['failureStatuses', { failureStatuses: [] }, /list/],
    ['failureStatuses', { failureStatuses: 401 }, /list/],
    ['failureStatuses[1]', { failureStatuses: [401, '403'] }, /200 to 599/],
    ['gcra', { gcra: true }, /Known here/],
    ['apiKeyHeader', { apiKeyHeader: 7 }, /x-api-key/],
    ['apiKeyHeader', { apiKeyHeader: '' }, /x-api-key/],
    ['apiKeyHeader', { apiKeyHeader: 'x api key' }, /x-api-key/],
    ['apiKeyheader', { apiKeyheader: 'x-api-key' }, /Did you mean "apiKeyHeader"/],
    ['allow', { allow: '10.0.0.0/8' }, /list of CIDR/],
    ['failureStatuses[0]', { failureStatuses: [99] }, /whole number from 200 to 599/],
    ['policies.a', { policies: { a: null } }, /limit: 100, window/],
    ['policies.a[0]', { policies: { a: [7] } }, /limit: 100, window/],
    ['allow[0]', { allow: [7] }, /2001:db8::\/32/],
    ['deny[0]', { deny: [null] }, /2001:db8::\/32/],
    ['alow', { alow: [] }, /Did you mean "allow"/],
    ...[
      '',
      '10.0.0.0/33',
      '10.0.0.0/',
      '10.0.0.0/-1',
      '10.0.0.0/8/8',
      '10.0.0/8',
      '10.0.0.0/08',
      'example.com',
      '2001:db8::/129',
      'fe80::1%eth0',
      '::ffff:10.0.0.0/95',
      ' 10.0.0.1',
      '10.0.0.0/8 ',
    ].flatMap((entry) =>
      [
        ['allow[0]', { allow: [entry] }, /2001:db8::\/32/],
        ['deny[1]', { deny: ['192.0.2.1', entry] }, /2001:db8::\/32/],
      ] as const
    ),
    ['allow[0]', { allow: ['0.0.0.0/0'] }, /rateLimit: false/],
    ['allow[0]', { allow: ['::/0'] }, /rateLimit: false/],
    ['allow[0]', { allow: ['::ffff:0.0.0.0/96'] }, /rateLimit: false/],
    ['deny[0]', { allow: ['10.0.0.0/8'], deny: ['::ffff:10.0.0.0/104'] }, /one of the two/],
    [
      'policies.a.expose',
      { policies: { a: { limit: 1, window: '1m', by: { body: 'email' }, expose: true } } },
      /stays hidden/,
    ],
  ]
  for (const [path, options, fix] of wrong) {
    const problems = problemsWith(rateLimit, options, development)
    t.same(problems.map((problem) => problem.path), [`rateLimit.${path}`], `${path}: ${JSON.stringify(problems)}`)
    t.match(problems[0]?.fix, fix)
    t.notMatch(JSON.stringify(problems), /never shown/)
  }
  const shared = { redis: 'redis://127.0.0.1:6379' as const }
  const right: readonly (readonly [unknown, typeof production])[] = [
    [undefined, development],
    [{}, development],
    [{ redis: undefined, keySecret: undefined, policies: undefined }, development],
    [{ allowMemoryStore: true }, production],
    [{ ...shared, keySecret: secret }, production],
    [{}, { production: true, config: { REDIS_URL: 'rediss://a:b@c:1/2', JWT_ACCESS_SECRET: secret } }],
    [{}, { production: false, config: { REDIS_URL: '' } }],
    [{ redis: false }, { production: false, config: { REDIS_URL: 'not read' } }],
    [{ allow: [], deny: [], apiKeyHeader: undefined }, development],
    [{ apiKeyHeader: 'X-Client-Key', allow: ['10.0.0.0/8', '::1'], deny: ['0.0.0.0/0', '2001:db8::/32'] }, development],
    [{ deadline: '10s', keyPrefix: '!', failureStatuses: [200, 599], policies: {} }, development],
  ]
  for (const [options, boot] of right) {
    const problems = problemsWith(rateLimit, options, boot)
    t.same(problems, [], JSON.stringify(options))
  }
  const inService: readonly (readonly [string, unknown, Record<string, unknown>])[] = [
    ['rateLimit.redis', {}, {}],
    ['rateLimit.redis', { redis: false }, { REDIS_URL: 'redis://a' }],
    ['rateLimit.redis', {}, { REDIS_URL: 'never shown' }],
    ['rateLimit.redis', {}, { REDIS_URL: 7 }],
    ['rateLimit.keySecret', {}, { REDIS_URL: 'redis://a', JWT_ACCESS_SECRET: 'never shown' }],
  ]
  for (const [path, options, config] of inService) {
    const problems = problemsWith(rateLimit, options, { production: true, config })
    t.same(problems.map((problem) => problem.path), [path], JSON.stringify(config))
    t.notMatch(JSON.stringify(problems), /never shown/)
  }
  t.end()
})

test('all problems are reported as one', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close().catch(() => {}))
  const problems = await bootProblems(() =>
    app.register(rateLimit, {
      deadline: 5 as never,
      redis: 'nowhere',
      policies: { a: { limit: 0, window: 'x' as never, by: 'ip' } },
    })
  )
  t.same(problems.map(({ path }) => path).sort(), [
    'rateLimit.deadline',
    'rateLimit.policies.a.limit',
    'rateLimit.policies.a.window',
    'rateLimit.redis',
  ])
})

test('nothing that the app wrote is changed', async (t) => {
  const options = Object.freeze({
    policies: Object.freeze({
      a: Object.freeze([Object.freeze({ limit: 1, window: '1m', by: Object.freeze(['ip'] as const) } as const)]),
    }),
  })
  const { app } = await build(t, options)
  t.same(await bootProblems(() => app.ready()), [])
})

test('an instance that knows its policies refuses other names at compile time', async (t) => {
  const { app } = await build(t, { policies: tiny })
  const typed = app.withTypeProvider<SecurityTypeProvider<LooseShape & { policies: BuiltInPolicy | 'tiny' }>>()
  typed.get('/fine', { security: { rateLimit: ['tiny', 'global'] } }, async () => 'ok')
  typed.get('/only', { security: { rateLimit: { only: ['auth'] } } }, async () => 'ok')
  typed.get('/own', async (request) => {
    await request.rateLimit.consume('tiny', { cost: 1 })
    // @ts-expect-error the instance has no such policy to ask for
    await request.rateLimit.consume('tinny').catch(() => {})
    // @ts-expect-error nor to give back
    return await request.rateLimit.reward('tinny').catch(() => 'ok')
  })
  // @ts-expect-error the instance has no such policy
  typed.get('/typo', { security: { rateLimit: ['tinny'] } }, async () => 'ok')
  t.equal((await bootProblems(() => app.ready())).length, 1)
})
