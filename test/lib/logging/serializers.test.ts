import { inspect } from 'node:util'
import { test } from 'tap'
import { watchSecretValues } from '../../../lib/logging/secrets.js'
import { logSerializers, serializeError } from '../../../lib/logging/serializers.js'

const SECRET = 'hunter2-hunter2'

/** As HTTP clients throw them. */
function clientError (): Error {
  return Object.assign(new Error('Request failed with status code 401'), {
    code: 'ERR_BAD_REQUEST',
    config: { headers: { authorization: `Bearer ${SECRET}` }, data: SECRET },
    request: { headers: { cookie: SECRET }, path: `/?token=${SECRET}` },
    response: { headers: { 'set-cookie': [SECRET] }, data: SECRET },
    options: { headers: { 'x-api-key': SECRET } },
    parameters: [SECRET],
    detail: `Key (email)=(${SECRET}) already exists.`,
  })
}

test('an error is logged by its type, message, code and stack, without whatever else hangs on it', async (t) => {
  const wrapped = new Error('outer', { cause: new Error('middle', { cause: clientError() }) })
  const many = new AggregateError([clientError(), clientError()], 'all failed')
  for (
    const error of [
      clientError(),
      wrapped,
      many,
      Object.assign(new Error('x', { cause: many }), { err: clientError(), cause2: SECRET }),
    ]
  ) {
    t.notMatch(inspect(serializeError(error), { depth: 20 }), SECRET)
  }
  t.match(serializeError(wrapped), {
    type: 'Error',
    message: 'outer',
    stack: /outer/,
    cause: { message: 'middle', cause: { message: /401/, code: 'ERR_BAD_REQUEST' } },
  })
  t.match(serializeError(many), {
    type: 'AggregateError',
    errors: [{ code: 'ERR_BAD_REQUEST' }, { code: 'ERR_BAD_REQUEST' }],
  })
})

test('chains and lists of errors end', async (t) => {
  const circular: Error & { cause?: unknown } = new Error('circular')
  circular.cause = circular
  t.ok(JSON.stringify(serializeError(circular)).length < 50_000)
  const wide = new AggregateError(
    Array.from({ length: 50 }, () => new AggregateError(Array.from({ length: 50 }, () => new Error('x')), 'y')),
    'z',
  )
  t.ok(JSON.stringify(serializeError(wide)).length < 200_000)
  t.ok(JSON.stringify(serializeError(new Error('x'.repeat(1e6)))).length < 100_000)
})

test('what is thrown and is no error is not repeated', async (t) => {
  for (const thrown of [SECRET, { password: SECRET }, null, undefined, 1, [SECRET]]) {
    t.notMatch(JSON.stringify(serializeError(thrown)), SECRET)
  }
  t.match(serializeError(Object.assign(new Error('x', { cause: SECRET }), { code: { token: SECRET } })), {
    message: 'x',
    cause: { type: 'string' },
  })
  t.notMatch(JSON.stringify(serializeError(new Error('x', { cause: { token: SECRET } }))), SECRET)
  const hostile = new Error('x')
  Object.defineProperties(hostile, {
    message: { value: { token: SECRET } },
    stack: { value: [SECRET] },
    name: { value: 7 },
  })
  t.same(serializeError(hostile), { type: '', message: '', stack: '' })
})

test('headers that prove who somebody is are named without their value', async (t) => {
  const names = [
    'authorization',
    'Authorization',
    'proxy-authorization',
    'cookie',
    'set-cookie',
    'x-api-key',
    'X-ApiKey',
    'x-auth-token',
    'x-csrf-token',
    'x-session-id',
    'x-amz-security-token',
    'x-hub-signature-256',
    'client-secret',
    'x-goog-api-key',
    'authentication-info',
    'www-authenticate',
    'cookie2',
    'x-password',
    'x-passwd',
    'x-credential',
    'x-xsrf',
    'x-csrf',
  ]
  for (const name of names) t.same(logSerializers.headers({ [name]: SECRET }), { [name]: '[redacted]' }, name)
  t.same(
    logSerializers.headers({
      accept: '*/*',
      'content-length': 3,
      'x-list': ['a', 'b'],
      odd: { token: SECRET },
      none: undefined,
    }),
    { accept: '*/*', 'content-length': 3, 'x-list': ['a', 'b'], odd: '[redacted]', none: undefined },
  )
  t.same(logSerializers.headers(new Headers({ cookie: SECRET, accept: '*/*' })), {
    accept: '*/*',
    cookie: '[redacted]',
  })
  for (const odd of [['authorization', SECRET], SECRET, null, 1]) t.equal(logSerializers.headers(odd), '[redacted]')
})

test('queries, cookies and the credentials of a URL stay out', async (t) => {
  t.equal(
    logSerializers.url(`https://ada:${SECRET}@example.com/a?token=${SECRET}#${SECRET}`),
    'https://[redacted]@example.com/a',
  )
  t.equal(logSerializers.url(`//ada:${SECRET}@example.com/a`), '//[redacted]@example.com/a')
  t.equal(logSerializers.url(`/a#${SECRET}`), '/a')
  t.equal(logSerializers.url(new URL(`redis://:${SECRET}@redis:6379/0`)), 'redis://[redacted]@redis:6379/0')
  t.equal(logSerializers.url({ token: SECRET }), '')
  t.same(logSerializers.query({ token: SECRET, page: '1' }), { token: '[redacted]', page: '[redacted]' })
  t.same(logSerializers.query(new URLSearchParams({ token: SECRET })), { token: '[redacted]' })
  t.same(logSerializers.cookies({ session: SECRET }), { session: '[redacted]' })
  for (const odd of [SECRET, [SECRET], 7]) t.equal(logSerializers.query(odd), '[redacted]')
  t.same(logSerializers.res({ statusCode: 200, headers: { 'set-cookie': SECRET } }), { statusCode: 200 })
  t.same(logSerializers.res(null), { statusCode: undefined })
  t.equal(logSerializers.reason('plain'), 'plain')
  t.notMatch(JSON.stringify(logSerializers.reason(clientError())), SECRET)
})

test('known values are taken out by the serializers themselves, for a logger without the hook', async (t) => {
  const values = [SECRET]
  t.teardown(watchSecretValues(() => values))
  t.equal(logSerializers.url(`/reset/${SECRET}?x=1`), '/reset/[redacted]')
  t.same(logSerializers.headers({ referer: `/reset/${SECRET}`, 'x-list': ['a', SECRET] }), {
    referer: '/reset/[redacted]',
    'x-list': ['a', '[redacted]'],
  })
  t.match(serializeError(Object.assign(new Error(`at ${SECRET}`), { code: SECRET })), {
    message: 'at [redacted]',
    code: '[redacted]',
    stack: /at \[redacted\]/,
  })
})
