import { execFileSync } from 'node:child_process'
import { hash as argon2Hash } from '@node-rs/argon2'
import { createPasswords } from 'fastify-bulwark/passwords'
import { test } from 'tap'
import { ROOT } from '../../helpers/root.js'

const PEPPER = 'kX9vQ2mT7rLp4WzN8cYb1HdJ6sFg3AeUo5iRqVxCwPt'
const OTHER_PEPPER = PEPPER.slice(20) + PEPPER.slice(0, 20)
const bytes = Buffer.from('Correct-horse-9')

test('a password is stored as salted Argon2id, with the parameters of OWASP or those given', async (t) => {
  const passwords = await createPasswords()
  const [one, two] = await Promise.all([passwords.hash('Correct-horse-9'), passwords.hash('Correct-horse-9')])
  t.match(one, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  t.not(one, two)
  const other = await createPasswords({ memoryKiB: 7_168, passes: 5, lanes: 2 })
  t.match(await other.hash('Correct-horse-9'), /^\$argon2id\$v=19\$m=7168,t=5,p=2\$/)
})

test('only the password itself verifies, in any Unicode form', async (t) => {
  const passwords = await createPasswords()
  const stored = await passwords.hash('Gar\u00e7on caf\u00e9 \u{1f40e}')
  t.equal(await passwords.verify(stored, 'Gar\u00e7on caf\u00e9 \u{1f40e}'), true)
  t.equal(await passwords.verify(stored, 'Garc\u0327on\u00a0cafe\u0301 \u{1f40e}'), true)
  for (
    const wrong of [
      'gar\u00e7on caf\u00e9 \u{1f40e}',
      'Gar\u00e7on caf\u00e9 \u{1f40e}\0',
      'Gar\u00e7on caf\u00e9 \u{1f434}',
    ]
  ) t.equal(await passwords.verify(stored, wrong), false)
  const withNul = await passwords.hash('before\0after')
  t.equal(await passwords.verify(withNul, 'before\0after'), true)
  t.equal(await passwords.verify(withNul, 'before'), false)
  const longest = await passwords.hash('a'.repeat(1024))
  t.equal(await passwords.verify(longest, 'a'.repeat(1024)), true)
  t.equal(await passwords.verify(longest, 'a'.repeat(1023)), false)
})

test('what other services stored as Argon2 verifies and is renewed where it is weaker', async (t) => {
  const passwords = await createPasswords()
  const cases: readonly (readonly [string, Readonly<Record<string, number | Buffer>>, boolean])[] = [
    ['Argon2i', { algorithm: 1 }, true],
    ['Argon2d', { algorithm: 0 }, true],
    ['version 16', { version: 0 }, true],
    ['less memory', { memoryCost: 4096 }, true],
    ['one pass', { timeCost: 1 }, true],
    ['a short salt', { salt: Buffer.from('12345678') }, true],
    ['a short tag', { outputLen: 16 }, true],
    ['more of everything', { memoryCost: 32_768, timeCost: 3, parallelism: 4 }, false],
    ['the same', {}, false],
  ]
  for (const [name, options, outdated] of cases) {
    const stored = await argon2Hash(bytes, options)
    const renewed: string[] = []
    t.equal(
      await passwords.verify(stored, 'Correct-horse-9', { upgrade: async (hash) => renewed.push(hash) }),
      true,
      name,
    )
    t.equal(renewed.length, outdated ? 1 : 0, name)
    for (const hash of renewed) {
      t.match(hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
      t.equal(await passwords.verify(hash, 'Correct-horse-9', { upgrade: async () => t.fail('renewed twice') }), true)
    }
    t.equal(await passwords.verify(stored, 'Wrong-horse-9999'), false, name)
  }
})

test('no stored value takes the process down, stops it or throws', async (t) => {
  const passwords = await createPasswords()
  const good = await passwords.hash('Correct-horse-9')
  const values = [
    '',
    ' ',
    'Correct-horse-9',
    '$2b$10$abcdefghijklmnopqrstuvCMhUjC1p8F3hQzgO1bq7mUzG5zG5bW',
    '$argon2',
    '$argon2id$',
    good.slice(0, -1),
    `${good}=`,
    ` ${good}`,
    `${good}\n`,
    good.replace('m=19456', 'm=4294967295'),
    good.replace('m=19456', 'm=1048577'),
    good.replace('m=19456', 'm=1'),
    good.replace('t=2', 't=4294967295'),
    good.replace('t=2', 't=0'),
    good.replace('p=1', 'p=255'),
    good.replace('v=19', 'v=20'),
    good.replace('argon2id', 'argon2x'),
    `${good.slice(0, good.lastIndexOf('$'))}$`,
    '\0',
    '\ud800',
  ]
  for (const stored of values) t.equal(await passwords.verify(stored, 'Correct-horse-9'), false, stored)
})

test('with a pepper, a hash is worth nothing without it', async (t) => {
  const peppered = await createPasswords({ pepper: PEPPER })
  const stored = await peppered.hash('Correct-horse-9')
  t.equal(await peppered.verify(stored, 'Correct-horse-9'), true)
  t.equal(await peppered.verify(stored, 'Wrong-horse-9999'), false)
  t.equal(await peppered.verify(null, 'Correct-horse-9'), false)
  t.notMatch(stored, PEPPER.slice(0, 8))
  for (const options of [{}, { pepper: OTHER_PEPPER }, { pepper: [OTHER_PEPPER, null] }]) {
    t.equal(await (await createPasswords(options)).verify(stored, 'Correct-horse-9'), false)
  }
})

test('a pepper is added, replaced and given up while everybody goes on signing in', async (t) => {
  const cost = { memoryKiB: 7_168, passes: 5 }
  const without = await createPasswords(cost)
  const steps: readonly (readonly [string, readonly (string | null)[]])[] = [
    ['added', [PEPPER, null]], ['replaced', [OTHER_PEPPER, PEPPER]], ['given up', [null, OTHER_PEPPER]],
  ]
  let stored = await without.hash('Correct-horse-9')
  for (const [what, pepper] of steps) {
    const passwords = await createPasswords({ ...cost, pepper })
    t.equal(await passwords.verify(stored, 'Wrong-horse-9999', { upgrade: async () => t.fail('renewed') }), false, what)
    const renewed: string[] = []
    t.equal(
      await passwords.verify(stored, 'Correct-horse-9', { upgrade: async (hash) => renewed.push(hash) }),
      true,
      what,
    )
    t.equal(renewed.length, 1, `${what}: renewed under the current one`)
    stored = renewed[0] ?? ''
    t.match(stored, pepper[0] === null ? /,p=1\$/ : /^\$argon2id\$v=19\$m=7168,t=5,p=1,keyid=[A-Za-z0-9+/]{8}\$/)
    t.equal(
      await passwords.verify(stored, 'Correct-horse-9', { upgrade: async () => t.fail('renewed twice') }),
      true,
      what,
    )
  }
  t.equal(await without.verify(stored, 'Correct-horse-9'), true)
})

test('whoever can write into the database, and has no pepper, can sign in nobody', async (t) => {
  const passwords = await createPasswords({ pepper: PEPPER })
  const id = /keyid=[^$]+/.exec(await passwords.hash('Correct-horse-9'))?.[0] ?? ''
  const own = await (await createPasswords()).hash('Mine-horse-99')
  const foreign = await (await createPasswords({ pepper: OTHER_PEPPER })).hash('Mine-horse-99')
  for (
    const stored of [
      own,
      foreign,
      own.replace(',p=1', `,p=1,${id}`),
      foreign.replace(/keyid=[^$]+/, id),
      own.replace(',p=1', ',p=1,keyid='),
      own.replace(',p=1', `,${id},p=1`),
    ]
  ) {
    t.equal(await passwords.verify(stored, 'Mine-horse-99'), false, stored)
  }
})

test('an unknown user takes as long as a wrong password', async (t) => {
  const passwords = await createPasswords()
  const stored = await passwords.hash('Correct-horse-9')
  const time = async (hash: string | null): Promise<number> => {
    const start = performance.now()
    t.equal(await passwords.verify(hash, 'Wrong-horse-9999'), false)
    return performance.now() - start
  }
  const [known, unknown, unreadable]: [number[], number[], number[]] = [[], [], []]
  for (let round = 0; round < 15; round++) {
    known.push(await time(stored))
    unknown.push(await time(null))
    unreadable.push(await time('!'))
  }
  const median = (times: number[]): number => times.sort((a, b) => a - b)[7] ?? NaN
  for (const times of [unknown, unreadable]) {
    const ratio = median(times) / median(known)
    t.ok(ratio > 0.5 && ratio < 2, `ratio ${ratio}`)
  }
})

test('wrong options are told before anything is loaded', async (t) => {
  await t.rejects(createPasswords({ memoryKiB: 1, passes: 99 }), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'passwords.memoryKiB' }, { path: 'passwords.passes' }],
  })
})

