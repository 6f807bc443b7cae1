import { test } from 'tap'
import { MAX_REPORTS, readCspReport, readReports } from '../../../lib/headers/reports.js'

const violation = (body: Record<string, unknown>): unknown => ({
  type: 'csp-violation',
  age: 1,
  url: 'https://www.example.com/account?token=x',
  body,
})

test('reads both formats into a directive, an origin or keyword, and a disposition', async (t) => {
  t.same(
    readCspReport({
      'csp-report': {
        'document-uri': 'https://a.example/?secret',
        'effective-directive': 'img-src',
        'violated-directive': 'x',
        'blocked-uri': 'https://evil.example:8443/a?b',
        disposition: 'report',
      },
    }),
    [{ directive: 'img-src', blocked: 'https://evil.example:8443', disposition: 'report' }],
  )
  t.same(readCspReport({ 'csp-report': { 'violated-directive': "script-src 'self'" } }), [{
    directive: 'script-src',
    blocked: 'none',
    disposition: 'unknown',
  }])
  t.same(
    readReports([violation({ effectiveDirective: 'script-src-elem', blockedURL: 'inline', disposition: 'enforce' })]),
    [{ directive: 'script-src-elem', blocked: 'inline', disposition: 'enforce' }],
  )
})

test('keeps no path, query, credential or sample of what was blocked', async (t) => {
  const cases: [string, string][] = [
    ['https://user:pass@evil.example/path?token=secret#x', 'https://evil.example'],
    ['wss://evil.example/socket', 'wss://evil.example'],
    ['data:text/html,secret', 'data'],
    ['blob:https://www.example.com/0b1e', 'blob'],
    ['chrome-extension://abcdef/secret', 'chrome-extension'],
    ['trusted-types-sink', 'trusted-types-sink'],
    ['wasm-eval', 'wasm-eval'],
    ['eval', 'eval'],
    ['', 'none'],
    ['/a/relative?secret', 'other'],
    ['INLINE secret', 'other'],
    ['secret\nforged', 'other'],
    ['x'.repeat(100), 'other'],
    [`${'x'.repeat(100)}:secret`, 'other'],
    ['a.b+c:secret', 'other'],
  ]
  for (const [blocked, kept] of cases) {
    t.same(
      readCspReport({ 'csp-report': { 'effective-directive': 'img-src', 'blocked-uri': blocked } })?.[0]?.blocked,
      kept,
      blocked,
    )
  }
})

test('refuses what is no report', async (t) => {
  const report = (own: Record<string, unknown>): unknown => ({
    'csp-report': { 'effective-directive': 'img-src', ...own },
  })
  for (
    const body of [
      undefined,
      null,
      'x',
      1,
      [],
      {},
      { 'csp-report': null },
      { 'csp-report': [] },
      { 'csp-report': {} },
      report({ 'effective-directive': 5 }),
      report({ 'effective-directive': 'IMG SRC' }),
      report({ 'effective-directive': 'img-src\nforged' }),
      report({ 'effective-directive': 'x'.repeat(65) }),
      report({ 'blocked-uri': { a: 1 } }),
      [report({})],
    ]
  ) t.equal(readCspReport(body), null, JSON.stringify(body))
  for (
    const body of [
      undefined,
      null,
      {},
      'x',
      [null],
      ['x'],
      [{}],
      [{ type: 'csp-violation' }],
      [{ type: 5, body: {} }],
      [violation({})],
      [violation({ effectiveDirective: 'img-src', blockedURL: 5 })],
      [violation({ effectiveDirective: 'img-src' }), violation({})],
    ]
  ) t.equal(readReports(body), null, JSON.stringify(body))
})

test('skips reports of other types, reads a bounded number, and knows no disposition but the two', async (t) => {
  t.same(readReports([]), [])
  t.same(
    readReports([
      { type: 'deprecation', body: { id: 'x' } },
      violation({ effectiveDirective: 'img-src', disposition: 'forged' }),
    ]),
    [{ directive: 'img-src', blocked: 'none', disposition: 'unknown' }],
  )
  t.equal(
    readReports(Array<unknown>(MAX_REPORTS + 1).fill(violation({ effectiveDirective: 'img-src' })))?.length,
    MAX_REPORTS,
  )
})
