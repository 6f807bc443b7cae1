import { test } from 'tap'
import { hashJti } from '../../../lib/auth/rotation.js'
import { MAX_GRACE_USES } from '../../../lib/auth/session-store.js'
import { inMemory, inRedis, Login, POLICY, type MakeStore } from './stores.js'

/** In batches, because each step has a deadline. */
async function useGrace (login: Login, generation: number): Promise<void> {
  for (let used = 0; used < MAX_GRACE_USES; used += 50) {
    await Promise.all(Array.from({ length: 50 }, () => login.present(generation)))
  }
}

function testSessionStore (name: string, make: MakeStore): void {
  test(`${name}: a session rotates, coalesces within the grace, and rotates again after it`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const login = await new Login(store).open()
    t.equal(await login.status(0), 'rotated 1')
    t.equal(await login.status(1), 'coalesced 1', 'the successor is too young to be replaced')
    t.equal(await login.status(0), 'grace 1', 'the token before it gets the same successor')
    await advance(POLICY.graceMs - 1)
    t.equal(await login.status(0), 'grace 1', 'up to the last millisecond')
    await advance(1)
    t.equal(await login.status(1), 'rotated 2')
    t.equal(await login.status(1), 'grace 2')
  })

  test(`${name}: of many parallel refreshes one rotates and all get the same successor`, async (t) => {
    const { store } = await make(t, POLICY)
    const login = await new Login(store).open()
    const answers = await Promise.all(Array.from({ length: 100 }, () => login.present(0)))
    t.equal(answers.filter(({ status }) => status === 'rotated').length, 1)
    t.equal(answers.filter(({ status }) => status === 'grace').length, 99)
    t.equal(new Set(answers.map((answer) => JSON.stringify('state' in answer ? answer.state : null))).size, 1)
  })

  test(`${name}: what is not the current or the previous token in time ends the session`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const cases: Record<string, (login: Login) => Promise<string>> = {
      'the previous token after the grace': async (login) => {
        await login.present(0)
        await advance(POLICY.graceMs)
        return await login.status(0)
      },
      'the token before the previous one': async (login) => {
        await login.present(0)
        await advance(POLICY.graceMs)
        await login.present(1)
        return await login.status(0)
      },
      'the previous token from another client': async (login) => {
        await login.present(0)
        return await login.status(0, { context: 'thief' })
      },
      'another id of the current generation': async (login) => await login.status(0, { jtiHash: hashJti('guess') }),
      'another id of the previous generation': async (login) => {
        await login.present(0)
        return await login.status(0, { jtiHash: hashJti('guess') })
      },
      'a negative generation': async (login) => await login.status(-1, { jtiHash: '' }),
    }
    for (const [what, play] of Object.entries(cases)) {
      const login = await new Login(store).open()
      t.equal(await play(login), 'reuse', what)
      t.equal(await login.alive(), false)
      t.equal(await login.status(1), 'gone reuse', 'the tombstone says why')
      await advance(POLICY.tombstoneMs)
      t.equal(await login.status(1), 'gone -', 'and does not stand for ever')
    }
  })

  test(`${name}: the client that rotated is the one that the grace is for`, async (t) => {
    const { store } = await make(t, POLICY)
    const login = await new Login(store).open()
    t.equal(await login.status(0, { context: 'browser after its update' }), 'rotated 1')
    t.equal(await login.status(0, { context: 'browser after its update' }), 'grace 1')
  })

  test(`${name}: grace uses are bounded, and counted anew after each rotation`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const login = await new Login(store).open()
    await login.present(0)
    await useGrace(login, 0)
    t.equal(await login.alive(), true)
    await advance(POLICY.graceMs)
    t.equal(await login.status(1), 'rotated 2')
    await useGrace(login, 1)
    t.equal(await login.status(1), 'reuse')
  })

  test(`${name}: a generation ahead of the store revokes nothing`, async (t) => {
    const { store } = await make(t, POLICY)
    const login = await new Login(store).open()
    t.equal(await login.status(1), 'ahead')
    t.equal(await login.status(7), 'ahead')
    t.equal(await login.alive(), true)
    t.equal(await login.status(0), 'rotated 1')
  })

  test(`${name}: a session ends when idle, and at its absolute end however often it is refreshed`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const idle = await new Login(store).open()
    await advance(POLICY.idleMs - 1000)
    t.equal(await idle.alive(), true)
    await advance(1000)
    t.equal(await idle.alive(), false)
    t.equal(await idle.status(0), 'expired')
    t.equal(await idle.status(0), 'gone expired')

    const busy = await new Login(store).open()
    const [start] = [await busy.present(0)]
    for (let generation = 1; generation <= 3; generation++) {
      await advance(90_000)
      const answer = await busy.present(generation)
      t.equal(answer.status, 'rotated')
      t.match(answer, {
        state: {
          absoluteAt: 'state' in start ? start.state.absoluteAt : 0,
          authTime: 'state' in start ? start.state.authTime : 0,
        },
      })
      t.ok('state' in answer && answer.state.idleAt <= answer.state.absoluteAt, 'idle never passes the absolute end')
    }
    await advance(30_000)
    t.equal(await busy.alive(), false)
    t.equal(await busy.status(4), 'expired')
    const forgotten = await new Login(store).open()
    await advance(POLICY.idleMs + POLICY.tombstoneMs)
    t.equal(await forgotten.status(0), 'gone -', 'it is not kept for ever')
  })

  test(`${name}: ending is per session, per user, and says what was alive`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const [a, b, c] = [
      await new Login(store).open(),
      await new Login(store).open(),
      await new Login(store, 'bob').open(),
    ]
    t.equal(await store.end('bob', a.sessionId, 'logout'), false, 'a session belongs to its user')
    t.equal(await a.alive(), true)
    t.equal(await store.end('ada', a.sessionId, 'logout'), true)
    t.equal(await store.end('ada', a.sessionId, 'logout'), false, 'twice is once')
    t.equal(await a.status(0), 'gone logout')
    const d = await new Login(store).open()
    t.same([...await store.endAll('ada', 'revoked')].sort(), [b.sessionId, d.sessionId].sort())
    t.same(await store.endAll('ada', 'revoked'), [])
    t.same([await b.alive(), await d.alive(), await c.alive()], [false, false, true])
    t.equal(await b.status(0), 'gone revoked')
    await advance(POLICY.idleMs)
    t.same(await store.endAll('bob', 'revoked'), [], 'an expired session was not alive')
    t.same(await store.endAll('nobody', 'revoked'), [])
  })

  test(`${name}: a refresh and a logout in either order leave nothing alive`, async (t) => {
    const { store } = await make(t, POLICY)
    for (let round = 0; round < 20; round++) {
      const login = await new Login(store).open()
      const steps = [login.present(0), store.end('ada', login.sessionId, 'logout'), login.present(0)]
      await Promise.all(round % 2 === 0 ? steps : steps.reverse())
      t.equal(await login.alive(), false)
      t.equal(await login.status(1), 'gone logout')
    }
  })

  test(`${name}: what reuse ends may be all of the user`, async (t) => {
    const { store } = await make(t, { ...POLICY, onReuse: 'user' })
    const told: string[] = []
    store.onChange((ids) => {
      told.push(...ids)
    })
    const [a, b, c] = [
      await new Login(store).open(),
      await new Login(store).open(),
      await new Login(store, 'bob').open(),
    ]
    const answer = await a.present(0, { jtiHash: 'guess' })
    t.match(answer, { status: 'reuse', ended: [a.sessionId, b.sessionId] })
    t.same([await a.alive(), await b.alive(), await c.alive()], [false, false, true])
    t.equal(await b.status(0), 'gone reuse')
    t.ok(told.includes(a.sessionId) && told.includes(b.sessionId) && !told.includes(c.sessionId))
    const before = await new Login(store).create({ ageMs: 60_000 })
    t.same(before, { status: 'revoked' }, 'also for a login that was under way')
  })

  test(`${name}: a state tells all that a token needs, and the list what its user is shown`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const start = store.now()
    const login = new Login(store)
    const created = await login.create({ label: 'Käse "1" \n\0', methods: ['pwd', 'otp'] })
    t.same(created, {
      status: 'created',
      ended: [],
      state: {
        generation: 0,
        jtiHash: login.hash(0),
        rotatedAt: start,
        idleAt: start + POLICY.idleMs,
        absoluteAt: start + POLICY.absoluteMs,
        authTime: Math.floor(start / 1000),
        methods: ['pwd', 'otp'],
        tokenVersion: 0,
      },
    })
    await advance(5000)
    await store.outdate('ada')
    const later = start + 5000
    t.same(await login.present(0), {
      status: 'rotated',
      state: {
        generation: 1,
        jtiHash: login.hash(1),
        rotatedAt: later,
        idleAt: later + POLICY.idleMs,
        absoluteAt: start + POLICY.absoluteMs,
        authTime: Math.floor(start / 1000),
        methods: ['pwd', 'otp'],
        tokenVersion: later,
      },
    })
    await advance(1)
    const second = new Login(store)
    await second.create({ label: '', methods: [] })
    t.same(await store.list('ada'), [
      {
        sessionId: second.sessionId,
        createdAt: later + 1,
        refreshedAt: later + 1,
        idleAt: later + 1 + POLICY.idleMs,
        absoluteAt: later + 1 + POLICY.absoluteMs,
        label: '',
        methods: [],
      },
      {
        sessionId: login.sessionId,
        createdAt: start,
        refreshedAt: later,
        idleAt: later + POLICY.idleMs,
        absoluteAt: start + POLICY.absoluteMs,
        label: 'Käse "1" \n\0',
        methods: ['pwd', 'otp'],
      },
    ])
    t.same(await store.list('bob'), [])
    await store.end('ada', second.sessionId, 'user')
    t.equal((await store.list('ada')).length, 1)
    await advance(POLICY.idleMs)
    t.same(await store.list('ada'), [])
  })

  test(`${name}: outdated tokens are told from dead sessions, and versions only grow`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const login = await new Login(store).open()
    const at = store.now()
    t.equal(await store.check('ada', login.sessionId, 0), 'alive')
    await store.outdate('ada')
    await store.outdate('ada')
    t.equal(await store.check('ada', login.sessionId, at), 'outdated', 'twice in one millisecond is two versions')
    t.equal(await store.check('ada', login.sessionId, at + 1), 'alive')
    t.match(await login.present(0), { state: { tokenVersion: at + 1 } })
    await advance(-60_000)
    await store.outdate('ada')
    t.equal(await store.check('ada', login.sessionId, at + 1), 'outdated', 'also when the clock steps back')
    t.equal(await store.check('bob', login.sessionId, at + 2), 'ended')
    await store.end('ada', login.sessionId, 'logout')
    t.equal(await store.check('ada', login.sessionId, 0), 'ended')
  })

  test(`${name}: all but one session end, and the one lives on`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    const [a, b, c] = [await new Login(store).open(), await new Login(store).open(), await new Login(store).open()]
    t.same([...await store.endAll('ada', 'user', b.sessionId)].sort(), [a.sessionId, c.sessionId].sort())
    t.same([await a.alive(), await b.alive(), await c.alive()], [false, true, false])
    t.equal(await b.status(0), 'rotated 1')
    t.same(await store.endAll('ada', 'user', b.sessionId), [])
    t.equal(await b.alive(), true, 'again and again')
    t.same(await store.endAll('ada', 'user', 'foreign'), [b.sessionId])
    await advance(1000)
    const next = await new Login(store).open()
    t.equal(await next.alive(), true, 'a login after that is not concerned')
  })

  test(`${name}: a login that was under way when its user was revoked gets no session`, async (t) => {
    const { store, advance } = await make(t, POLICY)
    await advance(1000)
    await store.endAll('ada', 'revoked')
    await advance(100)
    for (
      const [ageMs, status] of [[0, 'created'], [98, 'created'], [99, 'created'], [99.5, 'revoked'], [100, 'revoked'], [
        101,
        'revoked',
      ], [1e9, 'revoked']] as const
    ) {
      t.match(await new Login(store).create({ ageMs }), { status }, `${ageMs} ms ago`)
    }
    t.match(await new Login(store, 'bob').create({ ageMs: 1e9 }), { status: 'created' })
  })

  test(`${name}: the maximum evicts the session refreshed longest ago, or refuses`, async (t) => {
    const { store, advance } = await make(t, { ...POLICY, maxSessions: 3 })
    const logins: Login[] = []
    for (let count = 0; count < 3; count++) {
      logins.push(await new Login(store).open())
      await advance(10)
    }
    const [a, b, c] = logins as [Login, Login, Login]
    await a.present(0)
    await advance(10)
    t.match(await new Login(store).create(), {
      status: 'created',
      ended: [{ sessionId: b.sessionId, reason: 'evicted' }],
    })
    t.equal(await b.status(0), 'gone evicted')
    const replacing = new Login(store)
    t.match(await replacing.create({ replaces: [c.sessionId, 'foreign', c.sessionId] }), {
      ended: [{ sessionId: c.sessionId, reason: 'login' }],
    })
    t.equal((await store.list('ada')).length, 3)

    const strict = (await make(t, { ...POLICY, maxSessions: 2, whenFull: 'refuse' })).store
    const [first, second] = [await new Login(strict).open(), await new Login(strict).open()]
    t.same(await new Login(strict).create(), { status: 'full' })
    t.match(await new Login(strict).create({ replaces: [first.sessionId] }), {
      status: 'created',
      ended: [{ sessionId: first.sessionId, reason: 'login' }],
    })
    t.same(
      await new Login(strict).create({ replaces: [first.sessionId] }),
      { status: 'full' },
      'what is over frees no place',
    )
    await strict.end('ada', second.sessionId, 'logout')
    t.match(await new Login(strict).create(), { status: 'created' })
  })

  test(`${name}: any text may be a user id`, async (t) => {
    const { store } = await make(t, POLICY)
    for (const userId of ['{a}', '}{', 'a:b', '*', ' ', '\u0000', '__proto__', '🙂', 'x'.repeat(255)]) {
      const login = await new Login(store, userId).open()
      t.equal(await login.status(0), 'rotated 1')
      t.same(await store.endAll(userId, 'revoked'), [login.sessionId])
    }
  })
}

testSessionStore('memory', inMemory)
testSessionStore('redis', inRedis)
