/**
 * Shorter values are words that stand in a log for other reasons; the strength checks refuse them as secrets anyway.
 */
const SHORTEST_SECRET = 8
/** Bounds what a line costs, whatever a service declares. */
export const MAX_SECRETS = 256

export const REDACTED = '[redacted]'

type SecretSource = () => readonly string[]

/** Of the whole process: a line of one server must not show the secrets of another. */
const sources = new Map<SecretSource, readonly string[]>()

/**
 * Keeps these values out of every log line from now on, in all servers of the process. The source is asked again for
 * each line, so that rotated secrets count at once: it must be cheap, and return the same array until they change.
 *
 * @returns a function that ends it
 */
export function watchSecretValues (source: SecretSource): () => void {
  sources.set(source, [])
  return function unwatch () {
    sources.delete(source)
    compile()
  }
}

/** The text with each known secret value as `[redacted]`; also as it stands in JSON, in a URL and in a query. */
export function withoutSecrets (text: string): string {
  if (sources.size === 0) return text
  askSources()
  return mayHoldOne(text) ? replaceAll(text) : text
}

export interface UnwatchedSecrets { readonly tooShort: number, readonly beyondBound: number }

/** How many of the values, in all servers of the process, no line is searched for. An empty one is no value. */
export function unwatchedSecrets (): UnwatchedSecrets {
  askSources()
  return unwatched
}

const WARNED = new WeakSet<object>()

/** Says once for each `server` how many of the values stand in the log all the same. It never tells one. */
export function warnOfUnwatched (
  server: object,
  log: { warn: (fields: UnwatchedSecrets, message: string) => void },
): void {
  const { tooShort, beyondBound } = unwatchedSecrets()
  if (tooShort + beyondBound === 0 || WARNED.has(server)) return
  WARNED.add(server)
  log.warn(
    { tooShort, beyondBound },
    `some secret values are not kept out of the log: those of fewer than ${SHORTEST_SECRET} characters, and those beyond ${MAX_SECRETS}`,
  )
}

function askSources (): void {
  for (const [source, known] of sources) {
    const values = source()
    if (values !== known) {
      sources.set(source, values)
      compile()
    }
  }
}

/**
 * Four characters are looked at every so often, so seldom that none of the values fits between two looks: a line costs
 * the same for one value and for many. `GRAMS` says which four stand in one of them; it errs on the side of a search.
 */
const GRAM = 4
const GRAMS = new Uint8Array(1 << 16)
let needles: readonly string[] = []
let stride = 1
let unwatched: UnwatchedSecrets = { tooShort: 0, beyondBound: 0 }

function mayHoldOne (text: string): boolean {
  if (needles.length === 0) return false
  for (let at = 0; at + GRAM <= text.length; at += stride) if (GRAMS[gramAt(text, at)] === 1) return true
  return false
}

function gramAt (text: string, at: number): number {
  const mixed = text.charCodeAt(at) ^ text.charCodeAt(at + 1) << 5 ^ text.charCodeAt(at + 2) << 10 ^
    text.charCodeAt(at + 3) << 15
  return (mixed ^ mixed >>> 16) & 0xffff
}

function replaceAll (text: string): string {
  let clean = text
  // The value is a text to both, also where it looks like a pattern.
  for (const needle of needles) if (clean.includes(needle)) clean = clean.replaceAll(needle, REDACTED)
  return clean
}

function compile (): void {
  const known = [...new Set([...sources.values()].flat())].filter((value) => value !== '')
  const long = known.filter((value) => value.length >= SHORTEST_SECRET)
  const values = long.slice(0, MAX_SECRETS)
  unwatched = { tooShort: known.length - long.length, beyondBound: long.length - values.length }
  // The longer ones first: a secret may contain another.
  needles = [...new Set(values.flatMap(formsOf))].sort((a, b) => b.length - a.length)
  stride = (needles.at(-1)?.length ?? GRAM) - GRAM + 1
  GRAMS.fill(0)
  for (const needle of needles) for (let at = 0; at < stride; at++) GRAMS[gramAt(needle, at)] = 1
}

const LONE_SURROGATE = /\p{Surrogate}/u

function formsOf (value: string): string[] {
  // What has no UTF-8 form has no percent-encoding.
  const encoded = LONE_SURROGATE.test(value)
    ? []
    : [encodeURIComponent(value), new URLSearchParams({ '': value }).toString().slice(1)]
  return [value, JSON.stringify(value).slice(1, -1), ...encoded]
}
