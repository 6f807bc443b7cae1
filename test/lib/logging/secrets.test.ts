import { test, type Test } from 'tap'
import { MAX_SECRETS, unwatchedSecrets, watchSecretValues, withoutSecrets } from '../../../lib/logging/secrets.js'

function watch (t: Test, source: () => readonly string[]): () => void {
  const stop = watchSecretValues(source)
  t.teardown(stop)
  return stop
}

test('a known value is replaced wherever and however often it stands in a text', async (t) => {
  const values = ['correct-horse-battery']
  watch(t, () => values)
  t.equal(withoutSecrets('a correct-horse-battery b correct-horse-battery'), 'a [redacted] b [redacted]')
  t.equal(withoutSecrets('nothing'), 'nothing')
  t.equal(withoutSecrets(''), '')
})

test('a value is known as JSON, URLs and queries write it', async (t) => {
  const value = 'p@ss "word"/\\ +\n&x'
  const values = [value]
  watch(t, () => values)
  for (
    const text of [
      value,
      JSON.stringify(value),
      encodeURIComponent(value),
      new URLSearchParams({ q: value }).toString(),
    ]
  ) {
    t.match(withoutSecrets(`x ${text} y`), /\[redacted\]/)
    t.notMatch(withoutSecrets(`x ${text} y`), /ss/)
  }
})

test('a value that contains another is replaced as a whole, and one with signs of regular expressions is a text', async (t) => {
  const values = ['abcdefgh', 'abcdefgh-ijkl', '(.*)+$[a-z]', '$&$&$&$&']
  watch(t, () => values)
  t.equal(withoutSecrets('abcdefgh-ijkl abcdefgh (.*)+$[a-z] $&$&$&$&'), '[redacted] [redacted] [redacted] [redacted]')
})

test('values under six characters are words that stand in logs for other reasons', async (t) => {
  const values = ['', 'dev', 'five5', 'sixsix']
  watch(t, () => values)
  t.equal(withoutSecrets('dev five5 sixsix'), 'dev five5 [redacted]')
})

test('rotated values count at once, and none after the end', async (t) => {
  let values: readonly string[] = ['first-secret']
  const stop = watch(t, () => values)
  t.equal(withoutSecrets('first-secret second-secret'), '[redacted] second-secret')
  values = ['first-secret', 'second-secret']
  t.equal(withoutSecrets('first-secret second-secret'), '[redacted] [redacted]')
  stop()
  stop()
  t.equal(withoutSecrets('first-secret second-secret'), 'first-secret second-secret')
})

test('two servers of a process keep both their secrets', async (t) => {
  const one = ['secret-of-one']
  const two = ['secret-of-two', '\ud800lone-surrogate']
  const stop = watch(t, () => one)
  watch(t, () => two)
  t.equal(withoutSecrets('secret-of-one secret-of-two'), '[redacted] [redacted]')
  stop()
  t.equal(withoutSecrets('secret-of-one secret-of-two \ud800lone-surrogate'), 'secret-of-one [redacted] [redacted]')
})

test('no more values are searched for than the bound', async (t) => {
  const values = Array.from({ length: MAX_SECRETS + 1 }, (_, index) => `secret-${String(index).padStart(4, '0')}`)
  watch(t, () => values)
  t.equal(
    withoutSecrets(`${values[MAX_SECRETS - 1] ?? ''} ${values[MAX_SECRETS] ?? ''}`),
    `[redacted] ${values[MAX_SECRETS] ?? ''}`,
  )
})

test('a value is found at every place of a line, short or long, among many', async (t) => {
  const values = [
    'eight888',
    'y'.repeat(11),
    ...Array.from({ length: 60 }, (_, index) => `${index}-of-many-secrets-that-are-long`),
  ]
  const long = values.slice(2)
  for (const set of [values, long]) {
    const stop = watch(t, () => set)
    const missed: string[] = []
    for (const value of set) {
      for (let place = 0; place < 40; place++) {
        for (const after of ['', 'z', 'zzzzzz']) {
          if (withoutSecrets(`${'z'.repeat(place)}${value}${after}`) !== `${'z'.repeat(place)}[redacted]${after}`) {
            missed.push(`${value} at ${place}`)
          }
        }
      }
    }
    t.same(missed, [])
    stop()
  }
})

test('what no line is searched for is counted, as of the moment of asking', async (t) => {
  t.same(unwatchedSecrets(), { tooShort: 0, beyondBound: 0 })
  let values: readonly string[] = ['', 'five5', 'five5', 'sixsix']
  watch(t, () => values)
  t.same(unwatchedSecrets(), { tooShort: 1, beyondBound: 0 })
  values = Array.from({ length: MAX_SECRETS + 3 }, (_, index) => `secret-${index}`)
  t.same(unwatchedSecrets(), { tooShort: 0, beyondBound: 3 })
})
