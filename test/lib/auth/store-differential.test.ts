import { Redis } from 'ioredis'
import { test, type Test } from 'tap'
import { MemorySessionStore } from '../../../lib/auth/memory-store.js'
import { RedisSessionStore } from '../../../lib/auth/redis-store.js'
import type { Presented, SessionPolicy, SessionStore } from '../../../lib/auth/session-store.js'
import { startNode } from '../../helpers/redis-nodes.js'

const SEED = Number(process.env['SEED'] ?? 8)
const USERS = 6
/** Of all policies together; those of one round are each for another user, so that they travel together. */
const STEPS = 11_000

const BASE: SessionPolicy = {
  idleMs: 100_000,
  absoluteMs: 300_000,
  graceMs: 10_000,
  tombstoneMs: 50_000,
  maxSessions: 4,
  whenFull: 'evict',
  onReuse: 'session',
}
const POLICIES: readonly SessionPolicy[] = [BASE, { ...BASE, whenFull: 'refuse', maxSessions: 3 }, {
  ...BASE,
  onReuse: 'user',
  graceMs: 0,
}]

type Step = (store: SessionStore) => Promise<unknown>
interface Known { readonly sessionId: string, top: number }

/** Drops what would have expired by the virtual clock. */
const EXPIRE =
  "for _, key in ipairs(redis.call('KEYS', '*')) do local at = redis.call('PEXPIRETIME', key) if at < 0 then return key end if at <= tonumber(ARGV[1]) then redis.call('DEL', key) end end return ''"

async function compare (t: Test, policy: SessionPolicy, steps: number, seed: number): Promise<void> {
  const { admin } = await startNode(t)
  const client = new Redis(admin.options.port ?? 0, '127.0.0.1', { enableOfflineQueue: false, lazyConnect: true })
  await client.connect()
  let now = Date.now()
  const redis = new RedisSessionStore({
    connection: { client, close: () => {} },
    keyPrefix: 'd:',
    policy,
    now: () => now,
  })
  const memory = new MemorySessionStore(policy, () => now)
  t.teardown(() => { redis.close(); client.disconnect() })
  const random = pseudoRandom(seed)
  const known = new Map<string, Known[]>()
  const seen = new Map<string, number>()
  let count = 0
  while (count < steps) {
    if (random() < 0.4) {
      now += Math.floor(random() < 0.7 ? random() * 12_000 : random() < 0.9 ? random() * 60_000 : random() * 160_000) -
        (random() < 0.05 ? 3000 : 0)
      const eternal = await admin.eval(EXPIRE, 0, now)
      if (eternal !== '') throw new Error(`seed ${seed}, step ${count}: ${String(eternal)} has no expiry`)
    }
    const round = Array.from(
      { length: USERS },
      (_, user) => ({ name: `user${user}`, step: pick(random, `user${user}`, known, count + user) }),
    )
    const found = Promise.all(round.map(async ({ step: { take } }) => sorted(await take(redis))))
    for (const [index, answer] of (await found).entries()) {
      const { name, step: { what, take, after } } = round[index] ?? { name: '', step: nothing }
      const expected = sorted(await take(memory))
      if (JSON.stringify(answer) !== JSON.stringify(expected)) {
        throw new Error(
          `seed ${seed}, step ${count + index}, ${what} of ${name}: memory says ${
            JSON.stringify(expected)
          }, Redis says ${JSON.stringify(answer)}`,
        )
      }
      after(expected)
      const word = `${what} ${wordOf(expected)}`
      seen.set(word, (seen.get(word) ?? 0) + 1)
    }
    count += USERS
  }
  const words = [
    'create created',
    'create revoked',
    `create ${policy.whenFull === 'refuse' ? 'full' : 'evicted'}`,
    'create login',
    'rotate rotated',
    'rotate ahead',
    'rotate reuse',
    'rotate gone',
    'rotate expired',
    ...policy.graceMs > 0 ? ['rotate coalesced', 'rotate grace'] : [],
    'check alive',
    'check outdated',
    'check ended',
    'end true',
    'end false',
    'endAll',
    'list',
    'outdate',
  ]
  for (const word of words) t.ok([...seen].some(([name, times]) => name.startsWith(word) && times > 2), word)
}

