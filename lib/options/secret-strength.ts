/** RFC 7518, section 3.2: an HS256 key is at least as long as the hash. */
export const SECRET_MIN_BYTES = 32
/** Below this a secret can be guessed offline from one signed token. */
export const SECRET_MIN_ENTROPY_BITS = 120

/** What to write instead of a refused secret. */
export const SECRET_FIX = 'Generate one: npx fastify-bulwark keygen'

/**
 * Why a text must not be used as a symmetric secret, one sentence a reason; empty when it may. Pure.
 * A reason never contains the secret or a part of it.
 */
export function secretProblems (secret: string): readonly string[] {
  if (isKeyMaterial(secret)) return ['It is the text of a PEM or JWK key, which may be public.']
  if (isEncodedKey(secret)) return ['It is an encoded key, which may be public.']
  const reasons: string[] = []
  if (Buffer.byteLength(secret) < SECRET_MIN_BYTES) reasons.push(`It is shorter than ${SECRET_MIN_BYTES} bytes.`)
  const { bits, words } = estimate(secret)
  if (bits < SECRET_MIN_ENTROPY_BITS) {
    reasons.push(
      words
        ? 'It reads like a placeholder.'
        : `Its entropy is estimated under ${SECRET_MIN_ENTROPY_BITS} bits: it is too short, repeats itself, ` +
          'follows a sequence or is made of words.',
    )
  }
  return reasons
}

/**
 * An upper bound of the secret's entropy in bits. Repeated parts, sequences and the words of placeholders count almost
 * nothing; what is left counts its Shannon entropy per character, or less where it reads like words.
 *
 * 32 random bytes as hex, or 24 as base64url, stay far above `SECRET_MIN_ENTROPY_BITS` even when such a word occurs
 * in them by chance.
 */
export function estimateEntropyBits (secret: string): number {
  return estimate(secret).bits
}

/** Bits that a repetition, a sequence or a known word counts: about what it takes to say which one and where. */
const PATTERN_BITS = 6
const SHORTEST_PATTERN = 4

/** English text has about this much in each letter when the words are drawn at random from a list. */
const WORD_BITS_PER_CHARACTER = 2.6

/** Words of which placeholders and `.env.example` files are made; the longer ones first, so that they win. */
const PLACEHOLDER_WORDS: readonly string[] = (
  'placeholder development production characters changethis passphrase changeme changeit password passw0rd generate ' +
  'insecure something session fastify bulwark example replace default minimum refresh private between letters ' +
  'unsafe secure random string secret access sample please signing insert s3cr3t change server should cookie dummy ' +
  'local least bytes super value token admin never chars fixme https mysql redis hello world your test this that ' +
  'with from here very long bits todo demo prod pass auth must only more than real not use for jwt key dev foo bar ' +
  'the and set api app env'
).split(' ')

/** A text with one of these is meant to be replaced; the other words above only add no strength. */
const PLACEHOLDER_SIGNS =
  /change|placeholder|replace|example|secret|s3cr3t|passw|your|sample|dummy|insert|default|test|todo|fixme/i

const KEYBOARD_ROWS: readonly string[] = [
  'qwertyuiop', 'asdfghjkl', 'zxcvbnm', 'qwertzuiop', 'azertyuiop', 'yxcvbnm',
  '1234567890', '0987654321', 'poiuytrewq',
]

function estimate (secret: string): { bits: number, words: boolean } {
  const lower = secret.toLowerCase()
  let patterns = 0
  let literal = ''
  let wordLetters = 0
  for (let at = 0; at < secret.length;) {
    const word = PLACEHOLDER_WORDS.find((candidate) => lower.startsWith(candidate, at))
    const length = word?.length ?? patternLength(lower, at)
    if (length === 0) {
      literal += secret.charAt(at)
      at += 1
      continue
    }
    if (word !== undefined) wordLetters += length
    patterns += 1
    at += length
  }
  const bits = patterns * PATTERN_BITS + literal.length * bitsPerCharacter(literal)
  return { bits, words: wordLetters * 3 >= secret.length && PLACEHOLDER_SIGNS.test(secret) }
}

