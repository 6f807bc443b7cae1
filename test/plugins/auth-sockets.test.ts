import websocket from '@fastify/websocket'
import { once } from 'node:events'
import { ServerResponse, type IncomingMessage } from 'node:http'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { createSocketGuard, type SocketGuard } from '../../lib/auth/sockets.js'
import type { Liveness } from '../../lib/auth/session-store.js'
import { SecurityError } from '../../lib/response/errors.js'
import csrf from '../../plugins/csrf.js'
import { redisUrl, uniquePrefix } from '../helpers/redis.js'
import { acceptLine, openSocket, type Attempt, type Client } from '../helpers/websocket.js'
import { build, Clock, jarOf, type Jar, type World, type WorldSettings } from '../lib/auth/support.js'

interface SocketWorld extends World {
  readonly attempt: (path: string, headers?: Record<string, string>) => Promise<Attempt>
  readonly open: (path: string, jar: Jar | null) => Promise<Client>
  /** Signs in at the loopback address, where cookies have their plain names. */
  readonly signIn: () => Promise<Jar>
}

/** What @fastify/websocket gives a handler, as far as these tests go. */
interface ServerSocket { on: (name: 'message', listener: (data: Buffer) => void) => void, send: (text: string) => void }

async function buildSockets (t: Test, settings: WorldSettings = {}): Promise<SocketWorld> {
  const world = await build(t, {
    ...settings,
    options: { revocationDelay: '100ms', ...settings.options },
    async before (app) {
      await app.register(websocket)
      await app.register(csrf)
    },
    async routes (app) {
      app.get('/live', { websocket: true }, (socket: ServerSocket) => {
        socket.on('message', (data) => {
          socket.send(data.toString())
        })
      })
      app.get('/live-stateless', { websocket: true, security: { auth: { revocation: 'stateless' } } }, () => {})
      app.get('/live-optional', { websocket: true, security: { auth: 'optional' } }, () => {})
      app.get('/live-admin', { websocket: true, security: { auth: { roles: ['admin'] } } }, () => {})
      await settings.routes?.(app)
    },
  })
  return { ...world, ...await listen(world) }
}

async function listen ({ app }: World): Promise<Pick<SocketWorld, 'attempt' | 'open' | 'signIn'>> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const origin = `http://127.0.0.1:${port}`
  return {
    attempt: (path, headers) => openSocket(port, path, { origin, ...headers }),
    async open (path, jar) {
      const { client, status } = await openSocket(port, path, { origin, ...(jar === null ? {} : cookieOf(jar)) })
      if (client === null) throw new Error(`refused with ${status}`)
      return client
    },
    async signIn () {
      return jarOf(
        await app.inject({
          method: 'POST',
          url: '/auth/login',
          headers: { host: `127.0.0.1:${port}`, origin },
          payload: { email: 'ada@example.com', password: 'right' },
        }),
      )
    },
  }
}

const cookieOf = (jar: Jar): Record<string, string> => ({ cookie: `access=${jar['access'] ?? ''}` })

test('an upgrade passes the same guards as any request, and is refused before the handshake', async (t) => {
  const { attempt, open, signIn } = await buildSockets(t)
  const jar = await signIn()
  const table: [string, string, Record<string, string>, number][] = [
    ['no cookie', '/live', {}, 401],
    ['nonsense', '/live', { cookie: 'access=nonsense' }, 401],
    ['nonsense where nobody need be signed in', '/live-optional', { cookie: 'access=nonsense' }, 401],
    ['a role is missing', '/live-admin', cookieOf(jar), 403],
    ['a page of another site', '/live', { ...cookieOf(jar), origin: 'https://evil.example' }, 403],
    ['a page without an origin', '/live', { ...cookieOf(jar), origin: 'null' }, 403],
    ['another port', '/live', { ...cookieOf(jar), origin: 'http://127.0.0.1:1' }, 403],
    ['its own page', '/live', cookieOf(jar), 101],
  ]
  for (const [what, path, headers, status] of table) {
    const { status: got, client } = await attempt(path, headers)
    t.equal(got, status, what)
    client?.socket.destroy()
  }
  const client = await open('/live', jar)
  client.send('hello')
  while (client.texts.length === 0) await sleep(5)
  t.same(client.texts, ['hello'])
  client.close(1000)
  t.equal(await client.closed, '1000 ', 'the library\'s own close is left alone')
  const guest = await open('/live-optional', null)
  guest.socket.destroy()
})

