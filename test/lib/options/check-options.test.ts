import { Type } from '@sinclair/typebox'
import { test } from 'tap'
import type { Problem } from '../../../lib/response/errors.js'
import { checkOptions, readableOptions } from '../../../lib/options/check-options.js'
import { nearest } from '../../../lib/options/nearest.js'

const Schema = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Write a whole number of at least 1.' })),
  nested: Type.Optional(Type.Object({ origins: Type.Array(Type.String()) }, { additionalProperties: false })),
}, { additionalProperties: false })

function problemsOf (input: unknown): readonly Problem[] {
  const problems: Problem[] = []
  checkOptions(Schema, input, 'base', problems)
  return problems
}

test('accepts what the schema allows and returns a copy', async (t) => {
  const input = { limit: 3, nested: { origins: ['a'] } }
  const problems: Problem[] = []
  const copy = checkOptions(Schema, input, 'base', problems)
  t.same(copy, input)
  t.not(copy, input)
  t.same(problems, [])
})

test('an explicitly undefined key counts as absent, at any depth', async (t) => {
  const problems: Problem[] = []
  t.same(checkOptions(Schema, { limit: undefined }, 'base', problems), {})
  t.same(problems, [])
  t.match(problemsOf({ nested: { origins: undefined } }), [{ path: 'base.nested.origins', message: 'Missing.' }])
})

test('suggests the nearest known key for a misspelt one', async (t) => {
  t.match(problemsOf({ limt: 3 }), [{ path: 'base.limt', fix: 'Did you mean "limit"?' }])
  t.match(problemsOf({ zzzzzzzz: 3 }), [{ path: 'base.zzzzzzzz', fix: 'Known here: limit, nested.' }])
})

test('a renamed option is refused with its new name, at any depth', async (t) => {
  const Renamed = Type.Object({
    origin: Type.Optional(Type.String()),
    nested: Type.Optional(
      Type.Object({ maxAge: Type.Integer() }, { additionalProperties: false, renamed: { maxAgeSeconds: 'maxAge' } }),
    ),
  }, { additionalProperties: false, renamed: { origins: 'origin' } })
  const problems: Problem[] = []
  t.equal(checkOptions(Renamed, { origins: 'a', nested: { maxAge: 1, maxAgeSeconds: 1 } }, 'cors', problems), null)
  t.same(problems, [
    { path: 'cors.origins', message: 'Renamed to `origin`.', fix: 'Write `origin` in its place.' },
    { path: 'cors.nested.maxAgeSeconds', message: 'Renamed to `maxAge`.', fix: 'Write `maxAge` in its place.' },
  ])
  const others: Problem[] = []
  checkOptions(Renamed, { origni: 'a', constructor: 'a', toString: 'a' }, 'cors', others)
  t.match(others, [{ fix: 'Did you mean "origin"?' }, { message: 'Unknown option.' }, { message: 'Unknown option.' }])
})

test('reports every problem, each once, with its path and the fix of the schema', async (t) => {
  const problems = problemsOf({ limit: '3', nested: { origins: ['a', 5, 6] }, other: 1 })
  t.same(problems.map(({ path }) => path).sort(), [
    'base.limit',
    'base.nested.origins[1]',
    'base.nested.origins[2]',
    'base.other',
  ])
  t.match(problems.find(({ path }) => path === 'base.limit'), { fix: 'Write a whole number of at least 1.' })
})

test('an own __proto__ key is an unknown option and changes no prototype', async (t) => {
  const hostile: unknown = JSON.parse('{"__proto__": {"limit": 3}}')
  const problems: Problem[] = []
  t.equal(checkOptions(Schema, hostile, 'base', problems), null)
  t.match(problems, [{ path: 'base.__proto__' }])
})

test('refuses values that are no object', async (t) => {
  for (const input of [null, true, 5, 'text', [], () => {}]) t.ok(problemsOf(input).length > 0, String(input))
})

test('finds the nearest name only when it is near', async (t) => {
  t.equal(nearest('rateLimt', ['rateLimit', 'auth']), 'rateLimit')
  t.equal(nearest('RATELIMIT', ['rateLimit']), 'rateLimit')
  t.equal(nearest('xyz', ['rateLimit', 'auth']), null)
  t.equal(nearest('a', []), null)
})

test('what has no problem stays readable, so that the rest can be judged too', async (t) => {
  const problems = [{ path: 'base.a', message: '', fix: '' }, { path: 'base.list[0]', message: '', fix: '' }, {
    path: 'base.deep.x',
    message: '',
    fix: '',
  }]
  t.same(readableOptions({ a: 1, ab: 2, list: [1], deep: {}, none: undefined }, 'base', problems), { ab: 2 })
  t.same(readableOptions('text', 'base', problems), {})
})
