import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Writable } from 'node:stream'
import { mock } from 'node:test'
import Fastify, { type FastifyRequest } from 'fastify'
import { test, type Test } from 'tap'
import { EVENT_NAMES, EVENTS, type SecurityEvent } from '../../../lib/events/catalogue.js'
import { CHANNEL_NAME, EventRecorder } from '../../../lib/events/recorder.js'
import type { SecurityEventRecord } from '../../../lib/events/emitter.js'
import { EventSampler } from '../../../lib/events/sampler.js'
import { MAX_ITEMS, MAX_TEXT, safeField, safeText } from '../../../lib/events/sanitize.js'

interface Line {
  readonly level: number
  readonly msg: string
  readonly event: string
  readonly suppressed?: number
  readonly [field: string]: unknown
}

function build (
  t: Test,
  total = 20,
  caller = total,
): { recorder: EventRecorder, lines: () => Line[], clock: { now: number }, raw: () => string } {
  let text = ''
  const app = Fastify({
    logger: {
      level: 'trace',
      stream: new Writable({
        write (chunk: Buffer, _encoding, done) {
          text += chunk.toString()
          done()
        },
      }),
    },
  })
  const clock = { now: 1_000_000 }
  const recorder = new EventRecorder({ limits: { total, caller }, log: app.log, now: () => clock.now })
  t.teardown(() => {
    recorder.close()
  })
  return {
    recorder,
    clock,
    raw: () => text,
    lines: () => text.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Line),
  }
}

const FAILED: SecurityEvent = { name: 'authn_login_fail', reason: 'credentials' }

test('text that leaves in an event forges no line and steers no terminal', async (t) => {
  const cases: [string, string][] = [
    ['plain', 'plain'],
    ['a\r\n{"level":60}', 'a\\u000d\\u000a{"level":60}'],
    ['\u001b[2J\u0007', '\\u001b[2J\\u0007'],
    ['\u009b31m\u0000\u007f', '\\u009b31m\\u0000\\u007f'],
    ['a\u2028b\u2029c', 'a\\u2028b\\u2029c'],
    ['\u202etxt.exe\u2066\u200b', '\\u202etxt.exe\\u2066\\u200b'],
    ['\ufeffa\u200fb\u2060', '\\ufeffa\\u200fb\\u2060'],
    ['\ud800', '\\ud800'],
    ['Grüße 日本 🎉', 'Grüße 日本 🎉'],
    ['ada.lovelace@example.com', 'a***@example.com'],
    ['for <ada@example.com>, bob@mail.example.org', 'for <a***@example.com>, b***@mail.example.org'],
    ['@ a@ @b', '@ a@ @b'],
  ]
  for (const [text, safe] of cases) t.equal(safeText(text), safe)
  for (
    const text of [
      'x'.repeat(1e6),
      '\n'.repeat(300),
      `${'x'.repeat(250)}ada@example.com`,
      '@'.repeat(1e6),
      'a@'.repeat(1e5),
    ]
  ) t.ok(safeText(text).length <= MAX_TEXT)
  t.notMatch(
    safeText(`${'x'.repeat(200)} ${'y'.repeat(45)}lovelace@${'long-'.repeat(12)}.example.com`),
    /lovelace/,
    'an address at the edge is masked before it is cut',
  )
  t.equal(safeText('x'.repeat(MAX_TEXT)), 'x'.repeat(MAX_TEXT))
  t.same(safeField(['a\n', 1, { secret: 1 }, 'b']), ['a\\u000a', 'b'])
  t.equal((safeField(Array(1000).fill('x')) as string[]).length, MAX_ITEMS)
  for (const value of [{ password: 'x' }, null, undefined, () => 1, Symbol('x'), 1n]) {
    t.equal(safeField(value), undefined)
  }
})

test('no field of the catalogue could hold a password, a token, a cookie, an address or a value', async (t) => {
  const allowed = new Set([
    'userId',
    'sessionId',
    'reason',
    'kind',
    'code',
    'policies',
    'part',
    'paths',
    'store',
    'fallback',
    'directive',
    'blocked',
    'disposition',
    'header',
    'list',
    'production',
    'uptimeSeconds',
    'from',
    'to',
    'action',
    'by',
    'resource',
    'step',
  ])
  for (const [name, { level, fields }] of Object.entries(EVENTS)) {
    for (const field of fields) t.ok(allowed.has(field), `${name}.${field}`)
    t.ok(['info', 'warn', 'error'].includes(level))
  }
})

