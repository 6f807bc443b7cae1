import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { errorCode } from '../common/error-code.js'

/** A secret mounted by Docker or Kubernetes is far smaller; this keeps a wrong path from filling the memory. */
const MAX_FILE_BYTES = 64 * 1024

/** The text of a file, or what is wrong with it: the end of a sentence that begins with its path. */
export type SecretFile = { readonly text: string } | {
  readonly wrong: string
  readonly fix: string
  /** There is no such file. */
  readonly missing: boolean
}

/** Reads a regular file of UTF-8 text, less one newline at its end. No answer but `text` holds any of its content. */
export function readSecretFile (path: string): SecretFile {
  const wrong = (wrong: string, fix: string): SecretFile => ({ wrong, fix, missing: false })
  let bytes: Buffer | null
  try {
    bytes = readBytes(path)
  } catch (error) {
    const code = errorCode(error)
    return {
      wrong: `cannot be read (${code})`,
      fix: 'Correct the path or the permissions of the file.',
      missing: code === 'ENOENT',
    }
  }
  if (bytes === null) return wrong('is not a regular file', 'Name the file that holds the value.')
  if (bytes.length > MAX_FILE_BYTES) {
    return wrong(`is larger than ${MAX_FILE_BYTES} bytes`, 'Name the file that holds the value and nothing else.')
  }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes).replace(/\r?\n$/, '') }
  } catch {
    return wrong('is not UTF-8 text', 'Store the value as text, for example as base64url.')
  }
}

/** At most one byte more than is allowed; null when it is no regular file. */
function readBytes (path: string): Buffer | null {
  // O_NONBLOCK: opening a named pipe would otherwise wait for a writer.
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if (!fstatSync(descriptor).isFile()) return null
    const buffer = Buffer.alloc(MAX_FILE_BYTES + 1)
    let length = 0
    for (let read = -1; read !== 0 && length < buffer.length; length += read) {
      read = readSync(descriptor, buffer, length, buffer.length - length, null)
    }
    return buffer.subarray(0, length)
  } finally {
    closeSync(descriptor)
  }
}
