import type { Problem } from '../response/errors.js'
import { errorCode } from '../common/error-code.js'
import { addSecretValue, followerOf, followServer, type ConfigFollower, type ConfigLog,
  type LoadedEnv } from '../env/config.js'
import { ask, type SecretSource, type SourceProblem } from './source.js'

/** Gets the name and the new value of a secret, checked and coerced as at boot. What it throws keeps the old one. */
export type OnRotate = (name: string, value: unknown) => void | Promise<void>

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

/**
 * Asks the sources of a configuration again. The log hears once when a source begins to fail, once when it is back, and
 * once a rotation.
 */
class Refresher implements ConfigFollower {
  readonly #config: LoadedEnv
  readonly #settings: RefreshSettings
  readonly #states: State[]
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | null = null
  #log: ConfigLog | null = null

  constructor (config: LoadedEnv, settings: RefreshSettings) {
    this.#config = config
    this.#settings = settings
    this.#states = settings.origins.map(({ source, texts }) => ({ source, texts, failure: null }))
    this.#schedule()
  }

  /** A failure that began before there was a log is logged now. */
  attach (log: ConfigLog): void {
    this.#log = log
    for (const state of this.#states) this.#logFailure(state)
  }

  stop (): void {
    this.#stop.abort()
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  /** Never two at once: a slow source delays the next refresh instead of piling them up. */
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
      if (failure !== null && !failedBefore) this.#logFailure(state)
      if (failure === null && failedBefore) {
        this.#log?.info({ source: state.source.name }, 'the secrets can be refreshed again')
      }
    }
  }

  /** Resolves to what went wrong; then all old values of this source stay in use. */
  async #refresh (state: State): Promise<readonly SourceProblem[] | null> {
    const answer = await ask(state.source, [...state.texts.keys()], this.#settings.timeoutMs, this.#stop.signal)
    if ('problems' in answer) return answer.problems
    const gone = [...state.texts.keys()].filter((name) => !answer.texts.has(name))
    if (gone.length > 0) {
      return [{ message: `It no longer has ${gone.join(', ')}.`, fix: 'Store it again, or deploy without it.' }]
    }
    const changed = new Map([...answer.texts].filter(([name, text]) => state.texts.get(name) !== text))
    if (changed.size === 0) return null
    const { values, problems, accept } = this.#settings.judge(changed)
    if (problems.length > 0) {
      return problems.map(({ path, message, fix }) => ({
        message: `The rotated value is refused: ${path}: ${message}`,
        fix,
      }))
    }
    for (const name of changed.keys()) {
      const failure = await this.#handOver(name, values[name])
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

  async #handOver (name: string, value: unknown): Promise<SourceProblem | null> {
    // First, so that no line that the callback writes shows it.
    addSecretValue(this.#config, value)
    try {
      await this.#settings.onRotate?.(name, value)
      return null
    } catch (error) {
      return {
        message: `onRotate failed for ${name} (${errorCode(error)}).`,
        fix: 'It is called again at the next refresh.',
      }
    }
  }

  #logFailure ({ source, failure }: State): void {
    if (failure === null) return
    this.#log?.error(
      { source: source.name, problems: failure.map(({ message, fix }) => `${message} ${fix}`) },
      'the secrets could not be refreshed: the ones that were read before stay in use',
    )
  }
}

/** Asks the sources again from now on, with a timer that keeps no process alive. */
export function startRefresh (config: LoadedEnv, settings: RefreshSettings): void {
  followServer(config, new Refresher(config, settings))
}

/** Ends the refreshes of a configuration, also one that is under way; without refreshes it does nothing. */
export function stopRefresh (config: Readonly<Record<string, unknown>>): void {
  followerOf(config)?.stop()
}
