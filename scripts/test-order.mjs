// The order of the test files. Paths are below test/, without `.test.ts`.

/** What takes longest begins first, so that no core is idle at the end. */
export const LONG = [
  'docs',
]

/**
 * What runs alone, after all others, and why: it measures by the clock of another process, which a busy machine delays.
 */
export const ALONE = {
  'lib/auth/session-store-redis': 'a Redis is stopped, and sessions have deadlines of some milliseconds',
  'lib/rate-limit/cluster': 'the nodes of a cluster agree by their clocks',
  'lib/rate-limit/cluster-failover': 'the nodes of a cluster decide by their clocks when one is down',
  'lib/rate-limit/redis-store-late': 'answers of Redis come too late, by some milliseconds',
  'lib/rate-limit/sentinel': 'Sentinel decides by its clock when a Redis is down',
  'plugins/auth-redis': 'a Redis is stopped, and sessions have deadlines of some milliseconds',
  'plugins/rate-limit-chaos': 'a Redis is stopped, and limits have deadlines of some milliseconds',
  'plugins/rate-limit-redis': 'a Redis is stopped, and limits have deadlines of some milliseconds',
  'plugins/rate-limit-redis-nodes': 'starts and stops several Redis processes',
  valkey: 'runs other test files against several Valkey processes',
}

/** @param file the path of a compiled test file */
const nameOf = (file) => file.replace(/^dist\/test\//, '').replace(/\.test\.js$/, '')

/**
 * @param files paths of compiled test files
 * @returns those that run side by side, in the order in which they begin, and those that run one by one after them
 */
export function phasesOf (files) {
  const rank = (file) => LONG.includes(nameOf(file)) ? LONG.indexOf(nameOf(file)) : LONG.length
  const sorted = [...files].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
  const isAlone = (file) => nameOf(file) in ALONE
  return { together: sorted.filter((file) => !isAlone(file)), alone: sorted.filter(isAlone) }
}
