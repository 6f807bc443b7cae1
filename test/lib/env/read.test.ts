import { execFileSync } from 'node:child_process'
import { chmodSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Type, type TObject } from '@sinclair/typebox'
import { test, type Test } from 'tap'
import { BulwarkConfigError, type Problem } from '../../../lib/response/errors.js'
import { loadEnv, type LoadEnvOptions } from '../../../plugins/env.js'

const STRONG = 'Zk3vQ9xTf7Lw2Rb8Yc5Nh1Jd6Gs4Mp0Ua-Xe'

function problemsOf (t: Test, schema: TObject, options: LoadEnvOptions): readonly Problem[] {
  const error = t.throws(() => loadEnv(schema, options), { code: 'BULWARK_CONFIG' })
  return error instanceof BulwarkConfigError ? error.problems : []
}

function pathsOf (t: Test, schema: TObject, options: LoadEnvOptions): string[] {
  return problemsOf(t, schema, options).map(({ path }) => path)
}

test('NAME_FILE gives the content of a file, less one newline at its end', async (t) => {
  const dir = t.testdir({
    plain: 'value',
    newline: 'value\n',
    crlf: 'value\r\n',
    two: 'value\n\n',
    number: '8080\n',
    list: 'a, b\n',
    secret: STRONG,
  })
  symlinkSync('plain', join(dir, 'link'))
  const schema = Type.Object({ A: Type.String() })
  const cases: [string, string][] = [['plain', 'value'], ['newline', 'value'], ['crlf', 'value'], ['two', 'value\n'], [
    'link',
    'value',
  ]]
  for (const [file, value] of cases) t.equal(loadEnv(schema, { source: { A_FILE: join(dir, file) } }).A, value, file)
  const config = loadEnv(
    Type.Object({
      PORT: Type.Integer({ default: 1 }),
      LIST: Type.Array(Type.String(), { separator: ',' }),
      S: Type.String({ secret: true }),
    }),
    {
      source: { PORT_FILE: join(dir, 'number'), LIST_FILE: join(dir, 'list'), S_FILE: join(dir, 'secret') },
    },
  )
  t.same([config.PORT, config.LIST, config.S], [8080, ['a', 'b'], STRONG])
  t.equal(
    loadEnv(schema, { source: { A: '', A_FILE: join(dir, 'plain') } }).A,
    'value',
    'an empty NAME does not stand against NAME_FILE',
  )
  t.equal(loadEnv(schema, { source: { A: 'direct', A_FILE: '' } }).A, 'direct')
})

test('NAME_FILE is refused when the file is not one that can hold a value', async (t) => {
  const dir = t.testdir({
    folder: {},
    empty: '',
    newline: '\n',
    largest: 'x'.repeat(65_536),
    large: 'x'.repeat(65_537),
    closed: 'hidden-content',
  })
  writeFileSync(join(dir, 'binary'), Buffer.from([0xff, 0xfe, 0x00]))
  execFileSync('mkfifo', [join(dir, 'pipe')])
  const schema = Type.Object({ A: Type.String() })
  t.equal(loadEnv(schema, { source: { A_FILE: join(dir, 'largest') } }).A.length, 65_536)
  const files = ['missing', 'folder', 'empty', 'newline', 'large', 'binary', 'pipe']
  // The superuser may read whatever the mode says.
  if (process.getuid?.() !== 0) {
    chmodSync(join(dir, 'closed'), 0)
    files.push('closed')
  }
  for (const file of files) {
    const problems = problemsOf(t, schema, { source: { A_FILE: join(dir, file) } })
    t.same(
      problems.map(({ path }) => path),
      ['env.A'],
      `${file}: one problem, and not a second one for the missing value`,
    )
    t.match(problems[0]?.message, `A_FILE: "${join(dir, file)}"`)
    t.notMatch(problems[0]?.message, /hidden-content|xxx/)
  }
})

