import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { Type } from '@sinclair/typebox'
import { Redis } from 'ioredis'
import { test } from 'tap'
import { AuthOptionsSchema, type ResolvedAuthOptions } from '../../../lib/auth/options.js'
import type { Boot } from '../../../lib/policy/plugin.js'
import type { Problem } from '../../../lib/response/errors.js'
import { auth } from '../../../plugins/auth.js'
import { ROOT } from '../../helpers/root.js'
import { secret } from './support.js'

const ACCESS = secret()
const REFRESH = secret()
const DEV: Boot = { production: false, config: {} }

function minimal (): Record<string, unknown> {
  return { roles: ['user', 'admin'], loadUser: async () => null, accessSecret: ACCESS, refreshSecret: REFRESH }
}

const resolveAuthOptions = (options: unknown, boot: Boot, problems: Problem[]): ResolvedAuthOptions | null =>
  auth.resolve(options, { problems, boot, definition: {}, inherited: undefined })

function problemsOf (options: unknown, boot: Boot = DEV): string[] {
  const problems: Problem[] = []
  resolveAuthOptions(options, boot, problems)
  for (const { path, message, fix } of problems) {
    if (path === '' || message === '' || fix === '') {
      throw new Error('a problem names its path, what is wrong, and the fix')
    }
    if (`${message}${fix}`.includes(ACCESS) || `${message}${fix}`.includes(REFRESH)) {
      throw new Error('a problem holds a secret')
    }
  }
  return problems.map(({ path, message }) => `${path}: ${message}`)
}

test('roles, loadUser and two secrets are enough', async (t) => {
  t.same(problemsOf(minimal()), [])
  const problems: Problem[] = []
  const resolved = resolveAuthOptions(minimal(), DEV, problems)
  t.match(resolved, {
    issuer: 'bulwark',
    audience: 'bulwark-api',
    accessTtlMs: 900_000,
    refreshIdleMs: 604_800_000,
    refreshAbsoluteMs: 2_592_000_000,
    graceMs: 10_000,
    cookies: 'scoped',
    sameSite: 'strict',
    prefix: '/auth',
    redis: null,
    keyPrefix: 'bulwark:auth:',
    revocation: 'strict',
    revocationDelayMs: 5000,
    authenticate: null,
    label: null,
    routes: true,
    scopes: [],
    sources: ['cookie'],
    maxSessions: 100,
    whenFull: 'evict',
    onReuse: 'session',
  })
  t.ok(Object.isFrozen(resolved))
  const optional = [
    'claims',
    'authenticate',
    'issuer',
    'audience',
    'accessTtl',
    'refreshIdle',
    'refreshAbsolute',
    'grace',
    'cookies',
    'sameSite',
    'prefix',
    'redis',
    'allowMemoryStore',
    'keyPrefix',
    'revocation',
    'revocationDelay',
    'scopes',
    'sources',
    'accessKeys',
    'refreshKeys',
    'maxSessions',
    'whenFull',
    'onReuse',
    'label',
    'routes',
    'jwtDecorators',
  ]
  t.same(
    [...optional, 'roles', 'loadUser', 'accessSecret', 'refreshSecret'].sort(),
    Object.keys(AuthOptionsSchema.properties).sort(),
    'every option is here',
  )
  t.same(
    problemsOf({ ...minimal(), ...Object.fromEntries(optional.map((name) => [name, undefined])) }),
    [],
    'undefined is absent',
  )
})

test('defaults come from the configuration', async (t) => {
  const config = { JWT_ACCESS_SECRET: ACCESS, JWT_REFRESH_SECRET: REFRESH, REDIS_URL: 'redis://localhost:6379' }
  const rest = { ...minimal(), accessSecret: undefined, refreshSecret: undefined }
  const resolved = resolveAuthOptions(rest, { production: true, config }, [])
  t.equal(resolved?.accessKeys.current.verifyWith.export().toString(), ACCESS)
  t.equal(resolved?.refreshKeys.current.verifyWith.export().toString(), REFRESH)
  t.equal(resolved?.revocation, 'cached')
  t.match(resolved, { redis: { kind: 'server', server: { host: 'localhost', port: 6379 } } })
  t.equal(
    resolveAuthOptions({ ...rest, redis: false, allowMemoryStore: true }, { production: true, config }, [])?.redis,
    null,
    'false keeps Redis out',
  )
  t.same(problemsOf(rest), ['auth.accessSecret: Missing.', 'auth.refreshSecret: Missing.'])
})

test('all problems are found at once, each with its path', async (t) => {
  t.same(problemsOf({ ...minimal(), rolls: [], grase: '10s' }), [
    'auth.rolls: Unknown option.',
    'auth.grase: Unknown option.',
  ])
  t.same(problemsOf(undefined).length > 0, true)
  t.same(
    problemsOf({ ...minimal(), accessSecret: 'short', accessTtl: '30d', redis: 'http://x' }).map((line) =>
      line.split(':')[0]
    ),
    ['auth.accessSecret', 'auth.accessSecret', 'auth.accessTtl', 'auth.redis'],
  )
})