test('whatever else an event carries by mistake is dropped', async (t) => {
  const { recorder, raw } = build(t)
  const seen: SecurityEventRecord[] = []
  recorder.events.on('*', (event) => {
    seen.push(event)
  })
  const fields = {
    password: 'hunter2',
    token: 'hunter2',
    cookie: 'hunter2',
    userId: { password: 'hunter2' },
    reason: 'x\ny',
    name: 'authz_fail' as const,
  }
  recorder.record(fields as unknown as SecurityEvent, null)
  t.same(seen, [{
    name: 'authz_fail',
    reason: 'x\\u000ay',
    time: 1_000_000,
    requestId: null,
    ip: null,
    method: null,
    route: null,
  }])
  t.notMatch(raw() + JSON.stringify(seen), /hunter2/)
})

test('each event goes to the log at its level, with its fields', async (t) => {
  const { recorder, lines } = build(t)
  for (const name of EVENT_NAMES) recorder.record({ name, userId: 'u1', reason: 'r' } as unknown as SecurityEvent, null)
  const levels = { info: 30, warn: 40, error: 50 }
  t.same(
    lines().map(({ level, msg, event }) => [level, msg, event]),
    EVENT_NAMES.map((name) => [levels[EVENTS[name].level], name, name]),
  )
  t.match(lines()[0], { event: 'authn_login_success', userId: 'u1' })
})

test('what the log leaves out is counted exactly, for each event by itself', async (t) => {
  const { recorder, lines, clock } = build(t, 3)
  const heard: number[] = []
  recorder.events.on('authn_login_fail', ({ time }) => { heard.push(time) })
  const attack = (times: number): void => { for (let index = 0; index < times; index++) recorder.record(FAILED, null) }
  attack(10)
  recorder.record({ name: 'store_recovered', store: 's' }, null)
  t.equal(lines().length, 4)
  clock.now += 9_999
  attack(1)
  t.equal(lines().length, 4, 'the window has not ended yet')
  clock.now += 1
  attack(1)
  t.match(lines().slice(4), [{ level: 40, msg: 'authn_login_fail', event: 'authn_login_fail', suppressed: 8 }, {
    msg: 'authn_login_fail',
  }])
  attack(5)
  recorder.close()
  recorder.close()
  t.match(lines().at(-1), { event: 'authn_login_fail', suppressed: 3 })
  const logged =
    lines().filter(({ event, suppressed }) => event === 'authn_login_fail' && suppressed === undefined).length
  const left = lines().reduce((sum, { suppressed = 0 }) => sum + suppressed, 0)
  t.equal(logged + left, 17)
  t.equal(heard.length, 17, 'listeners get every event')
})

test('an attack that stops is reported when its window has ended, without a further event', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  const { recorder, lines, clock } = build(t, 1)
  for (let index = 0; index < 4; index++) recorder.record(FAILED, null)
  clock.now += 10_000
  mock.timers.tick(10_000)
  t.same(lines().map(({ suppressed }) => suppressed), [undefined, 3])
  for (let index = 0; index < 3; index++) recorder.record(FAILED, null)
  clock.now += 10_000
  mock.timers.tick(10_000)
  t.same(lines().map(({ suppressed }) => suppressed), [undefined, 3, undefined, 2], 'and so is the next one')
})

test('an event without a request counts for the user or the store that it is about, whose names are cleaned', async (t) => {
  const { recorder, lines } = build(t, 100, 1)
  const users = ['ada.lovelace@example.com', 'ada.lovelace@example.com', 'x\n{"level":60}', 'x\n{"level":60}', 'quiet']
  for (const userId of users) recorder.record({ name: 'authn_password_change_fail', userId }, null)
  for (const store of ['limits', 'limits', 'sessions']) recorder.record({ name: 'store_recovered', store }, null)
  t.same(lines().map(({ event, ['userId']: userId, ['store']: store }) => [event, userId ?? store]), [
    ['authn_password_change_fail', 'a***@example.com'],
    ['authn_password_change_fail', 'x\\u000a{"level":60}'],
    ['authn_password_change_fail', 'quiet'],
    ['store_recovered', 'limits'],
    ['store_recovered', 'sessions'],
  ])
  recorder.close()
  t.same(lines().slice(5).map((line) => line['callers']), [
    [{ caller: 'a***@example.com', suppressed: 1 }, { caller: 'x\\u000a{"level":60}', suppressed: 1 }],
    [{ caller: 'limits', suppressed: 1 }],
  ])
})

