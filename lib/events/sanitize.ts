/** The most of a text, in characters, and of a list that an event holds. */
export const MAX_TEXT = 256
export const MAX_ITEMS = 20

/**
 * C0, DEL and C1 (terminal escapes, line breaks), line and paragraph separators, zero-width marks and text direction.
 */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Surrogate}/gu

const EMAIL = /([^\s@<>"',;:]{1,64})@([^\s@<>"',;:]{1,190}\.[^\s@<>"',;:.]{2,})/g

/**
 * Text that cannot forge a log line or steer a terminal: capped, with control characters as `\uXXXX`, and with the
 * local part of an e-mail address masked (`a***@example.com`).
 */
export function safeText (text: string): string {
  // Twice what is kept, so that an address (at most 254 characters) is not cut before it is recognized.
  const head = text.length <= MAX_TEXT * 2 ? text : text.slice(0, MAX_TEXT * 2)
  const masked = head.includes('@') ? head.replace(EMAIL, maskAddress) : head
  const escaped = masked.replace(UNSAFE, escapeCharacter)
  return escaped.length <= MAX_TEXT && head === text ? escaped : `${escaped.slice(0, MAX_TEXT - 1)}…`
}

/**
 * The value of an event's field as it may leave: text, numbers, booleans and lists of those. Anything else is dropped.
 */
export function safeField (value: unknown): string | number | boolean | readonly string[] | undefined {
  if (typeof value === 'string') return safeText(value)
  if (typeof value === 'number' || typeof value === 'boolean') return value
  if (!Array.isArray(value)) return undefined
  return Object.freeze(value.slice(0, MAX_ITEMS).filter((item) => typeof item === 'string').map(safeText))
}

function maskAddress (_address: string, local: string, domain: string): string {
  return `${local.charAt(0)}***@${domain}`
}

function escapeCharacter (character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
