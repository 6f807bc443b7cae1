import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { calculateJwkThumbprint, createLocalJWKSet, exportJWK, importPKCS8, jwtVerify, SignJWT,
  type JSONWebKeySet } from 'jose'
import { test } from 'tap'
import { publicKeySet, resolveKeyring, secretKeyring, shareKeys, type Keyring } from '../../../lib/auth/keyring.js'
import type { Problem } from '../../../lib/response/errors.js'
import { encode, newPems, newSecret, NOW, payloadOf, ring, sessionsWith,
  type AsymmetricAlgorithm } from './token-workshop.js'

const UNTIL = '2030-01-31T12:00:00Z'
const ALGORITHMS: readonly AsymmetricAlgorithm[] = ['ES256', 'EdDSA', 'RS256']
const pems = { ES256: newPems('ES256'), EdDSA: newPems('EdDSA'), RS256: newPems('RS256') }

function problemsOf (input: unknown, kind: 'access' | 'refresh' = 'access'): readonly Problem[] {
  const problems: Problem[] = []
  const keyring = resolveKeyring(input, 'keys', kind, problems)
  if ((keyring === null) !== (problems.length > 0)) throw new Error('a keyring and problems exclude each other')
  return problems
}

test('a keyring holds exactly what was written, with the names everybody gives the keys', async (t) => {
  const secret = newSecret()
  const keyring = ring({
    current: { alg: 'HS256', key: secret },
    verifyOnly: ALGORITHMS.map((alg) => ({ alg, key: pems[alg].publicKey, until: '2030-01-31T13:00:00.999+01:00' })),
  })
  t.match(keyring.current, { kid: secretKeyring(secret).current.kid, alg: 'HS256' })
  t.same(
    keyring.verifyOnly.map(({ alg, until }) => [alg, until]),
    ALGORITHMS.map((alg) => [alg, Date.parse(UNTIL) / 1000]),
  )
  for (const [index, alg] of ALGORITHMS.entries()) {
    t.equal(
      keyring.verifyOnly[index]?.kid,
      await calculateJwkThumbprint(await exportJWK(createPublicKey(pems[alg].publicKey))),
      `RFC 7638 for ${alg}`,
    )
    const signing = ring({ current: { alg, key: pems[alg].privateKey } }).current
    t.equal(signing.kid, keyring.verifyOnly[index]?.kid, 'the same for the private key')
    t.same([signing.signWith.type, signing.verifyWith.type], ['private', 'public'])
    t.equal(
      ring({ current: { alg: 'HS256', key: secret }, verifyOnly: [{ alg, key: pems[alg].privateKey, until: UNTIL }] })
        .verifyOnly[0]?.verifyWith.type,
      'public',
      'the private half of a key that only verifies is not kept',
    )
  }
  t.equal(
    ring({ current: { alg: 'EdDSA', key: `\n${pems.EdDSA.privateKey}\n`, kid: '2026-11/blue' } }).current.kid,
    '2026-11/blue',
  )
  t.ok([keyring, keyring.current, keyring.verifyOnly, keyring.verifyOnly[0]].every(Object.isFrozen))
  t.notOk(JSON.stringify(keyring).includes(secret))
  t.notOk(keyring.current.kid.includes(secret.slice(0, 6)))
})

