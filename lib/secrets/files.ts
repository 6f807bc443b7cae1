import { realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Type, type Static } from '@sinclair/typebox'
import { errorCode } from '../common/error-code.js'
import { readSecretFile } from '../env/secret-file.js'
import { SecretSourceError, type SecretSource, type SourceProblem } from './source.js'
import { checkSourceOptions, keyOf, KeysSchema } from './source-options.js'

const FileSecretsSchema = Type.Object({
  directory: Type.String({ minLength: 1, description: 'Write the path of a directory with one file a secret.' }),
  keys: KeysSchema,
}, { additionalProperties: false })

/** Options of `fileSecrets`. */
export type FileSecretsOptions = Omit<Static<typeof FileSecretsSchema>, 'directory'>

/** Kubernetes exchanges the whole directory by one rename of this link. */
const DATA_LINK = '..data'
/** The directory may be exchanged while it is read; twice in a row is more than an update does. */
const ATTEMPTS = 3

/**
 * A directory with one file a secret, as Docker (`/run/secrets`) and Kubernetes mount it. The file's name is the
 * variable's, or its key; one newline at the end is removed. All files are read out of the same update.
 */
export function fileSecrets (directory: string, options: FileSecretsOptions = {}): SecretSource {
  const checked = checkSourceOptions(FileSecretsSchema, { ...options, directory }, 'fileSecrets')
  for (const [name, key] of Object.entries(checked.options?.keys ?? {})) {
    if (/[/\\\0]/.test(key) || key.startsWith('..')) {
      checked.problems.push({
        message: `fileSecrets.keys.${name}: Not the name of a file.`,
        fix: 'Write a name without slashes that does not begin with two dots.',
      })
    }
  }
  return {
    name: `files in ${typeof directory === 'string' ? JSON.stringify(directory) : 'a directory'}`,
    async load (names, { signal }) {
      if (checked.options === null || checked.problems.length > 0) throw new SecretSourceError(checked.problems)
      return await readDirectory(directory, names, checked.options.keys, signal)
    },
  }
}

async function readDirectory (
  directory: string,
  names: readonly string[],
  keys: Readonly<Record<string, string>> | undefined,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  for (let attempt = 1;; attempt++) {
    const place = await placeOf(directory)
    const values: Record<string, string> = {}
    const problems: SourceProblem[] = []
    for (const name of names) {
      signal.throwIfAborted()
      const file = readSecretFile(join(place, keyOf(keys, name)))
      if ('text' in file) values[name] = file.text
      else if (!file.missing) problems.push({ message: `${name}: The file ${file.wrong}.`, fix: file.fix })
    }
    // An old update is removed once the new one is in place: what was read then is a part of neither.
    if (place !== directory && await placeOf(directory) !== place && attempt < ATTEMPTS) continue
    if (problems.length > 0) throw new SecretSourceError(problems)
    return values
  }
}

/** Where the files of the present update are. */
async function placeOf (directory: string): Promise<string> {
  try {
    return await realpath(join(directory, DATA_LINK))
  } catch {
    // Not a Kubernetes volume: the files are in the directory itself.
  }
  const found = await stat(directory).catch((error: unknown) => {
    throw new SecretSourceError({
      message: `The directory cannot be read (${errorCode(error)}).`,
      fix: 'Mount it, or correct the path.',
    })
  })
  if (!found.isDirectory()) {
    throw new SecretSourceError({
      message: 'It is not a directory.',
      fix: 'Name the directory that holds the files; NAME_FILE names a single one.',
    })
  }
  return directory
}
