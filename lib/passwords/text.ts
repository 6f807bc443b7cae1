/** A longer password costs the server more than the caller. */
export const MAX_BYTES = 1024

/** NFC joins at most four UTF-16 units into a character of two bytes or more, so longer text stays above the bound. */
const MAX_UNITS = 4 * MAX_BYTES

/**
 * The bytes of a password as RFC 8265 (OpaqueString) compares it, because keyboards differ in how they send it: é is
 * one code point or two, and Option+Space is another space. A text when it is no password: what to tell its owner.
 */
export function encodePassword (password: unknown): Buffer | string {
  if (typeof password !== 'string') return 'The password is not a text.'
  if (password === '') return 'The password is empty.'
  if (password.length > MAX_UNITS) return 'The password is too long.'
  // UTF-8 has no lone surrogates: all would become the same replacement character, and their passwords equal.
  if (/\p{Cs}/u.test(password)) return 'The password is not valid Unicode text.'
  const bytes = Buffer.from(password.replace(/\p{Zs}/gu, ' ').normalize('NFC'))
  return bytes.length > MAX_BYTES ? 'The password is too long.' : bytes
}
