import { test } from 'tap'
import { createPasswords } from '../../example-server/passwords.js'

test('a password is stored as Argon2id with the parameters of OWASP, salted', async (t) => {
  const passwords = await createPasswords()
  const [one, two] = await Promise.all([passwords.hash('Correct-horse-9'), passwords.hash('Correct-horse-9')])
  t.match(one, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  t.not(one, two)
})

test('only the password itself verifies, in any Unicode form', async (t) => {
  const passwords = await createPasswords()
  const stored = await passwords.hash('Gar\u00e7on-caf\u00e9-9')
  t.equal(await passwords.verify(stored, 'Gar\u00e7on-caf\u00e9-9'), true)
  t.equal(await passwords.verify(stored, 'Garc\u0327on-cafe\u0301-9'), true)
  for (const wrong of ['', 'gar\u00e7on-caf\u00e9-9', 'Gar\u00e7on-caf\u00e9-9 ', 'Gar\u00e7on-caf\u00e9-9\0']) t.equal(await passwords.verify(stored, wrong), false)
})

test('an unknown user is refused after a verification of the same cost', async (t) => {
  const passwords = await createPasswords()
  const stored = await passwords.hash('Correct-horse-9')
  const time = async (hash: string | null): Promise<number> => {
    const times: number[] = []
    for (let i = 0; i < 5; i++) {
      const start = performance.now()
      t.equal(await passwords.verify(hash, 'Wrong-horse-9999'), false)
      times.push(performance.now() - start)
    }
    return Math.min(...times)
  }
  const [known, unknown] = [await time(stored), await time(null)]
  t.ok(unknown > known / 3 && unknown < known * 3, `${unknown} ms against ${known} ms`)
})

test('a password above 1,024 bytes is refused before it costs anything', async (t) => {
  const passwords = await createPasswords()
  const stored = await passwords.hash('a'.repeat(1024))
  t.equal(await passwords.verify(stored, 'a'.repeat(1024)), true)
  t.equal(await passwords.verify(stored, 'a'.repeat(1025)), false)
  t.equal(await passwords.verify(stored, '\u{1f40e}'.repeat(257)), false)
  await t.rejects(passwords.hash('a'.repeat(1025)), { code: 'UNPROCESSABLE' })
})

test('a flood of sign-ins waits in a bounded queue, and the rest is told so at once', async (t) => {
  const passwords = await createPasswords()
  const results = await Promise.allSettled(Array.from({ length: 70 }, () => passwords.verify(null, 'Wrong-horse-9999')))
  const refused = results.filter((result) => result.status === 'rejected')
  t.equal(results.length - refused.length, 66, 'two at work and 64 waiting')
  for (const { reason } of refused) t.match(reason, { code: 'SERVICE_UNAVAILABLE', headers: { 'retry-after': '2' } })
  t.equal(await passwords.verify(null, 'Wrong-horse-9999'), false, 'afterwards it works again')
})
