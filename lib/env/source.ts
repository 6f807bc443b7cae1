import { closeSync, constants, fstatSync, openSync, readFileSync, readSync } from 'node:fs'
import { parseEnv } from 'node:util'
import type { Problem } from '../response/errors.js'
import { isProduction } from './is-production.js'

/** Where variables come from: `process.env` or an object of the same shape. */
export type EnvSource = Readonly<Record<string, string | undefined>>

/** A secret mounted by Docker or Kubernetes is far smaller; this keeps a wrong path from filling the memory. */
export const MAX_FILE_BYTES = 64 * 1024

/**
 * Reads `.env` outside production. `true` and a path ask for a file, so a missing one is a problem, and so is any such
 * file in production; without the option, `./.env` is read when it is there.
 */
export function readDotenv (dotenv: boolean | string | undefined, source: EnvSource, problems: Problem[]): EnvSource {
  if (dotenv === false) return {}
  const production = isProduction(source)
  if (production) {
    if (dotenv !== undefined)
      {problems.push({
        path: 'env.dotenv',
        message: 'A .env file is never read in production.',
        fix: 'Remove the option, and set the variables in the environment or as files (NAME_FILE).',
      })}
    return {}
  }
  const path = typeof dotenv === 'string' ? dotenv : '.env'
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const code = codeOf(error)
    if (dotenv !== undefined || code !== 'ENOENT')
      {problems.push({
        path: 'env.dotenv',
        message: `The file ${quoted(path)} cannot be read (${code}).`,
        fix: 'Create it, correct the path, or write dotenv: false.',
      })}
    return {}
  }
  const parsed = parseEnv(text)
  if (isProduction(parsed)) {
    problems.push({
      path: 'env.dotenv',
      message: `The file ${quoted(path)} sets NODE_ENV to production, but it is only read outside production.`,
      fix: 'Set NODE_ENV in the process environment.',
    })
  }
  return parsed
}

/** What one lookup needs to know of a variable. */
export interface Wanted {
  readonly name: string
  /** The empty text of a list is the empty list; of anything else it counts as absent. */
  readonly isList: boolean
  /** False when the schema declares NAME_FILE as a variable of its own. */
  readonly mayBeFile: boolean
}

/** The text of a variable, from the first layer that has it or from the file that NAME_FILE names. */
export function readText (wanted: Wanted, layers: readonly EnvSource[], problems: Problem[]): string | undefined {
  const { name, isList, mayBeFile } = wanted
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
      message: 'The source holds something else than text.',
      fix: 'Give each variable as a string, as process.env does.',
    })
    return undefined
  }
  return undefined
}

function readValueFile (name: string, path: string, problems: Problem[]): string | undefined {
  const add = (message: string, fix: string): void => {
    problems.push({ path: `env.${name}`, message: `${name}_FILE: ${message}`, fix })
  }
  let bytes: Buffer | null
  try {
    bytes = readSmallFile(path)
  } catch (error) {
    add(`${shownPath(path)} cannot be read (${codeOf(error)}).`, 'Correct the path or the permissions of the file.')
    return undefined
  }
  if (bytes === null) {
    add(`${shownPath(path)} is not a regular file.`, 'Name the file that holds the value.')
    return undefined
  }
  if (bytes.length > MAX_FILE_BYTES) {
    add(
      `${shownPath(path)} is larger than ${MAX_FILE_BYTES} bytes.`,
      'Name the file that holds the value and nothing else.',
    )
    return undefined
  }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    add(`${shownPath(path)} is not UTF-8 text.`, 'Store the value as text, for example as base64url.')
    return undefined
  }
  const value = text.replace(/\r?\n$/, '')
  if (value !== '') return value
  add(`${shownPath(path)} is empty.`, `Write the value into it, or unset ${name}_FILE.`)
  return undefined
}

/** At most one byte more than is allowed; null when it is no regular file (a pipe would block the start). */
function readSmallFile (path: string): Buffer | null {
  // O_NONBLOCK: opening a named pipe would otherwise wait for a writer.
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if (!fstatSync(descriptor).isFile()) return null
    const buffer = Buffer.alloc(MAX_FILE_BYTES + 1)
    let length = 0
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      {read = readSync(descriptor, buffer, length, buffer.length - length, null)}
    return buffer.subarray(0, length)
  } finally {
    closeSync(descriptor)
  }
}

/** Somebody may have put the secret itself into NAME_FILE: only what looks like a path is shown. */
function shownPath (path: string): string {
  return /^(?:\.{0,2}[/\\]|[A-Za-z]:[/\\])/.test(path)
    ? quoted(path)
    : 'The file (its value does not look like a path, so it is not shown)'
}

function quoted (path: string): string {
  return JSON.stringify(path)
}

function codeOf (error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : 'unknown error'
}
