import { test } from 'tap'
import { APP, blockOf, build, inScheme, KINDS, places, PROFILES, SAME, sorted, takeNonce, type Block,
  type Whose } from './helpers/header-matrix.js'

for (const profile of ['api', 'document'] as const) {
  test(`profile ${profile}: every kind of answer in every scope carries exactly its block, over either scheme`, async (t) => {
    const { app, token } = await build(t, profile)
    for (const place of places(profile)) {
      const scope = place.scope(PROFILES[profile])
      const blocks: Record<Whose, Block> = {
        root: PROFILES[profile],
        scope,
        route: (place.route ?? place.scope)(PROFILES[profile]),
      }
      // One assertion a place: nine thousand of them would take longer than the requests.
      const [actual, expected]: [Record<string, unknown>, Record<string, unknown>] = [{}, {}]
      await Promise.all(
        KINDS.flatMap(({ name, status, request, whose = 'route', signedIn }) =>
          ['http', 'https'].map(async (scheme) => {
            const answer = await app.inject({
              ...request,
              url: `${place.url}${request.url}`,
              headers: {
                ...SAME,
                'x-forwarded-proto': scheme,
                ...(signedIn === true && { cookie: token }),
                ...request.headers,
              },
            })
            const { block, nonce } = takeNonce(blockOf(answer.headers), answer.body)
            const { 'cache-control': cacheControl, 'x-request-id': id, server, 'x-powered-by': poweredBy } =
              answer.headers
            actual[`${name}, ${scheme}`] = {
              status: answer.statusCode,
              block: sorted(block),
              readsNonce: nonce !== undefined,
              cacheControl,
              hasId: /^[0-9a-f]{32}$/.test(String(id)),
              disclosed: server ?? poweredBy,
            }
            const own = blocks[whose]
            expected[`${name}, ${scheme}`] = {
              status,
              block: sorted(inScheme(own, scheme === 'https')),
              readsNonce: name === '200 HTML' && own['content-security-policy']?.includes('script-src') === true,
              // A 429 says so itself; everywhere else it belongs to the headers, and goes with them.
              cacheControl: status === 429 || (status >= 400 && Object.keys(own).length > 0) ? 'no-store' : undefined,
              hasId: !name.includes('before the suite'),
              disclosed: undefined,
            }
          })
        ),
      )
      t.strictSame(actual, expected, place.name)
    }
  })
}

test('a credential makes any answer private, in every scope that has headers', async (t) => {
  const { app } = await build(t, 'api')
  for (const { url, name } of places('api')) {
    const actual: unknown[] = []
    for (
      const { name: kind, request } of KINDS.filter(({ status, request }) =>
        status < 400 && request.method === undefined
      )
    ) {
      for (const credential of [{ cookie: 'a=b' }, { authorization: 'Bearer x' }]) {
        const { headers } = await app.inject({
          ...request,
          url: `${url}${request.url}`,
          headers: { ...SAME, ...credential },
        })
        actual.push([kind, headers['cache-control']])
      }
    }
    t.ok(actual.length > 20)
    t.strictSame(
      actual,
      (actual as [string, unknown][]).map(([kind]) => [kind, url === '/off' ? undefined : 'no-store']),
      name,
    )
  }
})

test('every answer that Fastify writes varies by origin, and an allowed origin may read every kind', async (t) => {
  const { app, token } = await build(t, 'api')
  const [upgrade, before] = ['403 of an upgrade', "an answer of an app's hook before the suite"]
  for (const { url, name } of places('api')) {
    const actual: Record<string, unknown> = {}
    for (const { name: kind, request, signedIn } of KINDS) {
      if (request.method === 'OPTIONS' || kind === upgrade) continue
      const { headers } = await app.inject({
        ...request,
        url: `${url}${request.url}`,
        headers: { ...SAME, ...(signedIn === true && { cookie: token }), ...request.headers, origin: APP },
      })
      actual[kind] = [headers.vary, headers['access-control-allow-origin']]
    }
    const expected = Object.fromEntries(
      Object.keys(actual).map((
        kind,
      ) => [kind, ['Origin', kind === before || kind === '405' || kind === '421' ? undefined : APP]]),
    )
    t.strictSame(actual, expected, name)
  }
})