test('what is not a keyring is refused with its path, and no problem holds the text of a key', async (t) => {
  const secret = newSecret()
  const hs = { alg: 'HS256', key: secret }
  const { privateKey: ecPrivate, publicKey: ecPublic } = pems.ES256
  const one = (key: unknown, alg = 'ES256'): unknown => ({ current: { alg, key } })
  const old = (key: object): unknown => ({
    current: hs,
    verifyOnly: [{ alg: 'HS256', key: newSecret(), until: UNTIL, ...key }],
  })
  const pkcs1 = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'pkcs1', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  })
  const spki = { type: 'spki', format: 'pem' } as const
  const pkcs8 = { type: 'pkcs8', format: 'pem' } as const
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384', publicKeyEncoding: spki, privateKeyEncoding: pkcs8 })
  const k256 = generateKeyPairSync('ec', {
    namedCurve: 'secp256k1',
    publicKeyEncoding: spki,
    privateKeyEncoding: pkcs8,
  })
  const ed448 = generateKeyPairSync('ed448', { publicKeyEncoding: spki, privateKeyEncoding: pkcs8 })
  const x25519 = generateKeyPairSync('x25519', { publicKeyEncoding: spki, privateKeyEncoding: pkcs8 })
  const pss = generateKeyPairSync('rsa-pss', {
    modulusLength: 2048,
    publicKeyEncoding: spki,
    privateKeyEncoding: pkcs8,
  })
  const short = generateKeyPairSync('rsa', { modulusLength: 2047, publicKeyEncoding: spki, privateKeyEncoding: pkcs8 })
  const small = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicExponent: 3,
    publicKeyEncoding: spki,
    privateKeyEncoding: pkcs8,
  })
  const encrypted = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: spki,
    privateKeyEncoding: { ...pkcs8, cipher: 'aes-256-cbc', passphrase: 'x' },
  })
  const sec1 = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: spki,
    privateKeyEncoding: { type: 'sec1', format: 'pem' },
  })
  const jwk = JSON.stringify(await exportJWK(createPublicKey(ecPublic)))
  const body = ecPublic.replace(/-----[^-]+-----|\s/g, '')
  const der = Buffer.from(body, 'base64')
  // PKCS #8 of P-256 ends with the public point, 65 bytes.
  const privateDer = Buffer.from(ecPrivate.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const mixed = `-----BEGIN PRIVATE KEY-----\n${
    Buffer.concat([
      privateDer.subarray(0, -65),
      Buffer.from(newPems('ES256').publicKey.replace(/-----[^-]+-----|\s/g, ''), 'base64').subarray(-65),
    ]).toString('base64')
  }\n-----END PRIVATE KEY-----\n`
  const table: readonly (readonly [string, unknown, string, RegExp])[] = [
    ['a text', secret, 'keys', /object/],
    ['null', null, 'keys', /object/],
    ['a list', [hs], 'keys', /object/],
    ['nothing', {}, 'keys.current', /Missing/],
    ['current undefined', { current: undefined }, 'keys.current', /Missing/],
    ['a misspelt member', { current: hs, verifyonly: [] }, 'keys.verifyonly', /Unknown/],
    ['a misspelt member of a key', { current: { ...hs, kID: 'x' } }, 'keys.current.kID', /Unknown/],
    ['current with an end', { current: { ...hs, until: UNTIL } }, 'keys.current.until', /Unknown/],
    ['verifyOnly no list', { current: hs, verifyOnly: { ...hs, until: UNTIL } }, 'keys.verifyOnly', /array/],
    [
      '17 keys to verify',
      { current: hs, verifyOnly: Array.from({ length: 17 }, () => ({ alg: 'HS256', key: newSecret(), until: UNTIL })) },
      'keys.verifyOnly',
      /16/,
    ],
    ['no algorithm', { current: { key: secret } }, 'keys.current.alg', /Missing|accepted/],
    ['none', one(secret, 'none'), 'keys.current.alg', /accepted/],
    ['an algorithm in lower case', one(secret, 'hs256'), 'keys.current.alg', /accepted/],
    ['HS512', one(secret, 'HS512'), 'keys.current.alg', /accepted/],
    ['PS256', one(pems.RS256.privateKey, 'PS256'), 'keys.current.alg', /accepted/],
    ['an empty key', one('', 'HS256'), 'keys.current.key', /length/],
    ['a key as bytes', one(Buffer.from(secret), 'HS256'), 'keys.current.key', /string/],
    ['a short secret', one(secret.slice(0, 31), 'HS256'), 'keys.current.key', /32 bytes/],
    ['a placeholder', one('change-me-please-change-me-please-now', 'HS256'), 'keys.current.key', /./],
    ['a public PEM as secret', one(ecPublic, 'HS256'), 'keys.current.key', /PEM/],
    ['a padded public PEM as secret', one(`\n\n  ${ecPublic}  x`, 'HS256'), 'keys.current.key', /PEM/],
    ['a private PEM as secret', one(ecPrivate, 'HS256'), 'keys.current.key', /PEM/],
    ['a JWK as secret', one(jwk, 'HS256'), 'keys.current.key', /JWK/],
    ['a JWKS as secret', one(`{"keys":[${jwk}]}`, 'HS256'), 'keys.current.key', /JWK/],
    ['the body of a PEM as secret', one(body, 'HS256'), 'keys.current.key', /encoded key/],
    ['the same as base64url', one(der.toString('base64url'), 'HS256'), 'keys.current.key', /encoded key/],
    ['the same as hex', one(der.toString('hex'), 'HS256'), 'keys.current.key', /encoded key/],
    [
      'the body of a private PEM as secret',
      one(ecPrivate.replace(/-----[^-]+-----|\s/g, ''), 'HS256'),
      'keys.current.key',
      /encoded key/,
    ],
    [
      'the body of PKCS #1 as secret',
      one(pkcs1.publicKey.replace(/-----[^-]+-----|\s/g, ''), 'HS256'),
      'keys.current.key',
      /encoded key/,
    ],
    [
      'the body of an Ed25519 PEM as secret',
      one(pems.EdDSA.publicKey.replace(/-----[^-]+-----|\s/g, ''), 'HS256'),
      'keys.current.key',
      /encoded key/,
    ],
    ['two halves of different keys', one(mixed), 'keys.current.key', /do not fit/],
    ['a secret for ES256', one(secret), 'keys.current.key', /PEM/],
    ['a JWK for ES256', one(jwk), 'keys.current.key', /PEM/],
    ['a public key to sign with', one(ecPublic), 'keys.current.key', /cannot sign/],
    ['a cut PEM', one(ecPrivate.replace(/\n[^-]+\n/, '\nMIGH\n')), 'keys.current.key', /cannot be read/],
    ['two PEM blocks', one(ecPrivate + ecPublic), 'keys.current.key', /one PEM/],
    ['text behind the PEM', one(`${ecPrivate}x`), 'keys.current.key', /one PEM/],
    ['escaped line breaks', one(ecPrivate.replaceAll('\n', '\\n')), 'keys.current.key', /one PEM/],
    ['a frame of another type', one(ecPrivate.replace('END PRIVATE', 'END PUBLIC')), 'keys.current.key', /one PEM/],
    [
      'a public key in a private frame',
      one(ecPublic.replaceAll('PUBLIC', 'PRIVATE')),
      'keys.current.key',
      /cannot be read/,
    ],
    ['an encrypted key', one(encrypted.privateKey), 'keys.current.key', /ENCRYPTED/],
    ['SEC 1', one(sec1.privateKey), 'keys.current.key', /EC PRIVATE/],
    ['PKCS #1', one(pkcs1.privateKey, 'RS256'), 'keys.current.key', /RSA PRIVATE/],
    ['PKCS #1 to verify', old({ alg: 'RS256', key: pkcs1.publicKey }), 'keys.verifyOnly[0].key', /RSA PUBLIC/],
    ['P-384 for ES256', one(p384.privateKey), 'keys.current.key', /P-256/],
    ['P-384 to verify', old({ alg: 'ES256', key: p384.publicKey }), 'keys.verifyOnly[0].key', /P-256/],
    ['secp256k1 for ES256', one(k256.privateKey), 'keys.current.key', /P-256/],
    ['RSA for ES256', one(pems.RS256.privateKey), 'keys.current.key', /P-256/],
    ['Ed448 for EdDSA', one(ed448.privateKey, 'EdDSA'), 'keys.current.key', /Ed25519/],
    ['X25519 for EdDSA', one(x25519.privateKey, 'EdDSA'), 'keys.current.key', /Ed25519/],
    ['P-256 for EdDSA', one(ecPrivate, 'EdDSA'), 'keys.current.key', /Ed25519/],
    ['P-256 for RS256', one(ecPrivate, 'RS256'), 'keys.current.key', /RSA/],
    ['RSA-PSS for RS256', one(pss.privateKey, 'RS256'), 'keys.current.key', /RSA/],
    ['RSA of 2047 bits', one(short.privateKey, 'RS256'), 'keys.current.key', /2048/],
    ['RSA of 2047 bits to verify', old({ alg: 'RS256', key: short.publicKey }), 'keys.verifyOnly[0].key', /2048/],
    ['RSA with the exponent 3', one(small.privateKey, 'RS256'), 'keys.current.key', /exponent/],
    ['an empty kid', { current: { ...hs, kid: '' } }, 'keys.current.kid', /./],
    ['a kid with a space', { current: { ...hs, kid: 'a b' } }, 'keys.current.kid', /./],
    ['a kid with a quote', { current: { ...hs, kid: 'a"b' } }, 'keys.current.kid', /./],
    ['a kid with an apostrophe', { current: { ...hs, kid: 'a\'b' } }, 'keys.current.kid', /./],
    ['a kid with a line break', { current: { ...hs, kid: 'a\n' } }, 'keys.current.kid', /./],
    ['a kid that is not ASCII', { current: { ...hs, kid: 'clé' } }, 'keys.current.kid', /./],
    ['a kid of 65 characters', { current: { ...hs, kid: 'x'.repeat(65) } }, 'keys.current.kid', /./],
    ['a kid that shows the secret', { current: { ...hs, kid: `x${secret}` } }, 'keys.current.kid', /secret/],
    [
      'a kid twice',
      { current: { ...hs, kid: 'a' }, verifyOnly: [{ alg: 'HS256', key: newSecret(), kid: 'a', until: UNTIL }] },
      'keys.verifyOnly[0].kid',
      /Another key/,
    ],
    ['a key twice', old({ key: secret, kid: 'a' }), 'keys.verifyOnly[0].key', /twice/],
    ['a secret in two spellings', old({ key: `${secret}\0` }), 'keys.verifyOnly[0].key', /twice/],
    [
      'a private key and its public half',
      {
        current: { alg: 'ES256', key: ecPrivate },
        verifyOnly: [{ alg: 'ES256', key: ecPublic, kid: 'a', until: UNTIL }],
      },
      'keys.verifyOnly[0].key',
      /twice/,
    ],
    ['no end', old({ until: undefined }), 'keys.verifyOnly[0].until', /Missing/],
    ['an end as a number', old({ until: 1_900_000_000 }), 'keys.verifyOnly[0].until', /string/],
    ['an end without a zone', old({ until: '2030-01-31T12:00:00' }), 'keys.verifyOnly[0].until', /./],
    ['an end without a time', old({ until: '2030-01-31' }), 'keys.verifyOnly[0].until', /./],
    ['the 30th of February', old({ until: '2030-02-30T12:00:00Z' }), 'keys.verifyOnly[0].until', /no such day/],
    ['hour 24', old({ until: '2030-01-31T24:00:00Z' }), 'keys.verifyOnly[0].until', /./],
  ]
  for (const [what, input, path, message] of table) {
    const problems = problemsOf(input)
    t.same([...new Set(problems.map((problem) => problem.path))], [path], what)
    t.match(problems[0]?.message, message, what)
    t.ok(problems.every(({ fix }) => fix !== ''), `${what}: has a fix`)
    const said = JSON.stringify(problems)
    for (const text of [secret, body, jwk.slice(1, -1), 'change-me-please']) {
      t.notOk(said.includes(text), `${what}: keeps the key to itself`)
    }
  }
  t.same(problemsOf(old({ until: '2001-01-01T00:00:00Z' })), [], 'an end that is over refuses tokens, not the start')
  t.equal(
    problemsOf({
      current: { ...hs, alg: 'ES256' },
      verifyOnly: [{ alg: 'ES256', key: 'x', until: '2030-02-30T12:00:00Z' }],
    }).length,
    3,
    'all problems at once',
  )
})

