import fastifyCookie from '@fastify/cookie'
import Fastify from 'fastify'
import { test } from 'tap'
import { cookieValues, loopbackCookies, renderCookie, renderExpiredCookie, secureCookies, type CookiePair,
  type CookieSpec } from '../../../lib/auth/cookies.js'

test('cookies carry exactly their attributes', async (t) => {
  const scoped = secureCookies({ profile: 'scoped', path: '/auth', sameSite: 'strict' })
  t.equal(
    renderCookie(scoped.access, 'a.b.c', 900),
    '__Host-access=a.b.c; Max-Age=900; Path=/; HttpOnly; Secure; SameSite=Strict',
  )
  t.equal(
    renderCookie(scoped.refresh, 'a.b.c', 60),
    '__Secure-refresh=a.b.c; Max-Age=60; Path=/auth; HttpOnly; Secure; SameSite=Strict',
  )
  const host = secureCookies({ profile: 'host', path: '/auth', sameSite: 'lax' })
  t.equal(renderCookie(host.access, 'x', 1), '__Host-access=x; Max-Age=1; Path=/; HttpOnly; Secure; SameSite=Lax')
  t.equal(
    renderCookie(host.refresh, 'x', 1),
    '__Host-refresh=x; Max-Age=1; Path=/; HttpOnly; Secure; SameSite=Strict',
    'lax is for the access cookie only',
  )
  const loopback = loopbackCookies({ profile: 'scoped', path: '/auth', sameSite: 'strict' })
  t.equal(renderCookie(loopback.access, 'x', 1), 'access=x; Max-Age=1; Path=/; HttpOnly; SameSite=Strict')
  t.equal(
    renderExpiredCookie(loopback.refresh),
    'refresh=; Max-Age=0; Path=/auth; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Strict',
  )
  t.equal(loopbackCookies({ profile: 'host', path: '/auth', sameSite: 'strict' }).refresh.path, '/')
})

test('they are written as @fastify/cookie writes them', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyCookie)
  for (const profile of ['scoped', 'host'] as const) {
    for (const make of [secureCookies, loopbackCookies]) {
      for (const spec of pairOf(make({ profile, path: '/api/auth', sameSite: 'lax' }))) {
        const attributes = {
          path: spec.path,
          httpOnly: true,
          secure: spec.secure,
          sameSite: spec.sameSite === 'Lax' ? 'lax' as const : 'strict' as const,
        }
        t.equal(
          renderCookie(spec, 'aB3-_.x', 900),
          app.serializeCookie(spec.name, 'aB3-_.x', { ...attributes, maxAge: 900 }),
        )
        t.equal(
          renderExpiredCookie(spec),
          app.serializeCookie(spec.name, '', { ...attributes, maxAge: 0, expires: new Date(0) }),
        )
      }
    }
  }
})

function pairOf ({ access, refresh }: CookiePair): CookieSpec[] {
  return [access, refresh]
}

test('a Cookie header is scanned for exactly one name', async (t) => {
  const table: [string | undefined, string[]][] = [
    [undefined, []],
    ['', []],
    [';', []],
    ['=', []],
    ['=;=;', []],
    ['__Host-access', []],
    ['__Host-access=', ['']],
    ['__Host-access=a', ['a']],
    ['x=1; __Host-access=a; y=2', ['a']],
    ['x=1;__Host-access=a;y=2', ['a']],
    ['  __Host-access \t= a \t; y=2', ['a']],
    ['__Host-access=\u00a0a\ufeff', ['\u00a0a\ufeff']],
    ['__Host-access=a=b', ['a=b']],
    ['__Host-access="a"', ['"a"']],
    ['__Host-access=a; __Host-access=b', ['a', 'b']],
    ['__Host-access=a; x=1; __Host-access=a', ['a', 'a']],
    ['__Host-access=a; __Host-access =b', ['a', 'b']],
    ['__host-access=a; __HOST-ACCESS=b', []],
    ['x__Host-access=a', []],
    ['__Host-accessx=a', []],
    ['x=__Host-access=a', []],
    ['x; __Host-access=a', ['a']],
    ['%5F_Host-access=a', []],
    ['=__Host-access=a', []],
  ]
  for (const [header, values] of table) t.same(cookieValues(header, '__Host-access'), values, String(header))
})