test('a secret that was put into NAME_FILE by mistake is not shown as a path', async (t) => {
  const [problem] = problemsOf(t, Type.Object({ A: Type.String() }), { source: { A_FILE: STRONG } })
  t.match(problem?.message, /A_FILE/)
  t.notOk(problem?.message.includes(STRONG))
})

test('NAME and NAME_FILE together are a problem, without the value', async (t) => {
  const dir = t.testdir({ a: 'from-file' })
  const [problem, ...more] = problemsOf(t, Type.Object({ A: Type.String() }), {
    source: { A: 'from-env', A_FILE: join(dir, 'a') },
  })
  t.same(more, [])
  t.match(problem, { path: 'env.A', message: /Both A and A_FILE/ })
  t.notMatch(JSON.stringify(problem), /from-env|from-file/)
})

test('NAME_FILE that the schema declares is a variable of its own', async (t) => {
  const config = loadEnv(Type.Object({ LOG: Type.Optional(Type.String()), LOG_FILE: Type.String() }), {
    source: { LOG_FILE: '/var/log/app.log' },
  })
  t.equal(config.LOG, undefined)
  t.equal(config.LOG_FILE, '/var/log/app.log')
})

test('the process environment wins over .env, and .env is read outside production only', async (t) => {
  const dir = t.testdir({
    '.env': 'A=dotenv\nB="quoted value"\nEMPTY=dotenv\n',
    'production.env': 'NODE_ENV=production\n',
    'dev.env': 'NODE_ENV=development\nA=dev\nB=x',
  })
  const schema = Type.Object({ A: Type.String(), B: Type.String(), EMPTY: Type.Optional(Type.String()) })
  const path = join(dir, '.env')
  const config = loadEnv(schema, { source: { A: 'process', EMPTY: '' }, dotenv: path })
  t.same({ ...config }, { A: 'process', B: 'quoted value', EMPTY: 'dotenv' })
  t.equal(loadEnv(schema, { source: {}, dotenv: join(dir, 'dev.env') }).A, 'dev')
  t.same(
    pathsOf(t, schema, { source: {}, dotenv: join(dir, 'none.env') }).includes('env.dotenv'),
    true,
    'a file that was asked for must exist',
  )
  t.ok(
    pathsOf(t, schema, { source: {}, dotenv: join(dir, 'production.env') }).includes('env.dotenv'),
    'a .env cannot turn production on',
  )
  for (const dotenv of [true, path]) {
    t.same(pathsOf(t, schema, { source: { NODE_ENV: 'production', A: 'a', B: 'b' }, dotenv }), ['env.dotenv'])
  }
  t.equal(loadEnv(schema, { source: { NODE_ENV: 'production', A: 'a', B: 'b' }, dotenv: false }).A, 'a')
})

test('by default ./.env is read with the process environment, and not with another source', async (t) => {
  const dir = t.testdir({ '.env': 'BULWARK_TEST_DOTENV=dotenv\n' })
  const before = process.cwd()
  process.chdir(dir)
  t.teardown(() => { process.chdir(before) })
  const schema = Type.Object({ BULWARK_TEST_DOTENV: Type.Optional(Type.String()) })
  t.equal(loadEnv(schema).BULWARK_TEST_DOTENV, 'dotenv')
  t.equal(loadEnv(schema, { dotenv: true }).BULWARK_TEST_DOTENV, 'dotenv')
  t.equal(loadEnv(schema, { dotenv: false }).BULWARK_TEST_DOTENV, undefined)
  t.equal(loadEnv(schema, { source: {} }).BULWARK_TEST_DOTENV, undefined)
  t.equal(loadEnv(schema, { source: {}, dotenv: true }).BULWARK_TEST_DOTENV, 'dotenv')
  process.chdir(t.testdirName.slice(0, t.testdirName.lastIndexOf('/')))
  t.equal(loadEnv(schema).BULWARK_TEST_DOTENV, undefined, 'no file, no problem')
})
