import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import type { Problem } from '../../../lib/response/errors.js'
import { readMachine, PasswordsSchema, resolvePasswordsOptions,
  type ResolvedPasswords } from '../../../lib/passwords/options.js'
import { ROOT } from '../../helpers/root.js'

const MACHINE = { cores: 8, threads: 4 }
const PEPPER = 'kX9vQ2mT7rLp4WzN8cYb1HdJ6sFg3AeUo5iRqVxCwPt'
const legacy = async (): Promise<boolean> => true

function resolve (input: unknown, machine = MACHINE): { resolved: ResolvedPasswords | null, problems: Problem[] } {
  const problems: Problem[] = []
  return { resolved: resolvePasswordsOptions(input, machine, problems), problems }
}

test('without options, passwords cost what OWASP recommends', async (t) => {
  for (
    const input of [{}, {
      memoryKiB: undefined,
      passes: undefined,
      lanes: undefined,
      concurrency: undefined,
      queue: undefined,
      pepper: undefined,
      legacy: undefined,
    }, Object.freeze({})]
  ) {
    const { resolved, problems } = resolve(input)
    t.same(problems, [])
    t.same(resolved, {
      cost: { memoryKiB: 19_456, passes: 2, lanes: 1 },
      concurrency: 2,
      queue: 64,
      peppers: [null],
      legacy: null,
    })
    t.ok(Object.isFrozen(resolved) && Object.isFrozen(resolved?.cost))
  }
})

const GOOD: Record<keyof typeof PasswordsSchema.properties, readonly unknown[]> = {
  memoryKiB: [19_456, 65_536, 1_048_576],
  passes: [2, 3, 32],
  lanes: [1, 4, 16],
  concurrency: [1, 3],
  queue: [0, 1, 10_000],
  pepper: [PEPPER, [PEPPER], [PEPPER, null], [null, PEPPER], [null]],
  legacy: [legacy],
}
const BAD: typeof GOOD = {
  memoryKiB: [0, -1, 7_167, 7_168, 19_455, 1_048_577, 19_456.5],
  passes: [0, -1, 1, 33, 2.5],
  lanes: [0, -1, 17, 1.5],
  concurrency: [0, -1, 4, 1025, 1.5],
  queue: [-1, 10_001, 0.5],
  pepper: ['', 'short', 'x'.repeat(64), 'change-me-change-me-change-me-change-me'],
  legacy: [],
}
const TYPES: readonly unknown[] = ['5', true, null, [], {}, NaN, Infinity, 5n, Symbol('x')]

test('each option takes what is within its bounds and refuses everything else by its name', async (t) => {
  t.same(Object.keys(GOOD).sort(), Object.keys(PasswordsSchema.properties).sort(), 'every option is here')
  for (const [name, values] of Object.entries(GOOD)) {
    for (const value of values) t.same(resolve({ [name]: value }).problems, [], `${name} ${String(value)}`)
  }
  for (const [name, values] of Object.entries(BAD)) {
    for (const value of [...values, ...TYPES]) {
      const { resolved, problems } = resolve({ [name]: value })
      t.equal(resolved, null, `${name} ${String(value)}`)
      t.equal(problems[0]?.path, `passwords.${name}`)
      t.ok(problems.every(({ message, fix }) => message !== '' && fix !== ''))
    }
  }
})

test('every choice of OWASP starts, and one step less does not', async (t) => {
  for (
    const [passes, least] of [[1, 47_104], [2, 19_456], [3, 12_288], [4, 9_216], [5, 7_168], [6, 7_168], [
      32,
      7_168,
    ]] as const
  ) {
    t.same(resolve({ passes, memoryKiB: least }).problems, [], `${passes} passes`)
    const [problem] = resolve({ passes, memoryKiB: least - 1 }).problems
    t.equal(problem?.path, 'passwords.memoryKiB', `${passes} passes`)
    t.match(problem?.fix, /7168/)
  }
})

