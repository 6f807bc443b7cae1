import { generateKeyPairSync } from 'node:crypto'
import { Writable } from 'node:stream'
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from 'jose'
import { test } from 'tap'
import { build, secret, type World } from '../lib/auth/support.js'

const pem = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
const URL = '/.well-known/jwks.json'
const keysOf = async (world: World): Promise<JSONWebKeySet> => (await world.call('GET', URL)).json<JSONWebKeySet>()

test('others verify access tokens with the key set, which holds public members only', async (t) => {
  const world = await build(t, {
    options: { accessSecret: undefined as never, accessKeys: { current: { alg: 'ES256', key: pem() } } },
  })
  const answer = await world.call('GET', URL)
  t.equal(answer.statusCode, 200)
  t.match(answer.headers['content-type'], /^application\/jwk-set\+json/)
  t.equal(answer.headers['cache-control'], 'public, max-age=300')
  const set = answer.json<JSONWebKeySet>()
  t.same(set.keys.map((key) => Object.keys(key).sort()), [['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']])
  const token = (await world.login())['__Host-access'] ?? ''
  const { payload } = await jwtVerify(token, createLocalJWKSet(set), {
    issuer: 'bulwark',
    audience: 'bulwark-api',
    typ: 'at+jwt',
    currentDate: new Date(world.clock.now()),
  })
  t.equal(payload.sub, 'ada')
})

test('a key leaves the set when it ends, and stands in it before it signs', async (t) => {
  const base = await build(t)
  const until = (seconds: number): string => new Date((base.clock.seconds + seconds) * 1000).toISOString()
  const world = await build(t, {
    clock: base.clock,
    options: {
      accessSecret: undefined as never,
      accessKeys: {
        current: { alg: 'ES256', key: pem() },
        verifyOnly: [{ alg: 'ES256', key: pem(), until: until(60) }, { alg: 'ES256', key: pem(), until: until(120) }, {
          alg: 'HS256',
          key: secret(),
          until: until(600),
        }],
      },
    },
  })
  t.equal((await keysOf(world)).keys.length, 3, 'secrets are in no set')
  base.clock.advance(59_000)
  t.equal((await keysOf(world)).keys.length, 3)
  base.clock.advance(2000)
  t.equal((await keysOf(world)).keys.length, 2)
  base.clock.advance(60_000)
  t.equal((await keysOf(world)).keys.length, 1)
})

test('a service that signs with a secret has no key set', async (t) => {
  const world = await build(t)
  t.equal((await world.call('GET', URL)).statusCode, 404)
})

test('a key that has ended is warned of at boot by its id, never by its text', async (t) => {
  const lines: string[] = []
  const stream = new Writable({ write (chunk: Buffer, _encoding, done) { lines.push(chunk.toString()); done() } })
  const [ended, lasting] = [secret(), secret()]
  const accessKeys = {
    current: { alg: 'HS256' as const, key: secret() },
    verifyOnly: [{ alg: 'HS256' as const, key: ended, kid: 'old', until: '2001-01-01T00:00:00Z' }, {
      alg: 'HS256' as const,
      key: lasting,
      kid: 'next',
      until: '2100-01-01T00:00:00Z',
    }],
  }
  await build(t, {
    server: { logger: { level: 'warn', stream } },
    options: { accessSecret: undefined as never, accessKeys },
  })
  const warned = lines.filter((line) => line.includes('has ended'))
  t.equal(warned.length, 1)
  t.match(warned[0], /"kid":"old"/)
  t.notOk(lines.some((line) => line.includes(ended) || line.includes(lasting)))
})
