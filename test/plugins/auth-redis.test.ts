import { connect, createServer, type Server, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { ownKeys, redisUrl } from '../helpers/redis.js'
import { build, codeOf, jarOf, setCookies, type World } from '../lib/auth/support.js'

interface Shared { readonly one: World, readonly two: World, readonly client: Redis, readonly keyPrefix: string }

/** Two instances of one service on one Redis. */
async function buildTwo (t: Test, redis: string | Redis = redisUrl()): Promise<Shared> {
  const { keyPrefix, client } = ownKeys(t)
  const one = await build(t, { options: { redis, keyPrefix } })
  const two = await build(t, { options: { redis, keyPrefix }, like: one })
  return { one, two, client, keyPrefix }
}

/** A proxy before Redis that can be cut, and whose answers can be held back. */
class Cable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #cut = false
  #mute = false
  url = ''

  constructor () {
    const target = new URL(redisUrl())
    this.#server = createServer((near) => {
      if (this.#cut) { near.destroy(); return }
      const far = connect(Number(target.port), target.hostname)
      for (const end of [near, far]) {
        this.#sockets.add(end)
        end.on('error', () => {}).on('close', () => { near.destroy(); far.destroy(); this.#sockets.delete(end) })
      }
      near.pipe(far)
      far.on('data', (data) => { if (!this.#mute) near.write(data) })
    })
  }

  async open (t: Test): Promise<this> {
    await new Promise<void>((resolve) => { this.#server.listen(0, '127.0.0.1', resolve) })
    const address = this.#server.address()
    this.url = `redis://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
    t.teardown(() => { this.cut(); this.#server.close() })
    return this
  }

  cut (): void { this.#cut = true; for (const socket of this.#sockets) socket.destroy() }
  fix (): void { this.#cut = false; this.#mute = false }
  mute (): void { this.#mute = true }
}

test('a logout and a revoked user count at once on the other instance', async (t) => {
  const { one, two } = await buildTwo(t)
  const jar = await one.login()
  t.equal((await two.call('GET', '/me', jar)).statusCode, 200)
  t.equal((await two.call('POST', '/auth/logout', jar)).statusCode, 204)
  t.equal(codeOf(await one.call('GET', '/me', jar)), '401 SESSION_REVOKED')
  t.equal(codeOf(await one.call('POST', '/auth/refresh', jar)), '401 SESSION_REVOKED')
  const next = await one.login()
  await two.app.security.sessions.revokeUser('ada')
  t.equal(codeOf(await one.call('GET', '/me', next)), '401 SESSION_REVOKED')
  t.equal(two.app.security.sessions.store, 'redis')
})

test('every key has an expiry, carries one hash tag a user, and holds no token and no user id', async (t) => {
  const { one, client, keyPrefix } = await buildTwo(t)
  const jar = await one.login()
  await one.call('POST', '/auth/refresh', jar)
  await one.call('POST', '/auth/logout', await one.login())
  const keys = await client.keys(`${keyPrefix}*`)
  t.equal(keys.length, 4, 'the marks of the user, a session, the index, a tombstone')
  t.equal(new Set(keys.map((key) => /\{([A-Za-z0-9_-]{22})\}/.exec(key)?.[1])).size, 1)
  for (const key of keys) {
    t.ok(await client.pttl(key) > 0, 'it expires')
    const content = await client.type(key) === 'hash'
      ? JSON.stringify(await client.hgetall(key))
      : await client.type(key) === 'zset'
      ? JSON.stringify(await client.zrange(key, '0', '-1'))
      : await client.get(key) ?? ''
    t.notMatch(`${key} ${content}`, /\bada\b/)
    const claims = JSON.parse(
      Buffer.from(jar['__Secure-refresh']?.split('.')[1] ?? '', 'base64url').toString(),
    ) as Record<string, string>
    for (const hidden of [claims['jti'], claims['slt']]) {
      t.notOk(content.includes(hidden ?? '?'), 'nothing a token could be made of')
    }
  }
})

test('a script that Redis has forgotten is sent again', async (t) => {
  // Only the answer is forged: flushing the scripts of a shared Redis would disturb other tests.
  const forgetful = new Redis(redisUrl(), {
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    lazyConnect: true,
  })
  t.teardown(() => {
    forgetful.disconnect()
  })
  await forgetful.connect()
  let asked = 0
  forgetful.evalsha = async () => { asked++; throw new Error('NOSCRIPT No matching script. Please use EVAL.') }
  const { one } = await buildTwo(t, forgetful)
  const jar = await one.login()
  t.equal((await one.call('POST', '/auth/refresh', jar)).statusCode, 200)
  t.ok(asked >= 2)
})

test('a refresh is one round trip, and so is each step; a session seen just now, and a refused token, take none', async (t) => {
  const client = new Redis(redisUrl(), {
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    lazyConnect: true,
  })
  t.teardown(() => {
    client.disconnect()
  })
  await client.connect()
  const sent: string[] = []
  const send = client.sendCommand.bind(client)
  client.sendCommand = (command, stream) => {
    sent.push(command.name)
    return send(command, stream)
  }
  const { keyPrefix } = ownKeys(t)
  const one = await build(t, {
    options: { redis: client, keyPrefix, revocationDelay: '60s', sources: ['cookie', 'bearer'] },
  })
  const script = ['evalsha']
  let jar: Record<string, string> = {}
  const steps: readonly (readonly [string, readonly string[], () => Promise<unknown>])[] = [
    ['login', script, async () => { jar = await one.login() }],
    ['the first request', script, async () => one.call('GET', '/me', jar)],
    ['fifty more', [], async () => Promise.all(Array.from({ length: 50 }, async () => one.call('GET', '/me', jar)))],
    ['a stateless route', [], async () => one.call('GET', '/stateless', jar)],
    [
      'a wrong access token',
      [],
      async () => one.call('GET', '/me', { '__Host-access': `${jar['__Host-access'] ?? ''}x` }),
    ],
    [
      'a wrong refresh token',
      [],
      async () => one.call('POST', '/auth/refresh', { '__Secure-refresh': `${jar['__Secure-refresh'] ?? ''}x` }),
    ],
    ['a refresh', script, async () => {
      jar = { ...jar, ...jarOf(await one.call('POST', '/auth/refresh', jar)) }
    }],
    ['a refresh within the grace', script, async () => one.call('POST', '/auth/refresh', jar)],
    ['a logout', script, async () => one.call('POST', '/auth/logout', jar)],
  ]
  for (const [what, expected, work] of steps) {
    sent.length = 0
    await work()
    // Whoever is the first to send a script to this Redis sends its text after its name.
    t.same(sent.filter((name) => name !== 'eval'), expected, what)
  }
})

test('where no push arrives, an ended session counts within the delay all the same', async (t) => {
  const deaf = new Redis(redisUrl(), {
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    lazyConnect: true,
  })
  t.teardown(() => {
    deaf.disconnect()
  })
  await deaf.connect()
  deaf.duplicate = () => new Redis({ host: '127.0.0.1', port: 1, lazyConnect: true, retryStrategy: () => null })
  const { keyPrefix } = ownKeys(t)
  const one = await build(t, { options: { redis: redisUrl(), keyPrefix } })
  const two = await build(t, { options: { redis: deaf, keyPrefix, revocationDelay: '200ms' }, like: one })
  const jar = await one.login()
  t.equal((await two.call('GET', '/me', jar)).statusCode, 200)
  await one.call('POST', '/auth/logout', jar)
  await new Promise((resolve) => { setTimeout(resolve, 200) })
  t.equal(codeOf(await two.call('GET', '/me', jar)), '401 SESSION_REVOKED')
})

test('while Redis is gone everything that needs it is a 503 that leaves the cookies alone', async (t) => {
  const cable = await new Cable().open(t)
  const { one, two } = await buildTwo(t, cable.url)
  const jar = await one.login()
  const reads = async (code: string): Promise<void> => {
    const answers = {
      strict: await one.call('GET', '/me', jar),
      optional: await one.call('GET', '/maybe', jar),
      refresh: await one.call('POST', '/auth/refresh', jar),
      logout: await one.call('POST', '/auth/logout', jar),
      login: await one.call('POST', '/auth/login', {}, { payload: { email: 'ada@example.com', password: 'right' } }),
    }
    for (const [what, answer] of Object.entries(answers)) {
      t.equal(codeOf(answer), code, what)
      t.equal(answer.headers['retry-after'], '1')
      t.same(setCookies(answer), [], 'the cookies stay')
    }
    t.equal((await one.call('GET', '/stateless', jar)).statusCode, 200, 'what needs no store is served')
    t.equal((await one.call('GET', '/open', jar)).statusCode, 200)
    t.equal((await one.call('POST', '/auth/logout')).statusCode, 204, 'nothing to end')
  }
  cable.cut()
  await reads('503 STORE_UNAVAILABLE')
  t.equal(one.names().filter((name) => name === 'store_unavailable').length, 1, 'told once')
  cable.fix()
  await eventually(async () => (await one.call('GET', '/me', jar)).statusCode === 200)
  t.equal(one.names().filter((name) => name === 'store_recovered').length, 1)
  t.equal((await one.call('POST', '/auth/refresh', jar)).statusCode, 200, 'and nothing was counted as reuse')
  t.notOk([...one.names(), ...two.names()].includes('authn_token_reuse'))
})

test('a rotation whose answer was lost is answered again', async (t) => {
  const cable = await new Cable().open(t)
  const { one } = await buildTwo(t, cable.url)
  const jar = await one.login()
  cable.mute()
  const started = Date.now()
  t.equal(codeOf(await one.call('POST', '/auth/refresh', jar)), '503 STORE_UNAVAILABLE')
  t.ok(Date.now() - started < 1500, 'after the deadline and not later')
  cable.cut()
  cable.fix()
  await eventually(async () => (await one.call('GET', '/me', jar)).statusCode === 200)
  const again = await one.call('POST', '/auth/refresh', jar)
  t.equal(again.statusCode, 200, 'the store had rotated; the grace answers with the same successor')
  t.notOk(one.names().includes('session_renewed'))
  t.equal((await one.call('GET', '/me', jarOf(again))).statusCode, 200)
})

async function eventually (holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 8000
  while (!await holds()) {
    if (Date.now() > end) throw new Error('it never came true')
    await new Promise((resolve) => { setTimeout(resolve, 50) })
  }
}
