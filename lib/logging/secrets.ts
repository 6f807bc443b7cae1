/** Shorter values are words that stand in a log for other reasons; the strength checks refuse them as secrets anyway. */
const SHORTEST_SECRET = 8
/** Each value costs every line a search: this bounds the cost, whatever a service declares. */
export const MAX_SECRETS = 256

export const REDACTED = '[redacted]'

type SecretSource = () => readonly string[]

/** Of the whole process: a line of one server must not show the secrets of another. */
const sources = new Map<SecretSource, readonly string[]>()
let needles: readonly string[] = []

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
  for (const [source, known] of sources) {
    const values = source()
    if (values !== known) {
      sources.set(source, values)
      compile()
    }
  }
  let clean = text
  for (let index = 0; index < needles.length; index++) {
    const needle = needles[index] as string
    if (clean.includes(needle)) clean = clean.replaceAll(needle, REDACTED)
  }
  return clean
}

function compile (): void {
  const values = [...new Set([...sources.values()].flat())].filter((value) => value.length >= SHORTEST_SECRET).slice(0, MAX_SECRETS)
  // The longer ones first: a secret may contain another.
  needles = [...new Set(values.flatMap(formsOf))].sort((a, b) => b.length - a.length)
}

const LONE_SURROGATE = /\p{Surrogate}/u

function formsOf (value: string): string[] {
  // What has no UTF-8 form has no percent-encoding.
  const encoded = LONE_SURROGATE.test(value) ? [] : [encodeURIComponent(value), new URLSearchParams({ '': value }).toString().slice(1)]
  return [value, JSON.stringify(value).slice(1, -1), ...encoded]
}