test('a key is read whatever OpenSSL failed at before', async (t) => {
  for (let round = 0; round < 3; round++) {
    t.throws(() => createPublicKey({ key: Buffer.from('no key'), format: 'der', type: 'spki' }))
    for (const alg of ALGORITHMS) t.same(problemsOf({ current: { alg, key: pems[alg].privateKey } }), [], alg)
  }
})

test('a random secret is never taken for a key', async (t) => {
  let refused = 0
  for (let round = 0; round < 2000; round++) {
    refused += problemsOf({ current: { alg: 'HS256', key: newSecret() } }).length
  }
  t.equal(refused, 0)
})

test('refresh keys are secrets, and the problem says why', async (t) => {
  for (const alg of ALGORITHMS) {
    const current = problemsOf({ current: { alg, key: pems[alg].privateKey } }, 'refresh')
    t.match(current, [{ path: 'keys.current.alg', message: /HS256 only/, fix: /derived from the secret/ }])
    t.match(
      problemsOf({
        current: { alg: 'HS256', key: newSecret() },
        verifyOnly: [{ alg, key: pems[alg].publicKey, until: UNTIL }],
      }, 'refresh'),
      [{ path: 'keys.verifyOnly[0].alg' }],
    )
  }
  t.same(problemsOf({ current: { alg: 'HS256', key: newSecret() } }, 'refresh'), [])
})

