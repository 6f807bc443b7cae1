import { spawnSync } from 'node:child_process'
import { test } from 'tap'
import { startNode } from './helpers/redis-nodes.js'
import { ROOT } from './helpers/root.js'

// Files that run every script of the suite, in one server and in a cluster.
const FILES = ['lib/rate-limit/redis-store', 'lib/rate-limit/cluster', 'lib/auth/session-store-redis']
const SERVER = 'valkey-server'
const installed = spawnSync(SERVER, ['--version']).status === 0

test('limits and sessions do on Valkey what they do on Redis', {
  ...!installed && { skip: 'needs Valkey (Debian 13: apt-get install valkey-server; Debian 12: from its backports)' },
}, async (t) => {
  const node = await startNode(t, [], { server: SERVER })
  t.match(await node.admin.info('server'), /^server_name:valkey/m)
  t.jobs = FILES.length
  await Promise.all(FILES.map((name) => t.spawn(process.execPath, [`dist/test/${name}.test.js`], {
    cwd: ROOT,
    env: { ...process.env, REDIS_URL: node.url, REDIS_SERVER: SERVER },
  }, name)))
})
