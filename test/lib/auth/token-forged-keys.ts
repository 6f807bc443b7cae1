import { constants, createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { exportJWK } from 'jose'
import { encode, hmac, jws, newPems, newSecret, type Claims, type Workshop } from './token-workshop.js'

/** Headers of the attacker's choice, rightly signed wherever the attack leaves that open. */
export async function headerAttacks (
  { header, pems, secret, forge, signature }: Workshop,
  good: Claims,
): Promise<Record<string, string>> {
  const alg = String(header['alg'])
  const unsigned = (name: unknown): string => `${encode({ ...header, alg: name })}.${encode(good)}.`
  const without = (name: string): Claims => Object.fromEntries(Object.entries(header).filter(([key]) => key !== name))
  const text = JSON.stringify(header)
  const attacks: Record<string, string> = {
    'nested arrays as a header': forge(`${'['.repeat(1000)}${']'.repeat(1000)}`, good),
    'a header with a BOM': forge(`\ufeff${text}`, good),
    'a header with white space': forge(JSON.stringify(header, null, 1), good),
    'a header with a line break behind': forge(`${text}\n`, good),
    'a header with alg twice, the first right': forge(`${text.slice(0, -1)},"alg":"none"}`, good),
    'a header with alg twice, the last right': forge(`{"alg":"none",${text.slice(1)}`, good),
    'a header with alg escaped': forge(text.replace('"alg"', '"\\u0061lg"'), good),
    'a header with __proto__': forge(`${text.slice(0, -1)},"__proto__":{"alg":"none"}}`, good),
    'a header in another order': forge(Object.fromEntries(Object.entries(header).reverse()), good),
    'an empty header': `.${encode(good)}.${signature(`.${encode(good)}`)}`,
    'a header {}': forge({}, good),
    'a header null': forge('null', good),
    'a header as a text': forge('"x"', good),
    'a header in a list': forge([header], good),
  }
  for (const name of ['none', 'None', 'NONE', 'nOnE', 'none ', '', null, 0, true, ['none'], { alg: 'none' }]) {
    attacks[`alg ${JSON.stringify(name)}, unsigned`] = unsigned(name)
    attacks[`alg ${JSON.stringify(name)}, signed`] = forge({ ...header, alg: name }, good)
  }
  attacks['the right alg, unsigned'] = unsigned(alg)
  attacks['alg in lower case'] = forge({ ...header, alg: alg.toLowerCase() }, good)
  attacks['alg absent'] = forge(without('alg'), good)
  const kids: readonly unknown[] = [
    'unknown',
    '',
    null,
    0,
    [header['kid']],
    { kid: header['kid'] },
    '../../../dev/null',
    '/dev/null',
    'file:///dev/null',
    '__proto__',
    'constructor',
    'toString',
    `${String(header['kid'])}\0`,
    `${String(header['kid'])} `,
    "' OR 1=1 --",
    'x'.repeat(2000),
    'x'.repeat(10_240),
  ]
  for (const kid of kids) {
    const what = `kid ${JSON.stringify(kid).slice(0, 30)}`
    attacks[what] = forge({ ...header, kid }, good)
    attacks[`${what}, the empty secret`] = forge({ ...header, alg: 'HS256', kid }, good, hmac(''))
  }
  attacks['kid absent'] = forge(without('kid'), good)
  for (
    const typ of [
      'JWT',
      'jwt',
      '',
      null,
      ['at+jwt'],
      'AT+JWT',
      'At+Jwt',
      'RT+JWT',
      'application/at+jwt',
      'application/rt+jwt',
      ' at+jwt',
      'at+jwt ',
      header['typ'] === 'at+jwt' ? 'rt+jwt' : 'at+jwt',
    ]
  ) {
    attacks[`typ ${JSON.stringify(typ)}`] = forge({ ...header, typ }, good)
  }
  attacks['typ absent'] = forge(without('typ'), good)
  const jwk = { ...await exportJWK(createPublicKey(newPems('ES256').publicKey)), kid: header['kid'] }
  const extras: readonly Claims[] = [
    { jku: 'https://evil.example/jwks' },
    { x5u: 'https://evil.example/x' },
    { jwk },
    { jwk: { kty: 'oct', k: encode(secret) } },
    { x5c: ['MIIB'] },
    { x5t: 'x' },
    { crit: ['exp'] },
    { crit: ['b64'], b64: false },
    { crit: [] },
    { crit: null },
    { crit: 'b64' },
    { b64: false },
    { b64: true },
    { zip: 'DEF' },
    { cty: 'JWT' },
    { enc: 'A256GCM' },
    { verify: false },
  ]
  for (const extra of extras) {
    attacks[`${JSON.stringify(extra).slice(0, 40)} behind`] = forge({ ...header, ...extra }, good)
    attacks[`${JSON.stringify(extra).slice(0, 40)} before`] = forge({ ...extra, ...header }, good)
  }
  const raw = `${encode({ ...header, b64: false, crit: ['b64'] })}.${JSON.stringify(good)}`
  attacks['an unencoded payload (RFC 7797)'] = `${raw}.${signature(raw)}`
  for (
    const [hash, name] of [['sha384', 'HS384'], ['sha512', 'HS512'], ['sha1', 'HS1'], ['sha256', 'HS256']] as const
  ) {
    for (const key of pems === null ? [secret] : [pems.publicKey, pems.privateKey]) {
      if (pems === null && name === 'HS256') continue
      attacks[`${name} under ${key.slice(0, 20)}`] = forge({ ...header, alg: name }, good, hmac(key, hash))
      attacks[`${name} under ${key.slice(0, 20)}, alg as it should be`] = forge(header, good, hmac(key, hash))
    }
  }
  return attacks
}

/**
 * A public key as the secret of an HMAC, in every form in which it is public; and the neighbours of the right
 * algorithm.
 */
export async function keyAttacks ({ header, pems, secret, forge, good }: Workshop): Promise<Record<string, string>> {
  const attacks: Record<string, string> = {
    'another secret': forge(header, good(), hmac(newSecret())),
    'the empty secret': forge(header, good(), hmac('')),
    'the secret with a line break': forge(header, good(), hmac(`${secret}\n`)),
  }
  for (const alg of ['ES256', 'EdDSA', 'RS256'] as const) {
    const other = createPrivateKey(newPems(alg).privateKey)
    attacks[`another ${alg} key`] = forge(header, good(), jws(alg === 'EdDSA' ? null : 'sha256', other))
    attacks[`another ${alg} key, said in alg`] = forge(
      { ...header, alg },
      good(),
      jws(alg === 'EdDSA' ? null : 'sha256', other),
    )
  }
  if (pems === null) return attacks
  const publicKey = createPublicKey(pems.publicKey)
  const privateKey = createPrivateKey(pems.privateKey)
  const jwk = await exportJWK(publicKey)
  const der = publicKey.export({ type: 'spki', format: 'der' })
  const forms: Record<string, string | Buffer> = {
    PEM: pems.publicKey,
    'PEM without its last line break': pems.publicKey.trim(),
    'padded PEM': `  ${pems.publicKey}\n\n`,
    'PEM with CRLF': pems.publicKey.replaceAll('\n', '\r\n'),
    'PEM on one line': pems.publicKey.replaceAll('\n', ''),
    'body of the PEM': der.toString('base64'),
    DER: der,
    JWK: JSON.stringify(jwk),
    'JWK with kid and alg': JSON.stringify({ ...jwk, kid: header['kid'], alg: header['alg'], use: 'sig' }),
    JWKS: JSON.stringify({ keys: [jwk] }),
  }
  if (header['alg'] === 'RS256') forms['PKCS #1'] = publicKey.export({ type: 'pkcs1', format: 'pem' })
  for (const [form, key] of Object.entries(forms)) {
    attacks[`HS256 under the public ${form}`] = forge({ ...header, alg: 'HS256' }, good(), hmac(key))
    attacks[`HMAC under the public ${form}, alg as it should be`] = forge(header, good(), hmac(key))
  }
  if (header['alg'] === 'RS256') {
    const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
    attacks['PS256'] = forge({ ...header, alg: 'PS256' }, good(), jws('sha256', privateKey, pss))
    attacks['PSS, alg as it should be'] = forge(header, good(), jws('sha256', privateKey, pss))
    for (const [alg, hash] of [['RS384', 'sha384'], ['RS512', 'sha512'], ['RS1', 'sha1']] as const) {
      attacks[alg] = forge({ ...header, alg }, good(), jws(hash, privateKey))
      attacks[`${alg}, alg as it should be`] = forge(header, good(), jws(hash, privateKey))
    }
  }
  if (header['alg'] === 'ES256') {
    for (
      const [alg, namedCurve, hash] of [['ES384', 'P-384', 'sha384'], ['ES512', 'P-521', 'sha512'], [
        'ES256K',
        'secp256k1',
        'sha256',
      ]] as const
    ) {
      const key = generateKeyPairSync('ec', { namedCurve }).privateKey
      attacks[alg] = forge({ ...header, alg }, good(), jws(hash, key))
      attacks[`${alg}, alg as it should be`] = forge(header, good(), jws(hash, key))
    }
    attacks['SHA-384 under the right key'] = forge(header, good(), jws('sha384', privateKey))
    attacks['a DER signature'] = forge(header, good(), jws('sha256', privateKey, { dsaEncoding: 'der' }))
    attacks['r and s zero'] = forge(header, good(), () => Buffer.alloc(64).toString('base64url'))
    attacks['r and s the order'] = forge(
      header,
      good(),
      () =>
        Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'.repeat(2), 'hex').toString(
          'base64url',
        ),
    )
  }
  if (header['alg'] === 'EdDSA') {
    attacks['the low order point'] = forge(
      header,
      good(),
      () => Buffer.concat([Buffer.from([1]), Buffer.alloc(63)]).toString('base64url'),
    )
    attacks['S + L'] = forge(
      header,
      good(),
      (input) => addOrder(Buffer.from(jws(null, privateKey)(input), 'base64url')).toString('base64url'),
    )
  }
  return attacks
}

/** The malleable twin of an Ed25519 signature that RFC 8032 forbids: S plus the order of the group, little-endian. */
function addOrder (signature: Buffer): Buffer {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`) + order
  return Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse()])
}
