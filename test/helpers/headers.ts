import type { Test } from 'tap'

/** Every header name a test may ask about: asserting that a name which never existed is absent would prove nothing. */
const KNOWN = new Set([
  'content-security-policy',
  'strict-transport-security',
  'x-content-type-options',
  'x-frame-options',
  'referrer-policy',
  'cross-origin-resource-policy',
  'cross-origin-opener-policy',
  'cross-origin-embedder-policy',
  'origin-agent-cluster',
  'permissions-policy',
  'x-dns-prefetch-control',
  'x-permitted-cross-domain-policies',
  'x-xss-protection',
  'cache-control',
  'x-request-id',
  'vary',
  'access-control-allow-origin',
  'access-control-allow-credentials',
  'access-control-allow-methods',
  'access-control-allow-headers',
  'access-control-expose-headers',
  'access-control-max-age',
  'access-control-allow-private-network',
  'allow',
  'retry-after',
  'ratelimit',
  'ratelimit-policy',
  'location',
  'set-cookie',
  'content-type',
  'connection',
  'clear-site-data',
  'www-authenticate',
  'x-powered-by',
  'server',
])

type Headers = Readonly<Record<string, string | number | string[] | undefined>>

/** Asserts headers by name; `null` means absent. */
export function assertHeaders (
  t: Test,
  actual: Headers,
  expected: Readonly<Record<string, string | RegExp | null>>,
): void {
  for (const [name, value] of Object.entries(expected)) {
    if (!KNOWN.has(name)) throw new Error(`no such header: ${name}`)
    const found = actual[name]
    if (value === null) t.equal(found, undefined, `${name} is absent`)
    else if (typeof value === 'string') t.equal(found, value, name)
    else t.match(found, value, name)
  }
}

/** The headers that no response of the `api` profile over plain HTTP may lack. */
export const API_HEADERS: Readonly<Record<string, string | RegExp>> = Object.freeze({
  'content-security-policy': "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'origin-agent-cluster': '?1',
  'permissions-policy': /camera=\(\)/,
  'x-dns-prefetch-control': 'off',
  'x-permitted-cross-domain-policies': 'none',
  'x-xss-protection': '0',
})
