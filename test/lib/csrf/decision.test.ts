import { test } from 'tap'
import { decideCrossOrigin, decideIsolation, type CsrfVerdict } from '../../../lib/csrf/decision.js'

const OWN = 'https://api.example.com'
const TRUSTED = 'https://app.example.com'

test('decides as Go does, and more strictly when a cookie comes without evidence', async (t) => {
  const table: [string | undefined, string | undefined, boolean, CsrfVerdict][] = [
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
    t.equal(
      decideCrossOrigin({ secFetchSite, origin, ownOrigin: OWN, carriesCookie }, new Set([TRUSTED])),
      expected,
      `${secFetchSite ?? '-'} ${origin ?? '-'} ${carriesCookie ? 'cookie' : 'no cookie'}`,
    )
  }
})

test('isolation lets other sites lead here, and trusted origins do as they like', async (t) => {
  const table: [
    string,
    string | undefined,
    string | undefined,
    string | undefined,
    string | undefined,
    'allowed' | 'isolation',
  ][] = [
    ['GET', 'cross-site', 'navigate', 'document', undefined, 'allowed'],
    ['HEAD', 'cross-site', 'navigate', 'document', undefined, 'allowed'],
    ['POST', 'cross-site', 'navigate', 'document', 'https://evil.example', 'isolation'],
    ['GET', 'cross-site', 'navigate', 'iframe', undefined, 'isolation'],
    ['GET', 'cross-site', 'navigate', 'object', undefined, 'isolation'],
    ['GET', 'cross-site', 'navigate', 'embed', undefined, 'isolation'],
    ['GET', 'cross-site', 'navigate', undefined, undefined, 'isolation'],
    ['GET', 'cross-site', 'navigate, navigate', 'document', undefined, 'isolation'],
    ['GET', 'cross-site', 'no-cors', 'image', undefined, 'isolation'],
    ['GET', 'cross-site', 'no-cors', 'script', undefined, 'isolation'],
    ['GET', 'cross-site', 'no-cors', 'document', undefined, 'isolation'],
    ['GET', 'cross-site', 'cors', 'empty', 'https://evil.example', 'isolation'],
    ['GET', 'cross-site', 'cors', 'empty', 'null', 'isolation'],
    ['GET', 'cross-site', 'cors', 'empty', TRUSTED, 'allowed'],
    ['GET', 'cross-site', undefined, undefined, undefined, 'isolation'],
    ['GET', 'nonsense', 'cors', 'empty', undefined, 'isolation'],
    ['GET', '', undefined, undefined, undefined, 'isolation'],
    ['GET', 'same-origin, cross-site', 'cors', 'empty', undefined, 'isolation'],
    ['GET', 'same-origin', 'cors', 'empty', undefined, 'allowed'],
    ['GET', 'same-site', 'no-cors', 'image', undefined, 'allowed'],
    ['GET', 'none', 'navigate', 'document', undefined, 'allowed'],
    ['GET', undefined, undefined, undefined, 'https://evil.example', 'allowed'],
    ['GET', undefined, undefined, undefined, undefined, 'allowed'],
  ]
  for (const [method, secFetchSite, secFetchMode, secFetchDest, origin, expected] of table) {
    t.equal(
      decideIsolation({ method, secFetchSite, secFetchMode, secFetchDest, origin }, new Set([TRUSTED])),
      expected,
      [method, secFetchSite, secFetchMode, secFetchDest, origin].join(' '),
    )
  }
})
