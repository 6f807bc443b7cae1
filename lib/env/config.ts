import { inspect } from 'node:util'
import type { Static, TObject } from '@sinclair/typebox'
import { REDACTED, SHORTEST_SECRET } from '../logging/secrets.js'

/** Marks the type of a configuration that `loadEnv` or `loadEnvAsync` made. */
declare const kLoadedEnv: unique symbol

/** A frozen, redacted configuration that `loadEnv` or `loadEnvAsync` made. */
export type LoadedEnv<T extends TObject = TObject> = Readonly<Static<T>> & { readonly [kLoadedEnv]: true }

interface EnvFacts {
  readonly production: boolean
  /** Names of the redacted variables. */
  readonly hidden: readonly string[]
  /** Names of the secrets that were generated. */
  readonly generated: readonly string[]
}

/** What a loader outside the core wants to know of the server that uses a configuration. */
export interface ConfigFollower {
  /** The server has a log. */
  readonly attach: (log: ConfigLog) => void
  /** The server is closed. */
  readonly stop: () => void
}

export interface ConfigLog {
  error: (facts: Readonly<Record<string, unknown>>, message: string) => void
  info: (facts: Readonly<Record<string, unknown>>, message: string) => void
}

const NO_VALUES: readonly string[] = Object.freeze([])

/**
 * Its facts are private, so a copy or a look-alike has none. Being no plain object, it is left whole by code that
 * clones those (option checks, loggers), which would turn the hidden secrets into visible members.
 */
class EnvConfig {
  readonly #facts: EnvFacts
  #watched: readonly string[] = NO_VALUES
  #secretValues: readonly string[] = NO_VALUES
  #follower: ConfigFollower | null = null

  /**
   * A secret is a getter that is not enumerable, so a spread, `Object.entries`, a logger that walks the members and
   * `util.inspect` with `showHidden` leave it out; `config.NAME` gives it.
   */
  constructor (values: Readonly<Record<string, unknown>>, facts: EnvFacts) {
    this.#facts = facts
    this.#watch(facts.hidden.map((name) => values[name]))
    for (const [name, value] of Object.entries(values)) {
      const frozen: unknown = Array.isArray(value) ? Object.freeze(value) : value
      Object.defineProperty(this, name, facts.hidden.includes(name)
        ? { get: () => frozen, enumerable: false }
        : { value: frozen, enumerable: true })
    }
    Object.freeze(this)
  }

  static is (value: unknown): value is EnvConfig {
    return typeof value === 'object' && value !== null && #facts in value
  }

  static factsOf (config: object): EnvFacts | null {
    return EnvConfig.is(config) ? config.#facts : null
  }

  static secretValuesOf (config: object): readonly string[] {
    return EnvConfig.is(config) ? config.#secretValues : NO_VALUES
  }

  static watchedValuesOf (config: object): readonly string[] {
    return EnvConfig.is(config) ? config.#watched : NO_VALUES
  }

  static addSecretValue (config: object, value: unknown): void {
    if (EnvConfig.is(config)) config.#watch([value])
  }

  static followerOf (config: object): ConfigFollower | null {
    return EnvConfig.is(config) ? config.#follower : null
  }

  static follow (config: object, follower: ConfigFollower): void {
    if (EnvConfig.is(config)) config.#follower = follower
  }

  /** The lists stay the same ones when there is nothing new. */
  #watch (values: readonly unknown[]): void {
    const added = [...new Set(values.flatMap(secretParts))].filter((part) => !this.#watched.includes(part))
    if (added.length === 0) return
    this.#watched = Object.freeze([...this.#watched, ...added])
    this.#secretValues = Object.freeze(this.#watched.filter(isLong))
  }

  toJSON (): Record<string, unknown> {
    return redactedCopy(this)
  }

  [inspect.custom] (): Record<string, unknown> {
    return redactedCopy(this)
  }
}

export function createConfig (values: Readonly<Record<string, unknown>>, facts: EnvFacts): LoadedEnv {
  return new EnvConfig(values, facts) as unknown as LoadedEnv
}

export function isLoadedEnv (value: unknown): value is LoadedEnv {
  return EnvConfig.is(value)
}

/** True when the source that this configuration was read from says production, and for what is none. */
export function isProductionConfig (config: LoadedEnv): boolean {
  return EnvConfig.factsOf(config)?.production ?? true
}

/** Names of the secrets that were generated because they were missing outside production; never their values. */
export function generatedSecrets (config: Readonly<Record<string, unknown>>): readonly string[] {
  return EnvConfig.factsOf(config)?.generated ?? NO_VALUES
}

/**
 * The texts that no log may hold: each redacted value, and of a URL also its password, which drivers print alone.
 * After a rotation there is a new frozen list with the old and the new values; the same list means no change.
 */
export function secretValuesOf (config: Readonly<Record<string, unknown>>): readonly string[] {
  return EnvConfig.secretValuesOf(config)
}

/** `secretValuesOf`, and the values that are too short for it, so that the log can count what it does not redact. */
export function watchedValuesOf (config: Readonly<Record<string, unknown>>): readonly string[] {
  return EnvConfig.watchedValuesOf(config)
}

/** Adds a value to `secretValuesOf`, before it is handed out. */
export function addSecretValue (config: LoadedEnv, value: unknown): void {
  EnvConfig.addSecretValue(config, value)
}

/** Lets a loader follow the server that uses the configuration. */
export function followServer (config: LoadedEnv, follower: ConfigFollower): void {
  EnvConfig.follow(config, follower)
}

/** Who follows the server that uses this configuration; null for most. */
export function followerOf (config: Readonly<Record<string, unknown>>): ConfigFollower | null {
  return EnvConfig.followerOf(config)
}

function secretParts (value: unknown): string[] {
  const texts = (Array.isArray(value) ? value as unknown[] : [value]).filter((text) => typeof text === 'string')
  return texts.flatMap((text) => [text, ...passwordsOf(text).filter(isLong)])
}

function isLong (text: string): boolean {
  return text.length >= SHORTEST_SECRET
}

/** As written and decoded: a driver gets the one and prints the other. */
function passwordsOf (text: string): string[] {
  if (!text.includes('://') || !URL.canParse(text)) return []
  const url = new URL(text)
  const inQuery = [...url.searchParams].flatMap(([name, value]) =>
    /passw|secret|token|key/i.test(name) ? [value] : []
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

function redactedCopy (config: object): Record<string, unknown> {
  const copy: Record<string, unknown> = { ...config }
  for (const name of EnvConfig.factsOf(config)?.hidden ?? []) if (Object.hasOwn(config, name)) copy[name] = REDACTED
  return copy
}
