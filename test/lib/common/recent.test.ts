import { test } from 'tap'
import { rememberLast } from '../../../lib/common/recent.js'

test('the last text is judged once, every other one by itself, and a long one is not kept', async (t) => {
  const asked: string[] = []
  const isShort = rememberLast((text) => {
    asked.push(text)
    return text.length < 3
  })
  t.same(['', 'a', 'a', 'abc', 'abc', 'a', ''].map(isShort), [true, true, true, false, false, true, true])
  t.same(asked, ['', 'a', 'abc', 'a', ''])
  const long = 'x'.repeat(257)
  t.same([long, long, ''].map(isShort), [false, false, true])
  t.same(asked.slice(5), [long, long], 'what was known before it still is')
})
