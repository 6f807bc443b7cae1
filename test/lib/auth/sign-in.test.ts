import { test } from 'tap'
import { deviceLabel } from '../../../lib/auth/sign-in.js'

test('a label is one bounded line of whole characters', async (t) => {
  t.equal(deviceLabel(undefined), '')
  t.equal(deviceLabel('  Mozilla/5.0 (X11)  '), 'Mozilla/5.0 (X11)')
  t.equal(deviceLabel('a\r\nb\u0000c\u2028d\u202ee\ufefff\u{e0001}g'), 'a b c d e f g')
  t.equal(deviceLabel('x'.repeat(300)).length, 256)
  t.equal(deviceLabel(`${'x'.repeat(255)}\u{1f600}`), 'x'.repeat(255), 'no half of a pair stays at the cut')
  t.equal(deviceLabel('\ud83d alone'), 'alone')
})

test('what is no text is refused in words, not shown as one', async (t) => {
  for (const wrong of [7, null, {}, Promise.resolve('phone')]) {
    t.throws(() => deviceLabel(wrong), { name: 'TypeError', message: /^auth: the label of a device is not a text/ })
  }
})
