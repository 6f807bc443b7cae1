import { execFileSync } from 'node:child_process'
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { fileSecrets, SecretSourceError, type FileSecretsOptions, type SecretSource,
  type SourceProblem } from '../../../secrets.js'

const load = async (source: SecretSource, ...names: string[]): Promise<Readonly<Record<string, string>>> =>
  await source.load(names, { signal: new AbortController().signal })

async function problemsOf (t: Test, source: SecretSource, ...names: string[]): Promise<readonly SourceProblem[]> {
  const error: unknown = await load(source, ...names).then(() => null, (reason: unknown) => reason)
  t.ok(error instanceof SecretSourceError)
  return error instanceof SecretSourceError ? error.problems : []
}

/** As the kubelet does it: a new directory, a link to it, and one rename of the link. */
function update (volume: string, stamp: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(join(volume, stamp))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(volume, stamp, name), text)
  symlinkSync(stamp, join(volume, '..data_tmp'))
  renameSync(join(volume, '..data_tmp'), join(volume, '..data'))
}

test('each file of a Docker directory is a secret, less one newline at its end', async (t) => {
  const directory = t.testdir({
    A: 'plain',
    B: 'newline\n',
    'jwt-access': 'renamed\r\n',
    EMPTY: '',
    largest: 'x'.repeat(65_536),
  })
  const source = fileSecrets(directory, { keys: { C: 'jwt-access', L: 'largest' } })
  t.match(source.name, directory)
  t.same({ ...await load(source, 'A', 'B', 'C', 'EMPTY', 'ABSENT') }, {
    A: 'plain',
    B: 'newline',
    C: 'renamed',
    EMPTY: '',
  })
  t.equal((await load(source, 'L'))['L']?.length, 65_536)
})

test('an update of a Kubernetes volume is seen as a whole, and the old one is gone', async (t) => {
  const volume = t.testdir({})
  update(volume, '..2026_01_01', { A: 'a1', B: 'b1' })
  for (const name of ['A', 'B']) symlinkSync(join('..data', name), join(volume, name))
  const source = fileSecrets(volume)
  t.same({ ...await load(source, 'A', 'B') }, { A: 'a1', B: 'b1' })
  update(volume, '..2026_01_02', { A: 'a2', B: 'b2' })
  rmSync(join(volume, '..2026_01_01'), { recursive: true })
  t.same({ ...await load(source, 'A', 'B') }, { A: 'a2', B: 'b2' })
  let stamp = 3
  for (let i = 0; i < 30; i++) {
    const loading = load(source, 'A', 'B')
    update(volume, `..2026_01_${stamp}`, { A: `a${stamp}`, B: `b${stamp}` })
    const { A = '', B = '' } = await loading
    t.equal(A.slice(1), B.slice(1), 'both of the same update')
    stamp++
  }
})

test('an update in the middle of reading is read again, so that nothing is missing or mixed', async (t) => {
  const volume = t.testdir({})
  update(volume, '..old', { A: 'a1', B: 'b1' })
  const { signal } = new AbortController()
  let asked = 0
  // It is looked at before each file.
  Object.defineProperty(signal, 'throwIfAborted', {
    value: () => {
      if (++asked !== 2) return
      update(volume, '..new', { A: 'a2', B: 'b2' })
      rmSync(join(volume, '..old'), { recursive: true })
    },
  })
  t.same({ ...await fileSecrets(volume).load(['A', 'B'], { signal }) }, { A: 'a2', B: 'b2' })
})

test('what cannot be a secret is a problem with the variable and without the content', async (t) => {
  const directory = t.testdir({ FOLDER: {}, LARGE: 'hidden'.repeat(20_000) })
  writeFileSync(join(directory, 'BINARY'), Buffer.from([0xff, 0xfe]))
  execFileSync('mkfifo', [join(directory, 'PIPE')])
  const problems = await problemsOf(t, fileSecrets(directory), 'FOLDER', 'LARGE', 'BINARY', 'PIPE')
  t.same(problems.map(({ message }) => message.split(':')[0]), ['FOLDER', 'LARGE', 'BINARY', 'PIPE'], 'all at once')
  t.notMatch(JSON.stringify(problems), /hidden/)
  t.match((await problemsOf(t, fileSecrets(join(directory, 'missing')), 'A'))[0]?.message, /ENOENT/)
  t.match((await problemsOf(t, fileSecrets(join(directory, 'LARGE')), 'A'))[0]?.message, /ENOTDIR|not a directory/)
})

test('options are refused when wrong, at load, so that a start lists them with everything else', async (t) => {
  const directory = t.testdir({})
  const cases: [unknown, unknown][] = [
    [directory, { key: {} }],
    [directory, { keys: { A: 1 } }],
    [directory, { keys: { A: '' } }],
    ['', {}],
    [5, {}],
    [directory, { keys: { A: '../x' } }],
    [directory, { keys: { A: '..data' } }],
    [directory, { keys: { A: 'a/b' } }],
  ]
  for (const [path, options] of cases) {
    t.not(
      (await problemsOf(t, fileSecrets(path as string, options as FileSecretsOptions), 'A')).length,
      0,
      JSON.stringify([path, options]),
    )
  }
  t.same({ ...await load(fileSecrets(directory, { keys: undefined } as unknown as FileSecretsOptions), 'A') }, {})
})
