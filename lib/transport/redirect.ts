import { SecurityError } from '../response/errors.js'

/** A reserved name (RFC 2606): a target that leaves its own origin shows by it. */
const NOWHERE = 'https://redirect.invalid'

/**
 * Space and control characters, C1 included, which parsers strip at different places; and what browsers read as a
 * slash.
 */
const FORBIDDEN = /[\u0000-\u0020\u007f-\u009f\\]/

/** As many layers as a chain of servers may take off. */
const MAX_DECODINGS = 4

/**
 * The `Location` for a target that a client may have chosen: a path of this origin (`/x?y#z`), or an http(s) URL whose
 * origin is listed. The result is the normalized text, not what was given, so that no later reader takes
 * it for another.
 *
 * @throws SecurityError BAD_REQUEST for any other target
 */
export function redirectLocation (target: unknown, origins: ReadonlySet<string>): string {
  const location = typeof target === 'string' && !FORBIDDEN.test(target)
    ? target.startsWith('/') ? localPath(target) : listedUrl(target, origins)
    : null
  if (location === null) throw new SecurityError('BAD_REQUEST')
  return location
}

function localPath (target: string): string | null {
  const url = resolveHere(target)
  return url !== null && staysHereWhenDecoded(url.pathname) ? url.pathname + url.search + url.hash : null
}

/** Null for what leaves the origin, or would do so when its normalized form is read again (`/.//evil.example`). */
function resolveHere (path: string): URL | null {
  if (!path.startsWith('/') || path.startsWith('//') || FORBIDDEN.test(path.replaceAll(' ', ''))) return null
  const url = new URL(path, NOWHERE)
  return url.origin === NOWHERE && !url.pathname.startsWith('//') ? url : null
}

/** A proxy or a router may decode the path once more before it redirects itself: `/%2Fevil.example`. */
function staysHereWhenDecoded (path: string): boolean {
  if (!isUtf8(path)) return false
  let current = path
  for (let layer = 0; layer < MAX_DECODINGS; layer++) {
    // Leniently, and ASCII only: a half-decoded `%zz` must not hide a slash, and no other byte can hurt.
    const decoded = current.replace(
      /%([0-7][0-9a-f])/gi,
      (_escape, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)),
    )
    if (resolveHere(decoded) === null) return false
    if (decoded === current) return true
    current = decoded
  }
  return false
}

/** Overlong forms of a slash (`%c0%af`) are no UTF-8. */
function isUtf8 (path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

/** The scheme is compared too: a `blob:` URL has the origin of its maker. */
function listedUrl (target: string, origins: ReadonlySet<string>): string | null {
  if (!/^https?:\/\/[^/]/i.test(target) || !URL.canParse(target)) return null
  const url = new URL(target)
  const isPlain = (url.protocol === 'https:' || url.protocol === 'http:') && url.username === '' && url.password === ''
  return isPlain && origins.has(url.origin) ? url.href : null
}
