import { spawnSync } from 'node:child_process'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { test } from 'tap'
import { importKey } from '../../lib/auth/key-import.js'
import { secretProblems } from '../../lib/secrets.js'
import { ROOT } from '../helpers/root.js'

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { bin: Readonly<Record<string, string>>, version: string }
const PROGRAM = join(ROOT, manifest.bin['fastify-bulwark'] ?? '')

interface Ended { readonly status: number | null, readonly stdout: string, readonly stderr: string }

/** The program that package.json names, in a process of its own. */
function run (args: readonly string[], cwd = ROOT): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], { encoding: 'utf8', cwd, env: { PATH: process.env['PATH'] } })
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
  for (const args of [['--env'], ['--env', '--count', '2'], ['--count=2', '--name', 'JWT_ACCESS_SECRET', '--name=JWT_REFRESH_SECRET']]) {
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
    const [privatePem = '', publicPem = '', ...rest] = stdout.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n/g) ?? []
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
  t.match(run(['keygen', '--alg', 'ES256', '--out', 'sub/pair.pem'], cwd), { status: 1, stdout: '', stderr: /pair\.pem\.pub/ })
  t.notOk(existsSync(join(cwd, 'sub', 'pair.pem')), 'half a pair is not left behind')
  t.equal(readFileSync(join(cwd, 'sub', 'pair.pem.pub'), 'utf8'), 'kept')
})

test('help goes to stdout, and the version too', async (t) => {
  for (const args of [['--help'], ['-h'], ['help']]) t.match(run(args), { status: 0, stderr: '', stdout: /Commands:\n {2}keygen/ })
  for (const args of [['keygen', '--help'], ['keygen', '-h'], ['keygen', '--nonsense', '--help']]) t.match(run(args), { status: 0, stderr: '', stdout: /Usage: fastify-bulwark keygen/ })
  t.match(run(['--version']), { status: 0, stderr: '', stdout: `${manifest.version}\n` })
})

test('a wrong call is told what is wrong, prints nothing to stdout, and shows no value', async (t) => {
  const cases: [string[], RegExp][] = [
    [[], /No command/], [['keygne'], /Unknown command "keygne"\. Did you mean "keygen"/], [['nonsense'], /Commands: keygen/], [['--nonsense'], /Unknown option/],
    [['keygen', '--cuont', '2'], /Unknown option "--cuont"\. Did you mean "--count"/], [['keygen', '-x'], /Unknown option "-x"/], [['keygen', 'sup3r'], /Unexpected argument/], [['keygen', '--', 'sup3r'], /Unexpected argument/],
    [['keygen', '--count'], /needs a value/], [['keygen', '--count', ''], /needs a value/], [['keygen', '--count', '0'], /1 to 100/], [['keygen', '--count', '101'], /1 to 100/], [['keygen', '--count', '1.5'], /1 to 100/], [['keygen', '--count', '1e1'], /1 to 100/],
    [['keygen', '--count', '1', '--count', '2'], /given twice/], [['keygen', '--env=yes'], /takes no value/], [['keygen', '--env', '--count', '3'], /does not fit/], [['keygen', '--env', '--name', 'A'], /Write one/],
    [['keygen', '--name', 'sup3r-x'], /not the name/], [['keygen', '--name', 'A', '--name', 'A'], /given twice/], [['keygen', '--name', 'A', '--count', '2'], /does not fit/],
    [['keygen', '--alg', 'sup3r'], /HS256, ES256/], [['keygen', '--alg', 'ES256', '--count', '2'], /for secrets/], [['keygen', '--alg', 'ES256', '--env'], /for secrets/], [['keygen', '--out', ''], /needs a value/], [['keygen', '--count', '-1'], /./],
  ]
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = run(args)
    t.equal(status, 2, args.join(' '))
    t.equal(stdout, '', args.join(' '))
    t.match(stderr, message, args.join(' '))
    t.notMatch(stderr, /sup3r|\n\s+at /)
  }
})
