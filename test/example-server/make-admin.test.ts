import root, { test } from 'tap'
import { PASSWORD, SECRETS, SLOW, workingDirectory } from './helpers.js'
import { Client, Program, serverDirectory } from './process.js'

root.setTimeout(SLOW.timeout)

test('make-admin gives a registered user the role, in development and while the server is stopped', SLOW, async (t) => {
  const cwd = await serverDirectory(t)
  const env = { PORT: '0', ...SECRETS }
  const makeAdmin = (...args: string[]): Program => new Program(t, 'make-admin.js', { cwd, env, args })
  const credentials = { email: 'ada@example.com', password: PASSWORD }

  const server = new Program(t, 'main.js', { cwd, env })
  const client = new Client(await server.listening())
  t.match(await client.send('POST', '/auth/register', { ...credentials, fullName: 'Ada Lovelace' }), { status: 201 })
  const early = makeAdmin('ada@example.com')
  t.equal(await early.end(), 1)
  t.match(early.stderr, `Process ${server.pid} has the database in .data/pglite open. Stop the server first`)
  t.equal(await server.end('SIGTERM'), 0)

  const nobody = makeAdmin('nobody@example.com')
  t.equal(await nobody.end(), 1)
  t.equal(nobody.stderr, 'No user has this address. Register first.\n')

  const done = makeAdmin('Ada@example.com')
  t.equal(await done.end(), 0, done.stderr)
  t.match(done.stdout, /is an administrator now/)

  const again = new Program(t, 'main.js', { cwd, env })
  const admin = new Client(await again.listening())
  t.match(await admin.send('POST', '/auth/login', credentials), {
    status: 200,
    body: { user: { roles: ['user', 'admin'] } },
  }, 'the account outlived the restart')
  t.match(await admin.send('GET', '/admin/users'), {
    status: 200,
    body: [{ email: 'ada@example.com', roles: ['user', 'admin'] }],
  })
  t.equal(await again.end('SIGTERM'), 0)
})

test('make-admin refuses what it cannot do, with a message and without a stack', SLOW, async (t) => {
  const production = {
    ...SECRETS,
    NODE_ENV: 'production',
    DATABASE_URL: 'postgres://127.0.0.1:1/app',
    REDIS_URL: 'redis://127.0.0.1:1',
    PUBLIC_ORIGIN: 'https://api.example.com',
    ALLOWED_HOSTS: 'api.example.com',
    TRUSTED_PROXIES: 'none',
  }
  const cases = [
    ['no address', {}, [], /^Usage: /],
    ['two addresses', {}, ['a@example.com', 'b@example.com'], /^Usage: /],
    ['production', production, ['ada@example.com'], /^Refused in production/],
    ['a database in memory', { NODE_ENV: 'test' }, ['ada@example.com'], /in memory/],
  ] as const
  for (const [name, env, args, message] of cases) {
    const program = new Program(t, 'make-admin.js', { cwd: workingDirectory(t), env, args })
    t.equal(await program.end(), 1, name)
    t.match(program.stderr, message, name)
    t.notMatch(program.stderr, /^\s+at /m, name)
  }
})
