import { Type, type Static, type TObject } from '@sinclair/typebox'
import { startRefresh, type Judge, type OnRotate, type Origin } from './refresh.js'
import { ask, type SecretSource } from './source.js'
import type { LoadedEnv } from '../env/config.js'
import { LoadEnvOptionsSchema } from '../env/options.js'
import { finishReading, itemsOf, readVariables, type Reading } from '../env/resolve.js'
import { checkSecrets, coerce, type Texts } from '../env/validate.js'
import { checkOptions } from '../options/check-options.js'
import { parseDuration, type Duration } from '../options/duration.js'
import { durationOption } from '../options/option-schema.js'
import { assertNoProblems, type Problem } from '../response/errors.js'


export const LoadEnvAsyncOptionsSchema = Type.Object({
  ...LoadEnvOptionsSchema.properties,
  sources: Type.Optional(
    Type.Unsafe<readonly SecretSource[]>(
      Type.Array(Type.Unknown(), {
        description:
          'All are asked for every `secret` and `redact` variable that is not in ' +
          'the environment; the first with a value counts.',
        fix: 'Write a list of sources: [vaultSecrets({ ... })].',
      }),
    ),
  ),
  timeout: Type.Optional(
    durationOption('How long each source may take, at boot and at a refresh. Default 5s.'),
  ),
  refresh: Type.Optional(
    durationOption('How often the sources are asked again, at least 1s. Default: never.'),
  ),
  onRotate: Type.Optional(
    Type.Unsafe<OnRotate>(
      Type.Unknown({
        description: 'Called with the name and the new, checked value of a secret that changed at its source.',
      }),
    ),
  ),
}, { additionalProperties: false })

/** Options of `loadEnvAsync`. */
export type LoadEnvAsyncOptions = Static<typeof LoadEnvAsyncOptionsSchema>

const DEFAULT_TIMEOUT: Duration = '5s'
const SHORTEST_REFRESH_MS = 1000
/** setTimeout takes a longer one for 1 ms. */
const LONGEST_TIMER_MS = 2_147_483_647

/**
 * Like `loadEnv`, and asks `sources` for the secrets that are not in the environment. With `refresh` they are asked
 * again as long as the process runs; the env plugin logs that and ends it with the server, else `stopRefresh(config)`
 * does.
 * @throws BulwarkConfigError that lists every wrong variable and every source that failed, never with a value.
 */
export async function loadEnvAsync<T extends TObject> (
  schema: T,
  options: LoadEnvAsyncOptions = {},
): Promise<LoadedEnv<T>> {
  const problems: Problem[] = []
  const config = await readConfig(schema, options, problems)
  assertNoProblems(problems)
  return config as LoadedEnv<T>
}

async function readConfig (schema: unknown, options: unknown, problems: Problem[]): Promise<LoadedEnv | null> {
  const { source, dotenv, ...written } = checkOptions(LoadEnvAsyncOptionsSchema, options, 'env', problems) ?? {}
  const settings = resolveSettings(written, problems)
  const reading = readVariables(schema, { ...source && { source }, ...dotenv !== undefined && { dotenv } }, problems)
  if (reading === null) return null

  const { texts, reported } = reading
  const wanted = reading.variables.flatMap(({ name, hidden }) =>
    hidden && !texts.has(name) && !reported.has(name) ? [name] : []
  )
  const found = await askAll(settings.sources, wanted, settings.timeoutMs, problems)
  const { config, data } = finishReading(
    {
      ...reading,
      texts: new Map([...texts, ...found.texts]),
      // A failed source may have the value: calling it missing would send people to the wrong place.
      reported: new Set([...reported, ...(found.failed ? wanted : [])]),
    },
    settings.sources.length === 0 ? '' : `, or store it in ${settings.sources.map(({ name }) => name).join(' or ')}`,
    problems,
  )
  const { refreshMs } = settings
  if (config !== null && refreshMs !== null && found.origins.length > 0) {
    const judge = createJudge(reading, data)
    startRefresh(config, { ...settings, refreshMs, origins: found.origins, judge })
  }
  return config
}

