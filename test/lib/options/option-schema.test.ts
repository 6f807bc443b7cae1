import { Type } from '@sinclair/typebox'
import { test } from 'tap'
import { checkOptions } from '../../../lib/options/check-options.js'
import { durationOption, oneOf } from '../../../lib/options/option-schema.js'
import type { Problem } from '../../../lib/response/errors.js'

const Schema = Type.Object({
  mode: Type.Optional(oneOf('When it is checked.', 'cookie', 'always', false)),
  deadline: Type.Optional(durationOption('How long it may take. Default: 50ms.')),
}, { additionalProperties: false })

test('a value that the option does not know is refused with those it knows', async (t) => {
  for (const mode of ['cookie', 'always', false, undefined]) {
    const problems: Problem[] = []
    checkOptions(Schema, { mode }, 'csrf', problems)
    t.same(problems, [], String(mode))
  }
  for (const mode of ['Cookie', '', true, null, ['cookie']]) {
    const problems: Problem[] = []
    checkOptions(Schema, { mode }, 'csrf', problems)
    t.same(problems, [
      { path: 'csrf.mode', message: 'Not an accepted value.', fix: 'Write one of: cookie, always, false.' },
    ], String(mode))
  }
})

test('a duration without a unit is refused with how to write one', async (t) => {
  for (const deadline of [5, '5', '0s', '5 s', '1.5s', null]) {
    const problems: Problem[] = []
    checkOptions(Schema, { deadline }, 'limits', problems)
    t.match(problems, [{ path: 'limits.deadline', fix: /^Write a duration with a unit .* Default: 50ms\.$/ }])
    t.equal(problems.length, 1, String(deadline))
  }
  const problems: Problem[] = []
  t.same(checkOptions(Schema, { deadline: '15m' }, 'limits', problems), { deadline: '15m' })
})
