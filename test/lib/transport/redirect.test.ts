import { test } from 'tap'
import { redirectLocation } from '../../../lib/transport/redirect.js'

const ORIGINS = new Set(['https://www.example.com', 'https://login.example.com', 'http://127.0.0.1:3000'])

/** Out of the collections of open-redirect payloads, and what URL parsers are known to disagree about. */
const ATTACKS: readonly unknown[] = [
  '//evil.example',
  '///evil.example',
  '////evil.example',
  '//evil.example/%2e%2e',
  '//google%00.com',
  '/\\evil.example',
  '\\\\evil.example',
  '\\/evil.example',
  '/\\/evil.example',
  '//\\evil.example',
  '/x\\..\\evil',
  '/\t/evil.example',
  '/\n/evil.example',
  '/\r/evil.example',
  '\t//evil.example',
  ' //evil.example',
  '/ /evil.example',
  '/\u0000/evil.example',
  '/x\r\nSet-Cookie: a=b',
  '/x\u007f',
  '/x\u0085',
  '/\u00a0\t/evil.example',
  '/%2Fevil.example',
  '/%2f%2fevil.example',
  '/%5Cevil.example',
  '/%5c%5cevil.example',
  '/%09/evil.example',
  '/%0d%0aSet-Cookie:a=b',
  '/x/%00',
  '/%252Fevil.example',
  '/%25252Fevil.example',
  '/%255cevil.example',
  '/%2525252525252fevil.example',
  '/%zz',
  '/%',
  '/%c0%af',
  '/%252F%25zz',
  '/%252f%25',
  '/.//evil.example',
  '/..//evil.example',
  '/x/..//evil.example',
  '/%2e//evil.example',
  '/%2e%2e//evil.example',
  '/x/%2e%2e//evil.example',
  '/..%2f/evil.example',
  '/.%2f/evil.example',
  'https://evil.example',
  'HTTPS://EVIL.EXAMPLE',
  'https:evil.example',
  'https:/evil.example',
  'https:///evil.example',
  'https:\\\\evil.example',
  'http://evil.example/',
  'https:www.example.com',
  'https:/www.example.com',
  'https:///www.example.com',
  ' https://www.example.com',
  'https://www.example.com ',
  'ht\ttps://www.example.com',
  'https://www.example.com@evil.example',
  'https://www.example.com:443@evil.example',
  'https://user@www.example.com',
  'https://:x@www.example.com',
  'https://www.example.com\\@evil.example',
  'https://evil.example\\@www.example.com',
  'https://www.example.com.evil.example',
  'https://evilwww.example.com',
  'https://wwwxexample.com',
  'https://www.example.com.',
  'https://sub.www.example.com',
  'https://example.com',
  'https://www.example.com:8443',
  'http://www.example.com',
  'http://127.0.0.1',
  'http://127.1:3001',
  'https://evil.example#@www.example.com',
  'https://evil.example?https://www.example.com',
  'https://www.example.com%2eevil.example',
  'https://www.example.com%00.evil.example',
  'https://[::1]',
  'https://',
  'javascript:alert(1)',
  'JaVaScRiPt:alert(1)',
  'java\nscript:alert(1)',
  'javascript://www.example.com/%0aalert(1)',
  'data:text/html,x',
  'vbscript:x',
  'file:///etc/passwd',
  'ftp://www.example.com',
  'ws://www.example.com',
  'blob:https://www.example.com/x',
  'filesystem:https://www.example.com/x',
  'view-source:https://www.example.com',
  '',
  '.',
  'x',
  'x/y',
  '?x',
  '#x',
  './/evil.example',
  'www.example.com',
  '@evil.example',
  ';//evil.example',
  '<>//evil.example',
  undefined,
  null,
  5,
  {},
  ['/x'],
  { toString: () => '/x' },
]

test('a target that could lead to another site is refused', async (t) => {
  t.ok(ATTACKS.length >= 80)
  for (const target of ATTACKS) {
    t.throws(() => redirectLocation(target, ORIGINS), { code: 'BAD_REQUEST', statusCode: 400 }, JSON.stringify(target))
  }
})

test('paths of this origin and listed origins are normalized and kept', async (t) => {
  const table: [string, string][] = [
    ['/', '/'],
    ['/x', '/x'],
    ['/x/', '/x/'],
    ['/x?y=z#part', '/x?y=z#part'],
    ['/a/../b', '/b'],
    ['/a/./b', '/a/b'],
    ['/a//b', '/a//b'],
    ['/search?next=https://evil.example', '/search?next=https://evil.example'],
    ['/x?a=%2F%2Fevil.example%0d', '/x?a=%2F%2Fevil.example%0d'],
    ['/x#//evil.example', '/x#//evil.example'],
    ['/a%20b', '/a%20b'],
    ['/a%2Fb', '/a%2Fb'],
    ['/%25', '/%25'],
    ['/ü', '/%C3%BC'],
    ['/@evil.example', '/@evil.example'],
    ['/:80', '/:80'],
    ['/／evil.example', '/%EF%BC%8Fevil.example'],
    ['https://www.example.com', 'https://www.example.com/'],
    ['https://WWW.EXAMPLE.COM:443/x?y#z', 'https://www.example.com/x?y#z'],
    ['https://login.example.com/a/../b', 'https://login.example.com/b'],
    ['http://127.0.0.1:3000/', 'http://127.0.0.1:3000/'],
  ]
  for (const [target, location] of table) t.equal(redirectLocation(target, ORIGINS), location, target)
})

test('without listed origins only paths are left', async (t) => {
  t.equal(redirectLocation('/x', new Set()), '/x')
  t.throws(() => redirectLocation('https://www.example.com', new Set()), { code: 'BAD_REQUEST' })
  t.throws(() => redirectLocation('https://redirect.invalid/x', new Set()), { code: 'BAD_REQUEST' })
  t.throws(() => redirectLocation('//redirect.invalid/x', new Set()), { code: 'BAD_REQUEST' })
})

test('what a browser makes of an accepted path stays on the origin, whatever characters surround the slashes', async (t) => {
  const pieces = ['/', '\\', '.', '..', '%2f', '%2e', '%5c', '%25', '@', ':', '?', '#', 'evil.example', '\t', ';', '／']
  let accepted = 0
  let seed = 7
  for (let round = 0; round < 20_000; round++) {
    let target = '/'
    for (let length = 0; length < 6; length++) {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      target += pieces[(seed >>> 8) % pieces.length] ?? ''
    }
    let location: string | null = null
    try { location = redirectLocation(target, new Set()) } catch { continue }
    accepted++
    if (
      new URL(location, 'https://www.example.com/a/b').origin !== 'https://www.example.com' || /^\/[/\\]/.test(location)
    ) t.fail(`${JSON.stringify(target)} became ${location}`)
  }
  t.ok(accepted > 1000)
})
