import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import root, { test } from 'tap'
import { PASSWORD, SECRETS, SLOW, workingDirectory } from './helpers.js'
import { Client, Program, serverDirectory } from './process.js'

root.setTimeout(SLOW.timeout)

test('the server runs from registration to logout, logs its refusals, and stops on SIGTERM', SLOW, async (t) => {
  const cwd = await serverDirectory(t)
  // Each variable may come from a file.
  for (const [name, value] of Object.entries({ ...SECRETS, PORT: '0' })) writeFileSync(join(cwd, name), `${value}\n`)
  const server = new Program(t, 'main.js', {
    cwd,
    env: {
      PORT_FILE: './PORT',
      JWT_ACCESS_SECRET_FILE: './JWT_ACCESS_SECRET',
      JWT_REFRESH_SECRET_FILE: './JWT_REFRESH_SECRET',
    },
  })
  const origin = await server.listening()
  const client = new Client(origin)
  const email = 'ada@example.com'

  t.match(await client.send('GET', '/healthz'), { status: 200, body: { status: 'ok' } })
  t.match(await client.send('POST', '/auth/register', { email, password: PASSWORD, fullName: 'Ada Lovelace' }), {
    status: 201,
    body: { id: String, email, fullName: 'Ada Lovelace' },
  })
  t.match(await client.send('POST', '/auth/login', { email, password: PASSWORD }), {
    status: 200,
    body: { user: { id: String } },
  })
  t.match(await client.send('GET', '/me'), { status: 200, body: { email, fullName: 'Ada Lovelace' } })
  t.match(await client.send('POST', '/projects', { name: 'Engine' }), {
    status: 201,
    body: { name: 'Engine', status: 'active' },
  })
  t.match(await client.send('GET', '/projects?status=active&limit=5'), { status: 200, body: [{ name: 'Engine' }] })
  t.match(await client.send('POST', '/auth/refresh'), { status: 200 })
  t.match(await client.send('GET', '/open/stats'), { status: 200, body: { users: 1, projects: 1 } })

  const refused = await client.send('GET', '/admin/users')
  t.match(refused, { status: 403, body: { code: 'INSUFFICIENT_ROLE' } })
  const id = refused.headers.get('x-request-id')
  t.match(id, /^[0-9a-f]{32}$/)
  t.match(refused.body, { instance: id })
  const copy = client.jar.copy()
  t.match(await client.send('POST', '/auth/logout'), { status: 204 })
  t.match(await client.send('GET', '/me'), { status: 401, body: { code: 'TOKEN_MISSING' } })
  client.jar.store([...(copy.header('/') ?? '').split('; ')])
  t.match(await client.send('GET', '/me'), { status: 401, body: { code: 'SESSION_REVOKED' } })

  t.equal(await server.end('SIGTERM'), 0)
  t.notMatch(server.stdout, /JWT_/, 'no secret was made up')
  t.ok(
    server.log().some((line) => line['reqId'] === id && JSON.stringify(line).includes('INSUFFICIENT_ROLE')),
    'the log has the refusal under the id of the answer',
  )
  t.notMatch(server.stdout, new RegExp(`${PASSWORD}|ada@example|eyJ`), 'and neither password, address nor token')
  t.equal(
    server.stdout.split('\n').filter((line) => line !== '' && !line.startsWith('{')).length,
    1,
    'one line is for people',
  )
  t.equal(server.stderr, '')
})

test(
  'a server without secrets makes some and says so; a request on its way when it is told to stop gets its answer',
  SLOW,
  async (t) => {
    const server = new Program(t, 'main.js', { cwd: await serverDirectory(t), env: { PORT: '0' } })
    const { port } = new URL(await server.listening())
    t.match(server.log()[0], { variables: ['JWT_ACCESS_SECRET', 'JWT_REFRESH_SECRET'] })

    const second = new Program(t, 'main.js', { cwd: await serverDirectory(t), env: { PORT: port } })
    t.equal(await second.end(), 1)
    t.match(second.stderr, /EADDRINUSE/, 'an address that is taken ends the start')

    const body = JSON.stringify({ email: 'late@example.com', password: PASSWORD, fullName: 'Late Comer' })
    const late = request({
      port,
      method: 'POST',
      path: '/auth/register',
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        expect: '100-continue',
      },
    })
    const answered = once(late, 'response')
    const arrived = once(late, 'continue')
    late.flushHeaders()
    await arrived
    late.write(body.slice(0, 10))
    const ended = server.end('SIGINT')
    await server.until(/"stopping"/)
    late.end(body.slice(10))
    const [res] = await answered as [{ statusCode: number, resume: () => void }]
    res.resume()
    t.equal(res.statusCode, 201)
    t.equal(await ended, 0)
  },
)

test('production without its variables does not start, and lists all that is missing at once', SLOW, async (t) => {
  const server = new Program(t, 'main.js', { cwd: workingDirectory(t), env: { NODE_ENV: 'production' } })
  t.equal(await server.end(), 1)
  const missing = [...server.stderr.matchAll(/^ {2}- env\.(\w+): Missing\./gm)].map(([, name]) => name)
  t.same(missing.sort(), [
    'ALLOWED_HOSTS',
    'DATABASE_URL',
    'JWT_ACCESS_SECRET',
    'JWT_REFRESH_SECRET',
    'PUBLIC_ORIGIN',
    'REDIS_URL',
    'TRUSTED_PROXIES',
  ])
  t.notMatch(server.stderr, /^\s+at /m, 'without a stack')
  t.equal(server.stdout, '')
})

test('a variable that is wrong is named, and its value is not shown', SLOW, async (t) => {
  const cwd = workingDirectory(t)
  writeFileSync(join(cwd, 'secret'), 'hunter2\n')
  const server = new Program(t, 'main.js', {
    cwd,
    env: {
      PORT: 'hunter2',
      DATABASE_URL: 'mysql://hunter2',
      REDIS_URL: 'hunter2',
      JWT_ACCESS_SECRET: 'hunter2',
      JWT_REFRESH_SECRET_FILE: './secret',
      LOG_LEVEL: 'hunter2',
    },
  })
  t.equal(await server.end(), 1)
  for (const name of ['PORT', 'DATABASE_URL', 'REDIS_URL', 'JWT_ACCESS_SECRET', 'JWT_REFRESH_SECRET', 'LOG_LEVEL']) {
    t.match(server.stderr, new RegExp(`env\\.${name}:`), name)
  }
  t.notMatch(server.stderr, /hunter2/)
})
