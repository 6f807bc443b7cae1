import { test } from 'tap'
import { decideCrossOrigin, type CrossOriginVerdict } from '../../../lib/csrf/decision.js'

const OWN = 'https://api.example.com'
const TRUSTED = 'https://app.example.com'

test('decides as Go does, and more strictly when a cookie comes without evidence', async (t) => {
  const table: [string | undefined, string | undefined, boolean, CrossOriginVerdict][] = [
    ['same-origin', undefined, true, 'allowed'],
    ['same-origin', 'null', true, 'allowed'],
    ['none', undefined, true, 'allowed'],
    ['same-site', 'https://other.example.com', true, 'cross-site'],
    ['cross-site', 'https://evil.example', true, 'cross-site'],
    ['cross-site', undefined, false, 'cross-site'],
    ['cross-site', OWN, true, 'cross-site'],
    ['nonsense', undefined, true, 'cross-site'],
    ['same-origin, cross-site', undefined, true, 'cross-site'],
    ['', undefined, true, 'cross-site'],
    ['same-site', TRUSTED, true, 'allowed'],
    ['cross-site', TRUSTED, true, 'allowed'],
    [undefined, OWN, true, 'allowed'],
    [undefined, TRUSTED, true, 'allowed'],
    [undefined, 'null', true, 'origin-mismatch'],
    [undefined, 'http://api.example.com', true, 'origin-mismatch'],
    [undefined, `${OWN}.evil.example`, true, 'origin-mismatch'],
    [undefined, `${TRUSTED}/`, false, 'origin-mismatch'],
    [undefined, undefined, true, 'no-evidence'],
    [undefined, undefined, false, 'allowed'],
  ]
  for (const [secFetchSite, origin, carriesCookie, expected] of table) {
    t.equal(decideCrossOrigin({ secFetchSite, origin, ownOrigin: OWN, carriesCookie }, new Set([TRUSTED])), expected, `${secFetchSite ?? '-'} ${origin ?? '-'} ${carriesCookie ? 'cookie' : 'no cookie'}`)
  }
})
