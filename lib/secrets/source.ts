import { errorCode } from '../common/error-code.js'

/** One thing wrong with a secret source. Neither text may hold a value. */
export interface SourceProblem { readonly message: string, readonly fix: string }

/** What a source is asked with. */
export interface LoadContext {
  /** Aborted at the deadline and when the service stops; a source that ignores it is not waited for. */
  readonly signal: AbortSignal
}

/**
 * Where secrets come from beside the environment. `load` gives the text of each name it has and leaves out the others;
 * it rejects when it cannot tell, with a `SecretSourceError` where a person can fix it. It is called again at each
 * refresh.
 */
export interface SecretSource {
  /** For messages: what and where, without credentials. */
  readonly name: string
  load: (names: readonly string[], context: LoadContext) => Promise<Readonly<Record<string, string>>>
}

/** What a source rejects with. Its texts are shown, so they never hold a value, a token or an answer's content. */
export class SecretSourceError extends Error {
  override readonly name = 'SecretSourceError'
  readonly problems: readonly SourceProblem[]

  constructor (problems: readonly SourceProblem[] | SourceProblem) {
    const list = Array.isArray(problems) ? problems as readonly SourceProblem[] : [problems as SourceProblem]
    super(list.map(({ message }) => message).join(' '))
    this.problems = Object.freeze([...list])
  }
}

/** The texts of the requested names, or what is wrong. */
export type Answer = { readonly texts: ReadonlyMap<string, string> } | { readonly problems: readonly SourceProblem[] }

/** Asks a source, at most until the deadline, whether it heeds its signal or not. It never rejects. */
export async function ask (
  source: SecretSource,
  names: readonly string[],
  timeoutMs: number,
  stop: AbortSignal | null = null,
): Promise<Answer> {
  const deadline = new AbortController()
  const late = new Promise<Answer>((resolve) => {
    deadline.signal.addEventListener('abort', () => {
      resolve({
        problems: [{
          message: `No answer within ${timeoutMs} ms.`,
          fix: 'Check that it can be reached from here, or give it a longer `timeout`.',
        }],
      })
    }, { once: true })
  })
  const abort = (): void => { deadline.abort() }
  const timer = setTimeout(abort, timeoutMs)
  stop?.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([answerOf(source, names, deadline.signal), late])
  } finally {
    clearTimeout(timer)
    stop?.removeEventListener('abort', abort)
  }
}

async function answerOf (source: SecretSource, names: readonly string[], signal: AbortSignal): Promise<Answer> {
  let loaded: unknown
  try {
    loaded = await source.load(names, { signal })
  } catch (error) {
    if (error instanceof SecretSourceError) return { problems: error.problems }
    // A foreign message may quote what it could not read.
    return {
      problems: [{
        message: `It failed (${errorCode(error)}).`,
        fix: 'Check the source; its own message is not shown, because it may hold a value.',
      }],
    }
  }
  if (typeof loaded !== 'object' || loaded === null) {
    return {
      problems: [{
        message: 'It did not answer with an object of texts.',
        fix: "Let `load` resolve to { NAME: 'value' }.",
      }],
    }
  }
  const texts = new Map<string, string>()
  const problems: SourceProblem[] = []
  for (const name of names) {
    const text: unknown = Object.hasOwn(loaded, name) ? (loaded as Readonly<Record<string, unknown>>)[name] : undefined
    if (typeof text === 'string') {
      // An empty text counts as absent, as in the environment.
      if (text !== '') texts.set(name, text)
    } else if (text !== undefined) {
      problems.push({ message: `${name} is not text.`, fix: 'Store it as a string.' })
    }
  }
  return problems.length > 0 ? { problems } : { texts }
}
