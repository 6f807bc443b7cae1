import type { FastifyReply } from 'fastify'
import { test } from 'tap'
import { refusal, SecurityError } from '../../../lib/response/errors.js'
import { answerDirectly, libraryCodes, renderProblem, statusOf } from '../../../lib/response/problem.js'

test('a security error says its code, its sentence, its members and headers', async (t) => {
  const error = new SecurityError('RATE_LIMITED', {
    headers: { 'retry-after': '5' },
    members: { retryAfter: 5 },
    cause: new Error('redis'),
  })
  const problem = renderProblem(error, 'abc', null)
  t.same(problem.headers, { 'retry-after': '5' })
  t.same(JSON.parse(problem.body), {
    type: 'about:blank',
    title: 'Too Many Requests',
    status: 429,
    detail: 'Too many requests. Try again later.',
    instance: 'abc',
    code: 'RATE_LIMITED',
    retryAfter: 5,
  })
})

test('a document that is made ahead says what one that is made for the occasion says', async (t) => {
  const members: Record<string, unknown>[] = [
    {},
    { retryAfter: 5, violatedPolicies: ['a"b'] },
    { status: 200, title: 'mine', code: 'OTHER', instance: 'x', type: 'y', detail: 'z', own: 1 },
    { gone: undefined },
    { at: new Date(0) },
    { toJSON: () => ({ forged: true }) },
    { '__proto__x': 1 },
  ]
  for (const typeBase of [null, 'https://x.example/"errors"#']) {
    for (const extra of members) {
      for (const instance of ['abc', 'quote " and \n line']) {
        const made = [
          refusal('RATE_LIMITED', { members: extra }),
          new SecurityError('RATE_LIMITED', { members: extra }),
        ].map((error) => renderProblem(error, instance, typeBase))
        // Another sentence takes the longer way.
        const occasional = renderProblem(
          new SecurityError('RATE_LIMITED', { members: extra, detail: 'Other.' }),
          instance,
          typeBase,
        ).body.replace('Other.', 'Too many requests. Try again later.')
        for (const { body } of made) t.equal(body, occasional)
      }
    }
  }
})

test('a refusal is a security error of its own, without a stack of calls', async (t) => {
  const cause = new Error('why')
  const [one, two] = [
    refusal('FORBIDDEN', { headers: { a: 'b' }, members: { c: 1 }, detail: 'No.', cause }),
    refusal('FORBIDDEN'),
  ]
  t.ok(one instanceof SecurityError && one instanceof Error)
  t.match(one, {
    name: 'SecurityError',
    message: 'No.',
    stack: 'SecurityError: No.',
    code: 'FORBIDDEN',
    statusCode: 403,
    headers: { a: 'b' },
    members: { c: 1 },
    cause,
  })
  t.match(two, { message: 'This is not allowed.', headers: {}, members: {} })
  t.notOk('cause' in two)
  t.equal(String(one), 'SecurityError: No.')
})

test('any other error tells nothing but its status', async (t) => {
  const secret = 'password authentication failed for user "admin"'
  const table: [unknown, number, string][] = [
    [new Error(secret), 500, 'INTERNAL_ERROR'],
    [Object.assign(new Error(secret), { statusCode: 404 }), 404, 'NOT_FOUND'],
    [Object.assign(new Error(secret), { status: 409 }), 409, 'CONFLICT'],
    [Object.assign(new Error(secret), { statusCode: 418 }), 418, 'BAD_REQUEST'],
    [Object.assign(new Error(secret), { statusCode: 502 }), 502, 'INTERNAL_ERROR'],
    [Object.assign(new Error(secret), { statusCode: 400, validation: [{}] }), 400, 'VALIDATION_FAILED'],
    [Object.assign(new Error(secret), { statusCode: 200 }), 500, 'INTERNAL_ERROR'],
    [Object.assign(new Error(secret), { statusCode: '404' }), 500, 'INTERNAL_ERROR'],
    [Object.assign(new Error(secret), { statusCode: 404.5 }), 500, 'INTERNAL_ERROR'],
    [
      Object.assign(new Error(secret), { code: 'RATE_LIMITED', members: { secret }, headers: { x: secret } }),
      500,
      'INTERNAL_ERROR',
    ],
    [secret, 500, 'INTERNAL_ERROR'],
    [null, 500, 'INTERNAL_ERROR'],
    [undefined, 500, 'INTERNAL_ERROR'],
  ]
  for (const [error, status, code] of table) {
    const problem = renderProblem(error, 'abc', null)
    t.equal(problem.status, status)
    t.match(JSON.parse(problem.body), { status, code, instance: 'abc' })
    t.notMatch(problem.body, /password/)
    t.same(problem.headers, {})
  }
})

test('a foreign status keeps its own title', async (t) => {
  t.match(JSON.parse(renderProblem({ statusCode: 410 }, 'a', null).body), { status: 410, title: 'Gone' })
})

test('a type base makes types that can be looked up', async (t) => {
  t.match(JSON.parse(renderProblem(new SecurityError('NOT_FOUND'), 'a', 'https://x.example/errors#').body), {
    type: 'https://x.example/errors#NOT_FOUND',
  })
})

test('statusOf never gives what is no error status', async (t) => {
  for (const value of [undefined, null, 'x', 5, {}, { statusCode: 399 }, { statusCode: 600 }, { statusCode: NaN }]) {
    t.equal(statusOf(value), 500)
  }
})

test('codes of libraries are logged where they look like codes, of a bounded chain', async (t) => {
  const chain = (depth: number): unknown =>
    depth === 0 ? { code: 'LAST' } : { code: `E${depth}`, cause: chain(depth - 1) }
  const table: [unknown, string[]][] = [
    [{ code: 'x'.repeat(64) }, ['x'.repeat(64)]],
    [{ code: 'x'.repeat(65) }, []],
    [{ code: 'two words' }, []],
    [{ code: 'a\n' }, []],
    [{ code: '' }, []],
    [{ code: 5 }, []],
    [{ code: 'CONFLICT', cause: { code: '23505' } }, ['23505']],
    [chain(9), ['E9', 'E8', 'E7', 'E6', 'E5']],
    [null, []],
    ['x', []],
  ]
  for (const [error, codes] of table) t.same(libraryCodes(error), codes)
})

test('an answer of which part is on its way is cut off, and nothing is written into it', async (t) => {
  const calls: string[] = []
  const note = (name: string) => () => {
    calls.push(name)
  }
  const reply = {
    raw: { headersSent: true, destroy: note('destroy'), writeHead: note('writeHead'), end: note('end') },
    hijack: note('hijack'),
  }
  answerDirectly(reply as unknown as FastifyReply, new Error('x'), renderProblem(null, 'id', null))
  t.same(calls, ['destroy'])
})
