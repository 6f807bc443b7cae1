import type { CookieSerializeOptions } from '@fastify/cookie'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isLoopbackName } from '../net/host.js'

/** `scoped`: the refresh cookie goes to the auth routes only. `host`: both cookies carry the `__Host-` prefix. */
export type CookieProfile = 'scoped' | 'host'

/** A cookie's name with the attributes that set and delete it; a cookie is only deleted by the same ones. */
export interface CookieSpec {
  readonly name: string
  readonly path: string
  readonly secure: boolean
  readonly sameSite: 'strict' | 'lax'
}

export interface CookiePair { readonly access: CookieSpec, readonly refresh: CookieSpec }

export interface CookieSettings {
  readonly profile: CookieProfile
  /** Where the auth routes stand. */
  readonly path: string
  /** Of the access cookie; the refresh cookie is always Strict. */
  readonly sameSite: 'strict' | 'lax'
}

/** RFC 6265, section 6.1: what every browser keeps. Longer ones are dropped without a word. */
export const MAX_COOKIE_BYTES = 4096

/**
 * The cookies of every deployment (RFC 6265bis, section 4.1.3). Plain HTTP cannot set these names, nor can a sibling
 * domain set one with `__Host-`.
 */
export function secureCookies ({ profile, path, sameSite }: CookieSettings): CookiePair {
  return Object.freeze({
    access: spec('__Host-access', '/', true, sameSite),
    refresh: profile === 'host'
      ? spec('__Host-refresh', '/', true, 'strict')
      : spec('__Secure-refresh', path, true, 'strict'),
  })
}

/** For development over http://localhost, where some browsers drop Secure cookies. */
export function loopbackCookies ({ profile, path, sameSite }: CookieSettings): CookiePair {
  return Object.freeze({
    access: spec('access', '/', false, sameSite),
    refresh: spec('refresh', profile === 'host' ? '/' : path, false, 'strict'),
  })
}

/** Which cookies a request has: those without Secure only outside production, over plain HTTP, on a loopback name. */
export function createCookieChooser (
  settings: CookieSettings,
  production: boolean,
  warn: (message: string) => void,
): (request: FastifyRequest) => CookiePair {
  const secure = secureCookies(settings)
  if (production) return () => secure
  const loopback = loopbackCookies(settings)
  let warned = false
  return function cookiesOf (request) {
    if (request.protocol !== 'http' || !isLoopbackName(request.hostname)) return secure
    if (!warned) {
      warned = true
      warn(
        'auth: plain HTTP on a loopback name, so cookies go without Secure ' +
        'and without their prefix; never in production',
      )
    }
    return loopback
  }
}

/** Sets both cookies of a session through @fastify/cookie. What this reply set or deleted before gives way. */
export function setSessionCookies (
  reply: FastifyReply,
  { access, refresh }: CookiePair,
  tokens: { readonly access: string, readonly refresh: string, readonly maxAge: number },
): void {
  reply.setCookie(access.name, tokens.access, { ...attributesOf(access), maxAge: tokens.maxAge })
  reply.setCookie(refresh.name, tokens.refresh, { ...attributesOf(refresh), maxAge: tokens.maxAge })
  reply.header('cache-control', 'no-store')
}

/** Deletes both cookies with the attributes that they were set with. */
export function expireSessionCookies (reply: FastifyReply, { access, refresh }: CookiePair): void {
  reply.clearCookie(access.name, attributesOf(access))
  reply.clearCookie(refresh.name, attributesOf(refresh))
  reply.header('cache-control', 'no-store')
}

/** @throws Error that says which cookie is too large; browsers would drop it without a word. */
export function assertCookiesFit (
  app: Pick<FastifyInstance, 'serializeCookie'>,
  cookies: CookiePair,
  access: string,
  refresh: string,
): void {
  for (const [spec, value] of [[cookies.access, access], [cookies.refresh, refresh]] as const) {
    const { path, secure, sameSite } = spec
    const bytes = app.serializeCookie(spec.name, value, { path, secure, sameSite, httpOnly: true, maxAge: 0x7fff_ffff })
      .length
    if (bytes > MAX_COOKIE_BYTES) {
      throw new Error(
        `auth: the cookie ${spec.name} would take ${bytes} bytes and browsers keep ${MAX_COOKIE_BYTES}: ` +
        "shorten the user's claims, roles or id",
      )
    }
  }
}

/** Every attribute is named: those of the app's `parseOptions` are for the app's own cookies. */
function attributesOf ({ path, secure, sameSite }: CookieSpec): CookieSerializeOptions {
  return { path, secure, sameSite, httpOnly: true, domain: '', partitioned: false, signed: false }
}

/**
 * All values that a Cookie header has under a name, in order, as they stand. More than one means that another site set
 * a cookie of ours (from another path or a sibling domain). `request.cookies` shows the first of them only, which would
 * let a planted one win, so our own names are read here and nowhere else.
 */
export function cookieValues (header: string | undefined, name: string): readonly string[] {
  if (header?.includes(name) !== true) return NONE
  const values: string[] = []
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=')
    if (equals !== -1 && trimmed(pair.slice(0, equals)) === name) values.push(trimmed(pair.slice(equals + 1)))
  }
  return values
}

const NONE: readonly string[] = Object.freeze([])

/**
 * Spaces and tabs only (RFC 9110, section 5.6.3): `trim` would take a no-break space and give a token two spellings.
 */
function trimmed (text: string): string {
  let from = 0
  let to = text.length
  while (from < to && isBlank(text.charCodeAt(from))) from++
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

function isBlank (code: number): boolean {
  return code === 0x20 || code === 0x09
}

function spec (name: string, path: string, secure: boolean, sameSite: 'strict' | 'lax'): CookieSpec {
  return Object.freeze({ name, path, secure, sameSite })
}