test('two keyrings share a key wherever it stands and however it is written', async (t) => {
  const secret = newSecret()
  const current = { alg: 'HS256', key: secret } as const
  const other = (): { alg: 'HS256', key: string } => ({ alg: 'HS256', key: newSecret() })
  const asOld = (key: string): Keyring =>
    ring({ current: other(), verifyOnly: [{ alg: 'HS256', key, kid: 'old', until: UNTIL }] })
  t.equal(shareKeys(ring({ current }), secretKeyring(secret)), true)
  t.equal(shareKeys(ring({ current: { ...current, kid: 'a' } }), asOld(secret)), true)
  t.equal(shareKeys(asOld(secret), ring({ current })), true)
  t.equal(shareKeys(asOld(secret), asOld(secret)), true)
  t.equal(shareKeys(ring({ current }), asOld(`${secret}\0`)), true, 'HMAC pads with zeros')
  const long = newSecret() + newSecret()
  t.equal(shareKeys(secretKeyring(long), secretKeyring(long)), true)
  t.equal(shareKeys(ring({ current }), asOld(newSecret())), false)
  t.equal(shareKeys(ring({ current: { alg: 'ES256', key: pems.ES256.privateKey } }), ring({ current })), false)
  t.equal(
    shareKeys(
      ring({ current: { alg: 'ES256', key: pems.ES256.privateKey } }),
      ring({ current, verifyOnly: [{ alg: 'ES256', key: pems.ES256.publicKey, until: UNTIL }] }),
    ),
    true,
  )
})

