import { createHook } from 'node:async_hooks'
import type { FastifyInstance } from 'fastify'
import { connect, type AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { createServer, defineSecurity, publicRoute, Type } from '../index.js'

const APP = 'https://app.example.com'
const SECRETS = {
  accessSecret: 'kT3vX9qLr2Wn8ZbY5mHs7JdF1gPc4QeA6uRx',
  refreshSecret: 'pD8yNc2VtB5wKz9hGj4RfM7sXq1LaE3uYbTo',
}
const ROUNDS = 5

async function build (t: Test, logger: boolean): Promise<FastifyInstance> {
  const security = defineSecurity({
    transport: { proxies: 'none', https: 'off', hosts: ['localhost'] },
    cors: { origin: [APP], credentials: true },
    rateLimit: {
      redis: false,
      policies: { global: { limit: 1000, window: '15m', by: 'ip' }, tight: { limit: 1, window: '1d', by: 'ip' } },
    },
    auth: {
      ...SECRETS,
      redis: false,
      roles: ['user'],
      sources: ['bearer'],
      authenticate: async ({ email }) => ({ id: email, roles: ['user'] }),
      loadUser: async (id) => ({ id, roles: ['user'] }),
    },
  })
  const app = await createServer(security, { logger: logger ? { level: 'info', stream: { write: () => {} } } : false })
  const open = { auth: publicRoute('a test') }
  app.get(
    '/public',
    { security: open, schema: { response: { 200: Type.Object({ ok: Type.Boolean() }) } } },
    (_request, reply) => {
      reply.send({ ok: true })
    },
  )
  app.get('/async', { security: open }, async () => 'x')
  app.get('/me', (request, reply) => {
    reply.send(request.user)
  })
  app.post('/items', { schema: { body: Type.Object({ name: Type.String() }) } }, (request, reply) => {
    reply.send(request.body)
  })
  app.get('/limited', { security: { ...open, rateLimit: { only: ['tight'] } } }, (_request, reply) => {
    reply.send('x')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  return app
}

/**
 * Asks the same several times over one connection, without a promise of its own, and tells how many the server made
 * meanwhile.
 */
function promisesOf (port: number, request: string, status: number, done: (made: number) => void): void {
  let made = 0
  let left = 2 * ROUNDS
  let counting = false
  const hook = createHook({ init (_id, type) { if (counting && type === 'PROMISE') made++ } }).enable()
  const socket = connect(port, '127.0.0.1', () => { socket.write(request) })
  socket.on('data', (bytes) => {
    if (!String(bytes).startsWith(`HTTP/1.1 ${status} `)) {
      throw new Error(`expected ${status}: ${String(bytes).slice(0, 300)}`)
    }
    // The first round may compile and remember.
    counting = --left <= ROUNDS
    if (left > 0) {
      socket.write(request)
      return
    }
    hook.disable()
    socket.destroy()
    done(made)
  })
}

for (const logger of [false, true]) {
  test(`with counts and sessions in memory, the suite makes no promise for a request${logger ? ', with its log lines' : ''}`, async (t) => {
    const app = await build(t, logger)
    const signIn = await app.inject({
      method: 'POST',
      url: '/auth/token',
      headers: { host: 'localhost' },
      payload: { email: 'ada@example.com', password: 'correct horse battery' },
    })
    const bearer = `authorization: Bearer ${signIn.json<{ access_token: string }>().access_token}\r\n`
    const body = '{"name":"Ada"}'
    const table: [string, string, number][] = [
      ['an open route', 'GET /public HTTP/1.1\r\nhost: localhost\r\n\r\n', 200],
      ['with an origin', `GET /public HTTP/1.1\r\nhost: localhost\r\norigin: ${APP}\r\n\r\n`, 200],
      ['a guarded route', `GET /me HTTP/1.1\r\nhost: localhost\r\n${bearer}\r\n`, 200],
      [
        'a validated body',
        `POST /items HTTP/1.1\r\nhost: localhost\r\n${bearer}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        200,
      ],
      [
        'an invalid body',
        `POST /items HTTP/1.1\r\nhost: localhost\r\n${bearer}content-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
        400,
      ],
      ['no token', 'GET /me HTTP/1.1\r\nhost: localhost\r\n\r\n', 401],
      ['a forged token', 'GET /me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer eyJ.a.b\r\n\r\n', 401],
      ['an unknown path', 'GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n', 404],
      ['another method', 'DELETE /public HTTP/1.1\r\nhost: localhost\r\n\r\n', 405],
      ['another host', 'GET /public HTTP/1.1\r\nhost: evil.example\r\n\r\n', 421],
      [
        'a preflight',
        `OPTIONS /me HTTP/1.1\r\nhost: localhost\r\norigin: ${APP}\r\naccess-control-request-method: GET\r\n\r\n`,
        204,
      ],
    ]
    await app.inject({ url: '/limited', headers: { host: 'localhost' } })
    table.push(['too many requests', 'GET /limited HTTP/1.1\r\nhost: localhost\r\n\r\n', 429])
    const { port } = app.server.address() as AddressInfo
    for (const [name, request, status] of table) {
      const made = await new Promise<number>((resolve) => { promisesOf(port, request, status, resolve) })
      t.equal(made, 0, name)
    }
    const control = await new Promise<number>((resolve) => {
      promisesOf(port, 'GET /async HTTP/1.1\r\nhost: localhost\r\n\r\n', 200, resolve)
    })
    t.ok(control >= ROUNDS, `promises of a handler are seen: ${control}`)
  })
}
