import { test } from 'tap'
import { mergeDirectives, mergeNames, replaceLeaves } from '../../../lib/policy/merge.js'

test('a leaf that is named replaces, an absent or undefined one keeps the base', async (t) => {
  const base = { a: 1, b: 2 }
  t.same(replaceLeaves(base, { a: 5 }), { a: 5, b: 2 })
  t.same(replaceLeaves<{ a: number, b: number }>(base, { a: undefined }), base)
  t.same(base, { a: 1, b: 2 })
})

test('CSP directives are replaced by name, dropped with false, extended with extend', async (t) => {
  const base = { 'default-src': ["'none'"], 'img-src': ["'self'"] }
  t.same(mergeDirectives(base, { 'img-src': ['data:'] }, {}), { 'default-src': ["'none'"], 'img-src': ['data:'] })
  t.same(mergeDirectives(base, { 'img-src': false }, {}), { 'default-src': ["'none'"] })
  t.same(mergeDirectives(base, {}, { 'img-src': ['data:', "'self'"] }), {
    'default-src': ["'none'"],
    'img-src': ["'self'", 'data:'],
  })
  t.same(mergeDirectives(base, {}, { 'connect-src': ['https://x.test'] })['connect-src'], ['https://x.test'])
})

test("extending 'none' replaces it, because it means nothing beside another source", async (t) => {
  t.same(mergeDirectives({ 'default-src': ["'none'"] }, {}, { 'default-src': ["'self'"] }), {
    'default-src': ["'self'"],
  })
})

test('rate-limit names are added once each; only replaces; false empties', async (t) => {
  t.same(mergeNames(['global'], ['search', 'global']), ['global', 'search'])
  t.same(mergeNames(['global'], { only: ['search'] }), ['search'])
  t.same(mergeNames(['global'], false), [])
})
