import { test } from 'tap'
import { addLogin, build, login, REMOTE, statuses } from '../lib/rate-limit/app.js'

const two = { global: { limit: 2, window: '1h', by: 'ip' } } as const

test('an allowed address is held by no limit, in whatever form it comes', async (t) => {
  const { app, events } = await build(t, { policies: two, allow: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.7'] })
  addLogin(app)
  app.get('/', async () => 'ok')
  for (const remoteAddress of ['10.1.2.3', '::ffff:10.1.2.3', '::FFFF:a01:203', '2001:db8:ffff::1', '192.0.2.7']) {
    t.same(await statuses(app, 4, { url: '/', remoteAddress }), [200, 200, 200, 200], remoteAddress)
  }
  const answer = await app.inject({ url: '/', remoteAddress: '10.1.2.3' })
  t.equal(answer.headers['ratelimit'], undefined)
  t.same(
    await statuses(app, 7, login('a@b.c', 'wrong', '10.1.2.3')),
    [401, 401, 401, 401, 401, 401, 401],
    'limits by body neither',
  )
  for (const remoteAddress of ['11.1.2.3', '192.0.2.8', '2001:db9::1', '::10.1.2.3']) {
    t.same(await statuses(app, 3, { url: '/', remoteAddress }), [200, 200, 429], remoteAddress)
  }
  t.same(new Set(events.map(({ name }) => name)), new Set(['excess_rate_limit_exceeded']))
})

test('a denied address is refused everywhere, before anything is counted, and the deny list wins', async (t) => {
  const { app, events } = await build(t, {
    policies: two,
    deny: ['192.0.2.0/24', '2001:db8:bad::/48', '10.6.6.6'],
    allow: ['10.0.0.0/8'],
  })
  app.get('/', async () => 'ok')
  app.get('/free', { security: { rateLimit: false } }, async () => 'ok')
  for (const url of ['/', '/free', '/nowhere']) {
    for (const remoteAddress of ['192.0.2.200', '::ffff:192.0.2.1', '2001:db8:bad:1::1', '10.6.6.6']) {
      const answer = await app.inject({ url, remoteAddress })
      t.equal(answer.statusCode, 403, `${url} ${remoteAddress}`)
      t.match(answer.json(), { code: 'FORBIDDEN' })
      t.equal(answer.headers['cache-control'], 'no-store')
      t.equal(answer.headers['ratelimit'], undefined)
      t.notMatch(answer.body, /deny|192\.|2001:|10\.6/)
    }
  }
  t.same(events[0], { name: 'address_denied', list: 'rateLimit.deny' })
  t.same(await statuses(app, 3, { url: '/', remoteAddress: '10.6.6.7' }), [200, 200, 200])
  t.same(await statuses(app, 3, { url: '/' }), [200, 200, 429])
})

test('a proxy that was not declared is not let past the limits with all its clients', async (t) => {
  for (const header of ['x-forwarded-for', 'forwarded']) {
    const { app, events } = await build(t, { policies: two, allow: ['10.0.0.0/8'] })
    app.get('/', async () => 'ok')
    t.same(await statuses(app, 3, { url: '/', remoteAddress: '10.0.0.1', headers: { [header]: 'for=203.0.113.1' } }), [
      200,
      200,
      429,
    ], header)
    t.same(events.slice(0, 1), [{ name: 'proxy_headers_untrusted', header }])
    t.equal(events.filter(({ name }) => name === 'proxy_headers_untrusted').length, 1, 'said once')
    t.same(
      await statuses(app, 3, { url: '/', remoteAddress: '10.0.0.1' }),
      [200, 200, 200],
      'without the header it speaks for itself',
    )
  }
})

test("behind a declared proxy the client's address decides", async (t) => {
  const { app } = await build(t, { policies: two, allow: ['10.0.0.0/8'], deny: ['192.0.2.1'] }, {
    trustProxy: ['127.0.0.1'],
  })
  app.get('/', async () => 'ok')
  const from = (address: string): Promise<number[]> =>
    statuses(app, 3, { url: '/', remoteAddress: '127.0.0.1', headers: { 'x-forwarded-for': address } })
  t.same(await from('10.1.1.1'), [200, 200, 200])
  t.same(await from('192.0.2.1'), [403, 403, 403])
  t.same(await from('203.0.113.1'), [200, 200, 429])
  t.same(await from('10.1.1.1, 203.0.113.2'), [200, 200, 429], 'what the client wrote itself is not believed')
  t.same(await from('x'.repeat(5000)), [200, 200, 429], 'text that is no address')
})

test('consume and penalize hold no allowed caller', async (t) => {
  const { app } = await build(t, { policies: { own: { limit: 1, window: '1h', by: 'ip' } }, allow: ['10.0.0.0/8'] })
  const admitted: boolean[] = []
  app.get('/', { security: { rateLimit: false } }, async (request) => {
    admitted.push((await request.rateLimit.consume('own')).admitted)
    await request.rateLimit.penalize('own')
    return 'ok'
  })
  for (const remoteAddress of ['10.0.0.1', '10.0.0.1', REMOTE, REMOTE]) await app.inject({ url: '/', remoteAddress })
  t.same(admitted, [true, true, true, false])
})

test('the boot log names the ranges that no limit holds', async (t) => {
  const lines: string[] = []
  const logger = { stream: { write: (line: string) => { lines.push(line) } }, level: 'warn' }
  await build(t, { allow: ['10.0.0.0/8'] }, { logger })
  t.match(lines.map((line) => JSON.parse(line) as unknown), [{ level: 40, ranges: ['10.0.0.0/8'] }])
  lines.length = 0
  await build(t, { deny: ['192.0.2.1'] }, { logger })
  t.same(lines, [])
})

test('an API key is the caller, from the header that the option names', async (t) => {
  const { app } = await build(t, {
    apiKeyHeader: 'X-Client-Key',
    policies: { global: { limit: 2, window: '1h', by: 'apiKey' } },
  })
  app.get('/', async () => 'ok')
  const key = { 'x-client-key': 'sk_live_1' }
  t.same(await statuses(app, 2, { url: '/', headers: key }), [200, 200])
  t.same(await statuses(app, 1, { url: '/', headers: key, remoteAddress: '203.0.113.1' }), [429])
  t.same(
    await statuses(app, 3, { url: '/', headers: { 'x-api-key': 'sk_live_1' } }),
    [200, 200, 429],
    'another header is no key: by address',
  )
  t.same(await statuses(app, 1, { url: '/', headers: { 'x-api-key': 'sk_live_2' } }), [429])
  t.match(await app.inject({ url: '/', headers: key }).then(({ headers }) => headers['ratelimit']), /"global";r=0/)
})
