import { inspect } from 'node:util'
import type { Static, TObject } from '@sinclair/typebox'

/** Marks a configuration that `loadEnv` made. */
export const kLoadedEnv: unique symbol = Symbol('bulwark.loadedEnv')

/** A frozen, redacted configuration that `loadEnv` made. */
export type LoadedEnv<T extends TObject = TObject> = Readonly<Static<T>> & { readonly [kLoadedEnv]: true }

interface EnvFacts {
  readonly production: boolean
  /** Names of what is redacted. */
  readonly hidden: readonly string[]
  readonly generated: readonly string[]
}

export const REDACTED = '[redacted]'

/** Keyed by the configuration itself, so that nothing can be told about a copy or a look-alike. */
const FACTS = new WeakMap<object, EnvFacts>()

/** Kept off the configuration, so that no walk over its members comes upon them. */
const SECRET_VALUES = new WeakMap<object, readonly string[]>()

/**
 * Not a plain object: code that clones plain objects (option checks, loggers) leaves it whole instead of turning the
 * hidden secrets into visible members.
 */
const PROTOTYPE: object = Object.freeze(Object.defineProperties({}, {
  [kLoadedEnv]: { value: true },
  toJSON: { value: redactedCopy },
  [inspect.custom]: { value: redactedCopy },
}))

/**
 * Freezes the values. A secret is a getter that no enumeration finds, so neither a spread, nor `Object.entries`, nor a
 * logger that walks the members, nor `util.inspect` with `showHidden` comes upon it; `config.NAME` gives it.
 */
export function createConfig (values: Readonly<Record<string, unknown>>, facts: EnvFacts): LoadedEnv {
  const config = Object.create(PROTOTYPE) as LoadedEnv
  for (const [name, value] of Object.entries(values)) {
    const frozen: unknown = Array.isArray(value) ? Object.freeze(value) : value
    Object.defineProperty(config, name, facts.hidden.includes(name)
      ? { get: () => frozen, enumerable: false }
      : { value: frozen, enumerable: true })
  }
  FACTS.set(config, Object.freeze(facts))
  SECRET_VALUES.set(config, Object.freeze([...new Set(facts.hidden.flatMap((name) => secretParts(values[name])))]))
  return Object.freeze(config)
}

/** What stands for a configuration where there is no schema, or where it could not be read. */
export function emptyConfig (production: boolean): LoadedEnv {
  return createConfig({}, { production, hidden: [], generated: [] })
}

export function isLoadedEnv (value: unknown): value is LoadedEnv {
  return typeof value === 'object' && value !== null && FACTS.has(value)
}

/** True when the source that this configuration was read from says production. */
export function isProductionConfig (config: LoadedEnv): boolean {
  return FACTS.get(config)?.production ?? true
}

/** Names of the secrets that were made up because they were missing outside production; never their values. */
export function generatedSecrets (config: Readonly<Record<string, unknown>>): readonly string[] {
  return FACTS.get(config)?.generated ?? []
}

/**
 * The texts that no log may hold: each redacted value, and of a URL also its password, because drivers print that
 * alone.
 * Rotated values are added and old ones stay, in a new frozen list; the same list means that nothing changed.
 */
export function secretValuesOf (config: Readonly<Record<string, unknown>>): readonly string[] {
  return SECRET_VALUES.get(config) ?? NO_VALUES
}

/** Makes a value known to `secretValuesOf` before anybody else gets it. */
export function addSecretValue (config: LoadedEnv, value: unknown): void {
  const known = secretValuesOf(config)
  const added = secretParts(value).filter((part) => !known.includes(part))
  if (added.length > 0) SECRET_VALUES.set(config, Object.freeze([...known, ...added]))
}

const NO_VALUES: readonly string[] = Object.freeze([])

/** A shorter text stands in a log by chance all the time, and each place where it is hidden would tell it. */
export const SHORTEST_SECRET_VALUE = 6

function secretParts (value: unknown): string[] {
  const texts = (Array.isArray(value) ? value as unknown[] : [value]).filter((text) => typeof text === 'string')
  return texts.flatMap((text) => [text, ...passwordsOf(text)]).filter((text) => text.length >= SHORTEST_SECRET_VALUE)
}

/** As written and decoded: a driver gets the one and prints the other. */
function passwordsOf (text: string): string[] {
  if (!text.includes('://') || !URL.canParse(text)) return []
  const url = new URL(text)
  const inQuery = [...url.searchParams].filter(([name]) => /passw|secret|token|key/i.test(name)).map(([, password]) =>
    password
  )
  const written = /:\/\/[^/?#]*?:([^/?#]*)@/.exec(text)?.[1] ?? ''
  return [...new Set([url.password, written, decoded(url.password), ...inQuery])]
}

function decoded (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function redactedCopy (this: object): Record<string, unknown> {
  const copy: Record<string, unknown> = { ...this }
  for (const name of FACTS.get(this)?.hidden ?? []) if (Object.hasOwn(this, name)) copy[name] = REDACTED
  return copy
}
