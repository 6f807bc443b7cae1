import { setImmediate } from 'node:timers/promises'
import { test } from 'tap'
import type { Engine, Stored } from '../../../lib/passwords/engine.js'
import { resolvePasswordsOptions, type PasswordsOptions } from '../../../lib/passwords/options.js'
import { passwordsWith, type Passwords } from '../../../lib/passwords/passwords.js'

interface Fake { readonly passwords: Passwords, readonly calls: string[], readonly most: () => number }

/** Hashes are `$argon2id$m,t,p$<password>`, so that the test sees what was compared with what. */
async function fake (options: PasswordsOptions = {}, work: () => Promise<unknown> = setImmediate): Promise<Fake> {
  const resolved = resolvePasswordsOptions(options, { cores: 3, threads: 4 }, [])
  if (resolved === null) throw new Error('wrong options')
  const { memoryKiB, passes, lanes } = resolved.cost
  const calls: string[] = []
  let [running, most] = [0, 0]
  const count = async <T>(name: string, result: () => T): Promise<T> => {
    calls.push(name)
    most = Math.max(most, ++running)
    await work()
    running--
    return result()
  }
  const engine: Engine = {
    hash: (bytes) => count('hash', () => `$argon2id$${memoryKiB},${passes},${lanes}$${Buffer.from(bytes).toString()}`),
    verify: (stored, bytes) => count('verify', () => {
      if (stored.startsWith('$argon2unsupported')) throw new Error('Decoding failed')
      return stored.split('$').at(-1) === Buffer.from(bytes).toString()
    }),
    read (stored): Stored | null {
      const [, m, t, p] = /^\$argon2(?:id|i|unsupported)\$(\d+),(\d+),(\d+)\$/.exec(stored) ?? []
      return m === undefined
        ? null
        : { memoryKiB: Number(m), passes: Number(t), lanes: Number(p), current: stored.startsWith('$argon2id') }
    },
  }
  const passwords = await passwordsWith(engine, resolved)
  calls.length = 0
  return { passwords, calls, most: () => most }
}

const CURRENT = '$argon2id$19456,2,1$'

test('only the password itself verifies', async (t) => {
  const { passwords } = await fake()
  const stored = await passwords.hash('Correct-horse-9')
  t.equal(await passwords.verify(stored, 'Correct-horse-9'), true)
  for (const wrong of ['', 'correct-horse-9', 'Correct-horse-9 ', 'Correct-horse-9\0', 'Correct-horse-']) {
    t.equal(await passwords.verify(stored, wrong), false)
  }
})

test('every attempt costs exactly one verification, whoever it is for', async (t) => {
  const cases: readonly (readonly [string, string | null])[] = [
    ['a wrong password', `${CURRENT}other`],
    ['an unknown user', null],
    ['no hash', ''],
    ['a placeholder', '!'],
    ['another scheme', '$2b$12$abc'],
    ['an Argon2 hash that is cut off', '$argon2id$v=19$'],
    ['more memory than there is', '$argon2id$4294967295,2,1$right'],
    ['passes without end', '$argon2id$19456,33,1$right'],
    ['too many lanes', '$argon2id$19456,2,17$right'],
    ['undefined, in JavaScript', undefined as unknown as null],
  ]
  for (const [name, stored] of cases) {
    const { passwords, calls } = await fake()
    t.equal(await passwords.verify(stored, 'right', { upgrade: async () => t.fail('nothing to renew') }), false, name)
    t.same(calls, ['verify'], name)
  }
})

test('a hash that the library takes but cannot verify is nobody\'s, after the same work', async (t) => {
  const { passwords, calls } = await fake()
  t.equal(await passwords.verify('$argon2unsupported$19456,2,1$right', 'right'), false)
  t.same(calls, ['verify', 'verify'])
})

test('a stored value that cannot be read is one warning, without the value', async (t) => {
  const warnings: Error[] = []
  const listen = (warning: Error): void => { warnings.push(warning) }
  process.on('warning', listen)
  t.teardown(() => process.off('warning', listen))
  const { passwords } = await fake()
  for (const stored of ['kept-as-plain-text', '$argon2id$nonsense', null, `${CURRENT}other`]) {
    await passwords.verify(stored, 'kept-as-plain-text')
  }
  await setImmediate()
  t.match(warnings, [{ code: 'BULWARK_STORED_PASSWORD' }])
  t.equal(warnings.length, 1)
  t.notMatch(String(warnings[0]), /plain|nonsense/)
})

test('what is no password costs nothing: it is refused as new and wrong as given', async (t) => {
  const { passwords, calls } = await fake()
  for (
    const none of ['', 'a'.repeat(1025), '\ud800', { length: 5 } as unknown as string, undefined as unknown as string]
  ) {
    t.equal(await passwords.verify(`${CURRENT}${none}`, none), false)
    t.equal(await passwords.verify(null, none), false)
    await t.rejects(passwords.hash(none), { code: 'UNPROCESSABLE', message: /^The password is / })
  }
  t.same(calls, [])
})

