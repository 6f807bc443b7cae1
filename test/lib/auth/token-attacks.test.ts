import { constants, createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { createVerifier } from 'fast-jwt'
import { exportJWK } from 'jose'
import { test } from 'tap'
import { encode, headerOf, hmac, jws, newPems, newSecret, NOW, workshops, type Claims, type Workshop } from './token-workshop.js'

const EXPIRED = { iat: NOW - 2000, auth_time: NOW - 2000, exp: NOW - 1100 }

/** Headers of the attacker's choice, rightly signed wherever the attack leaves that open. */
async function headerAttacks ({ header, pems, secret, forge, signature }: Workshop, good: Claims): Promise<Record<string, string>> {
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
  const kids: readonly unknown[] = ['unknown', '', null, 0, [header['kid']], { kid: header['kid'] }, '../../../dev/null', '/dev/null', 'file:///dev/null', '__proto__', 'constructor', 'toString',
    `${String(header['kid'])}\0`, `${String(header['kid'])} `, "' OR 1=1 --", 'x'.repeat(2000), 'x'.repeat(10_240)]
  for (const kid of kids) {
    const what = `kid ${String(JSON.stringify(kid)).slice(0, 30)}`
    attacks[what] = forge({ ...header, kid }, good)
    attacks[`${what}, the empty secret`] = forge({ ...header, alg: 'HS256', kid }, good, hmac(''))
  }
  attacks['kid absent'] = forge(without('kid'), good)
  for (const typ of ['JWT', 'jwt', '', null, ['at+jwt'], 'AT+JWT', 'At+Jwt', 'RT+JWT', 'application/at+jwt', 'application/rt+jwt', ' at+jwt', 'at+jwt ', header['typ'] === 'at+jwt' ? 'rt+jwt' : 'at+jwt']) {
    attacks[`typ ${JSON.stringify(typ)}`] = forge({ ...header, typ }, good)
  }
  attacks['typ absent'] = forge(without('typ'), good)
  const jwk = { ...await exportJWK(createPublicKey(newPems('ES256').publicKey)), kid: header['kid'] }
  const extras: readonly Claims[] = [
    { jku: 'https://evil.example/jwks' }, { x5u: 'https://evil.example/x' }, { jwk }, { jwk: { kty: 'oct', k: encode(secret) } }, { x5c: ['MIIB'] }, { x5t: 'x' }, { crit: ['exp'] }, { crit: ['b64'], b64: false },
    { crit: [] }, { crit: null }, { crit: 'b64' }, { b64: false }, { b64: true }, { zip: 'DEF' }, { cty: 'JWT' }, { enc: 'A256GCM' }, { verify: false },
  ]
  for (const extra of extras) {
    attacks[`${JSON.stringify(extra).slice(0, 40)} behind`] = forge({ ...header, ...extra }, good)
    attacks[`${JSON.stringify(extra).slice(0, 40)} before`] = forge({ ...extra, ...header }, good)
  }
  const raw = `${encode({ ...header, b64: false, crit: ['b64'] })}.${JSON.stringify(good)}`
  attacks['an unencoded payload (RFC 7797)'] = `${raw}.${signature(raw)}`
  for (const [hash, name] of [['sha384', 'HS384'], ['sha512', 'HS512'], ['sha1', 'HS1'], ['sha256', 'HS256']] as const) {
    for (const key of pems === null ? [secret] : [pems.publicKey, pems.privateKey]) {
      if (pems === null && name === 'HS256') continue
      attacks[`${name} under ${key.slice(0, 20)}`] = forge({ ...header, alg: name }, good, hmac(key, hash))
      attacks[`${name} under ${key.slice(0, 20)}, alg as it should be`] = forge(header, good, hmac(key, hash))
    }
  }
  return attacks
}

/** A public key as the secret of an HMAC, in every form in which it is public; and the neighbours of the right algorithm. */
async function keyAttacks ({ header, pems, secret, forge, good }: Workshop): Promise<Record<string, string>> {
  const attacks: Record<string, string> = {
    'another secret': forge(header, good(), hmac(newSecret())),
    'the empty secret': forge(header, good(), hmac('')),
    'the secret with a line break': forge(header, good(), hmac(`${secret}\n`)),
  }
  for (const alg of ['ES256', 'EdDSA', 'RS256'] as const) {
    const other = createPrivateKey(newPems(alg).privateKey)
    attacks[`another ${alg} key`] = forge(header, good(), jws(alg === 'EdDSA' ? null : 'sha256', other))
    attacks[`another ${alg} key, said in alg`] = forge({ ...header, alg }, good(), jws(alg === 'EdDSA' ? null : 'sha256', other))
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
    for (const [alg, namedCurve, hash] of [['ES384', 'P-384', 'sha384'], ['ES512', 'P-521', 'sha512'], ['ES256K', 'secp256k1', 'sha256']] as const) {
      const key = generateKeyPairSync('ec', { namedCurve }).privateKey
      attacks[alg] = forge({ ...header, alg }, good(), jws(hash, key))
      attacks[`${alg}, alg as it should be`] = forge(header, good(), jws(hash, key))
    }
    attacks['SHA-384 under the right key'] = forge(header, good(), jws('sha384', privateKey))
    attacks['a DER signature'] = forge(header, good(), jws('sha256', privateKey, { dsaEncoding: 'der' }))
    attacks['r and s zero'] = forge(header, good(), () => Buffer.alloc(64).toString('base64url'))
    attacks['r and s the order'] = forge(header, good(), () => Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'.repeat(2), 'hex').toString('base64url'))
  }
  if (header['alg'] === 'EdDSA') {
    attacks['the low order point'] = forge(header, good(), () => Buffer.concat([Buffer.from([1]), Buffer.alloc(63)]).toString('base64url'))
    attacks['S + L'] = forge(header, good(), (input) => addOrder(Buffer.from(jws(null, privateKey)(input), 'base64url')).toString('base64url'))
  }
  return attacks
}

/** The malleable twin of an Ed25519 signature that RFC 8032 forbids: S plus the order of the group, little-endian. */
function addOrder (signature: Buffer): Buffer {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`) + order
  return Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse()])
}

/** Texts that are no token, or another spelling of one. */
function textAttacks ({ header, good, forge, signature, alg }: Workshop): Record<string, string> {
  const token = forge(header, good())
  const [head = '', body = '', mac = ''] = token.split('.')
  const nextCharacter = (text: string): string => text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) + 1)
  const resigned = (segment: string): string => `${head}.${segment}.${signature(`${head}.${segment}`)}`
  // A payload whose length leaves bits unused, whatever the random ids are.
  let loose = good()
  while (encode(loose).length % 4 === 0) loose = { ...loose, sub: `${String(loose['sub'])}x` }
  const plus = `${body.slice(0, -4)}+/${body.slice(-2)}`
  const attacks: Record<string, string> = {
    'a JWE of five segments': `${token}.${mac}.${mac}`,
    'an empty payload': resigned(''),
    'no signature': `${head}.${body}.`,
    'a signature of zeros': `${head}.${body}.${'A'.repeat(mac.length)}`,
    'a signature of dots': `${head}.${body}.${'.'.repeat(mac.length)}`,
    'padding behind the signature': `${token}=`,
    'padding in the signature': `${head}.${body}.${mac.slice(0, -1)}=`,
    'padding behind the payload, signed': resigned(`${encode(loose)}==`),
    'padding behind the payload, not signed': `${head}.${body}=.${mac}`,
    'padding behind the header': `${head}=.${body}.${mac}`,
    'a signature cut short': token.slice(0, -1),
    'a signature grown': `${token}A`,
    'a signature twice': `${token}${mac}`,
    'the plain alphabet in the payload, signed': resigned(plus),
    'unused bits in the payload, signed': resigned(nextCharacter(encode(loose))),
    'white space in the payload, signed': resigned(`${body.slice(0, 8)} ${body.slice(8)}`),
    'a line break in the payload, signed': resigned(`${body.slice(0, 8)}\n${body.slice(8)}`),
    'a character in the payload that is skipped, signed': resigned(`${body.slice(0, 8)}!${body.slice(8)}`),
    'a dot in the payload, signed': resigned(`${body.slice(0, 8)}.${body.slice(8)}`),
    'a character beyond Latin 1 that ends in an A': `${head}.${body}.${mac.slice(0, -1)}\u0141`,
    'a non-ASCII character in the signature': `${head}.${body}.${mac.slice(0, -1)}é`,
    'a header with a character beyond Latin 1': `${head.slice(0, -1)}${String.fromCharCode(head.charCodeAt(head.length - 1) + 0x100)}.${body}.${mac}`,
    'spaces before': `  ${token}`,
    'a space behind': `${token} `,
    'a tab behind': `${token}\t`,
    'a line break behind': `${token}\n`,
    'a NUL behind': `${token}\0`,
    'a BOM before': `\ufeff${token}`,
    'quotes around': `"${token}"`,
    'Bearer before': `Bearer ${token}`,
    'percent-encoded dots': token.replaceAll('.', '%2E'),
    'a fraction of another token behind': `${token},${token}`,
    '4,097 bytes': token.padEnd(4097, 'A'),
    '4,097 bytes, signed': forge(header, { ...good(), filler: 'x'.repeat(4096) }),
    '1 MB': `${head}.${'A'.repeat(1 << 20)}.${mac}`,
    '1 MB of dots': '.'.repeat(1 << 20),
    '1 MB of a header': 'A'.repeat(1 << 20),
    '10,000 arrays deep': forge(header, `${'['.repeat(10_000)}${']'.repeat(10_000)}`),
    '1,000 arrays deep': forge(header, `${'['.repeat(1000)}${']'.repeat(1000)}`),
    'prototype name': '__proto__',
    'constructor.constructor.constructor': 'constructor.constructor.constructor',
  }
  for (let count = 0; count <= 6; count++) {
    if (count !== 3) attacks[`${count} segments`] = [head, body, mac, mac, mac, mac].slice(0, count).join('.')
    attacks[`${count} dots`] = '.'.repeat(count)
  }
  // 32, 64 and 256 bytes all leave bits of the last character unused.
  for (let bits = 1; bits < (alg === 'HS256' ? 4 : 16); bits++) {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    attacks[`unused bits ${bits} of the signature`] = token.slice(0, -1) + alphabet.charAt(alphabet.indexOf(token.slice(-1)) + bits)
  }
  return attacks
}

/** Claims of a holder of the key that no token of ours has. */
function claimAttacks ({ kind, header, good, forge, signature }: Workshop): Record<string, string> {
  const base = good()
  const text = JSON.stringify(base)
  const payloads: Record<string, unknown> = {
    'a list': [base],
    'a text': '"x"',
    'a number': '1',
    'null': 'null',
    'no JSON': '{',
    'nothing': ' ',
    'a BOM before': `\ufeff${text}`,
    'white space': JSON.stringify(base, null, 1),
    'a line break behind': `${text}\n`,
    'sub twice, the last right': text.replace('{', '{"sub":"root",'),
    'sub twice, the first right': `${text.slice(0, -1)},"sub":"root"}`,
    'exp twice': `${text.slice(0, -1)},"exp":${NOW + 9}}`,
    '__proto__ twice': `${text.slice(0, -1)},"__proto__":{},"__proto__":{}}`,
    'a name escaped': text.replace('"sub"', '"\\u0073ub"'),
    'a value escaped': text.replace('"ada"', '"\\u0061da"'),
    'a slash escaped': text.replace('"ada"', '"a\\/da"'),
    'a name in another case': text.replace('"sub"', '"Sub"'),
    'claims in __proto__': `{"__proto__":${text}}`,
    'claims in constructor.prototype': `{"constructor":{"prototype":${text}}}`,
    nbf: { ...base, nbf: NOW + 60 },
    'nbf in the past': { ...base, nbf: NOW - 60 },
    'nbf null': { ...base, nbf: null },
    'exp before iat': { ...base, exp: NOW - 1 },
    'exp at iat': { ...base, exp: NOW },
    'a life beyond the policy': { ...base, exp: NOW + (kind === 'access' ? 901 : 604_801) },
    'a life from 1970': { ...base, iat: 0 },
    'exp 2 to the 53rd': { ...base, exp: 2 ** 53 },
  }
  for (const name of Object.keys(base)) payloads[`without ${name}`] = Object.fromEntries(Object.entries(base).filter(([key]) => key !== name))
  for (const name of ['iat', 'exp', kind === 'access' ? 'auth_time' : 'gen']) {
    const right = Number(base[name])
    for (const value of [String(right), right + 0.5, -1, null, true, [], [right], {}, '']) payloads[`${name} ${JSON.stringify(value)}`] = { ...base, [name]: value }
    for (const spelling of ['1e999', '-1e999', `${right}.0`, `${right}e0`, `${right / 10}e1`, `${right}0e-1`, '-0', '1E1', `0${right}`, `+${right}`, 'NaN', 'Infinity']) payloads[`${name} spelled ${spelling}`] = text.replace(`"${name}":${right}`, `"${name}":${spelling}`)
  }
  const counter = kind === 'access' ? 'tv' : 'gen'
  for (const spelling of ['-0', '1.0', '1e1', '10.0', '0xa', '1e999', '-1', '9007199254740993', '"10"']) payloads[`${counter} spelled ${spelling}`] = text.replace(`"${counter}":10`, `"${counter}":${spelling}`)
  for (const name of ['iss', 'aud']) {
    const right = String(base[name])
    for (const value of [[right], [right, 'other'], `${right}/`, `${right} `, ` ${right}`, `${right}\0`, right.toUpperCase(), right.slice(0, -1), `${right}x`, `https://${right}`, '', null, true, { value: right }, 'other']) payloads[`${name} ${JSON.stringify(value)}`] = { ...base, [name]: value }
  }
  payloads['aud of the other kind'] = { ...base, aud: kind === 'access' ? 'bulwark-api/refresh' : 'bulwark-api' }
  for (const name of kind === 'access' ? ['sid', 'jti'] : ['sid', 'jti', 'slt']) {
    for (const value of ['', 'x', 1, null, ['x'], '../../../../../../../../x', `${String(base[name]).slice(0, -1)}B`, `${String(base[name])}A`]) payloads[`${name} ${JSON.stringify(value)}`] = { ...base, [name]: value }
  }
  for (const value of ['', 1, null, true, ['ada'], { $ne: null }]) payloads[`sub ${JSON.stringify(value)}`] = { ...base, sub: value }
  if (kind === 'access') {
    for (const value of ['admin', null, {}, ['root'], [['admin']], [1], ['user', null], { 0: 'admin', length: 1 }]) payloads[`roles ${JSON.stringify(value)}`] = { ...base, roles: value }
    for (const value of ['pwd', null, [1], [''], ['a b'], ['x'.repeat(17)], ['a', 'b', 'c', 'd', 'e']]) payloads[`amr ${JSON.stringify(value)}`] = { ...base, amr: value }
    payloads['an app claim of another type'] = { ...base, tenant: ['acme'] }
    payloads['an app claim in __proto__'] = text.replace('"tenant":"acme"', '"__proto__":{"tenant":"acme"}')
    payloads['auth_time after iat'] = { ...base, auth_time: NOW + 6 }
  }
  const attacks = Object.fromEntries(Object.entries(payloads).map(([what, payload]) => [what, forge(header, payload)]))
  for (const [what, bytes] of [['Latin 1', 'ad\xe9'], ['a lone continuation byte', 'ad\x80'], ['an overlong slash', 'ad\xc0\xaf'], ['a surrogate in UTF-8', 'ad\xed\xa0\x80'], ['a cut sequence', 'ad\xf0\x9f\x98']] as const) {
    const input = `${encode(header)}.${Buffer.from(text.replace('ada', bytes), 'latin1').toString('base64url')}`
    attacks[`text that is not UTF-8: ${what}`] = `${input}.${signature(input)}`
  }
  return attacks
}

