import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { errorCode } from '../common/error-code.js'
import type { Problem } from '../response/errors.js'
import { isProduction } from './is-production.js'
import type { EnvSource } from './options.js'
import { readSecretFile } from './secret-file.js'

/**
 * Reads `.env` outside production. `true` and a path ask for a file: that it is missing is a problem, and that it is
 * asked for in production, too. Without the option, `./.env` is read when it exists.
 */
export function readDotenv (dotenv: boolean | string | undefined, source: EnvSource, problems: Problem[]): EnvSource {
  if (dotenv === false) return {}
  const add = (message: string, fix: string): EnvSource => {
    problems.push({ path: 'env.dotenv', message, fix })
    return {}
  }
  if (isProduction(source)) {
    return dotenv === undefined ? {} : add(
      'A .env file is never read in production.',
      'Remove the option, and set the variables in the environment or as files (NAME_FILE).',
    )
  }
  const path = typeof dotenv === 'string' ? dotenv : '.env'
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const code = errorCode(error)
    return dotenv === undefined && code === 'ENOENT' ? {} : add(
      `The file ${JSON.stringify(path)} cannot be read (${code}).`,
      'Create it, correct the path, or write dotenv: false.',
    )
  }
  const parsed = parseEnv(text)
  if (isProduction(parsed)) {
    add(
      `The file ${JSON.stringify(path)} sets NODE_ENV to production, but it is only read outside production.`,
      'Set NODE_ENV in the process environment.',
    )
  }
  return parsed
}

/** What one lookup needs to know of a variable. */
interface Wanted {
  readonly name: string
  /** The empty text of a list is the empty list; of anything else it counts as absent. */
  readonly isList: boolean
  /** False when the schema declares NAME_FILE as a variable of its own. */
  readonly mayBeFile: boolean
}

/** The text of a variable, from the first layer that has it or from the file that NAME_FILE names. */
export function readText (
  { name, isList, mayBeFile }: Wanted,
  layers: readonly EnvSource[],
  problems: Problem[],
): string | undefined {
  const direct = lookUp(name, layers, isList, problems)
  const file = mayBeFile ? lookUp(`${name}_FILE`, layers, false, problems) : undefined
  if (file === undefined) return direct
  if (direct !== undefined && direct !== '') {
    problems.push({
      path: `env.${name}`,
      message: `Both ${name} and ${name}_FILE are set.`,
      fix: 'Keep one of the two.',
    })
    return undefined
  }
  return readValueFile(name, file, problems)
}

function lookUp (
  name: string,
  layers: readonly EnvSource[],
  emptyCounts: boolean,
  problems: Problem[],
): string | undefined {
  for (const layer of layers) {
    const value: unknown = Object.hasOwn(layer, name) ? layer[name] : undefined
    if (value === undefined || (value === '' && !emptyCounts)) continue
    if (typeof value === 'string') return value
    problems.push({
      path: `env.${name}`,
      message: 'The source holds a value that is not text.',
      fix: 'Give each variable as a string, as process.env does.',
    })
    return undefined
  }
  return undefined
}

function readValueFile (name: string, path: string, problems: Problem[]): string | undefined {
  const read = readSecretFile(path)
  const file = 'text' in read && read.text === ''
    ? { wrong: 'is empty', fix: `Write the value into it, or unset ${name}_FILE.` }
    : read
  if ('text' in file) return file.text
  problems.push({ path: `env.${name}`, message: `${name}_FILE: ${shownPath(path)} ${file.wrong}.`, fix: file.fix })
  return undefined
}

/** NAME_FILE may hold the secret itself by mistake: only what looks like a path is shown. */
function shownPath (path: string): string {
  return /^(?:\.{0,2}[/\\]|[A-Za-z]:[/\\])/.test(path)
    ? JSON.stringify(path)
    : 'The file (its value does not look like a path, so it is not shown)'
}