interface Move { readonly what: string, readonly take: Step, readonly after: (answer: unknown) => void }

const nothing: Move = { what: '', take: async () => null, after: () => {} }

function pick (random: () => number, userId: string, all: Map<string, Known[]>, number: number): Move {
  const known = all.get(userId) ?? []
  all.set(userId, known)
  const any = known[known.length - 1 - Math.floor(random() * Math.min(6, known.length))]
  const sessionId = any?.sessionId ?? 'none'
  const dice = random()
  const simply = (what: string, take: Step): Move => ({ ...nothing, what, take })
  if (known.length === 0 || dice < 0.15) {
    const id = `${userId}-${number}`
    const ageMs = random() < 0.5 ? 0 : Math.floor(random() * 30_000)
    const replaces = random() < 0.3 ? [sessionId, known[0]?.sessionId ?? 'none', sessionId] : []
    known.push({ sessionId: id, top: 0 })
    return simply(
      'create',
      (store) =>
        store.create({
          userId,
          sessionId: id,
          jtiHash: `${id} 0`,
          context: 'browser',
          label: `label ${number}`,
          methods: ['pwd'],
          ageMs,
          replaces,
        }),
    )
  }
  if (dice < 0.3) {
    const tokenVersion = random() < 0.5 ? 0 : Number.MAX_SAFE_INTEGER
    return simply('check', async (store) => await store.check(userId, sessionId, tokenVersion))
  }
  if (dice < 0.34) return simply('list', (store) => store.list(userId))
  if (dice < 0.37) return simply('end', (store) => store.end(userId, sessionId, 'logout'))
  if (dice < 0.39) return simply('endAll', (store) => store.endAll(userId, 'revoked'))
  if (dice < 0.42) return simply('endAll', (store) => store.endAll(userId, 'user', sessionId))
  if (dice < 0.44) {
    return simply('outdate', async (store) => {
      await store.outdate(userId)
    })
  }
  const generation = Math.max(
    0,
    (any?.top ?? 0) - (random() < 0.7 ? 0 : random() < 0.92 ? 1 : 2) + (random() < 0.06 ? 1 : 0),
  )
  const presented: Presented = {
    userId: random() < 0.01 ? 'user0' : userId,
    sessionId,
    generation,
    jtiHash: random() < 0.01 ? 'guess' : `${sessionId} ${generation}`,
    nextJtiHash: `${sessionId} ${generation + 1}`,
    context: random() < 0.04 ? 'other' : 'browser',
  }
  const after = (answer: unknown): void => {
    if (any !== undefined && isState(answer)) any.top = answer.state.generation
  }
  return { what: 'rotate', take: (store) => store.rotate(presented), after }
}

function isState (answer: unknown): answer is { status: string, state: { generation: number } } {
  return typeof answer === 'object' && answer !== null && 'state' in answer
}

/** No order is promised where several end at once. */
function sorted (answer: unknown): unknown {
  if (Array.isArray(answer) && answer.every((part) => typeof part === 'string')) return answer.toSorted()
  if (typeof answer !== 'object' || answer === null || !('ended' in answer) || !Array.isArray(answer.ended)) {
    return answer
  }
  return { ...answer, ended: answer.ended.map((part) => JSON.stringify(part)).toSorted() }
}

function wordOf (answer: unknown): string {
  if (typeof answer !== 'object' || answer === null || !('status' in answer)) return String(answer)
  const ended = JSON.stringify(answer)
  return ended.includes('evicted') && answer.status === 'created'
    ? 'evicted'
    : ended.includes('login') && answer.status === 'created'
    ? 'login'
    : String(answer.status)
}

for (const [index, policy] of POLICIES.entries()) {
  test(`memory and Redis agree on thousands of random steps (${policy.whenFull}, reuse ends the ${policy.onReuse})`, async (t) => {
    await compare(t, policy, STEPS / POLICIES.length, SEED + index)
  })
}

function pseudoRandom (seed: number): () => number {
  let state = seed
  // mulberry32
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