for (const workshop of workshops()) {
  const { name, codec, header, good, forge } = workshop
  const isRefused = (token: string): string | null => {
    const answers = [codec.verify(token, NOW), codec.verify(token, NOW), codec.read(token, NOW), codec.verify(token, NOW + 1e9)]
    return JSON.stringify(answers) === '["TOKEN_INVALID","TOKEN_INVALID",null,"TOKEN_INVALID"]' ? null : JSON.stringify(answers)
  }

  test(`${name}: the workshop of the attacks makes good tokens, so that only the attack is refused`, async (t) => {
    t.type(codec.verify(forge(header, good()), NOW), 'object')
    t.equal(codec.verify(forge(header, { ...good(), ...EXPIRED, ...(workshop.kind === 'refresh' ? { auth_time: undefined } : {}) }), NOW), 'TOKEN_EXPIRED')
    t.type(codec.verify(forge(header, { ...good(), sub: 'é€😀\ufffd\u2028' }), NOW), 'object', 'any text may be a user id')
    t.type(codec.verify(forge(header, { ...good(), sub: '\ud800' }), NOW), 'object')
    t.type(codec.verify(forge(header, { ...good(), iat: NOW + 5 }), NOW), 'object', 'clocks may differ by 5 seconds')
  })

  test(`${name}: no header but the one of the key is accepted`, async (t) => {
    for (const [what, token] of Object.entries(await headerAttacks(workshop, good()))) t.equal(isRefused(token), null, what)
    for (const [what, token] of Object.entries(await headerAttacks(workshop, { ...good(), ...EXPIRED }))) t.equal(isRefused(token), null, `${what}, expired`)
  })

  test(`${name}: no key but the one of the header is accepted`, async (t) => {
    for (const [what, token] of Object.entries(await keyAttacks(workshop))) t.equal(isRefused(token), null, what)
    for (const token of [workshop.other(), forge(headerOf(workshop.other()), good()), forge(header, { ...good(), typ: 'at+jwt' }, hmac(newSecret()))]) t.equal(isRefused(token), null, 'a token of the other kind')
  })

  test(`${name}: a token has one spelling`, async (t) => {
    for (const [what, token] of Object.entries(textAttacks(workshop))) t.equal(isRefused(token), null, what)
    const token = forge(header, good())
    let accepted = 0
    for (let at = 0; at < token.length; at++) {
      for (const character of ['A', 'B', '.', '+']) {
        const changed = token.slice(0, at) + character + token.slice(at + 1)
        if (changed !== token && codec.verify(changed, NOW) !== 'TOKEN_INVALID') accepted++
      }
      if (codec.verify(token.slice(0, at) + token.slice(at + 1), NOW) !== 'TOKEN_INVALID') accepted++
    }
    t.equal(accepted, 0, 'no single changed or missing character is accepted')
    // The text before was the same but for its last character: nothing of it may be left over.
    codec.verify(token, NOW)
    t.equal(isRefused(`${token.slice(0, -1)}é`), null)
  })

  test(`${name}: the right signature excuses nothing`, async (t) => {
    for (const [what, token] of Object.entries(claimAttacks(workshop))) t.equal(isRefused(token), null, what)
    for (const ahead of [6, 60, 100_000]) {
      const token = forge(header, { ...good(), iat: NOW + ahead, exp: NOW + ahead + 60 })
      t.equal(codec.verify(token, NOW), 'TOKEN_INVALID', `made ${ahead} s ahead of its time`)
      t.equal(codec.verify(token, NOW), 'TOKEN_INVALID', 'and again')
    }
  })

  test(`${name}: what is accepted is accepted by fast-jwt, too`, async (t) => {
    const key = workshop.pems?.publicKey ?? workshop.secret
    const verifier = createVerifier({ key, algorithms: [workshop.alg], checkTyp: String(header['typ']), allowedIss: 'bulwark', clockTimestamp: NOW * 1000, cache: false })
    for (let round = 0; round < 20; round++) {
      const token = codec.sign({ ...good(), iat: NOW, exp: NOW + 900 })
      t.type(codec.verify(token, NOW), 'object')
      t.match(verifier(token), { iss: 'bulwark', exp: NOW + 900 })
    }
  })

  test(`${name}: what a token said cannot be changed for the next reader`, async (t) => {
    const token = forge(header, good())
    const said = codec.verify(token, NOW)
    const before = JSON.stringify(said)
    const change = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return
      t.ok(Object.isFrozen(value))
      t.equal(Reflect.set(value, 'roles', ['admin']) || Reflect.set(value, 'userId', 'root') || Reflect.setPrototypeOf(value, { admin: true }), false)
      Object.values(value).forEach(change)
    }
    change(said)
    t.equal(JSON.stringify(codec.verify(token, NOW)), before)
  })
}

test('the twin of an ES256 signature is the same token', async (t) => {
  const [, { codec, header, good, forge }] = workshops() as [Workshop, Workshop]
  const token = forge(header, good())
  const end = token.lastIndexOf('.') + 1
  const raw = Buffer.from(token.slice(end), 'base64url')
  const order = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551')
  const s = (order - BigInt(`0x${raw.subarray(32).toString('hex')}`)).toString(16).padStart(64, '0')
  const twin = token.slice(0, end) + Buffer.concat([raw.subarray(0, 32), Buffer.from(s, 'hex')]).toString('base64url')
  t.not(twin, token)
  t.same(codec.verify(twin, NOW), codec.verify(token, NOW))
})
