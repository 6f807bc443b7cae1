import type { Problem } from '../response/errors.js'
import { addSecretValue, type LoadedEnv } from './config.js'
import { ask, codeOf, type SecretSource, type SourceProblem } from './secret-source.js'

/** Gets the name and the new value of a secret, checked and coerced as at boot. What it throws keeps the old one. */
export type OnRotate = (name: string, value: unknown) => void | Promise<void>

/** Where refreshes are told: once when a source begins to fail, once when it is back, once a rotation. */
export interface RefreshLog {
  error: (facts: Readonly<Record<string, unknown>>, message: string) => void
  info: (facts: Readonly<Record<string, unknown>>, message: string) => void
}

/** A source with the texts that count of it. */
export interface Origin { readonly source: SecretSource, readonly texts: ReadonlyMap<string, string> }

/** Checks new texts beside all others; `accept` makes them the ones that the next are checked beside. */
export type Judge = (changed: ReadonlyMap<string, string>) => {
  readonly values: Readonly<Record<string, unknown>>
  readonly problems: readonly Problem[]
  readonly accept: () => void
}

interface RefreshSettings {
  readonly origins: readonly Origin[]
  readonly timeoutMs: number
  readonly refreshMs: number
  readonly onRotate: OnRotate | null
  readonly judge: Judge
}

interface State {
  readonly source: SecretSource
  texts: ReadonlyMap<string, string>
  /** What is wrong with it now; null when the last refresh succeeded. */
  failure: readonly SourceProblem[] | null
}

class Refresher {
  readonly #config: LoadedEnv
  readonly #settings: RefreshSettings
  readonly #states: State[]
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | null = null
  #log: RefreshLog | null = null

  constructor (config: LoadedEnv, settings: RefreshSettings) {
    this.#config = config
    this.#settings = settings
    this.#states = settings.origins.map(({ source, texts }) => ({ source, texts, failure: null }))
    this.#schedule()
  }

  /** A failure that began before there was a log is told now. */
  attach (log: RefreshLog): void {
    this.#log = log
    for (const state of this.#states) this.#tellFailure(state)
  }

  stop (): void {
    this.#stop.abort()
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  /** After each other and never two at once: a slow source delays the next refresh instead of piling them up. */
  #schedule (): void {
    this.#timer = setTimeout(() => {
      void this.#refreshAll().finally(() => { if (!this.#stop.signal.aborted) this.#schedule() })
    }, this.#settings.refreshMs)
    this.#timer.unref()
  }

  async #refreshAll (): Promise<void> {
    for (const state of this.#states) {
      const failure = await this.#refresh(state)
      if (this.#stop.signal.aborted) return
      const failedBefore = state.failure !== null
      state.failure = failure
      if (failure !== null && !failedBefore) this.#tellFailure(state)
      if (failure === null && failedBefore)
        {this.#log?.info({ source: state.source.name }, 'the secrets can be refreshed again')}
    }
  }

  /** What went wrong; then the old values stay, all of this source. */
  async #refresh (state: State): Promise<readonly SourceProblem[] | null> {
    const answer = await ask(state.source, [...state.texts.keys()], this.#settings.timeoutMs, this.#stop.signal)
    if ('problems' in answer) return answer.problems
    const gone = [...state.texts.keys()].filter((name) => !answer.texts.has(name))
    if (gone.length > 0)
      {return [{ message: `It no longer has ${gone.join(', ')}.`, fix: 'Store it again, or deploy without it.' }]}
    const changed = new Map([...answer.texts].filter(([name, text]) => state.texts.get(name) !== text))
    if (changed.size === 0) return null
    const { values, problems, accept } = this.#settings.judge(changed)
    if (problems.length > 0)
      {return problems.map(({ path, message, fix }) => ({
        message: `The rotated value is refused: ${path}: ${message}`,
        fix,
      }))}
    for (const name of changed.keys()) {
      const failure = await this.#hand(name, values[name])
      if (failure !== null) return [failure]
    }
    accept()
    state.texts = answer.texts
    this.#log?.info(
      { source: state.source.name, variables: [...changed.keys()] },
      'secrets were rotated at their source',
    )
    return null
  }

  async #hand (name: string, value: unknown): Promise<SourceProblem | null> {
    // First, so that no line that the callback writes shows it.
    addSecretValue(this.#config, value)
    try {
      await this.#settings.onRotate?.(name, value)
      return null
    } catch (error) {
      return {
        message: `onRotate failed for ${name} (${codeOf(error)}).`,
        fix: 'It is called again at the next refresh.',
      }
    }
  }

  #tellFailure ({ source, failure }: State): void {
    if (failure === null) return
    this.#log?.error(
      { source: source.name, problems: failure.map(({ message, fix }) => `${message} ${fix}`) },
      'the secrets could not be refreshed: the ones that were read before stay in use',
    )
  }
}

/** Keyed by the configuration, which stays free of members that are no variables. */
const REFRESHERS = new WeakMap<object, Refresher>()

/** Asks the sources again from now on, with a timer that keeps no process alive. */
export function startRefresh (config: LoadedEnv, settings: RefreshSettings): void {
  REFRESHERS.set(config, new Refresher(config, settings))
}

/** Ends the refreshes of a configuration, also one that is under way; without refreshes it does nothing. */
export function stopRefresh (config: Readonly<Record<string, unknown>>): void {
  REFRESHERS.get(config)?.stop()
}

/** Tells a log about the refreshes of a configuration; false when it has none. */
export function logRefresh (config: Readonly<Record<string, unknown>>, log: RefreshLog): boolean {
  const refresher = REFRESHERS.get(config)
  refresher?.attach(log)
  return refresher !== undefined
}