test('everything wrong is told at once, and never the pepper', async (t) => {
  const pepper = 'hunter2-hunter2'
  const { problems } = resolve({ memoryKiB: 8_192, concurrency: 9, pepper })
  t.same([...new Set(problems.map(({ path }) => path))], [
    'passwords.memoryKiB',
    'passwords.concurrency',
    'passwords.pepper',
  ])
  t.notMatch(JSON.stringify(problems), /hunter2/)
  t.notMatch(JSON.stringify(resolve({ pepper: [pepper] }).problems), /hunter2/)
})

test('peppers are a list without repetitions, each as strong as a single one', async (t) => {
  t.same(resolve({ pepper: PEPPER }).resolved?.peppers, [PEPPER])
  t.same(resolve({ pepper: [PEPPER, null] }).resolved?.peppers, [PEPPER, null])
  const table: readonly (readonly [unknown, string])[] = [
    [[PEPPER, 'short'], 'passwords.pepper[1]'],
    [[PEPPER, ''], 'passwords.pepper[1]'],
    [[PEPPER, PEPPER], 'passwords.pepper[1]'],
    [[null, null], 'passwords.pepper[1]'],
    [[PEPPER, 7], 'passwords.pepper'],
    [[PEPPER, [PEPPER]], 'passwords.pepper'],
    [Array.from({ length: 9 }, () => null), 'passwords.pepper'],
  ]
  for (const [pepper, path] of table) {
    const { resolved, problems } = resolve({ pepper })
    t.equal(resolved, null)
    t.same([...new Set(problems.map((problem) => problem.path))], [path])
    t.notOk(JSON.stringify(problems).includes(PEPPER))
  }
})

test('a misspelt option is refused with the right name, and no list or text is taken for options', async (t) => {
  for (
    const [typo, name] of [
      ['memoryKib', 'memoryKiB'],
      ['pases', 'passes'],
      ['lane', 'lanes'],
      ['concurency', 'concurrency'],
      ['queu', 'queue'],
      ['peper', 'pepper'],
      ['legasy', 'legacy'],
    ]
  ) {
    t.match(resolve({ [typo ?? '']: 2 }).problems, [{
      path: `passwords.${typo ?? ''}`,
      fix: `Did you mean "${name ?? ''}"?`,
    }])
  }
  for (const input of [null, [], 'x', 5]) t.equal(resolve(input).problems.length, 1)
})

test('hashing leaves a core to the event loop and half the thread pool to files and DNS', async (t) => {
  for (
    const [cores, threads, expected] of [[1, 4, 1], [2, 4, 1], [3, 4, 2], [64, 4, 2], [8, 16, 7], [64, 1, 1], [
      64,
      128,
      63,
    ]] as const
  ) {
    t.equal(resolve({}, { cores, threads }).resolved?.concurrency, expected, `${cores} cores, ${threads} threads`)
  }
  for (const [threads, most] of [[1, 1], [2, 1], [4, 3], [16, 15]] as const) {
    t.equal(resolve({ concurrency: most }, { cores: 2, threads }).resolved?.concurrency, most)
    t.match(resolve({ concurrency: most + 1 }, { cores: 2, threads }).problems, [{ path: 'passwords.concurrency' }])
  }
})

test('the thread pool is as large as libuv makes it', async (t) => {
  for (
    const [written, threads] of [[undefined, 4], ['16', 16], ['0', 1], ['-3', 1], ['many', 1], ['', 1], [
      '9999',
      1024,
    ]] as const
  ) {
    t.same(readMachine(written, 8), {
      cores: 8,
      threads: written === undefined && process.env['UV_THREADPOOL_SIZE'] !== undefined
        ? readMachine().threads
        : threads,
    }, written ?? 'unset')
  }
})

test('docs/passwords.md lists every option and no other', async (t) => {
  const page = readFileSync(join(ROOT, 'docs', 'passwords.md'), 'utf8')
  t.same([...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name), Object.keys(PasswordsSchema.properties))
})
