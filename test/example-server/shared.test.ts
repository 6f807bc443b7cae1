import { randomBytes } from 'node:crypto'
import root, { test } from 'tap'
import { redisUrl } from '../helpers/redis.js'
import { buildApp } from '../../example-server/app.js'
import { codeOf, member, PASSWORD, sharedDatabase, startApp, testConfig, SLOW, Visitor } from './helpers.js'
import { Client, Program, serverDirectory } from './process.js'

root.setTimeout(SLOW.timeout)

/** The names of all keys depend on the secrets, so that each test has a Redis of its own to see. */
function ownSecrets (): { JWT_ACCESS_SECRET: string, JWT_REFRESH_SECRET: string } {
  return {
    JWT_ACCESS_SECRET: randomBytes(32).toString('base64url'),
    JWT_REFRESH_SECRET: randomBytes(32).toString('base64url'),
  }
}

test('two servers on one database and one Redis are one service', SLOW, async (t) => {
  const database = await sharedDatabase(t)
  const variables = { REDIS_URL: redisUrl(), ...ownSecrets() }
  const [one, two] = [await startApp(t, database, variables), await startApp(t, database, variables)]

  await t.test('a session that one opened is good on the other, and ends on both', async (t) => {
    const visitor = await member(one, 'ada@example.com')
    const elsewhere = new Visitor(two, { jar: visitor.jar })
    t.equal((await elsewhere.send('GET', '/me')).statusCode, 200)
    t.equal((await elsewhere.send('POST', '/auth/refresh')).statusCode, 200)
    t.equal((await visitor.send('GET', '/me')).statusCode, 200)
    const copy = visitor.jar.copy()
    t.equal((await elsewhere.send('POST', '/auth/logout')).statusCode, 204)
    t.equal(codeOf(await new Visitor(one, { jar: copy }).send('GET', '/me')), 'SESSION_REVOKED')
  })

  await t.test('wrong passwords add up over both', async (t) => {
    const here = new Visitor(one)
    const there = new Visitor(two, { address: here.address })
    for (const visitor of [here, there, here, there, here]) {
      t.equal((await visitor.login('ada@example.com', 'Wrong-horse-9999')).statusCode, 401)
    }
    t.equal((await there.login('ada@example.com')).statusCode, 429)
    t.equal((await here.login('ada@example.com')).statusCode, 429)
  })
})

test('two processes on one Redis count wrong passwords together', SLOW, async (t) => {
  const env = { PORT: '0', REDIS_URL: redisUrl(), ...ownSecrets() }
  const servers = await Promise.all(
    [1, 2].map(async () => new Program(t, 'main.js', { cwd: await serverDirectory(t), env })),
  )
  const clients = await Promise.all(servers.map(async (server) => new Client(await server.listening())))
  const statuses: (number | undefined)[] = []
  for (let i = 0; i < 6; i++) {
    statuses.push(
      (await clients[i % 2]?.send('POST', '/auth/login', { email: 'ada@example.com', password: PASSWORD }))?.status,
    )
  }
  t.same(statuses, [401, 401, 401, 401, 401, 429])
  t.same(await Promise.all(servers.map((server) => server.end('SIGTERM'))), [0, 0])
})

