import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { test } from 'tap'
import { estimateEntropyBits, secretProblems } from '../../../lib/options/secret-strength.js'

test('random secrets always pass, also with words that they contain by chance', async (t) => {
  let refused = 0
  for (let i = 0; i < 2_000; i++) {
    for (
      const secret of [
        randomBytes(32).toString('hex'),
        randomBytes(24).toString('base64url'),
        randomBytes(32).toString('base64'),
        randomBytes(48).toString('base64url'),
      ]
    ) {
      if (secretProblems(secret).length > 0) refused++
    }
  }
  t.equal(refused, 0)
  t.same(
    secretProblems(`sk_test_${randomBytes(32).toString('hex')}`),
    [],
    'a word before a strong secret does not make it weak',
  )
  t.same(secretProblems(`aTestSecret${randomBytes(24).toString('base64url')}`), [])
  t.same(
    secretProblems('lagoon-tractor-velvet-nephew-quarry-oyster-himself-drizzle-mammoth-cobalt'),
    [],
    'ten drawn words',
  )
})

test('a weak secret is refused with a reason', async (t) => {
  const table: Record<string, RegExp> = {
    '': /shorter than 32 bytes/,
    [randomBytes(16).toString('base64url')]: /shorter than 32 bytes/,
    changeme: /placeholder/,
    'CHANGEME-changeme-ChangeMe-changeMe-changeme': /placeholder/,
    'your-256-bit-secret-your-256-bit-secret': /placeholder/,
    'a-string-secret-at-least-256-bits-long': /placeholder/,
    'please-change-me-to-a-long-random-string-of-at-least-32-bytes': /placeholder/,
    'replace_this_with_a_very_long_random_secret': /placeholder/,
    'example-jwt-access-secret-for-development-only': /placeholder/,
    'TestTestTestPassword1234567890TestTest': /placeholder/,
    'my-super-secret-refresh-token-key-2026!': /placeholder/,
    'supersecretsupersecretsupersecret': /placeholder/,
    ['a'.repeat(64)]: /entropy/,
    ['abc123'.repeat(12)]: /entropy/,
    ['deadbeef'.repeat(8)]: /entropy/,
    'abcdefghijklmnopqrstuvwxyz0123456789': /entropy/,
    '0123456789abcdef0123456789abcdef': /entropy/,
    'qwertyuiopasdfghjklzxcvbnm1234567890': /entropy/,
    '31415926535897932384626433832795': /entropy/,
    'correct-horse-battery-staple-banana': /entropy/,
    'CorrectHorseBatteryStapleBananaPeel': /entropy/,
    'thequickbrownfoxjumpsoverthelazydog': /entropy/,
  }
  for (const [secret, reason] of Object.entries(table)) {
    const reasons = secretProblems(secret)
    t.ok(
      reasons.some((line) => reason.test(line)),
      `${secret.slice(0, 30)} → ${reasons.join(' ')} (${estimateEntropyBits(secret).toFixed(0)} bits)`,
    )
    if (secret.length > 3) t.notOk(reasons.some((line) => line.includes(secret)), 'the reason does not hold the value')
  }
})

test('the text of a key is refused as a secret', async (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  for (const text of [
    publicKey.export({ type: 'spki', format: 'pem' }),
    privateKey.export({ type: 'pkcs8', format: 'pem' }),
    `# my key\n${publicKey.export({ type: 'spki', format: 'pem' }).toString()}`,
    JSON.stringify(publicKey.export({ format: 'jwk' })),
    ` ${JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] })}`,
    JSON.stringify({ kty: 'oct', k: randomBytes(32).toString('base64url') }),
  ]) t.match(secretProblems(text.toString()), [/PEM or JWK/])
  t.same(secretProblems(`{${randomBytes(32).toString('base64url')}`), [], 'a brace alone makes no key')
})

test('a key without its frame, or a PEM in another encoding, is refused as a secret', async (t) => {
  for (const type of ['ec', 'rsa', 'ed25519', 'ed448'] as const) {
    const { publicKey, privateKey } = type === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: 'P-384' })
      : type === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : type === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ed448')
    const [spki, pkcs8] = [
      publicKey.export({ type: 'spki', format: 'der' }),
      privateKey.export({ type: 'pkcs8', format: 'der' }),
    ]
    const pem = Buffer.from(publicKey.export({ type: 'spki', format: 'pem' }))
    for (const bytes of [spki, pkcs8, pem]) {
      for (const encoding of ['base64', 'base64url', 'hex'] as const) {
        t.match(secretProblems(bytes.toString(encoding)), [/encoded key/], `${type} ${encoding}`)
      }
    }
  }
  t.match(
    secretProblems(
      Buffer.from(JSON.stringify(generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }))).toString(
        'base64',
      ),
    ),
    [/encoded key/],
  )
})

test('the estimate grows with randomness and not with length alone', async (t) => {
  t.equal(estimateEntropyBits(''), 0)
  t.ok(estimateEntropyBits('ab'.repeat(1000)) < 30)
  t.ok(estimateEntropyBits(randomBytes(32).toString('hex')) > 180)
})