/** Length of the repetition or sequence that starts here, or 0. */
function patternLength (text: string, at: number): number {
  const longest = Math.max(repetition(text, at), sequence(text, at), keyboardRun(text, at))
  return longest >= SHORTEST_PATTERN ? longest : 0
}

/** Longest part from here on that has stood earlier in the text. */
function repetition (text: string, at: number): number {
  let longest = 0
  while (at > 0 && at + longest < text.length && text.lastIndexOf(text.slice(at, at + longest + 1), at - 1) !== -1) {
    longest++
  }
  return longest
}

/** Longest run of equal, ascending or descending characters. */
function sequence (text: string, at: number): number {
  let longest = 0
  for (const step of [0, 1, -1]) {
    let length = 1
    while (at + length < text.length && text.charCodeAt(at + length) - text.charCodeAt(at + length - 1) === step) {
      length++
    }
    longest = Math.max(longest, length)
  }
  return longest
}

function keyboardRun (text: string, at: number): number {
  let longest = 0
  for (const row of KEYBOARD_ROWS) {
    let length = 0
    while (at + length < text.length && row.includes(text.slice(at, at + length + 1))) length++
    longest = Math.max(longest, length)
  }
  return longest
}

function bitsPerCharacter (text: string): number {
  const shannon = shannonBits(text)
  return readsLikeWords(text) ? Math.min(shannon, WORD_BITS_PER_CHARACTER) : shannon
}

/** Letters without digits, of one case or each word capitalised. Random base64 looks so about once in a million. */
function readsLikeWords (text: string): boolean {
  if (/[0-9]/.test(text)) return false
  const letters = text.replace(/[^A-Za-z]/g, '').length
  const inWords = (text.match(/[A-Z]?[a-z]{3,}/g) ?? []).join('').length
  return letters > 0 && (inWords / letters > 0.9 || !/[a-z]/.test(text))
}

/** Shannon's estimate with the correction of Miller and Madow, because a short sample looks poorer than its source. */
function shannonBits (text: string): number {
  if (text === '') return 0
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  let bits = 0
  for (const count of counts.values()) bits -= count / text.length * Math.log2(count / text.length)
  return Math.min(bits + (counts.size - 1) / (2 * text.length * Math.LN2), Math.log2(alphabetSize(text)))
}

/** An upper bound of what the characters were drawn from. */
function alphabetSize (text: string): number {
  if (/^[0-9]*$/.test(text)) return 10
  if (/^([0-9a-f]*|[0-9A-F]*)$/.test(text)) return 16
  return 95
}

/** An attacker who knows a public key's text could sign with it, where it serves as an HMAC secret. */
function isKeyMaterial (secret: string): boolean {
  if (/-----BEGIN [A-Z0-9 ]+-----/.test(secret)) return true
  if (!/^\s*[[{]/.test(secret)) return false
  try {
    const parsed: unknown = JSON.parse(secret)
    return typeof parsed === 'object' && parsed !== null &&
      ('kty' in parsed || 'keys' in parsed || Array.isArray(parsed))
  } catch {
    return false
  }
}

/** Object identifiers of RSA, of EC and of P-256, and of Ed25519 and Ed448, as DER in hex. */
const KEY_OIDS = /06092a864886f70d0101(01|0a)|06072a8648ce3d0201|06082a8648ce3d030107|06032b657[01]/
/** A SEQUENCE that begins with the modulus of an RSA key (PKCS #1). */
const PKCS1 = /^3082....0282/

/**
 * A PEM as base64 or hex, or its body without the frame: as public as the PEM. It is told by its look, because what
 * OpenSSL fails to parse stays in its queue of errors.
 */
function isEncodedKey (text: string): boolean {
  return (['base64', 'hex'] as const).some((encoding) => {
    const bytes = Buffer.from(text, encoding)
    const der = bytes.toString('hex')
    return (der.startsWith('30') && (KEY_OIDS.test(der) || PKCS1.test(der))) || isKeyMaterial(bytes.toString('latin1'))
  })
}
