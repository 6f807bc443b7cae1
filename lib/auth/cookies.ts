/** `scoped`: the refresh cookie goes to the auth routes only. `host`: both cookies carry the `__Host-` prefix. */
export type CookieProfile = 'scoped' | 'host'

/** A cookie's name with the attributes that set and delete it; a cookie is only deleted by the same ones. */
export interface CookieSpec {
  readonly name: string
  readonly path: string
  readonly secure: boolean
  readonly sameSite: 'Strict' | 'Lax'
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
 * The cookies of every deployment (RFC 6265bis, section 4.1.3): a sibling domain or plain HTTP cannot set these names.
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

/** A `Set-Cookie` value. Tokens are base64url and dots, so nothing needs encoding. */
export function renderCookie (
  { name, path, secure, sameSite }: CookieSpec,
  value: string,
  maxAgeSeconds: number,
): string {
  return `${name}=${value}; Max-Age=${maxAgeSeconds}; Path=${path}; HttpOnly${
    secure ? '; Secure' : ''
  }; SameSite=${sameSite}`
}

/** A `Set-Cookie` value that deletes the cookie. */
export function renderExpiredCookie ({ name, path, secure, sameSite }: CookieSpec): string {
  return `${name}=; Max-Age=0; Path=${path}; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly${
    secure ? '; Secure' : ''
  }; SameSite=${sameSite}`
}

/**
 * All values that a Cookie header has under a name, in order, as they stand. More than one means that somebody else
 * set a cookie of ours (from another path or a sibling domain): which one is genuine cannot be told.
 */
export function cookieValues (header: string | undefined, name: string): readonly string[] {
  if (header === undefined) return NONE
  let found: string[] | null = null
  for (let start = 0; start < header.length;) {
    let end = header.indexOf(';', start)
    if (end === -1) end = header.length
    const equals = header.indexOf('=', start)
    if (equals !== -1 && equals < end && isName(header, start, equals, name)) {
      const value = valueWithin(header, equals + 1, end)
      if (found === null) found = [value]
      else found.push(value)
    }
    start = end + 1
  }
  return found ?? NONE
}

const NONE: readonly string[] = Object.freeze([])

/** Compares without cutting anything out of the header: most cookies of a request are not ours. */
function isName (header: string, start: number, end: number, name: string): boolean {
  let from = start
  let to = end
  while (from < to && isSpace(header.charCodeAt(from))) from++
  while (to > from && isSpace(header.charCodeAt(to - 1))) to--
  return to - from === name.length && header.startsWith(name, from)
}

/**
 * Spaces and tabs only (RFC 9110, section 5.6.3): `trim` would take a no-break space too, and give a token a second
 * spelling.
 */
function valueWithin (header: string, start: number, end: number): string {
  let from = start
  let to = end
  while (from < to && isSpace(header.charCodeAt(from))) from++
  while (to > from && isSpace(header.charCodeAt(to - 1))) to--
  return header.slice(from, to)
}

function isSpace (code: number): boolean {
  return code === 0x20 || code === 0x09
}

function spec (name: string, path: string, secure: boolean, sameSite: 'strict' | 'lax'): CookieSpec {
  return Object.freeze({ name, path, secure, sameSite: sameSite === 'strict' ? 'Strict' : 'Lax' })
}