test('a socket is closed with 1008 when its access token expires, also on stateless and optional routes', async (t) => {
  const { open, signIn, clock } = await buildSockets(t)
  const jar = await signIn()
  const clients = await Promise.all(['/live', '/live-stateless', '/live-optional'].map((path) => open(path, jar)))
  const guest = await open('/live-optional', null)
  clock.advance(898_000)
  await sleep(150)
  for (const client of clients) t.ok(client.isOpen, 'not before')
  clock.advance(3000)
  t.same(await Promise.all(clients.map(({ closed }) => closed)), [
    '1008 TOKEN_EXPIRED',
    '1008 TOKEN_EXPIRED',
    '1008 TOKEN_EXPIRED',
  ])
  t.ok(guest.isOpen, "nobody's token opened this one")
  guest.socket.destroy()
})

test('a socket is closed at once when its session ends', async (t) => {
  const { app, open, signIn } = await buildSockets(t, { options: { revocationDelay: '60s' } })
  const [one, two] = [await signIn(), await signIn()]
  const [first, stateless, second] = await Promise.all([
    open('/live', one),
    open('/live-stateless', one),
    open('/live', two),
  ])
  await app.inject({
    method: 'POST',
    url: '/auth/logout',
    headers: { host: '127.0.0.1', origin: 'http://127.0.0.1', ...cookieOf(one) },
  })
  t.same(await Promise.all([first.closed, stateless.closed]), ['1008 SESSION_REVOKED', '1008 SESSION_REVOKED'])
  t.ok(second.isOpen, 'the other session goes on')
  await app.security.sessions.revokeUser('ada')
  t.equal(await second.closed, '1008 SESSION_REVOKED')
})

test('the server closes while sockets are open, and they hear of it', async (t) => {
  const { app, open, signIn } = await buildSockets(t)
  const client = await open('/live', await signIn())
  await app.close()
  t.match(await client.closed, /^100[015]/)
})

test('200 sockets come and go, and each is closed', async (t) => {
  const { app, open, signIn } = await buildSockets(t)
  const jar = await signIn()
  const clients = await Promise.all(Array.from({ length: 200 }, () => open('/live', jar)))
  for (const client of clients.slice(0, 100)) client.close(1000)
  await Promise.all(clients.slice(0, 100).map(({ closed }) => closed))
  await app.security.sessions.revokeUser('ada')
  const codes = await Promise.all(clients.slice(100).map(({ closed }) => closed))
  t.same(new Set(codes), new Set(['1008 SESSION_REVOKED']))
  await sleep(1200)
  const count = await new Promise((resolve) => {
    app.server.getConnections((_error, connections) => {
      resolve(connections)
    })
  })
  t.equal(count, 0)
})

test('a hijacked reply without any library is guarded too, and writing on after the end crashes nothing', async (t) => {
  const world = await build(t, {
    options: { revocationDelay: '100ms' },
    async before (app) { await app.register(csrf) },
    routes (app) {
      app.server.on('upgrade', (raw: IncomingMessage, socket: Socket) => {
        const response = new ServerResponse(raw)
        response.assignSocket(socket)
        app.routing(raw, response)
      })
      app.get('/raw', (request, reply) => {
        reply.hijack()
        const { socket } = request.raw
        socket.write(acceptLine(request.headers['sec-websocket-key']))
        const timer = setInterval(() => { socket.write(Buffer.from([0x81, 1, 0x78])) }, 5)
        socket.once('close', () => { clearInterval(timer) })
      })
    },
  })
  const { open, signIn } = await listen(world)
  const client = await open('/raw', await signIn())
  while (client.texts.length === 0) await sleep(5)
  await world.app.security.sessions.revokeUser('ada')
  t.equal(await client.closed, '1008 SESSION_REVOKED')
})

test('a logout on another instance closes a socket at once, through Redis', async (t) => {
  const options = { redis: redisUrl(), keyPrefix: uniquePrefix(), revocationDelay: '60s' } as const
  const here = await buildSockets(t, { options })
  const there = await build(t, { like: here, options })
  const [one, two] = [await here.signIn(), await here.signIn()]
  const [client, other, stateless] = await Promise.all([
    here.open('/live', one),
    here.open('/live', two),
    here.open('/live-stateless', one),
  ])
  await there.call('POST', '/auth/logout', { '__Host-access': one['access'] ?? '' })
  t.same(await Promise.all([client.closed, stateless.closed]), ['1008 SESSION_REVOKED', '1008 SESSION_REVOKED'])
  t.ok(other.isOpen)
  await there.app.security.sessions.revokeUser('ada')
  t.equal(await other.closed, '1008 SESSION_REVOKED')
})