interface Settings {
  readonly sources: readonly SecretSource[]
  readonly timeoutMs: number
  readonly refreshMs: number | null
  readonly onRotate: OnRotate | null
}

function resolveSettings (
  { sources = [], timeout = DEFAULT_TIMEOUT, refresh, onRotate }: LoadEnvAsyncOptions,
  problems: Problem[],
): Settings {
  const timeoutMs = parseDuration(timeout)
  const refreshMs = refresh === undefined ? null : parseDuration(refresh)
  const refuse = (option: string, broken: boolean, message: string, fix: string): void => {
    if (broken) problems.push({ path: `env.${option}`, message, fix })
  }
  sources.forEach((source: unknown, index) => {
    refuse(
      `sources[${index}]`,
      !isSource(source),
      'Not a secret source.',
      'Give { name, load }, or what fileSecrets, vaultSecrets or awsSecrets returned.',
    )
  })
  refuse('timeout', timeoutMs > LONGEST_TIMER_MS, 'Longer than a timer can run.', 'Write a few seconds.')
  refuse(
    'refresh',
    refreshMs !== null && (refreshMs < SHORTEST_REFRESH_MS || refreshMs > LONGEST_TIMER_MS),
    'Shorter than 1s or longer than a timer can run.',
    "Write minutes or hours: '5m'.",
  )
  refuse(
    'refresh',
    refreshMs !== null && sources.length === 0,
    'There are no sources to ask again.',
    'Remove it, or add `sources`: variables and files of the environment are read once.',
  )
  refuse(
    'onRotate',
    onRotate !== undefined && typeof onRotate !== 'function',
    'Not a function.',
    'Write onRotate (name, value) { ... }.',
  )
  refuse(
    'onRotate',
    onRotate !== undefined && refreshMs === null,
    'Never called without `refresh`.',
    "Write refresh: '5m', or remove it.",
  )
  return { sources, timeoutMs, refreshMs, onRotate: onRotate ?? null }
}

function isSource (source: unknown): source is SecretSource {
  if (typeof source !== 'object' || source === null) return false
  const { name, load } = source as Readonly<Record<string, unknown>>
  return typeof name === 'string' && name !== '' && typeof load === 'function'
}

interface Found {
  readonly texts: ReadonlyMap<string, string>
  /** Which names each source gave, with the texts. */
  readonly origins: readonly Origin[]
  readonly failed: boolean
}

/** All at once: a start takes as long as the slowest, and every problem is seen. */
async function askAll (
  sources: readonly SecretSource[],
  names: readonly string[],
  timeoutMs: number,
  problems: Problem[],
): Promise<Found> {
  const usable = sources.every(isSource)
  if (!usable || names.length === 0) return { texts: new Map(), origins: [], failed: !usable }
  const answers = await Promise.all(sources.map(async (source) => ({ source, ...await ask(source, names, timeoutMs) })))
  const texts = new Map<string, string>()
  const origins: Origin[] = []
  for (const [index, answer] of answers.entries()) {
    const { source } = answer
    if ('problems' in answer) {
      const path = `env.sources[${index}]`
      for (const { message, fix } of answer.problems) {
        problems.push({ path, message: `${source.name}: ${message}`, fix })
      }
      continue
    }
    const own = new Map([...answer.texts].filter(([name]) => !texts.has(name)))
    for (const [name, text] of own) texts.set(name, text)
    if (own.size > 0) origins.push({ source, texts: own })
  }
  return { texts, origins, failed: answers.some((answer) => 'problems' in answer) }
}

/** Judges rotated texts together with all others, exactly as at boot. */
function createJudge ({ variables }: Reading, data: Texts): Judge {
  let current = data
  return (changed) => {
    const problems: Problem[] = []
    const next: Record<string, string | readonly string[]> = { ...current }
    for (const variable of variables) {
      const text = changed.get(variable.name)
      if (text !== undefined) next[variable.name] = itemsOf(variable, text)
    }
    const values = coerce(variables, next, problems)
    checkSecrets(variables, next, problems)
    return { values, problems, accept: () => { current = next } }
  }
}
