const QUOTE = 34
const COMMA = 44
const ZERO = 48
const NINE = 57
const COLON = 58
const OPENING_BRACKET = 91
const BACKSLASH = 92
const CLOSING_BRACKET = 93
const CLOSING_BRACE = 125
const FIRST_PRINTABLE = 32
const LAST_PRINTABLE = 126
/** Whole numbers of so many digits are read and written without loss. */
const SAFE_DIGITS = 15

/**
 * Whether the first `length` bytes are what `JSON.stringify` writes of `parsed`, which `JSON.parse` made of them, as
 * far as one look at each byte can tell; it costs a fifth of writing the object again. True is certain. False is said
 * of all but one object with texts of printable ASCII without a backslash, whole numbers, lists of these, and names
 * that are no numbers and differ from each other: of such an object there is one text without white space.
 */
export function isPlainlyWritten (bytes: Uint8Array, length: number, parsed: object): boolean {
  let inText = false
  let textStart = 0
  let digits = 0
  let names = 0
  // Behind the opening brace: another one is no part of a plain object.
  for (let at = 1; at < length; at++) {
    const code = bytes[at] as number
    if (inText) {
      if (code === QUOTE) inText = false
      else if (code < FIRST_PRINTABLE || code > LAST_PRINTABLE || code === BACKSLASH) return false
    } else if (code === QUOTE) {
      inText = true
      textStart = at + 1
    } else if (code >= ZERO && code <= NINE) {
      if (++digits > SAFE_DIGITS) return false
    } else if (code === COLON) {
      // A name that is a number would be written before the others.
      const first = bytes[textStart] as number
      if (first >= ZERO && first <= NINE) return false
      names++
    } else if (code === COMMA || code === OPENING_BRACKET || code === CLOSING_BRACKET || code === CLOSING_BRACE) {
      digits = 0
    } else {
      return false
    }
  }
  // A name that comes twice is one member of what was parsed.
  return names === Object.keys(parsed).length
}