interface Rig {
  readonly guard: SocketGuard
  readonly clock: Clock
  answer: () => Liveness | Promise<Liveness>
  readonly asked: string[]
  readonly push: (ids: string[]) => void
  readonly pair: () => Promise<{ server: Socket, client: Socket }>
}

/** The guard alone, on real sockets, with a store that says what the test wants. */
async function rig (t: Test, delayMs: number): Promise<Rig> {
  const clock = new Clock()
  const listeners: ((ids: readonly string[]) => void)[] = []
  const asked: string[] = []
  const state: { answer: () => Liveness | Promise<Liveness> } = { answer: () => 'alive' }
  const guard = createSocketGuard({
    store: {
      onChange: (listener) => {
        listeners.push(listener)
      },
    },
    checkLiveness: (mode, { sessionId, tokenVersion }) => {
      asked.push(`${mode} ${sessionId} ${tokenVersion}`)
      return state.answer()
    },
    delayMs,
    now: clock.now,
  })
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { guard.close(); server.close() })
  return Object.assign(state, {
    guard,
    clock,
    asked,
    push: (ids: string[]) => { for (const listener of listeners) listener(ids) },
    async pair () {
      const arrived = once(server, 'connection') as Promise<[Socket]>
      const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
      client.on('error', () => {})
      const [socket] = await arrived
      t.teardown(() => { client.destroy(); socket.destroy() })
      return { server: socket, client }
    },
  })
}

type Watch = Parameters<SocketGuard['watch']>
const watch = (
  guard: SocketGuard,
  socket: Socket,
  owner: Partial<Watch[2]> & { expiresAt: number },
  revocation: Watch[3] = 'cached',
): { finish: () => void } => {
  const listeners: (() => void)[] = []
  const response = {
    once: (_name: string, listener: () => void) => {
      listeners.push(listener)
    },
    removeListener: () => {},
  }
  guard.watch({ socket } as unknown as Watch[0], response as unknown as Watch[1], {
    userId: 'ada',
    sessionId: 's',
    tokenVersion: 0,
    ...owner,
  }, revocation)
  return {
    finish: () => {
      for (const listener of listeners) listener()
    },
  }
}

async function received (client: Socket): Promise<Buffer> {
  return Buffer.concat(await client.toArray() as Buffer[])
}

test('the close frame is exactly that of RFC 6455, after what was written before', async (t) => {
  const { guard, clock, pair } = await rig(t, 100)
  const { server, client } = await pair()
  watch(guard, server, { expiresAt: clock.seconds + 10 })
  server.write('101')
  const closed = once(server, 'close')
  clock.advance(11_000)
  const bytes = await received(client)
  t.same(bytes, Buffer.concat([Buffer.from('101'), Buffer.from([0x88, 15, 0x03, 0xf0]), Buffer.from('TOKEN_EXPIRED')]))
  await closed
  t.equal(guard.size, 0)
})

test('a socket whose handshake was not answered gets no frame, and one that is not read is destroyed', async (t) => {
  const { guard, clock, pair } = await rig(t, 100)
  const early = await pair()
  watch(guard, early.server, { expiresAt: clock.seconds + 10 })
  const stuck = await pair()
  watch(guard, stuck.server, { expiresAt: clock.seconds + 10 })
  stuck.server.write('101')
  stuck.client.pause()
  const closed = once(stuck.server, 'close')
  clock.advance(11_000)
  t.equal((await received(early.client)).length, 0)
  const since = Date.now()
  await closed
  t.ok(Date.now() - since < 2500, 'within some seconds, whatever the other side does')
})

test('what a closed socket still says is not heard', async (t) => {
  const { guard, clock, pair } = await rig(t, 100)
  const { server, client } = await pair()
  const heard: string[] = []
  server.on('data', (chunk: Buffer) => { heard.push(chunk.toString()) })
  client.resume()
  client.write('before')
  while (heard.length === 0) await sleep(5)
  watch(guard, server, { expiresAt: clock.seconds + 10 })
  server.write('101')
  const closed = once(server, 'close')
  clock.advance(11_000)
  while (guard.size > 0) await sleep(1)
  const count = heard.length
  client.write('after')
  await closed
  t.equal(heard.length, count)
})