test('the key set has the public members of each key and nothing else', async (t) => {
  const keyring = ring({
    current: { alg: 'RS256', key: pems.RS256.privateKey },
    verifyOnly: [
      { alg: 'ES256', key: pems.ES256.privateKey, until: UNTIL },
      { alg: 'EdDSA', key: pems.EdDSA.publicKey, until: '2030-01-31T12:00:01Z' },
      { alg: 'HS256', key: newSecret(), until: UNTIL },
    ],
  })
  const { keys } = publicKeySet(keyring)
  t.same(keys.map((key) => Object.keys(key).sort().join()), [
    'alg,e,kid,kty,n,use',
    'alg,crv,kid,kty,use,x,y',
    'alg,crv,kid,kty,use,x',
  ])
  t.same(
    keys.map(({ alg, kid, use }) => [alg, kid, use]),
    [keyring.current, ...keyring.verifyOnly].slice(0, 3).map(({ alg, kid }) => [alg, kid, 'sig']),
  )
  t.ok(Object.isFrozen(keys) && keys.every(Object.isFrozen))
  // Even of a keyring put together by hand, with a private key where a public one belongs.
  for (const [index, alg] of (['RS256', 'ES256', 'EdDSA'] as const).entries()) {
    const { current } = ring({ current: { alg, key: pems[alg].privateKey } })
    t.same(
      publicKeySet({ current: { ...current, verifyWith: current.signWith }, verifyOnly: [] }).keys,
      [keys[index]],
      alg,
    )
  }
  t.same(publicKeySet(secretKeyring(newSecret())).keys, [], 'secrets are never in it')
  const end = Date.parse(UNTIL) / 1000
  t.same(publicKeySet(keyring, end - 1).keys.map(({ alg }) => alg), ['RS256', 'ES256', 'EdDSA'])
  t.same(publicKeySet(keyring, end).keys.map(({ alg }) => alg), ['RS256', 'EdDSA'], 'a key that has ended is not shown')
})

test('jose verifies our tokens with the key set, and we its', async (t) => {
  for (const alg of ALGORITHMS) {
    const keyring = ring({ current: { alg, key: pems[alg].privateKey } })
    const { access } = await sessionsWith(keyring, secretKeyring(newSecret()))
    const id = createHash('sha256').update('id').digest().toString('base64url', 0, 16)
    const claims = {
      sub: 'ada',
      sid: id,
      roles: ['user'],
      tenant: 'acme',
      tv: 0,
      auth_time: NOW,
      amr: [],
      iat: NOW,
      exp: NOW + 900,
      jti: id,
    }
    const token = access.sign(claims)
    const keySet = createLocalJWKSet(publicKeySet(keyring) as unknown as JSONWebKeySet)
    const { payload, protectedHeader } = await jwtVerify(token, keySet, {
      issuer: 'bulwark',
      audience: 'bulwark-api',
      typ: 'at+jwt',
      currentDate: new Date(NOW * 1000),
    })
    t.same(payload, payloadOf(token))
    t.same(protectedHeader, { alg, typ: 'at+jwt', kid: keyring.current.kid })
    const theirs = await new SignJWT({ iss: 'bulwark', aud: 'bulwark-api', ...claims }).setProtectedHeader({
      alg,
      typ: 'at+jwt',
      kid: keyring.current.kid,
    }).sign(await importPKCS8(pems[alg].privateKey, alg))
    t.match(access.verify(theirs, NOW), { context: { userId: 'ada' } }, `${alg} of jose`)
    t.equal(token.split('.')[0], encode({ alg, typ: 'at+jwt', kid: keyring.current.kid }))
  }
})
