import { spawnSync } from 'node:child_process'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { test } from 'tap'
import { UsageError } from '../../cli/command.js'
import { keygen } from '../../cli/keygen.js'
import { importKey } from '../../lib/auth/key-import.js'
import { secretProblems } from '../../lib/options/secret-strength.js'
import { ROOT } from '../helpers/root.js'

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  bin: Readonly<Record<string, string>>
  version: string
}
const PROGRAM = join(ROOT, manifest.bin['fastify-bulwark'] ?? '')

interface Ended { readonly status: number | null, readonly stdout: string, readonly stderr: string }

/** The program that package.json names, in a process of its own. */
function run (args: readonly string[], cwd = ROOT): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], {
    encoding: 'utf8',
    cwd,
    env: { PATH: process.env['PATH'] },
  })
  return { status, stdout, stderr }
}

test('keygen prints one secret that the suite accepts, another each time, and nothing else', async (t) => {
  t.match(readFileSync(PROGRAM, 'utf8'), /^#!\/usr\/bin\/env node\n/)
  const [first, second] = [run(['keygen']), run(['keygen', '--alg', 'hs256'])]
  t.match(first, { status: 0, stderr: '', stdout: /^[A-Za-z0-9_-]{43}\n$/ })
  t.same(secretProblems(first.stdout.trim()), [])
  t.not(first.stdout, second.stdout)
})

test('keygen prints as many as are asked for, and lines of a .env file', async (t) => {
  const three = run(['keygen', '--count', '3']).stdout.trimEnd().split('\n')
  t.equal(new Set(three).size, 3)
  for (
    const args of [['--env'], ['--env', '--count', '2'], [
      '--count=2',
      '--name',
      'JWT_ACCESS_SECRET',
      '--name=JWT_REFRESH_SECRET',
    ]]
  ) {
    const { stdout, status } = run(['keygen', ...args])
    const parsed = parseEnv(stdout)
    t.equal(status, 0)
    t.same(Object.keys(parsed), ['JWT_ACCESS_SECRET', 'JWT_REFRESH_SECRET'], args.join(' '))
    for (const value of Object.values(parsed)) t.same(secretProblems(value ?? ''), [])
  }
  t.match(run(['keygen', '--env', '--count', '1']).stdout, /^JWT_ACCESS_SECRET=\S{43}\n$/)
  t.match(run(['keygen', '--name', 'COOKIE_KEY']).stdout, /^COOKIE_KEY=\S{43}\n$/)
})

test('keygen prints key pairs that the keyring accepts', async (t) => {
  for (const alg of ['ES256', 'EdDSA', 'RS256'] as const) {
    const { stdout, stderr, status } = run(['keygen', '--alg', alg])
    t.same([status, stderr], [0, ''])
    const [privatePem = '', publicPem = '', ...rest] =
      stdout.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n/g) ?? []
    t.equal(privatePem + publicPem, stdout)
    t.same(rest, [])
    t.notOk('problems' in importKey(alg, privatePem, 'sign'), alg)
    t.notOk('problems' in importKey(alg, publicPem, 'verify'), alg)
    t.ok(createPublicKey(createPrivateKey(privatePem)).equals(createPublicKey(publicPem)))
  }
})

