import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'tap'
import { ROOT } from '../helpers/root.js'

/** `npm test -- --no-install` on a machine that has no program of its own. */
function testWithoutPrograms (): { readonly status: number | null, readonly lines: readonly string[] } {
  const { status, stdout } = spawnSync(process.execPath, [join('scripts', 'test.mjs'), '--no-install'], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { PATH: '/nowhere' },
  })
  return { status, lines: stdout.trimEnd().split('\n') }
}

test('npm test -- --no-install names what is missing, runs nothing, and fails', async (t) => {
  const { status, lines } = testWithoutPrograms()
  t.equal(status, 1)
  t.match(lines[0], /^# missing: redis-server, .*\(Debian: apt-get install redis-server /)
  t.ok(lines.some((line) => line.startsWith('# missing, and its test is left out: valkey-server')))
  t.equal(lines.at(-1), '0 passed, 1 failed')
})