test('a session is asked for once for all its sockets, and again while nobody speaks of it', async (t) => {
  const { guard, clock, asked, pair } = await rig(t, 200)
  const sockets = [await pair(), await pair(), await pair()] as const
  const expiresAt = clock.seconds + 900
  watch(guard, sockets[0].server, { expiresAt })
  watch(guard, sockets[1].server, { expiresAt })
  watch(guard, sockets[2].server, { expiresAt, sessionId: 'quiet' }, 'stateless')
  await sleep(120)
  t.same(
    asked,
    ['strict s 0'],
    'at the first tick, because the guard may have had a remembered answer; stateless sockets are not asked for',
  )
  clock.advance(99)
  await sleep(120)
  t.equal(asked.length, 1)
  clock.advance(1)
  await sleep(120)
  t.same(asked, ['strict s 0', 'strict s 0'])
  t.equal(guard.size, 3)
})

test('a push is asked about past any cache, for each token version on its own, also for stateless routes', async (t) => {
  const rigged = await rig(t, 60_000)
  const { guard, clock, asked, pair, push } = rigged
  const sockets = [await pair(), await pair(), await pair(), await pair()] as const
  const expiresAt = clock.seconds + 900
  for (const [index, { server }] of sockets.entries()) {
    watch(
      guard,
      server,
      { expiresAt, tokenVersion: index === 1 ? 7 : 0, sessionId: index === 3 ? 'other' : 's' },
      index === 2 ? 'stateless' : 'cached',
    )
    server.write('101')
  }
  rigged.answer = () => 'outdated'
  const told = received(sockets[0].client)
  push(['unknown', 's'])
  t.same(asked, ['strict s 0', 'strict s 7'])
  t.match((await told).toString('latin1'), /TOKEN_EXPIRED$/)
  t.equal(guard.size, 1)
})

test('a store that cannot tell keeps a socket for the delay and not longer; an answer in time saves it', async (t) => {
  for (
    const failure of [() => Promise.reject(new SecurityError('STORE_UNAVAILABLE')), () => {
      throw new SecurityError('STORE_UNAVAILABLE')
    }]
  ) {
    const rigged = await rig(t, 200)
    const { guard, clock, pair, asked } = rigged
    const { server, client } = await pair()
    watch(guard, server, { expiresAt: clock.seconds + 900 }, 'strict')
    server.write('101')
    await sleep(100)
    rigged.answer = failure
    clock.advance(110)
    await sleep(150)
    t.ok(asked.length > 2, 'asked again at each tick')
    rigged.answer = () => Promise.resolve('alive')
    await sleep(100)
    rigged.answer = failure
    clock.advance(190)
    await sleep(100)
    t.equal(guard.size, 1, 'the answer in time counts from when it was asked for')
    clock.advance(20)
    t.same(
      (await received(client)).subarray(3),
      Buffer.concat([Buffer.from([0x88, 19, 0x03, 0xf5]), Buffer.from('STORE_UNAVAILABLE')]),
    )
    t.equal(guard.size, 0)
  }
})

test('a store that never answers is asked once and counts as one that cannot tell', async (t) => {
  const rigged = await rig(t, 200)
  const { guard, clock, pair, asked } = rigged
  const { server } = await pair()
  rigged.answer = () => new Promise<Liveness>(() => {})
  watch(guard, server, { expiresAt: clock.seconds + 900 })
  await sleep(150)
  t.equal(asked.length, 1)
  clock.advance(201)
  await sleep(100)
  t.equal(guard.size, 0)
  const late = await pair()
  watch(guard, late.server, { expiresAt: clock.seconds + 900, sessionId: 'stateless' }, 'stateless')
  clock.advance(1000)
  await sleep(100)
  t.equal(guard.size, 1, 'a stateless route asks for nothing, so nothing is missing')
})

test('the guard forgets a socket that closed, was answered as HTTP, or is watched anew', async (t) => {
  const { guard, clock, pair, push } = await rig(t, 100)
  const expiresAt = clock.seconds + 900
  const { server, client } = await pair()
  watch(guard, server, { expiresAt: clock.seconds + 1 })
  const { finish } = watch(guard, server, { expiresAt })
  t.equal(guard.size, 1)
  clock.advance(2000)
  await sleep(120)
  t.equal(guard.size, 1, 'the newer token counts')
  finish()
  t.equal(guard.size, 0)
  t.equal(server.listenerCount('close'), (await pair()).server.listenerCount('close'), 'no listener stays')
  watch(guard, server, { expiresAt })
  client.destroy()
  await once(server, 'close')
  t.equal(guard.size, 0)
  watch(guard, server, { expiresAt })
  t.equal(guard.size, 0, 'a dead socket is not watched')
  push(['s'])
})