test('the id of a request, which a proxy may have chosen, is cleaned', async (t) => {
  const { recorder } = build(t)
  const ids: (string | null)[] = []
  recorder.events.on('*', ({ requestId }) => {
    ids.push(requestId)
  })
  recorder.record(
    FAILED,
    { id: 'a\r\nb', ip: '192.0.2.1', method: 'GET', routeOptions: {} } as unknown as FastifyRequest,
  )
  t.same(ids, ['a\\u000d\\u000ab'])
})

test('a limit of 0 logs counts only', async (t) => {
  const { recorder, lines, clock } = build(t, 0)
  recorder.record(FAILED, null)
  clock.now += 10_000
  recorder.record(FAILED, null)
  recorder.close()
  t.same(lines().map(({ suppressed }) => suppressed), [1, 1])
})

test('a clock that was set back silences nothing', async (t) => {
  const sampler = new EventSampler({ total: 1, caller: 1 })
  t.equal(sampler.admits('authz_fail', 'a', 5000), true)
  t.equal(sampler.admits('authz_fail', 'a', 5000), false)
  t.same(sampler.ended('authz_fail', 4000), { name: 'authz_fail', count: 1, callers: [{ caller: 'a', suppressed: 1 }] })
  t.equal(sampler.admits('authz_fail', 'a', 4000), true)
  t.equal(sampler.ended('malicious_cors', 0), null)
})

test('of a request whose event nobody would hear, only the address is looked at', async (t) => {
  const { recorder } = build(t, 0)
  const looks: (string | symbol)[] = []
  const request = new Proxy({}, { get: (_target, name) => { looks.push(name); return undefined } }) as FastifyRequest
  recorder.record(FAILED, request)
  t.same(looks, ['ip'])
})

test('a listener that throws or rejects is logged and disturbs nobody', async (t) => {
  const { recorder, lines } = build(t)
  const heard: string[] = []
  recorder.events
    .on('authn_login_fail', () => { throw new Error('first') })
    .on('authn_login_fail', async () => { throw new Error('second') })
    .on('authn_login_fail', ({ name, reason }) => { heard.push(`${name} ${reason}`) })
    .on('*', ({ name }) => { heard.push(`* ${name}`) })
  t.doesNotThrow(() => { recorder.record(FAILED, null) })
  await new Promise((resolve) => { setImmediate(resolve) })
  t.same(heard, ['authn_login_fail credentials', '* authn_login_fail'])
  t.same(lines().filter(({ level }) => level === 50).map((line) => (line['err'] as { message: string }).message), [
    'first',
    'second',
  ])
})

test('once hears one event, off hears none, and a misspelt name is refused', async (t) => {
  const { recorder } = build(t)
  const heard: string[] = []
  const listener = (): void => { heard.push('on') }
  recorder.events.once('authn_login_fail', () => { heard.push('once') }).on('authn_login_fail', listener)
  recorder.record(FAILED, null)
  recorder.events.off('authn_login_fail', listener)
  recorder.record(FAILED, null)
  t.same(heard, ['once', 'on'])
  // @ts-expect-error no such event
  t.throws(() => recorder.events.on('authn_login_fails', listener), {
    name: 'TypeError',
    message: /Did you mean "authn_login_fail"/,
  })
})

test('the diagnostics channel gets every event, frozen', async (t) => {
  const { recorder } = build(t, 0)
  const seen: unknown[] = []
  const listener = (message: unknown): void => { seen.push(message) }
  subscribe(CHANNEL_NAME, listener)
  t.teardown(() => unsubscribe(CHANNEL_NAME, listener))
  recorder.record({ name: 'excess_rate_limit_exceeded', policies: ['login'] }, null)
  t.same(seen, [{
    name: 'excess_rate_limit_exceeded',
    policies: ['login'],
    time: 1_000_000,
    requestId: null,
    ip: null,
    method: null,
    route: null,
  }])
  t.ok(Object.isFrozen(seen[0]) && Object.isFrozen((seen[0] as { policies: unknown }).policies))
})
