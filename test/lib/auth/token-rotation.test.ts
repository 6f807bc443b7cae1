import root, { test } from 'tap'
import { MemorySessionStore } from '../../../lib/auth/memory-store.js'
import { secretKeyring, type KeyOption, type Keyring } from '../../../lib/auth/keyring.js'
import { createId } from '../../../lib/auth/rotation.js'
import type { IssuedTokens, Refreshed, Sessions } from '../../../lib/auth/sessions.js'
import { newPems, newSecret, NOW, payloadOf, POLICY, ring, sessionsWith } from './token-workshop.js'

// Key pairs are made, and thousands of signatures are verified.
root.setTimeout(180_000)

const END = NOW + 600
const until = new Date(END * 1000).toISOString()
const keyOf = (alg: KeyOption['alg']): KeyOption => ({
  alg,
  key: alg === 'HS256' ? newSecret() : newPems(alg).privateKey,
})
const rest = (): Keyring => secretKeyring(newSecret())
const claims = () => ({
  sub: 'ada',
  sid: createId(),
  roles: ['user'],
  tenant: 'acme',
  tv: 0,
  auth_time: NOW,
  amr: ['pwd'],
  iat: NOW,
  exp: NOW + 900,
  jti: createId(),
})

test('a token that comes again is remembered, whatever its algorithm', async (t) => {
  for (const alg of ['HS256', 'ES256', 'EdDSA', 'RS256'] as const) {
    const { access } = await sessionsWith(ring({ current: keyOf(alg) }), rest())
    const token = access.sign(claims())
    const first = access.verify(token, NOW)
    t.match(first, { context: { userId: 'ada' } }, alg)
    t.equal(first, access.verify(token, NOW), alg)
  }
})

test('tokens of an old key hold until its end, those in the cache too, and then name no session', async (t) => {
  for (
    const [before, after] of [['HS256', 'HS256'], ['HS256', 'ES256'], ['ES256', 'EdDSA'], ['EdDSA', 'RS256'], [
      'RS256',
      'HS256',
    ]] as const
  ) {
    const [old, next] = [keyOf(before), keyOf(after)]
    const was = await sessionsWith(ring({ current: old }), rest())
    const is = await sessionsWith(ring({ current: next, verifyOnly: [{ ...old, until }] }), rest())
    const token = was.access.sign(claims())
    t.match(is.access.verify(token, END - 1), { context: { userId: 'ada' } }, `${before}: good to the last second`)
    t.match(is.access.verify(token, END - 1), { context: { userId: 'ada' } })
    t.equal(is.access.verify(token, END - 1), is.access.verify(token, END - 1), `${before}: remembered`)
    t.match(is.access.read(token, END - 1), { context: { userId: 'ada' } })
    t.equal(is.access.verify(token, END), 'TOKEN_INVALID', `${before}: refused from its end on, out of the cache`)
    t.equal(is.access.read(token, END), null, 'no session to log out of')
    const restarted = await sessionsWith(ring({ current: next, verifyOnly: [{ ...old, until }] }), rest())
    t.equal(restarted.access.verify(token, END), 'TOKEN_INVALID', 'refused when it was never seen')
    t.equal(restarted.access.verify(token, END + 10_000), 'TOKEN_INVALID', 'and not called expired')
    t.match(
      restarted.access.verify(token, END - 1),
      { context: { userId: 'ada' } },
      'an instance whose clock is behind is not mistaken for good',
    )
    t.equal(
      (await sessionsWith(ring({ current: next }), rest())).access.verify(token, NOW),
      'TOKEN_INVALID',
      'refused without it',
    )
    t.match(was.access.verify(token, END + 1), { context: { userId: 'ada' } }, 'a current key has no end')
    const fresh = is.access.sign(claims())
    t.match(is.access.verify(fresh, END + 1), { context: { userId: 'ada' } }, 'the new one signs')
    t.equal(was.access.verify(fresh, NOW), 'TOKEN_INVALID')
  }
})

test('an instance that has the next key already takes its tokens before it signs with it', async (t) => {
  const [old, next] = [keyOf('ES256'), keyOf('EdDSA')]
  const early = await sessionsWith(ring({ current: old, verifyOnly: [{ ...next, until }] }), rest())
  const late = await sessionsWith(ring({ current: next, verifyOnly: [{ ...old, until }] }), rest())
  for (const [by, at] of [[early, late], [late, early], [early, early], [late, late]] as const) {
    t.match(at.access.verify(by.access.sign(claims()), NOW), { context: { userId: 'ada' } })
  }
})

test('a named key keeps its name, and the same kid for another key names no other', async (t) => {
  const [a, b] = [{ ...keyOf('HS256'), kid: 'blue' }, { ...keyOf('HS256'), kid: 'blue' }]
  const token = (await sessionsWith(ring({ current: a }), rest())).access.sign(claims())
  t.equal((await sessionsWith(ring({ current: b }), rest())).access.verify(token, NOW), 'TOKEN_INVALID')
  for (const kid of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const keyring = ring({ current: { ...keyOf('HS256'), kid } })
    const { access } = await sessionsWith(keyring, rest())
    t.match(access.verify(access.sign(claims()), NOW), { context: { userId: 'ada' } }, kid)
    t.equal(access.verify(token, NOW), 'TOKEN_INVALID')
  }
})

