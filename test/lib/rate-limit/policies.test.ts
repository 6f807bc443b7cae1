import { test } from 'tap'
import type { Problem } from '../../../lib/response/errors.js'
import { mayCarryText } from '../../../lib/rate-limit/body-schema.js'
import { resolvePolicies } from '../../../lib/rate-limit/policies.js'

const fine = { limit: 5, window: '1m', by: 'ip' }

function problemsOf (written: Record<string, unknown>): Problem[] {
  const problems: Problem[] = []
  resolvePolicies(written, 'rateLimit.policies', problems)
  return problems
}

test('a wrong limit is one problem with its path and a fix', (t) => {
  const table: readonly (readonly [string, Record<string, unknown>, RegExp])[] = [
    ['limit', { limit: 0 }, /whole number/],
    ['limit', { limit: -1 }, /whole number/],
    ['limit', { limit: NaN }, /whole number/],
    ['limit', { limit: Infinity }, /whole number/],
    ['limit', { limit: 1.5 }, /whole number/],
    ['limit', { limit: '5' }, /whole number/],
    ['limit', { limit: undefined }, /whole number/],
    ['limit', { limit: null }, /whole number/],
    ['limit', { limit: 1e12 }, /whole number/],
    ['window', { window: 900 }, /duration with a unit/],
    ['window', { window: '15' }, /duration with a unit/],
    ['window', { window: '0s' }, /duration with a unit/],
    ['window', { window: '15 minutes' }, /duration with a unit/],
    ['window', { window: undefined }, /duration with a unit/],
    ['window', { window: '999999999d' }, /366d/],
    ['by', { by: undefined }, /who is counted/],
    ['by', { by: 'ipp' }, /Did you mean 'ip'/],
    ['by', { by: 'address' }, /'ip', 'user'/],
    ['by', { by: [] }, /'ip', 'user'/],
    ['by', { by: {} }, /'ip', 'user'/],
    ['by', { by: { bdy: 'email' } }, /Did you mean \{ body/],
    ['by', { by: { body: '' } }, /'ip', 'user'/],
    ['by', { by: { body: 7 } }, /'ip', 'user'/],
    ['by', { by: { body: 'a', header: 'b' } }, /'ip', 'user'/],
    ['by', { by: { header: 'x y' } }, /'ip', 'user'/],
    ['by', { by: null }, /'ip', 'user'/],
    ['by[1]', { by: ['ip', 'usr'] }, /Did you mean 'user'/],
    ['by[1]', { by: ['ip', 'ip'] }, /once/],
    ['by[1]', { by: [{ header: 'X-A' }, { header: 'x-a' }] }, /once/],
    ['by', { by: 'apikey' }, /Did you mean 'apiKey'/],
    ['by', { by: { bodi: 'email' } }, /Did you mean \{ body/],
    ['by', { by: { heaader: 'x' } }, /Did you mean \{ header/],
    ['by', { by: Array.from({ length: 9 }, (_, index) => ({ header: `x-${index}` })) }, /at most 8/],
    ['algorithm', { algorithm: 'gcr' }, /exact, sliding, gcra, fixed/],
    ['algorithm', { algorithm: 'token-bucket' }, /exact, sliding, gcra, fixed/],
    ...[0, -1, NaN, 1.5, '2', null].flatMap((number) => [
      ['burst', { algorithm: 'gcra', burst: number }, /whole number/],
      ['cost', { cost: number }, /whole number/],
      ['penalty.after', { penalty: { after: number, within: '1m', bans: ['1m'] } }, /whole number/],
    ] as const),
    ['burst', { burst: 5 }, /algorithm: 'gcra'/],
    ['burst', { burst: 5, algorithm: 'sliding' }, /algorithm: 'gcra'/],
    ['burst', { burst: 6, algorithm: 'gcra' }, /at most the limit, 5/],
    ['cost', { cost: 6 }, /at most the limit, 5/],
    ['count', { algorithm: 'gcra', count: 'failures' }, /'exact' or 'sliding'/],
    ['cost', { cost: 3, burst: 2, algorithm: 'gcra' }, /at most the burst, 2/],
    ['expose', { expose: 'yes' }, /false/],
    ['expose', { expose: true, by: ['ip', { body: 'email' }] }, /stays hidden/],
    ['expose', { expose: true, by: { body: 'email' }, mode: 'shadow' }, /stays hidden/],
    ['expose', { expose: true, mode: 'shadow' }, /enforce/],
    ['penalty', { penalty: true }, /after: 5/],
    ['penalty.after', { penalty: { within: '1m', bans: ['1m'] } }, /whole number/],
    ['penalty.after', { penalty: { after: 1001, within: '1m', bans: ['1m'] } }, /1000/],
    ['penalty.within', { penalty: { after: 1, within: 60, bans: ['1m'] } }, /10m/],
    ['penalty.within', { penalty: { after: 1, within: '367d', bans: ['1m'] } }, /366d/],
    ['penalty.bans', { penalty: { after: 1, within: '1m', bans: [] } }, /'1m', '10m', '1h'/],
    ['penalty.bans', { penalty: { after: 1, within: '1m', bans: '1m' } }, /'1m', '10m', '1h'/],
    ['penalty.bans[1]', { penalty: { after: 1, within: '1m', bans: ['1m', 'ten minutes'] } }, /duration/],
    ['penalty.bans[1]', { penalty: { after: 1, within: '1m', bans: ['10m', '1m', '1h'] } }, /shortest/],
    ['penalty.bans[0]', { penalty: { after: 1, within: '1m', bans: ['400d'] } }, /366d/],
    ['penalty.ban', { penalty: { after: 1, within: '1m', bans: ['1m'], ban: '1m' } }, /Did you mean "bans"/],
    ['penalty', { penalty: { after: 1, within: '1m', bans: ['1m'] }, mode: 'shadow' }, /enforce/],
    ['skip', { skip: true }, /synchronous function/],
    ['skip', { skip: async () => true }, /synchronous function/],
    ['skip', { skip: function * () { yield true } }, /synchronous function/],
    ['algorithm', { algorithm: 'exact', limit: 1001 }, /sliding/],
    ['count', { count: 'failure' }, /all, failures/],
    ['mode', { mode: 'shadows' }, /enforce, shadow/],
    ['onOutage', { onOutage: 'memory' }, /local, closed, open/],
    ['onOutage', { onOutage: 'closed', mode: 'shadow' }, /enforce/],
    ['penalty', { penalty: [] }, /after: 5/],
    ['bursts', { bursts: 5 }, /Did you mean "burst"/],
    ['windw', { windw: '1m' }, /Did you mean "window"/],
  ]
  for (const [key, change, fix] of table) {
    const alone = problemsOf({ mine: { ...fine, ...change } })
    t.same(alone.map(({ path }) => path), [`rateLimit.policies.mine.${key}`], JSON.stringify(change))
    t.match(alone[0]?.fix, fix)
    const listed = problemsOf({ mine: [fine, { ...fine, ...change }] })
    t.same(listed.map(({ path }) => path), [`rateLimit.policies.mine[1].${key}`], `listed ${JSON.stringify(change)}`)
  }
  t.end()
})

test('a policy that is no limit, no list, empty, or named so that no header can carry it, is a problem', (t) => {
  for (const wrong of [null, 7, 'ip', true, [], [null]]) {
    const problems = problemsOf({ mine: wrong })
    t.equal(problems.length, 1, JSON.stringify(wrong))
    t.match(problems[0]?.fix, /^Write /)
  }
  for (const name of ['a b', 'a"', 'login:2', '', '1', 'ä', 'x'.repeat(65), '__proto__']) {
    const written = JSON.parse(`{${JSON.stringify(name)}: ${JSON.stringify(fine)}}`) as Record<string, unknown>
    t.equal(problemsOf(written).length, 1, JSON.stringify(name))
  }
  t.end()
})

test('every problem is found, not only the first', (t) => {
  t.equal(
    problemsOf({
      a: { ...fine, limit: 0, window: 'x', by: 'y' },
      b: [{ ...fine, limit: '5' }, fine, { ...fine, mode: 1 }],
    }).length,
    5,
  )
  t.end()
})

test('boundaries and defaults are as documented', (t) => {
  const problems: Problem[] = []
  const policies = resolvePolicies({
    small: { limit: 64, window: '1ms', by: 'ip' },
    large: { limit: 65, window: '366d', by: ['ip', 'user'] },
    exact: { limit: 1000, window: '1m', by: { header: 'X-Api-Key' }, algorithm: 'exact', mode: undefined },
    many: [{ ...fine }, { ...fine, by: ['user', { body: 'id' }] }],
  }, 'p', problems)
  t.same(problems, [])
  const facts = [...policies.values()].flat().map(({ item, quota, phase, failuresOnly, onOutage }) =>
    `${item} ${quota.algorithm} ${quota.limit}/${quota.windowMs} ${phase}${failuresOnly ? ' failures' : ''}${
      quota.shadow ? ' shadow' : ''
    } ${onOutage}`
  )
  t.same(facts, [
    'global sliding 100/900000 limit-address local',
    'auth exact 10/900000 limit-address local',
    'login exact 5/900000 limit-body failures local',
    'login:2 exact 30/900000 limit-address failures local',
    'login:3 sliding 100/3600000 limit-body failures shadow local',
    'reports sliding 100/900000 limit-address local',
    'small exact 64/1 limit-address local',
    'large sliding 65/31622400000 limit-user local',
    'exact exact 1000/60000 limit-address local',
    'many exact 5/60000 limit-address local',
    'many:2 exact 5/60000 limit-body local',
  ])
  t.end()
})

test('every further key arrives in the quota or beside it', (t) => {
  const skip = (): boolean => false
  const problems: Problem[] = []
  const [gcra, fixed, shadow, user, quiet] = resolvePolicies(
    {
      mine: [
        {
          limit: 100,
          window: '1m',
          by: 'apiKey',
          algorithm: 'gcra',
          burst: 10,
          cost: 10,
          penalty: { after: 3, within: '10m', bans: ['1m', '1m', '1h'] },
          skip,
        },
        {
          limit: 5,
          window: '1m',
          by: 'ip',
          algorithm: 'fixed',
          cost: 5,
          expose: true,
          burst: undefined,
          penalty: undefined,
          skip: undefined,
        },
        { limit: 5, window: '1m', by: 'ip', mode: 'shadow', expose: false },
        { limit: 5, window: '1m', by: ['user', 'apiKey'], expose: true },
        { limit: 5, window: '1m', by: 'ip', expose: false },
      ],
    },
    'p',
    problems,
  ).get('mine') ?? []
  t.same(problems, [])
  t.match(gcra, {
    quota: {
      algorithm: 'gcra',
      limit: 100,
      burst: 10,
      cost: 10,
      penalty: { after: 3, withinMs: 600_000, bansMs: [60_000, 60_000, 3_600_000] },
    },
    exposed: true,
    phase: 'limit-address',
  })
  t.equal(gcra?.skip, skip)
  t.match(fixed, { quota: { algorithm: 'fixed', burst: 5, cost: 5, penalty: null }, exposed: true, skip: null })
  t.match(shadow, { quota: { cost: 1, shadow: true }, exposed: false })
  t.match(user, { exposed: true, phase: 'limit-user' }, 'whoever sees it is the account')
  t.match(quiet, { exposed: false })
  t.ok(Object.isFrozen(gcra) && Object.isFrozen(gcra?.quota.penalty) && Object.isFrozen(gcra?.parts))
  t.end()
})

test('a written policy replaces the built-in one of its name as a whole', (t) => {
  const policies = resolvePolicies({ login: { limit: 3, window: '1m', by: 'ip' } }, 'p', [])
  t.same(policies.get('login')?.map(({ quota }) => quota.limit), [3])
  t.same(policies.get('global')?.map(({ quota }) => quota.limit), [100])
  t.end()
})

test('a body schema is asked whether it may carry the field as text', (t) => {
  const text = { type: 'object', properties: { email: { type: 'string' } } }
  const table: readonly (readonly [boolean, unknown])[] = [
    [true, undefined],
    [true, text],
    [true, { properties: { email: {} } }],
    [true, { type: ['object', 'null'], properties: { email: { type: ['string', 'null'] } } }],
    [true, { type: 'object' }],
    [true, { $ref: 'login#' }],
    [true, { allOf: [{ type: 'object', properties: { a: {} } }, text] }],
    [true, { anyOf: [{ type: 'string' }, { $ref: 'x' }] }],
    [true, { content: { 'application/json': { schema: text }, 'text/plain': { schema: { type: 'string' } } } }],
    [false, { type: 'object', properties: { mail: { type: 'string' } } }],
    [false, { type: 'object', properties: { email: { type: 'integer' } } }],
    [false, { type: 'object', additionalProperties: false }],
    [false, { type: 'string' }],
    [false, { oneOf: [{ type: 'array' }, { type: 'object', properties: {} }] }],
    [false, { content: { 'text/plain': { schema: { type: 'string' } } } }],
    [false, { type: 'object', properties: JSON.parse('{"__proto__":{}}') as unknown }],
  ]
  for (const [expected, schema] of table) t.equal(mayCarryText(schema, 'email'), expected, JSON.stringify(schema))
  t.end()
})