test('in production', SLOW, async (t) => {
  const database = await sharedDatabase(t)
  const variables = {
    ...ownSecrets(),
    NODE_ENV: 'production',
    DATABASE_URL: 'postgres://unused',
    REDIS_URL: redisUrl(),
    PUBLIC_ORIGIN: 'https://api.example.com',
    ALLOWED_HOSTS: 'api.example.com',
    ALLOWED_ORIGINS: 'https://app.example.com',
    TRUSTED_PROXIES: '10.0.0.0/8',
  }
  const app = await startApp(t, database, variables)
  const throughProxy = { host: 'api.example.com', 'x-forwarded-proto': 'https', 'x-forwarded-for': '192.0.2.200' }
  const send = (
    method: 'GET' | 'POST',
    url: string,
    headers: Record<string, string>,
    payload?: object,
  ): ReturnType<Visitor['send']> =>
    app.inject({ method, url, remoteAddress: '10.1.1.1', headers, ...(payload !== undefined && { payload }) })

  await t.test('cookies are Secure, with their prefixes, for the listed origin', async (t) => {
    const credentials = { email: 'ada@example.com', password: PASSWORD }
    const headers = { ...throughProxy, origin: 'https://app.example.com' }
    t.equal(
      (await send('POST', '/auth/register', headers, { ...credentials, fullName: 'Ada Lovelace' })).statusCode,
      201,
    )
    const res = await send('POST', '/auth/login', headers, credentials)
    t.equal(res.statusCode, 200, res.body)
    t.match(res.headers['set-cookie'], [
      /^__Host-access=.*; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
      /^__Secure-refresh=.*; Path=\/auth; HttpOnly; Secure; SameSite=Strict$/,
    ])
    t.equal(res.headers['access-control-allow-origin'], 'https://app.example.com')
    t.equal(res.headers['access-control-allow-credentials'], 'true')
    t.match(res.headers['strict-transport-security'], /^max-age=63072000/)
    t.equal(
      (await send('POST', '/auth/login', { ...throughProxy, origin: 'https://evil.example' }, credentials)).statusCode,
      403,
    )
  })

  await t.test('other hosts and plain HTTP are refused, except to the probe', async (t) => {
    t.equal((await send('GET', '/open/stats', { ...throughProxy, host: 'evil.example' })).statusCode, 421)
    t.equal((await send('GET', '/open/stats', { host: 'api.example.com' })).statusCode, 403)
    t.equal(
      (await app.inject({ url: '/open/stats', remoteAddress: '192.0.2.1', headers: throughProxy })).statusCode,
      403,
      'a client is not believed to be a proxy',
    )
    t.equal((await send('GET', '/open/stats', throughProxy)).statusCode, 200)
    t.equal(
      (await app.inject({ url: '/healthz', remoteAddress: '192.0.2.1', headers: { host: '10.0.0.9' } })).statusCode,
      200,
    )
  })

  await t.test('the page is redirected from plain HTTP to the public origin, and to nowhere else', async (t) => {
    for (
      const [url, host, status] of [['/', 'api.example.com', 308], ['/assets/app.js', 'api.example.com', 308], [
        '/',
        'evil.example',
        421,
      ]] as const
    ) {
      const res = await send('GET', url, { host })
      t.equal(res.statusCode, status, `${url} ${host}`)
      t.equal(res.headers.location, status === 308 ? `https://api.example.com${url}` : undefined)
    }
    t.equal(
      (await send('POST', '/auth/login', { host: 'api.example.com' }, { email: 'ada@example.com', password: PASSWORD }))
        .statusCode,
      403,
      'what carries a password is not',
    )
  })

  await t.test('what contradicts itself does not start, and is listed at once', async (t) => {
    const wrong = testConfig({
      ...variables,
      TRUSTED_PROXIES: 'none,10.0.0.0/8',
      ALLOWED_HOSTS: '*.example.com',
      PUBLIC_ORIGIN: 'http://api.example.com/',
      ALLOWED_ORIGINS: '*',
    })
    const error = await t.rejects(buildApp(wrong, database, { logger: false }), { code: 'BULWARK_CONFIG' })
    for (const path of ['transport.proxies[0]', 'transport.hosts[0]', 'transport.publicOrigin', 'cors.origin[0]']) {
      t.match(String(error), path)
    }
  })

  await t.test('no proxy can be declared with the word none', async (t) => {
    const direct = await startApp(t, database, { ...variables, TRUSTED_PROXIES: 'none' })
    t.equal((await direct.inject({ url: '/open/stats', headers: throughProxy })).statusCode, 403)
    t.equal((await direct.inject({ url: '/healthz', headers: throughProxy })).statusCode, 200)
  })
})