/**
 * Two instances in the middle of a change of the refresh secret: one has the new one already, the other does not sign
 * with it yet.
 */
async function duringRotation (): Promise<{ a: Sessions, b: Sessions, advance: (milliseconds: number) => void }> {
  let now = NOW * 1000
  const store = new MemorySessionStore(POLICY, () => now)
  const [old, next, access] = [keyOf('HS256'), keyOf('HS256'), rest()]
  return {
    a: await sessionsWith(access, ring({ current: next, verifyOnly: [{ ...old, until }] }, 'refresh'), store),
    b: await sessionsWith(access, ring({ current: old, verifyOnly: [{ ...next, until }] }, 'refresh'), store),
    advance (milliseconds) { now += milliseconds },
  }
}

const user = { id: 'ada', roles: ['user'], tenant: 'acme' }
const renew = (sessions: Sessions, token: string): Promise<Refreshed> =>
  sessions.renew(token, 'browser', async () => user)

async function open (sessions: Sessions): Promise<string> {
  const opened = await sessions.open(user, {
    clientContext: 'browser',
    label: '',
    methods: ['pwd'],
    ageMs: 0,
    replaces: [],
  })
  if ('refused' in opened) throw new Error(opened.refused)
  return opened.tokens.refresh
}

function tokensOf (answer: Refreshed): IssuedTokens {
  if ('refused' in answer) throw new Error(`refused: ${answer.refused} ${JSON.stringify(answer.events)}`)
  return answer.tokens
}

test("refreshes that race on two instances with each other's secret give the same successor, which both accept", async (t) => {
  for (const firstOnA of [true, false]) {
    const { a, b, advance } = await duringRotation()
    let token = await open(firstOnA ? b : a)
    for (let round = 0; round < 6; round++) {
      // Both orders, with the rounds alternating between whose secret made the token presented.
      const order = (round % 2 === 0) === firstOnA ? [a, b, a, b] : [b, a, b, a]
      const answers = (await Promise.all(order.map((sessions) => renew(sessions, token)))).map(tokensOf)
      t.equal(new Set(answers.map(({ refresh }) => payloadOf(refresh)['jti'])).size, 1, 'one id')
      t.equal(
        new Set(answers.map(({ refresh }) => JSON.stringify(payloadOf(refresh)))).size,
        1,
        'and all else the same',
      )
      t.equal(new Set(answers.map(({ refresh }) => refresh)).size, 2, 'signed by two keys')
      const winner = answers[0]
      const loser = answers[1]
      if (winner === undefined || loser === undefined) return
      for (const { refresh, access } of [winner, loser]) {
        for (const sessions of [a, b]) {
          t.match(sessions.refresh.verify(refresh, NOW + round * 11), { userId: 'ada', generation: round + 1 })
          t.match(sessions.access.verify(access, NOW + round * 11), { context: { userId: 'ada' } })
        }
      }
      // Within the grace all of them get the current one again; a browser keeps whichever cookie came last.
      for (const sessions of [a, b]) {
        for (const { refresh } of [winner, loser]) {
          t.equal(payloadOf(tokensOf(await renew(sessions, refresh)).refresh)['jti'], payloadOf(winner.refresh)['jti'])
        }
      }
      token = round % 3 === 0 ? winner.refresh : loser.refresh
      advance(11_000)
    }
  }
})

test('reuse is found across the change of the secret', async (t) => {
  for (const onA of [true, false]) {
    const { a, b, advance } = await duringRotation()
    const [one, other] = onA ? [a, b] : [b, a]
    const token = await open(one)
    const next = tokensOf(await renew(other, token)).refresh
    advance(11_000)
    t.match(await renew(one, token), { refused: 'REFRESH_REUSED' })
    for (const sessions of [a, b]) t.match(await renew(sessions, next), { refused: 'REFRESH_REUSED' })
  }
})

test('a refresh token of a secret that has ended is invalid and ends nothing', async (t) => {
  let now = NOW * 1000
  const store = new MemorySessionStore(POLICY, () => now)
  const [old, next, access] = [keyOf('HS256'), keyOf('HS256'), rest()]
  const before = await sessionsWith(access, ring({ current: old }, 'refresh'), store)
  const after = await sessionsWith(access, ring({ current: next, verifyOnly: [{ ...old, until }] }, 'refresh'), store)
  const token = await open(before)
  t.match(after.ownerOf(token), { userId: 'ada' })
  now = END * 1000
  t.match(await renew(after, token), { refused: 'TOKEN_INVALID' })
  t.equal(after.ownerOf(token), null, 'logout with it names no session')
  t.match(await renew(before, token), { tokens: {} }, 'the session goes on where its secret is')
})

test('an instance without the secret that made the successor says so and revokes nothing', async (t) => {
  const store = new MemorySessionStore(POLICY, () => NOW * 1000)
  const [old, next, access] = [keyOf('HS256'), keyOf('HS256'), rest()]
  const a = await sessionsWith(access, ring({ current: next, verifyOnly: [{ ...old, until }] }, 'refresh'), store)
  const behind = await sessionsWith(access, ring({ current: old }, 'refresh'), store)
  const token = await open(behind)
  const successor = tokensOf(await renew(a, token)).refresh
  t.match(await renew(behind, token), { refused: 'TOKEN_INVALID', events: [{ code: 'KEY_UNKNOWN' }] })
  t.match(await renew(a, successor), { tokens: {} })
})
