import { createVerifier } from 'fast-jwt'
import root, { test } from 'tap'
import { headerAttacks, keyAttacks } from './token-forged-keys.js'
import { claimAttacks, textAttacks } from './token-forged-texts.js'
import { headerOf, hmac, newSecret, NOW, workshops, type Workshop } from './token-workshop.js'

// Key pairs are made, and thousands of signatures are verified.
root.setTimeout(180_000)

const EXPIRED = { iat: NOW - 2000, auth_time: NOW - 2000, exp: NOW - 1100 }

for (const workshop of await workshops()) {
  const { name, codec, header, good, forge } = workshop
  const isRefused = (token: string): string | null => {
    const answers = [
      codec.verify(token, NOW),
      codec.verify(token, NOW),
      codec.read(token, NOW),
      codec.verify(token, NOW + 1e9),
    ]
    return JSON.stringify(answers) === '["TOKEN_INVALID","TOKEN_INVALID",null,"TOKEN_INVALID"]'
      ? null
      : JSON.stringify(answers)
  }

  test(`${name}: the workshop of the attacks makes good tokens, so that only the attack is refused`, async (t) => {
    t.type(codec.verify(forge(header, good()), NOW), 'object')
    t.equal(
      codec.verify(
        forge(header, { ...good(), ...EXPIRED, ...(workshop.kind === 'refresh' ? { auth_time: undefined } : {}) }),
        NOW,
      ),
      'TOKEN_EXPIRED',
    )
    t.type(
      codec.verify(forge(header, { ...good(), sub: 'é€😀\ufffd\u2028' }), NOW),
      'object',
      'any text may be a user id',
    )
    t.type(codec.verify(forge(header, { ...good(), sub: '\ud800' }), NOW), 'object')
    t.type(codec.verify(forge(header, { ...good(), iat: NOW + 5 }), NOW), 'object', 'clocks may differ by 5 seconds')
  })

  test(`${name}: no header but the one of the key is accepted`, async (t) => {
    for (const [what, token] of Object.entries(await headerAttacks(workshop, good()))) {
      t.equal(isRefused(token), null, what)
    }
    for (const [what, token] of Object.entries(await headerAttacks(workshop, { ...good(), ...EXPIRED }))) {
      t.equal(isRefused(token), null, `${what}, expired`)
    }
  })

  test(`${name}: no key but the one of the header is accepted`, async (t) => {
    for (const [what, token] of Object.entries(await keyAttacks(workshop))) t.equal(isRefused(token), null, what)
    for (
      const token of [
        workshop.other(),
        forge(headerOf(workshop.other()), good()),
        forge(header, { ...good(), typ: 'at+jwt' }, hmac(newSecret())),
      ]
    ) t.equal(isRefused(token), null, 'a token of the other kind')
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
    const verifier = createVerifier({
      key,
      algorithms: [workshop.alg],
      checkTyp: String(header['typ']),
      allowedIss: 'bulwark',
      clockTimestamp: NOW * 1000,
      cache: false,
    })
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
      t.equal(
        Reflect.set(value, 'roles', ['admin']) || Reflect.set(value, 'userId', 'root') ||
          Reflect.setPrototypeOf(value, { admin: true }),
        false,
      )
      Object.values(value).forEach(change)
    }
    change(said)
    t.equal(JSON.stringify(codec.verify(token, NOW)), before)
  })
}

test('the twin of an ES256 signature is the same token', async (t) => {
  const [, { codec, header, good, forge }] = await workshops() as [Workshop, Workshop]
  const token = forge(header, good())
  const end = token.lastIndexOf('.') + 1
  const raw = Buffer.from(token.slice(end), 'base64url')
  const order = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551')
  const s = (order - BigInt(`0x${raw.subarray(32).toString('hex')}`)).toString(16).padStart(64, '0')
  const twin = token.slice(0, end) + Buffer.concat([raw.subarray(0, 32), Buffer.from(s, 'hex')]).toString('base64url')
  t.not(twin, token)
  t.same(codec.verify(twin, NOW), codec.verify(token, NOW))
})
