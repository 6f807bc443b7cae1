import { inspect } from 'node:util'
import type { Static, TObject } from '@sinclair/typebox'

/** Marks a configuration that `loadEnv` made. */
export const kLoadedEnv: unique symbol = Symbol('bulwark.loadedEnv')

/** A frozen, redacted configuration that `loadEnv` made. */
export type LoadedEnv<T extends TObject = TObject> = Readonly<Static<T>> & { readonly [kLoadedEnv]: true }

interface EnvFacts {
  readonly production: boolean
  readonly secrets: readonly string[]
  readonly generated: readonly string[]
}

export const REDACTED = '[redacted]'

/** Keyed by the configuration itself, so that nothing can be told about a copy or a look-alike. */
const FACTS = new WeakMap<object, EnvFacts>()

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
    Object.defineProperty(config, name, facts.secrets.includes(name)
      ? { get: () => frozen, enumerable: false }
      : { value: frozen, enumerable: true })
  }
  FACTS.set(config, Object.freeze(facts))
  return Object.freeze(config)
}

/** What stands for a configuration where there is no schema, or where it could not be read. */
export function emptyConfig (production: boolean): LoadedEnv {
  return createConfig({}, { production, secrets: [], generated: [] })
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

function redactedCopy (this: object): Record<string, unknown> {
  const copy: Record<string, unknown> = { ...this }
  for (const name of FACTS.get(this)?.secrets ?? []) if (Object.hasOwn(this, name)) copy[name] = REDACTED
  return copy
}
