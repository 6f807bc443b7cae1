import { test } from 'tap'
import { createLivenessCheck, type CheckLiveness } from '../../../lib/auth/liveness.js'
import { MemorySessionStore } from '../../../lib/auth/memory-store.js'
import type { Liveness, SessionStore } from '../../../lib/auth/session-store.js'
import { POLICY } from './stores.js'

const ADA = { userId: 'ada', sessionId: 's', tokenVersion: 5 }

const unused = async (): Promise<never> => { throw new Error('not part of this test') }

/** A remote store whose answers the test gives. */
class RemoteStore implements SessionStore {
  readonly kind = 'redis'
  readonly asked: { sessionId: string, answer: (liveness: Liveness) => void, fail: (error: Error) => void }[] = []
  readonly create = unused
  readonly rotate = unused
  readonly list = unused
  readonly end = unused
  readonly endAll = unused
  readonly outdate = unused
  change: (sessionIds: readonly string[]) => void = () => {}
  now = (): number => 0
  onChange (listener: (sessionIds: readonly string[]) => void): void { this.change = listener }
  check (_userId: string, sessionId: string): Promise<Liveness> {
    return new Promise<Liveness>((resolve, reject) => { this.asked.push({ sessionId, answer: resolve, fail: reject }) })
  }
  close (): void {}
}

interface World {
  readonly store: RemoteStore
  readonly check: CheckLiveness
  readonly pass: (milliseconds: number) => void
}

function build (delayMs = 1000, capacity = 100): World {
  let now = 0
  const store = new RemoteStore()
  return {
    store,
    check: createLivenessCheck(store, { delayMs, capacity, now: () => now }),
    pass: (milliseconds) => {
      now += milliseconds
    },
  }
}

async function learn ({ store, check }: World, liveness: Liveness = 'alive', owner = ADA): Promise<void> {
  const pending = check('cached', owner)
  store.asked.at(-1)?.answer(liveness)
  await pending
}

test('an answer is given again, without asking, until it is as old as the delay', async (t) => {
  for (const liveness of ['alive', 'ended', 'outdated'] as const) {
    const world = build()
    await learn(world, liveness)
    world.pass(999)
    t.equal(world.check('cached', ADA), liveness)
    t.equal(world.store.asked.length, 1)
    world.pass(1)
    t.type(world.check('cached', ADA), Promise)
    t.equal(world.store.asked.length, 2)
  }
})

test('the age counts from the question, not from the answer', async (t) => {
  const world = build()
  const pending = world.check('cached', ADA)
  world.pass(800)
  world.store.asked[0]?.answer('alive')
  await pending
  world.pass(199)
  t.equal(world.check('cached', ADA), 'alive')
  world.pass(1)
  t.type(world.check('cached', ADA), Promise)
})

test('strict asks each time, and a delay of nothing is strict', async (t) => {
  const world = build()
  await learn(world)
  t.type(world.check('strict', ADA), Promise)
  t.type(world.check('strict', ADA), Promise)
  t.equal(world.store.asked.length, 3)
  const none = build(0)
  await learn(none)
  t.type(none.check('cached', ADA), Promise)
  t.type(none.check('cached', ADA), Promise)
  t.equal(none.store.asked.length, 3)
})

test('parallel requests of one session share one question while it is young', async (t) => {
  const { store, check, pass } = build()
  const all = Array.from({ length: 50 }, async () => await check('cached', ADA))
  const other = check('cached', { ...ADA, sessionId: 'other' })
  t.same(store.asked.map(({ sessionId }) => sessionId), ['s', 'other'])
  pass(1000)
  const late = check('cached', ADA)
  t.equal(store.asked.length, 3, 'an answer to that one would be too old')
  for (const [index, liveness] of (['alive', 'ended', 'ended'] as const).entries()) store.asked[index]?.answer(liveness)
  t.same(await Promise.all(all), all.map(() => 'alive'))
  t.same([await other, await late], ['ended', 'ended'])
  t.equal(check('cached', ADA), 'ended', 'the older question does not overwrite the newer')
})

test('a change drops what is known, and what is being asked', async (t) => {
  const world = build()
  const { store, check } = world
  await learn(world)
  store.change(['x', 's'])
  const before = check('cached', ADA)
  t.equal(store.asked.length, 2)
  store.change(['s'])
  const after = check('cached', ADA)
  t.equal(store.asked.length, 3, 'nobody joins a question from before the change')
  store.asked[2]?.answer('ended')
  t.equal(await after, 'ended')
  store.asked[1]?.answer('alive')
  t.equal(await before, 'alive')
  t.equal(check('cached', ADA), 'ended', 'its answer is not kept')
  store.change(['s'])
  const asked = check('cached', ADA)
  store.change(['s'])
  store.asked[3]?.answer('alive')
  await asked
  t.type(check('cached', ADA), Promise)
})

test('a failure reaches all who asked, is not kept, and no older answer stands in for it', async (t) => {
  const world = build()
  await learn(world)
  world.pass(1000)
  const all = [world.check('cached', ADA), world.check('cached', ADA)]
  t.equal(world.store.asked.length, 2)
  world.store.asked[1]?.fail(new Error('gone'))
  for (const pending of all) await t.rejects(async () => pending, { message: 'gone' })
  t.type(world.check('cached', ADA), Promise)
  t.equal(world.store.asked.length, 3)
})

test('what holds for one token of a session is not said of another of which it may not hold', async (t) => {
  const cases: readonly (readonly [Liveness, number, boolean])[] = [
    ['alive', 4, false],
    ['alive', 6, true],
    ['outdated', 4, true],
    ['outdated', 6, false],
    ['ended', 4, true],
    ['ended', 6, true],
  ]
  for (const [liveness, tokenVersion, known] of cases) {
    const world = build()
    await learn(world, liveness)
    t.equal(typeof world.check('cached', { ...ADA, tokenVersion }) === 'string', known, `${liveness} ${tokenVersion}`)
    t.type(world.check('cached', { ...ADA, userId: 'eve' }), Promise, 'of another user')
  }
  const { store, check } = build()
  void check('cached', ADA)
  void check('cached', { ...ADA, tokenVersion: 4 })
  void check('cached', { ...ADA, userId: 'eve' })
  t.equal(store.asked.length, 3, 'and these share no question')
})

test('the cache is bounded, and what is over the bound is asked again', async (t) => {
  const world = build(1000, 10)
  for (let number = 0; number < 100; number++) await learn(world, 'alive', { ...ADA, sessionId: `s${number}` })
  const kept =
    Array.from({ length: 100 }, (_, number) => world.check('cached', { ...ADA, sessionId: `s${number}` })).filter((
      answer,
    ) => answer === 'alive').length
  t.ok(kept >= 10 && kept <= 20, `${kept}`)
})

test('a store of this process is asked each time and answers at once', async (t) => {
  const store = new MemorySessionStore(POLICY, () => 0)
  const check = createLivenessCheck(store, { delayMs: 60_000 })
  t.equal(check('cached', ADA), 'ended')
  await store.create({ ...ADA, jtiHash: '', context: '', label: '', methods: [], ageMs: 0, replaces: [] })
  t.equal(check('cached', ADA), 'alive')
  await store.end('ada', 's', 'logout')
  t.equal(check('cached', ADA), 'ended')
})