test('an option of another type or out of its bounds is refused', async (t) => {
  const table: [string, unknown[], unknown[]][] = [
    ['roles', [undefined, [], [''], ['a', 'a'], 'user', [1], null], [['user']]],
    ['loadUser', [undefined, null, 'x', {}], [async () => null]],
    ['authenticate', [null, 'x', true], [async () => null]],
    ['claims', [null, {}, 'x', Type.String(), { type: 'object' }], [
      Type.Object({}),
      Type.Object({ tenant: Type.String() }),
    ]],
    ['issuer', ['', 'a b', 'a"b', 'a\nb', 'é', 1, 'x'.repeat(129)], ['https://id.example.com', 'x'.repeat(128)]],
    ['audience', ['', 'a b', null], ['urn:api']],
    ['accessTtl', ['', '15', 900, '0s', '1.5m', '-1m', '1500ms', '7d', '8d'], ['1s', '6d', '2000ms']],
    ['refreshIdle', ['15m', '31d', 'x', 7], ['30d', '16m']],
    ['refreshAbsolute', ['6d', 30, '3651d', '999999999d'], ['7d', '3650d']],
    ['grace', ['61s', '2m', '0s', 10, ''], ['60s', '1ms', '500ms']],
    ['cookies', ['', 'Host', true], ['scoped', 'host']],
    ['sameSite', ['none', 'Strict', false], ['strict', 'lax']],
    ['prefix', ['', '/', 'auth', '/auth/', '/a//b', '/a b', '/a;b', '/a?b', '/:id', '/*'], ['/auth', '/api/v1/auth']],
    ['redis', ['', 'localhost', 'http://localhost', true, null, {}, 6379], [
      false,
      'redis://localhost',
      'rediss://u:p@localhost:6380/1',
    ]],
    ['allowMemoryStore', ['true', 1, null], [true, false]],
    ['keyPrefix', ['', '{a}', 'a b', 'x'.repeat(101)], ['app:auth:']],
    ['revocation', ['none', true, null], ['strict', 'cached', 'stateless']],
    ['revocationDelay', ['61s', '0s', 5, ''], ['60s', '100ms']],
    ['scopes', [[], [''], ['a b'], ['a"b'], ['a', 'a'], 'a', null], [['projects:read']]],
    ['sources', [[], ['header'], ['cookie', 'cookie'], 'cookie', null], [['cookie'], ['bearer'], ['bearer', 'cookie']]],
    ['maxSessions', [0, -1, 1.5, 1001, '5', null], [1, 1000]],
    ['whenFull', ['', 'Evict', true], ['evict', 'refuse']],
    ['onReuse', ['', 'all', true], ['session', 'user']],
    ['label', ['x', null, {}], [() => 'phone']],
    ['routes', ['false', 0, null], [true, false]],
    ['jwtDecorators', ['true', 1, null, {}], [true, false]],
    ['accessKeys', ['x', [], null], []],
    ['refreshKeys', ['x', [], null], []],
    ['accessSecret', [1, null, ''], [secret()]],
    ['refreshSecret', [1, null, ''], [secret()]],
  ]
  for (const [name, wrong, right] of table) {
    for (const value of wrong) {
      t.match(
        problemsOf({ ...minimal(), [name]: value }).map((line) => line.split(/[:[]/)[0]),
        value === '15m' ? ['auth.accessTtl'] : [/^auth\./],
        `${name} = ${inspect(value)}`,
      )
    }
    for (const value of right) {
      t.same(problemsOf({ ...minimal(), [name]: value }), [], `${name} = ${inspect(value)} is fine`)
    }
  }
})

test('a wrong option is one problem, said in words, and nothing that was given is called missing', async (t) => {
  for (
    const [name, value] of [
      ['accessSecret', 7],
      ['refreshSecret', null],
      ['accessTtl', '15'],
      ['grace', 10],
      ['prefix', 'auth'],
      ['keyPrefix', '{a}'],
      ['maxSessions', NaN],
    ] as const
  ) {
    t.match(problemsOf({ ...minimal(), [name]: value }), [new RegExp(`^auth.${name}: `)], name)
    t.equal(problemsOf({ ...minimal(), [name]: value }).length, 1, name)
  }
  for (const kind of ['access', 'refresh'] as const) {
    t.same(problemsOf({ ...minimal(), [`${kind}Secret`]: undefined, [`${kind}Keys`]: 'x' }), [
      `auth.${kind}Keys: Expected object.`,
    ])
  }
  for (const whole of [null, [], 'x', () => {}]) {
    t.same(problemsOf(whole), ['auth: Expected object.'], inspect(whole))
  }
  t.same(
    problemsOf(undefined),
    ['roles', 'loadUser', 'accessSecret', 'refreshSecret'].map((name) => `auth.${name}: Missing.`),
  )
  for (const name of Object.keys(AuthOptionsSchema.properties)) {
    const problems: Problem[] = []
    resolveAuthOptions({ ...minimal(), [`${name}x`]: 1 }, DEV, problems)
    t.match(problems, [{ path: `auth.${name}x`, message: 'Unknown option.', fix: `Did you mean "${name}"?` }])
  }
})

test('times that could end a session in use are refused, and so is a sign-in that nothing would call', async (t) => {
  t.same(problemsOf({ ...minimal(), accessTtl: '15m', refreshIdle: '15m' }), [
    'auth.accessTtl: Not shorter than refreshIdle.',
  ])
  t.same(problemsOf({ ...minimal(), accessTtl: '15m', refreshIdle: '900s', grace: '60s' }), [
    'auth.accessTtl: Not shorter than refreshIdle.',
  ])
  t.same(problemsOf({ ...minimal(), accessTtl: '30s', refreshIdle: '89s', grace: '60s' }), [
    'auth.refreshIdle: Shorter than accessTtl and grace together.',
  ])
  t.same(problemsOf({ ...minimal(), accessTtl: '30s', refreshIdle: '90s', grace: '60s' }), [])
  t.same(problemsOf({ ...minimal(), routes: false, authenticate: async () => null }), [
    'auth.authenticate: Nothing would call it: routes is false.',
  ])
  t.same(problemsOf({ ...minimal(), routes: false }), [])
})

test('options of other suites are not accepted in silence', async (t) => {
  for (const name of ['keyring', 'jwks', 'algorithm', 'bearer', 'clearSiteData', 'tokenSources']) {
    t.same(problemsOf({ ...minimal(), [name]: true }), [`auth.${name}: Unknown option.`])
  }
})

test('weak, equal and mistaken secrets are refused without being shown', async (t) => {
  const table = [
    'changeme',
    'x'.repeat(64),
    'your-256-bit-secret-your-256-bit-secret',
    '-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----',
    '{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}',
  ]
  for (const weak of table) {
    for (const name of ['accessSecret', 'refreshSecret']) {
      const problems: Problem[] = []
      resolveAuthOptions({ ...minimal(), [name]: weak }, DEV, problems)
      t.ok(problems.length > 0 && problems.every(({ path }) => path === `auth.${name}`), `${name} ${weak.slice(0, 20)}`)
      t.notOk(problems.some(({ message, fix }) => `${message}${fix}`.includes(weak)))
    }
  }
  t.same(problemsOf({ ...minimal(), refreshSecret: ACCESS }), ['auth.refreshSecret: It equals the access secret.'])
})

test('sessions in memory are refused in production unless allowed', async (t) => {
  const production: Boot = { production: true, config: {} }
  t.same(problemsOf(minimal(), production), ['auth.redis: Sessions would live in memory in production.'])
  t.same(problemsOf({ ...minimal(), redis: false }, production).length, 1)
  t.same(problemsOf({ ...minimal(), redis: false, allowMemoryStore: false }, production).length, 1)
  t.same(problemsOf({ ...minimal(), redis: false, allowMemoryStore: true }, production), [])
  t.same(problemsOf({ ...minimal(), redis: 'redis://cache' }, production), [])
})

test('a client that queues commands while it is disconnected is refused', async (t) => {
  const make = (options: object): Redis => new Redis({ lazyConnect: true, ...options })
  t.match(problemsOf({ ...minimal(), redis: make({}) }), [/auth.redis: This ioredis client queues commands/])
  t.same(
    problemsOf({ ...minimal(), redis: make({ enableOfflineQueue: false, autoResendUnfulfilledCommands: false }) }),
    [],
  )
})

test('claims must not take a name that has a meaning of its own, nor a format that TypeBox does not know', async (t) => {
  for (const name of ['sub', 'roles', 'id', 'sessionId', 'exp', 'scope', 'constructor', 'toJSON']) {
    t.match(problemsOf({ ...minimal(), claims: Type.Object({ [name]: Type.String() }) }), [
      new RegExp(`^auth.claims.${name}: This name`),
    ])
  }
  t.match(
    problemsOf({
      ...minimal(),
      claims: Type.Object({ a: Type.Array(Type.Object({ b: Type.String({ format: 'uuid' }) })) }),
    }),
    [/format "uuid"/],
  )
})

test('docs/auth.md lists every option and no other', async (t) => {
  const page = readFileSync(join(ROOT, 'docs', 'auth.md'), 'utf8')
  const table = page.slice(page.indexOf('## Options'), page.indexOf('## On a route'))
  const named = [...table.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`(\w+)[^`]*`/g)].map(([, name]) => name)
  )
  t.same(named.sort(), Object.keys(AuthOptionsSchema.properties).sort())
})
