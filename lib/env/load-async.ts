import { Type, type Static } from '@sinclair/typebox'
import { parseDuration, type Duration } from '../options/duration.js'
import { durationOption } from '../options/option-schema.js'
import type { Problem } from '../response/errors.js'
import { checkOptions } from '../options/check-options.js'
import type { LoadedEnv } from './config.js'
import { checkSecrets, validate } from './validate.js'
import { complete, finish, itemsOf, LoadEnvOptionsSchema, prepare, readTexts, type Reading } from './load.js'
import { startRefresh, type Judge, type OnRotate, type Origin } from './refresh.js'
import { ask, type SecretSource } from './secret-source.js'

export const LoadEnvAsyncOptionsSchema = Type.Object({
  ...LoadEnvOptionsSchema.properties,
  sources: Type.Optional(
    Type.Unsafe<readonly SecretSource[]>(
      Type.Array(Type.Unknown(), {
        description:
          'Asked at once for every `secret` and `redact` variable that the environment does not give; the first that has it counts.',
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

/** Like `readConfig`, and asks the sources for the secrets that the environment does not give. */
export async function readConfigAsync (
  schema: unknown,
  options: unknown,
  problems: Problem[],
): Promise<LoadedEnv | null> {
  const before = problems.length
  const { source, dotenv, ...written } = checkOptions(LoadEnvAsyncOptionsSchema, options, 'env', problems) ?? {}
  const settings = resolveSettings(written, problems)
  const reading = prepare(schema, { source, dotenv }, before, problems)
  if (reading === null) return null

  const { texts, wrong } = readTexts(reading, problems)
  const wanted = reading.variables.filter(({ name, hidden }) => hidden && !texts.has(name) && !wrong.has(name)).map((
    { name },
  ) => name)
  const found = await askAll(settings.sources, wanted, settings.timeoutMs, problems)
  const completed = complete(
    reading,
    {
      texts: new Map([...texts, ...found.texts]),
      // What a source that failed was asked for may be there: calling it missing would send people to the wrong place.
      wrong: new Set([...wrong, ...(found.failed ? wanted : [])]),
    },
    settings.sources.length === 0 ? '' : `, or store it in ${settings.sources.map(({ name }) => name).join(' or ')}`,
    problems,
  )
  const config = finish(reading, completed, before, problems)
  if (config === null) return null
  if (settings.refreshMs !== null && found.origins.length > 0) {
    startRefresh(config, {
      ...settings,
      refreshMs: settings.refreshMs,
      origins: found.origins,
      judge: judgeOf(reading, completed.data),
    })
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
  sources.forEach((source: unknown, index) => {
    if (!isSource(source))
      {problems.push({
        path: `env.sources[${index}]`,
        message: 'Not a secret source.',
        fix: 'Give { name, load }, or what fileSecrets, vaultSecrets or awsSecrets returned.',
      })}
  })
  if (timeoutMs > LONGEST_TIMER_MS)
    {problems.push({ path: 'env.timeout', message: 'Longer than a timer can run.', fix: 'Write a few seconds.' })}
  if (refreshMs !== null && (refreshMs < SHORTEST_REFRESH_MS || refreshMs > LONGEST_TIMER_MS))
    {problems.push({
      path: 'env.refresh',
      message: 'Shorter than 1s or longer than a timer can run.',
      fix: "Write minutes or hours: '5m'.",
    })}
  if (refreshMs !== null && sources.length === 0)
    {problems.push({
      path: 'env.refresh',
      message: 'There are no sources to ask again.',
      fix: 'Remove it, or add `sources`: variables and files of the environment are read once.',
    })}
  if (onRotate !== undefined && typeof onRotate !== 'function')
    {problems.push({ path: 'env.onRotate', message: 'Not a function.', fix: 'Write onRotate (name, value) { ... }.' })}
  if (onRotate !== undefined && refreshMs === null)
    {problems.push({
      path: 'env.onRotate',
      message: 'Never called without `refresh`.',
      fix: "Write refresh: '5m', or remove it.",
    })}
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

/** All at once, so that the slowest decides how long a start takes and every problem is seen. */
async function askAll (
  sources: readonly SecretSource[],
  names: readonly string[],
  timeoutMs: number,
  problems: Problem[],
): Promise<Found> {
  const usable = sources.every(isSource)
  if (!usable || names.length === 0) return { texts: new Map(), origins: [], failed: !usable }
  const answers = await Promise.all(sources.map((source) => ask(source, names, timeoutMs)))
  const texts = new Map<string, string>()
  const origins: Origin[] = []
  let failed = false
  for (const [index, source] of sources.entries()) {
    const answer = answers[index]
    if (answer === undefined || 'problems' in answer) {
      failed = true
      problems.push(
        ...(answer?.problems ?? []).map(({ message, fix }) => ({
          path: `env.sources[${index}]`,
          message: `${source.name}: ${message}`,
          fix,
        })),
      )
      continue
    }
    const own = new Map([...answer.texts].filter(([name]) => !texts.has(name)))
    for (const [name, text] of own) texts.set(name, text)
    if (own.size > 0) origins.push({ source, texts: own })
  }
  return { texts, origins, failed }
}

/** Judges rotated texts together with all others, exactly as at boot. */
function judgeOf (reading: Reading, data: Readonly<Record<string, string | readonly string[]>>): Judge {
  let current = data
  return (changed) => {
    const problems: Problem[] = []
    const rotated = reading.variables.flatMap((variable): [string, string | readonly string[]][] => {
      const text = changed.get(variable.name)
      return text === undefined ? [] : [[variable.name, itemsOf(variable, text)]]
    })
    const next = { ...current, ...Object.fromEntries(rotated) }
    const values = validate(reading.schema, reading.variables, next, problems)
    checkSecrets(reading.variables, next, problems)
    return { values, problems, accept: () => { current = next } }
  }
}
