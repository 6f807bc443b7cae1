import type { IncomingMessage } from 'node:http'
import { test } from 'tap'
import { isPreflight } from '../../../lib/net/preflight.js'

test('only OPTIONS with an origin and a method asked for is a preflight', async (t) => {
  const both = { origin: 'https://app.example.com', 'access-control-request-method': 'PUT' }
  const table: [string, Record<string, string>, boolean][] = [
    ['OPTIONS', both, true],
    ['OPTIONS', { origin: 'null', 'access-control-request-method': '' }, true],
    ['OPTIONS', { origin: both.origin }, false],
    ['OPTIONS', { 'access-control-request-method': 'PUT' }, false],
    ['OPTIONS', {}, false],
    ['GET', both, false],
    ['options', both, false],
  ]
  for (const [method, headers, expected] of table) {
    t.equal(
      isPreflight({ method, headers } as unknown as IncomingMessage),
      expected,
      `${method} ${Object.keys(headers).join()}`,
    )
  }
})