test('a file is new, for its owner only, and never overwritten', async (t) => {
  const cwd = t.testdir({ there: 'kept' })
  t.match(run(['keygen', '--out', 'secret'], cwd), { status: 0, stdout: '', stderr: '' })
  t.equal(statSync(join(cwd, 'secret')).mode & 0o777, 0o600)
  t.same(secretProblems(readFileSync(join(cwd, 'secret'), 'utf8').trim()), [])
  t.match(run(['keygen', '--out', 'there'], cwd), { status: 1, stdout: '', stderr: /never overwritten/ })
  t.equal(readFileSync(join(cwd, 'there'), 'utf8'), 'kept')
  symlinkSync('elsewhere', join(cwd, 'link'))
  t.match(run(['keygen', '--out', 'link'], cwd), { status: 1, stdout: '', stderr: /never overwritten/ })
  t.notOk(existsSync(join(cwd, 'elsewhere')), 'nor is a link followed')
  t.match(run(['keygen', '--out', 'missing/x'], cwd), { status: 1, stdout: '', stderr: /ENOENT/ })

  t.match(run(['keygen', '--alg', 'EdDSA', '--out', 'pair.pem'], cwd), { status: 0, stdout: '', stderr: '' })
  t.equal(statSync(join(cwd, 'pair.pem')).mode & 0o777, 0o600)
  t.match(readFileSync(join(cwd, 'pair.pem.pub'), 'utf8'), /^-----BEGIN PUBLIC KEY/)
  mkdirSync(join(cwd, 'sub'))
  writeFileSync(join(cwd, 'sub', 'pair.pem.pub'), 'kept')
  t.match(run(['keygen', '--alg', 'ES256', '--out', 'sub/pair.pem'], cwd), {
    status: 1,
    stdout: '',
    stderr: /pair\.pem\.pub/,
  })
  t.notOk(existsSync(join(cwd, 'sub', 'pair.pem')), 'half a pair is not left behind')
  t.equal(readFileSync(join(cwd, 'sub', 'pair.pem.pub'), 'utf8'), 'kept')
})

test('help goes to stdout, and the version too', async (t) => {
  for (const args of [['--help'], ['help']]) {
    t.match(run(args), { status: 0, stderr: '', stdout: /Commands:\n {2}keygen/ })
  }
  for (const args of [['keygen', '-h'], ['keygen', '--nonsense', '--help']]) {
    t.match(run(args), { status: 0, stderr: '', stdout: /Usage: fastify-bulwark keygen/ })
  }
  t.match(run(['--version']), { status: 0, stderr: '', stdout: `${manifest.version}\n` })
})

test('a wrong call is told what is wrong, prints nothing to stdout, and shows no value', async (t) => {
  const cases: [string[], RegExp][] = [
    [['--cuont', '2'], /Unknown option "--cuont"\. Did you mean "--count"/],
    [['-x'], /Unknown option "-x"/],
    [['sup3r'], /Unexpected argument/],
    [['--', 'sup3r'], /Unexpected argument/],
    [['--count'], /needs a value/],
    [['--count', ''], /needs a value/],
    [['--count', '0'], /1 to 100/],
    [['--count', '101'], /1 to 100/],
    [['--count', '1.5'], /1 to 100/],
    [['--count', '1e1'], /1 to 100/],
    [['--count', '1', '--count', '2'], /given twice/],
    [['--env=yes'], /takes no value/],
    [['--env', '--count', '3'], /does not fit/],
    [['--env', '--name', 'A'], /Write one/],
    [['--name', 'sup3r-x'], /not the name/],
    [['--name', 'A', '--name', 'A'], /given twice/],
    [['--name', 'A', '--count', '2'], /does not fit/],
    [['--alg', 'sup3r'], /HS256, ES256/],
    [['--alg', 'ES256', '--count', '2'], /for secrets/],
    [['--alg', 'ES256', '--env'], /for secrets/],
    [['--out', ''], /needs a value/],
    [['--count', '-1'], /dash|needs a value|1 to 100/],
  ]
  for (const [args, message] of cases) {
    const error: unknown = await keygen.run(args).then(() => null, (reason: unknown) => reason)
    t.match(error, { exitCode: 2 }, args.join(' '))
    const text = error instanceof UsageError ? error.message + error.hint : ''
    t.match(text, message, args.join(' '))
    t.notMatch(text, /sup3r/)
  }
  // The program itself, for what it does with any of them.
  const programs: [string[], RegExp][] = [
    [[], /No command.*\nUsage/],
    [['keygne'], /Unknown command "keygne"\. Did you mean "keygen"/],
    [['nonsense'], /Commands: keygen/],
    [['--nonsense'], /Unknown option/],
    [['keygen', '--cuont', '2'], /Did you mean "--count"/],
  ]
  for (const [args, message] of programs) {
    const { status, stdout, stderr } = run(args)
    t.same([status, stdout], [2, ''], args.join(' '))
    t.match(stderr, message, args.join(' '))
    t.notMatch(stderr, /\n\s+at /)
  }
})
