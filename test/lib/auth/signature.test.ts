import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import { test } from 'tap'
import { createSignatureCheck, MAX_INPUT_LENGTH } from '../../../lib/auth/signature.js'

const sign = (secret: Buffer, input: string): string => createHmac('sha256', secret).update(input).digest('base64url')

test('an HS256 signature is what node:crypto makes, whatever the length of secret and input', async (t) => {
  for (const length of [1, 31, 32, 63, 64, 65, 100, 500]) {
    const secret = randomBytes(length)
    const { isValid } = createSignatureCheck('HS256', createSecretKey(secret))
    for (
      const input of [
        '',
        'a',
        'x'.repeat(55),
        'x'.repeat(64),
        randomBytes(1000).toString('base64url'),
        'ünï\u{1f511}cødé',
        '\u0141',
        'é'.repeat(MAX_INPUT_LENGTH),
        'x'.repeat(MAX_INPUT_LENGTH),
      ]
    ) {
      const signature = sign(secret, input)
      t.ok(isValid(input, signature), `${length} bytes, ${input.length} characters`)
      t.notOk(isValid(`${input}x`, signature), 'of this input only')
      t.notOk(isValid(input, sign(randomBytes(32), input)), 'of this secret only')
    }
  }
})

test('an input is never cut, and no character stands for another one', async (t) => {
  const secret = randomBytes(32)
  const { isValid } = createSignatureCheck('HS256', createSecretKey(secret))
  t.notOk(isValid('\u0141', sign(secret, 'A')), 'which one byte of its code would be')
  const tooLong = 'x'.repeat(MAX_INPUT_LENGTH + 1)
  t.notOk(isValid(tooLong, sign(secret, tooLong)))
  t.notOk(isValid(tooLong, sign(secret, tooLong.slice(1))))
  for (const wrong of ['', 'x', `${sign(secret, 'a')}=`, sign(secret, 'a').slice(1), 'ä'.repeat(43), '\0'.repeat(43)])
    {t.notOk(isValid('a', wrong), JSON.stringify(wrong))}
})