/** In a process where importing the library fails with this code. */
function without (code: string, script: string): string {
  const hooks = `export async function resolve (name, context, next) {
    if (name === '@node-rs/argon2') throw Object.assign(new Error('text of the loader'), { code: '${code}' })
    return next(name, context)
  }`
  const program = `
    import { register } from 'node:module'
    register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)}))
    const { createPasswords } = await import('fastify-bulwark/passwords')
    ${script}`
  return execFileSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
  })
}

test('without @node-rs/argon2 the module loads, and createPasswords says what to install', async (t) => {
  const report = 'await createPasswords().catch((error) => process.stdout.write(error.code + " " + error.message))'
  const missing = without('ERR_MODULE_NOT_FOUND', report)
  t.match(missing, /^BULWARK_CONFIG .*not installed\. Run: npm install @node-rs\/argon2$/s)
  const broken = without('ERR_DLOPEN_FAILED', report)
  t.match(broken, /^BULWARK_CONFIG .*cannot be loaded\..*npm install @node-rs\/argon2$/s)
  for (const text of [missing, broken]) t.notMatch(text, 'text of the loader')
})

test('importing fastify-bulwark/passwords loads no Argon2', async (t) => {
  t.equal(without('UNEXPECTED', 'process.stdout.write(typeof createPasswords)'), 'function')
})
