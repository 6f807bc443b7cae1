import { spawnSync } from 'node:child_process'
import { test } from 'tap'

/** An app in a process of its own, watched as each test file is. */
function run (lines: readonly string[]): { readonly status: number | null, readonly stderr: string } {
  const program =
    `import Fastify from 'fastify'; const { log } = Fastify({ logger: { stream: { write () {} } } }); for (const line of ${
      JSON.stringify(lines)
    }) log.info(line)`
  return spawnSync(process.execPath, [
    '--import=./dist/test/helpers/watch-logs.js',
    '--input-type=module',
    '--eval',
    program,
  ], { encoding: 'utf8' })
}

test('a test file fails when an app of it logs a token, a hash or a password', async (t) => {
  const part = 'A'.repeat(20)
  const { status, stderr } = run([
    `Bearer eyJ${part}.${part}.${part}`,
    'it is $argon2id$v=19$m=19456',
    'password Correct-horse-9',
    'a request was refused',
  ])
  t.equal(status, 1)
  t.match(stderr.match(/a log line holds a secret: .*/g), { length: 3 })
  t.match(run(['a request was refused']), { status: 0, stderr: '' })
})