test('a right password renews what is weaker than the options, and nothing else', async (t) => {
  const cases: readonly (readonly [string, boolean])[] = [
    ['$argon2id$19456,2,1$right', false], ['$argon2id$65536,2,1$right', false], ['$argon2id$19456,3,4$right', false],
    ['$argon2id$19455,2,1$right', true], ['$argon2id$65536,1,1$right', true], ['$argon2i$65536,3,4$right', true],
  ]
  for (const [stored, renews] of cases) {
    const { passwords, calls } = await fake()
    const renewed: string[] = []
    t.equal(await passwords.verify(stored, 'right', { upgrade: async (hash) => renewed.push(hash) }), true, stored)
    t.same(renewed, renews ? [`${CURRENT}right`] : [], stored)
    t.same(calls, renews ? ['verify', 'hash'] : ['verify'], stored)
    t.equal(
      await passwords.verify(stored, 'wrong', { upgrade: async () => t.fail('a wrong password renews nothing') }),
      false,
    )
    calls.length = 0
    t.equal(await passwords.verify(stored, 'right'), true)
    t.same(calls, ['verify'], 'without upgrade nothing is hashed')
  }
  const { passwords } = await fake({ lanes: 2 })
  const renewed: string[] = []
  await passwords.verify(`${CURRENT}right`, 'right', { upgrade: async (hash) => renewed.push(hash) })
  t.same(renewed, ['$argon2id$19456,2,2$right'], 'more lanes')
})

test('what upgrade throws, verify throws, and the slot is free', async (t) => {
  const { passwords } = await fake({ concurrency: 1, queue: 0 })
  await t.rejects(
    passwords.verify('$argon2i$1,1,1$right', 'right', {
      upgrade: async () => {
        throw new Error('read only')
      },
    }),
    { message: 'read only' },
  )
  t.equal(await passwords.verify(`${CURRENT}right`, 'right'), true)
})

test('who has signed in is not refused for the sake of the new hash, however full the queue is', async (t) => {
  const { passwords, most } = await fake({ concurrency: 1, queue: 1 })
  let renewed = 0
  const verify = (): Promise<boolean> =>
    passwords.verify('$argon2i$1,1,1$right', 'right', { upgrade: async () => renewed++ })
  const both = [verify(), verify()]
  await t.rejects(verify(), { code: 'SERVICE_UNAVAILABLE' })
  t.same(await Promise.all(both), [true, true])
  t.equal(renewed, 2)
  t.equal(most(), 1)
})

test('a legacy hash is asked of the legacy function alone, then renewed', async (t) => {
  const asked: string[][] = []
  const { passwords, calls } = await fake({
    legacy: async (stored, password) => {
      asked.push([stored, password])
      return stored === `old:${password}`
    },
  })
  const renewed: string[] = []
  const upgrade = async (hash: string): Promise<unknown> => renewed.push(hash)
  t.equal(await passwords.verify('old:cafe\u0301', 'cafe\u0301', { upgrade }), true)
  t.same(
    asked,
    [['old:cafe\u0301', 'cafe\u0301']],
    'with the password as it was given, since the old system hashed that',
  )
  t.same(renewed, [`${CURRENT}caf\u00e9`])
  t.equal(await passwords.verify('old:right', 'wrong', { upgrade }), false)
  t.equal(renewed.length, 1)
  calls.length = asked.length = 0
  t.equal(await passwords.verify(null, 'right', { upgrade }), false)
  t.equal(await passwords.verify('$argon2id$nonsense', 'right', { upgrade }), false)
  t.equal(await passwords.verify(`${CURRENT}right`, 'right', { upgrade }), true)
  t.same(asked, [], 'it never sees an Argon2 hash or nobody')
  t.same(calls, ['verify', 'verify', 'verify'])
})

test('only true is true of a legacy function, and what it throws is no match', async (t) => {
  for (const answer of [1, 'true', {}, undefined, null]) {
    const { passwords } = await fake({ legacy: async () => answer as boolean })
    t.equal(
      await passwords.verify('old', 'right', { upgrade: async () => t.fail('renewed') }),
      false,
      JSON.stringify(answer),
    )
  }
  const { passwords } = await fake({
    concurrency: 1,
    queue: 0,
    legacy: async () => {
      throw new Error('no such scheme')
    },
  })
  await t.rejects(passwords.verify('old', 'right'), { message: 'no such scheme' })
  t.equal(await passwords.verify(`${CURRENT}right`, 'right'), true, 'the slot is free')
})

test('legacy functions share the bound', async (t) => {
  let [running, most] = [0, 0]
  const { passwords } = await fake({ concurrency: 2, legacy: async () => {
    most = Math.max(most, ++running)
    await setImmediate()
    running--
    return true
  } })
  await Promise.all(Array.from({ length: 20 }, () => passwords.verify('old', 'right')))
  t.equal(most, 2)
})

test('a hundred at once run as many at a time as may, and beyond the queue they are refused at once', async (t) => {
  for (const concurrency of [1, 2, 3]) {
    const { passwords, calls, most } = await fake({ concurrency, queue: 64 })
    const stored = `${CURRENT}right`
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, (_, index) =>
        index % 2 === 0 ? passwords.verify(stored, 'right') : passwords.verify(null, 'right')),
    )
    t.equal(most(), concurrency)
    const served = results.filter((result) => result.status === 'fulfilled')
    t.equal(served.length, 64 + concurrency)
    t.equal(calls.length, served.length)
    for (const result of results) {
      if (result.status === 'rejected') {
        t.match(result.reason, { code: 'SERVICE_UNAVAILABLE', headers: { 'retry-after': '2' } })
      }
    }
    t.same(
      served.map(({ value }) => value),
      served.map((_, index) => index % 2 === 0),
      'each answer is its own',
    )
  }
})

test('whoever has gone while waiting is not hashed for', async (t) => {
  const { passwords, calls } = await fake({ concurrency: 1 })
  const controller = new AbortController()
  const { signal } = controller
  const first = passwords.verify(`${CURRENT}right`, 'right')
  const others = [passwords.verify(null, 'right', { signal }), passwords.hash('right', { signal })]
  controller.abort()
  for (const other of others) await t.rejects(Promise.resolve<unknown>(other), { name: 'AbortError' })
  t.equal(await first, true)
  t.same(calls, ['verify'])
})
