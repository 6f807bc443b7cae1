/**
 * Shorter values stand in many lines by chance, and each redaction would tell where. The one such bound of the suite.
 */
export const SHORTEST_SECRET = 6
/** Bounds what searching a line costs. */
export const MAX_SECRETS = 256

export const REDACTED = '[redacted]'

type SecretSource = () => readonly string[]

/** Of the whole process: a line of one server must not show the secrets of another. */
const sources = new Map<SecretSource, readonly string[]>()
/** Finds any of the values; null without one. */
let pattern: RegExp | null = null
let unwatched: UnwatchedSecrets = { tooShort: 0, beyondBound: 0 }

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
  return pattern === null ? text : text.replace(pattern, REDACTED)
}

export interface UnwatchedSecrets { readonly tooShort: number, readonly beyondBound: number }

/** How many of the values, in all servers of the process, are not searched for in lines. An empty one is no value. */
export function unwatchedSecrets (): UnwatchedSecrets {
  askSources()
  return unwatched
}

const WARNED = new WeakSet<object>()

/** Warns once for each `server` how many of the values may stand in the log. The warning holds none of them. */
export function warnOfUnwatched (
  server: object,
  log: { warn: (fields: UnwatchedSecrets, message: string) => void },
): void {
  const { tooShort, beyondBound } = unwatchedSecrets()
  if (tooShort + beyondBound === 0 || WARNED.has(server)) return
  WARNED.add(server)
  log.warn(
    { tooShort, beyondBound },
    'some secret values are not kept out of the log: those of fewer than ' +
    `${SHORTEST_SECRET} characters, and those beyond ${MAX_SECRETS}`,
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

function compile (): void {
  const known = [...new Set([...sources.values()].flat())].filter((value) => value !== '')
  const long = known.filter((value) => value.length >= SHORTEST_SECRET)
  const values = long.slice(0, MAX_SECRETS)
  unwatched = { tooShort: known.length - long.length, beyondBound: long.length - values.length }
  // The longer ones first: a secret may contain another.
  const forms = [...new Set(values.flatMap(formsOf))].sort((one, other) => other.length - one.length)
  pattern = forms.length === 0 ? null : new RegExp(forms.map(escapePattern).join('|'), 'g')
}

function escapePattern (text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')
}

const LONE_SURROGATE = /\p{Surrogate}/u

function formsOf (value: string): string[] {
  // A lone surrogate has no percent-encoding.
  const encoded = LONE_SURROGATE.test(value)
    ? []
    : [encodeURIComponent(value), new URLSearchParams({ '': value }).toString().slice(1)]
  return [value, JSON.stringify(value).slice(1, -1), ...encoded]
}
